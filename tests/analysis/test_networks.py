"""Networks by name: their sizes, others in place of them, and what makes none."""

import pytest

from systolith.analysis.networks import MAX_TOKENS, Network, NetworkError, check_tokens, encoder_of, network_of

NO_SIZES = {"layers": None, "hidden": None, "heads": None, "ffn": None}


def test_sizes_take_the_place_of_a_networks_own():
    assert network_of("bert-base", NO_SIZES) == Network(12, 768, 12, 3072)
    changed = encoder_of("minilm-l6", {**NO_SIZES, "hidden": 192, "layers": 2})
    assert (changed.layers, changed.hidden, changed.heads, changed.ffn) == (2, 192, 12, 1536)


def test_a_decoder_is_no_encoder():
    assert network_of("gpt2", {}).decoder
    with pytest.raises(NetworkError, match=r"^'gpt2' has no encoder layers that are known; minilm-l6, bert-base, "):
        encoder_of("gpt2", {})


@pytest.mark.parametrize(
    ("model", "sizes", "sentence"),
    [
        ("bert", {}, r"unknown model 'bert'; the models are minilm-l6, .*, resnet50"),
        ("minilm-l6", {"ffn": 0}, r"ffn must be 1 to 1048576, not 0"),
        ("minilm-l6", {"layers": (1 << 20) + 1}, r"layers must be 1 to 1048576, not 1048577"),
        ("minilm-l6", {"heads": 5}, r"hidden of 384 is no multiple of 5 heads"),
    ],
)
def test_what_makes_no_network_is_refused(model, sizes, sentence):
    with pytest.raises(NetworkError, match=f"^{sentence}$"):
        network_of(model, sizes)


def test_tokens_have_bounds():
    assert [check_tokens(tokens) for tokens in (1, MAX_TOKENS)] == [1, MAX_TOKENS]
    for tokens in (0, MAX_TOKENS + 1):
        with pytest.raises(NetworkError, match=f"tokens must be 1 to {MAX_TOKENS}, not {tokens}"):
            check_tokens(tokens)
