"""The prediction follows queues, tokens and the memory, to the cycle where nothing competes."""

import numpy as np
import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.prediction import predict
from systolith.analysis.prediction_units import beside_additions
from systolith.analysis.profile import RETIRE
from systolith.rtl.isa import Unit, assemble
from systolith.runtime.rtl import RtlDevice
from systolith.verification.programs.random_program import random_program

from .programs import CONFIG, load, matrix, of_all_kinds, store


@pytest.mark.parametrize("latency", [30, 100])
def test_each_kind_of_instruction_takes_its_cycles(latency):
    program = of_all_kinds()
    device = RtlDevice(CONFIG, latency=latency)
    result = device.run(assemble(program), [np.zeros(8192, np.uint8)])
    predicted = predict(program, CONFIG, MemoryTiming(latency))
    events = result.events
    times = {
        kind: events["cycle"][events["kind"] == kind][np.argsort(events["index"][events["kind"] == kind])].tolist()
        for kind in np.unique(events["kind"])
    }
    retired = times.pop(RETIRE)
    (issued,) = times.values()
    assert list(predicted.issued) == issued
    assert list(predicted.retired) == retired
    assert predicted.cycles == result.counters["cycles"]


@pytest.mark.parametrize(("seed", "timing"), [(3, MemoryTiming(30)), (6, MemoryTiming(100)), (9, MemoryTiming(30, 4))])
def test_random_programs(seed, timing):
    program = random_program(CONFIG, np.random.default_rng(seed), 120)
    device = RtlDevice(CONFIG, latency=timing.latency, bandwidth=timing.bandwidth)
    measured = device.run(program.image, [np.zeros(size, np.uint8) for size in program.region_bytes]).counters["cycles"]
    assert predict(program.instructions, CONFIG, timing).cycles == pytest.approx(measured, rel=0.02)


def test_an_empty_program_ends_at_once():
    assert predict([], CONFIG, MemoryTiming(30)).cycles < 10


def test_latency_is_paid_once_by_the_fetch_and_once_by_a_load():
    at = [predict([load()], CONFIG, MemoryTiming(latency)).cycles for latency in (30, 100)]
    assert at[1] - at[0] == 2 * 70


def test_a_token_orders_units_and_independent_units_overlap():
    apart = predict([load(), matrix()], CONFIG, MemoryTiming(30))
    ordered = predict([load(give=1 << Unit.MATRIX), matrix(wait=1 << Unit.LOAD)], CONFIG, MemoryTiming(30))
    assert apart.issued[1] < apart.retired[0]
    # It is there in the next cycle, and the instruction goes in the one after.
    assert ordered.issued[1] == ordered.retired[0] + 2


def test_a_token_may_come_from_a_later_instruction():
    found = predict([matrix(wait=1 << Unit.LOAD), load(give=1 << Unit.MATRIX)], CONFIG, MemoryTiming(30))
    assert found.issued[0] == found.retired[1] + 2


def test_tiles_follow_each_other_without_bubbles():
    one = predict([matrix()], CONFIG, MemoryTiming(30)).cycles
    two = predict([matrix(), matrix()], CONFIG, MemoryTiming(30)).cycles
    assert two - one == 4 * 24


@pytest.mark.parametrize("bandwidth", [2, 4])
def test_a_long_load_takes_what_the_bandwidth_allows(bandwidth):
    rows = 4096
    cycles = predict([load(rows=rows)], CONFIG, MemoryTiming(30, bandwidth)).cycles
    assert cycles == pytest.approx(rows * CONFIG.row_pitch / bandwidth, rel=0.05)


def test_a_store_and_a_load_share_a_narrow_memory():
    alone, both = (
        predict(program, CONFIG, MemoryTiming(30, 2)).cycles
        for program in ([load(rows=4096)], [load(rows=4096), store(rows=2048)])
    )
    assert both - alone == pytest.approx(2048 * CONFIG.row_pitch / 2, rel=0.05)


def test_a_token_that_never_comes_is_an_error():
    with pytest.raises(ValueError, match="instruction 1 never starts"):
        predict([load(), matrix(wait=1 << Unit.VECTOR), load()], CONFIG, MemoryTiming(30))


def test_beats_beside_additions():
    assert beside_additions(1, 4) == 1
    assert beside_additions(2, 1) == 0
    # By hand, from the bank of the addition less that of the row: 6, 6 and 7 cycles for three rows of five beats.
    assert beside_additions(5, 4) == pytest.approx(15 / 19, rel=0.02)
