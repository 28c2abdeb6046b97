"""FLOPs, bytes and intensity against the survey's tables (arXiv 2302.14017, section 2.3), to its last digit."""

import pytest

from systolith.analysis.networks import NETWORKS, Network
from systolith.analysis.operations import (
    ATTENTION,
    CONVOLUTIONS,
    FFN,
    OTHER,
    PROJECTIONS,
    groups,
    resnet50,
    total,
    transformer,
)

#: Tokens -> group -> GFLOP, GMOP, FLOPs a byte, as the survey prints them.
SURVEY = {
    128: {PROJECTIONS: ("7.25", "0.04", "192.0"), ATTENTION: ("0.60", None, "63.6"), FFN: ("14.50", "0.07", "211.9"),
          OTHER: ("0.08", "0.02", "3.14")},
    512: {PROJECTIONS: ("28.99", "0.07", "438.9"), ATTENTION: ("9.62", "0.09", "102"), FFN: ("57.98", "0.10", "558.5"),
          OTHER: ("0.42", "0.16", "2.73")},
}  # fmt: skip
TOTAL = {128: ("22.42", "0.14", "159.7"), 512: ("97.02", "0.42", "231")}


def printed(value, like):
    return f"{value:.{len(like.partition('.')[2])}f}"


@pytest.mark.parametrize("tokens", SURVEY)
def test_bert_base_agrees_with_every_figure_of_the_survey(tokens):
    counted = transformer(NETWORKS["bert-base"], tokens)
    for name, count in [*groups(counted).items(), ("all", total(counted))]:
        gflop, gmop, intensity = TOTAL[tokens] if name == "all" else SURVEY[tokens][name]
        assert printed(count.flops / 1e9, gflop) == gflop
        assert gmop is None or printed(count.bytes / 1e9, gmop) == gmop
        assert printed(count.intensity, intensity) == intensity


def test_fewer_heads_raise_the_intensity_as_in_the_survey():
    assert round(total(transformer(Network(12, 768, 4, 3072), 512)).intensity) == 304


def test_a_decoder_reads_its_weights_for_every_token():
    gpt2 = groups(transformer(NETWORKS["gpt2"], 128))
    weights = 12 * 768 * 768
    assert gpt2[PROJECTIONS].bytes == 128 * 12 * 4 * (768 * 768 + 2 * 768)
    assert gpt2[FFN].bytes > 128 * 8 * weights
    assert gpt2[PROJECTIONS].flops == groups(transformer(NETWORKS["bert-base"], 128))[PROJECTIONS].flops
    assert total(transformer(NETWORKS["gpt2"], 128)).intensity < 2


def test_a_decoder_attends_to_the_past_alone():
    network = Network(1, 8, 2, 16, decoder=True)
    assert groups(transformer(network, 3))[ATTENTION].flops == sum(
        2 * keys * (2 * 4 - 1) + 8 * (2 * keys - 1) for keys in (1, 2, 3)
    )


def test_resnet50_has_the_multiply_adds_of_its_paper():
    fused = groups(resnet50(fused=True))
    assert fused[CONVOLUTIONS].flops / 2 == pytest.approx(3.8e9, rel=0.03)  # He et al. 2015, table 1
    assert total(resnet50(fused=False)).bytes > 1.9 * total(resnet50(fused=True)).bytes
    weights = 25_502_912  # without biases and batch normalisation
    assert fused[CONVOLUTIONS].bytes > weights
