"""Names of encoders: what they mean, and what is wrong with others."""

import pytest

from systolith.analysis.workloads import EncoderWorkload
from systolith.sweep.workload import SweepError, parse_workload


@pytest.mark.parametrize(
    ("text", "encoder"),
    [
        ("bert-base:1x128", EncoderWorkload(hidden=768, heads=12, ffn=3072, tokens=128, layers=1)),
        (
            "minilm-l6:6x32",
            EncoderWorkload(hidden=384, heads=12, ffn=1536, tokens=32, layers=6, model="minilm-l6"),
        ),
        ("random:2x9@16/4/24", EncoderWorkload(hidden=16, heads=4, ffn=24, tokens=9, layers=2)),
    ],
)
def test_a_name_is_an_encoder(text: str, encoder: EncoderWorkload) -> None:
    workload = parse_workload(text)
    assert workload.encoder == encoder
    assert workload.name == text


def test_the_same_encoder_has_one_name() -> None:
    assert parse_workload("random:02x032") == parse_workload("random:2x32@64/2/128")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bert-base", "workload 'bert-base' is not NAME:LAYERSxTOKENS, or random:LAYERSxTOKENS@HIDDEN/HEADS/FFN"),
        ("bert-base:1", "is not NAME:LAYERSxTOKENS"),
        ("b" * 5000 + ":1x1", r"workload 'bb+\.\.\.b+:1x1' is not NAME:LAYERSxTOKENS"),
        ("bert:1x8", "unknown encoder 'bert'; the encoders are minilm-l6, bert-tiny, .*, random"),
        ("bert-tiny:1x8@16/2/16", "only random takes @HIDDEN/HEADS/FFN"),
        ("bert-tiny:0x8", "layers must be at least 1, not 0"),
        ("minilm-l6:7x8", "layers must be 1 to 6, not 7"),
        ("minilm-l6:1x257", "tokens must be 2 to 256, not 257"),
        ("random:1x8192", "tokens must be 1 to 8191, not 8192"),
        ("random:1x8@10/3/8", "hidden size 10 does not divide into 3 heads"),
        ("random:1x8@1/1/8", "hidden must be 2 to 16384, heads at least 1 and ffn at least 2"),
    ],
)
def test_other_names_are_refused(text: str, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        parse_workload(text)
