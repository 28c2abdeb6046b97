"""The prediction follows queues, tokens and the memory."""

import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.prediction import predict
from systolith.rtl.config import preset
from systolith.rtl.isa import Instruction, Opcode, Unit

CONFIG = preset("tiny")


def load(rows=16, **values):
    return Instruction(Opcode.LOAD, {"rows": rows, "blocks": 1, **values})


def matrix(**values):
    return Instruction(Opcode.MATRIX, {"rows": 24, "k_tiles": 1, "n_tiles": 4, **values})


def test_an_empty_program_ends_at_once():
    assert predict([], CONFIG, MemoryTiming(30)).cycles < 10


def test_latency_is_paid_once_by_the_fetch_and_once_by_a_load():
    at = [predict([load()], CONFIG, MemoryTiming(latency)).cycles for latency in (30, 100)]
    assert at[1] - at[0] == 2 * 70


def test_a_token_orders_units_and_independent_units_overlap():
    apart = predict([load(), matrix()], CONFIG, MemoryTiming(30))
    ordered = predict([load(give=1 << Unit.MATRIX), matrix(wait=1 << Unit.LOAD)], CONFIG, MemoryTiming(30))
    assert apart.issued[1] < apart.retired[0]
    assert ordered.issued[1] == ordered.retired[0] + 1


def test_tiles_follow_each_other_without_bubbles():
    one = predict([matrix()], CONFIG, MemoryTiming(30)).cycles
    two = predict([matrix(), matrix()], CONFIG, MemoryTiming(30)).cycles
    assert two - one == 4 * 24


def test_half_the_bandwidth_doubles_a_long_load():
    full, half = (
        predict([load(rows=4096)], CONFIG, MemoryTiming(30, bandwidth)).cycles for bandwidth in (8, 2)
    )  # fmt: skip
    assert half / full == pytest.approx(2, rel=0.1)


def test_a_token_that_never_comes_is_an_error():
    with pytest.raises(ValueError, match="instruction 0 never retires"):
        predict([matrix(wait=1 << Unit.LOAD)], CONFIG, MemoryTiming(30))
