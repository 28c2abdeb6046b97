"""Tokens order what must be ordered, and the verifier refuses what they do not."""

import gc
import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from systolith.compiler.footprint import Footprint, Span, space_rows
from systolith.compiler.hazards import HazardTracker, ProgramError, synchronize, verify
from systolith.rtl.config import PRESETS, Config
from systolith.rtl.isa import Function, Instruction, Opcode, Unit

CONFIG = PRESETS["tiny"]
REGIONS = (4096, 4096)


def load(address: int, rows: int = 4, **values: int) -> Instruction:
    return Instruction(Opcode.LOAD, {"rows": rows, "blocks": 1, "address": address, **values})


def matrix(a: int, w: int, acc: int, rows: int = 4, **values: int) -> Instruction:
    return Instruction(
        Opcode.MATRIX,
        {"rows": rows, "k_tiles": 1, "n_tiles": 1, "a_address": a, "w_address": w, "acc_address": acc, **values},
    )


def vector(acc: int, out: int, rows: int = 4, **values: int) -> Instruction:
    return Instruction(
        Opcode.VECTOR, {"rows": rows, "blocks": 1, "valid": 4, "acc_address": acc, "out_address": out, **values}
    )


def store(address: int, rows: int = 4, **values: int) -> Instruction:
    return Instruction(Opcode.STORE, {"rows": rows, "blocks": 1, "address": address, "region": 1, **values})


CHAIN = [load(0), load(4), matrix(0, 4, 0), vector(0, 8), store(8), load(0, offset=16)]


def test_a_chain_gets_one_token_a_link() -> None:
    waits = [i.wait for i in synchronize(CHAIN, CONFIG, REGIONS)]
    load_unit, matrix_unit, vector_unit = (1 << unit for unit in (Unit.LOAD, Unit.MATRIX, Unit.VECTOR))
    assert waits == [0, 0, load_unit, matrix_unit, vector_unit, matrix_unit]


def test_what_a_waited_for_unit_knew_needs_no_second_token() -> None:
    program = [load(0), load(4), matrix(0, 4, 0), vector(0, 8), load(0), store(8), vector(0, 0)]
    synced = synchronize(program, CONFIG, REGIONS)
    assert synced[6].wait == 1 << Unit.LOAD
    verify(synced, CONFIG, REGIONS)


def test_verify_accepts_what_synchronize_made_and_refuses_every_dropped_token() -> None:
    synced = synchronize(CHAIN, CONFIG, REGIONS)
    verify(synced, CONFIG, REGIONS)
    dropped = 0
    for index, instruction in enumerate(synced):
        for unit in Unit:
            if instruction.wait >> unit & 1:
                values = instruction.values | {"wait": instruction.wait & ~(1 << unit)}
                with pytest.raises(ProgramError, match="races with instruction"):
                    verify(
                        [*synced[:index], replace(instruction, values=values), *synced[index + 1 :]], CONFIG, REGIONS
                    )
                dropped += 1
            if instruction.give >> unit & 1:
                values = instruction.values | {"give": instruction.give & ~(1 << unit)}
                with pytest.raises(ProgramError, match="no earlier instruction gives it a token"):
                    verify(
                        [*synced[:index], replace(instruction, values=values), *synced[index + 1 :]], CONFIG, REGIONS
                    )
                dropped += 1
    assert dropped == 8


def test_random_programs_verify_after_synchronize() -> None:
    rng = np.random.default_rng(3)

    def some() -> Instruction:
        a, b, c = (int(v) for v in rng.integers(0, 24, 3))
        make = [lambda: load(a), lambda: matrix(a, b, c), lambda: vector(c, a), lambda: store(a, offset=8 * b)]
        return make[int(rng.integers(4))]()

    for _ in range(20):
        verify(synchronize([some() for _ in range(60)], CONFIG, REGIONS), CONFIG, REGIONS)


def rows_of(span: Span) -> set[tuple[int, int]]:
    """Space and row of all that a span names, one index after another."""
    steps = itertools.product(*(range(count) for count in span.shape))
    return {
        (span.space, span.start + sum(i * stride for i, stride in zip(step, span.strides, strict=True)))
        for step in steps
    }


def test_the_tracker_finds_what_a_look_at_each_row_finds() -> None:
    rng = np.random.default_rng(4)
    spaces = space_rows(CONFIG, REGIONS)

    def some() -> Span:
        shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(1, 4)))
        strides = (*(int(n) for n in rng.integers(0, 9, len(shape) - 1)), 1)
        return Span(int(rng.choice(list(spaces))), int(rng.integers(0, 40)), shape, strides)

    pool = [some() for _ in range(60)]
    assert {len(span.merged().shape) for span in pool} == {1, 2, 3}
    tracker = HazardTracker(CONFIG, REGIONS)
    last: dict[tuple[int, int, Unit, bool], int] = {}
    found = 0
    for index in range(800):
        unit = Unit(rng.integers(len(Unit)))
        reads, writes = ([pool[n] for n in rng.integers(len(pool), size=rng.integers(1, 3))] for _ in range(2))
        kinds = [(row, False) for span in reads for row in rows_of(span)]
        kinds += [(row, True) for span in writes for row in rows_of(span)]
        expected = [-1] * len(Unit)
        for row, writing in kinds:
            # Reads conflict with writes, writes with both.
            for other, wrote in itertools.product(set(Unit) - {unit}, (True, False) if writing else (True,)):
                expected[other] = max(expected[other], last.get((*row, other, wrote), -1))
        assert tracker.visit(index, unit, Footprint(tuple(reads), tuple(writes))) == expected
        found += sum(other >= 0 for other in expected)
        last |= {(*row, unit, writing): index for row, writing in kinds}
    assert found > 400


def test_a_tracker_leaves_no_arrays_behind() -> None:
    gc.disable()
    tracemalloc.start()
    try:
        synchronize([load(0), matrix(0, 4, 0)], CONFIG, (1 << 20,))
        now, most = tracemalloc.get_traced_memory()
        assert now < 1 << 20 < most
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (
            load(CONFIG.scratchpad_rows - 3),
            r"instruction 0 \(LOAD\) reaches row 8192 of a memory \(scratchpad\) of 8192",
        ),
        (load(0, offset=4096), r"reaches row 1027 of a memory \(region 0\) of 1024 rows"),
        (load(0, region=5), r"reaches row 3 of a memory \(region 5\) of 0 rows"),
        (load(0, offset=2), r"DRAM offset and stride must be multiples of 4 bytes"),
        (matrix(0, 4, 1021), r"instruction 0 \(MATRIX\) reaches row 1024 of a memory \(accumulator\) of 1024 rows"),
        (matrix(0, 4, 0, rows=0), "rows must be at least 1, not 0"),
        (vector(0, 0, function=7), r"instruction 0 \(VECTOR\): no function 7"),
        (store(0, memory=1), "only the scratchpad can be stored"),
        (load(0, blocks=2, stride=3), "writes blocks of 4 rows only 3 apart: they overlap"),
        (matrix(0, 4, 0, n_tiles=2, acc_stride=2), "writes blocks of 4 rows only 2 apart: they overlap"),
        (load(0, wait=1 << Unit.LOAD), "waits for or gives to its own unit"),
        (load(0, wait=1 << Unit.STORE), "waits for STORE, but no earlier instruction gives it a token"),
    ],
)
def test_verify_refuses(instruction: Instruction, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        verify([instruction], CONFIG, REGIONS)


def test_verify_counts_outstanding_tokens() -> None:
    limit = 255
    program = [load(0, give=1 << Unit.STORE) for _ in range(limit + 1)]
    verify(program[:limit], CONFIG, REGIONS)
    with pytest.raises(ProgramError, match=f"more than {limit} tokens for STORE are outstanding"):
        verify(program, CONFIG, REGIONS)


def test_functions_left_out_are_refused() -> None:
    program = [vector(0, 0, function=Function.GELU)]
    verify(program, CONFIG, REGIONS)
    with pytest.raises(ProgramError, match="this configuration leaves out function GELU"):
        verify(program, replace(CONFIG, gelu=False), REGIONS)


@pytest.mark.parametrize(
    ("start", "values", "refused"),
    [
        (16, {"accumulate": 1}, None),
        (12, {"accumulate": 1}, None),
        (24, {"accumulate": 1}, None),
        (17, {}, None),
        (17, {"accumulate": 1}, r"instruction 1 \(MATRIX\) adds to sums from row 17 .* \(rows 16 to 23\)"),
        (23, {"accumulate": 1}, "adds to sums from row 23 on, inside the last tile"),
        (0, {"track_max": 1, "stat_address": 7}, "adds to maxima from row 7 on, inside the last tile"),
        (0, {"track_max": 1, "stat_address": 7, "max_first": 1}, None),
    ],
)
def test_sums_under_way_are_not_added_to(start: int, values: dict[str, int], refused: str | None) -> None:
    first = matrix(0, 4, 8, rows=8, n_tiles=2, acc_stride=8, track_max=1, max_first=1)
    program = [first, matrix(0, 4, start, rows=8, **values)]
    if refused is None:
        verify(program, CONFIG, REGIONS)
    else:
        with pytest.raises(ProgramError, match=refused):
            verify(program, CONFIG, REGIONS)


def test_configuration_without_room_is_not_mistaken_for_a_race() -> None:
    small: Config = replace(CONFIG, statistics_rows=8)
    with pytest.raises(ProgramError, match="statistics"):
        verify([matrix(0, 4, 0, track_max=1, stat_address=6)], small, REGIONS)


def test_late_reuse_does_not_pile_up_tokens() -> None:
    """Rows that come round again only after 300 instructions: one wait serves many."""
    rows = CONFIG.scratchpad_rows // 300
    program = []
    for turn in range(900):
        address = turn % 300 * rows
        program += [load(address, rows=rows), matrix(address, address, 0)]
    synced = synchronize(program, CONFIG, REGIONS)
    verify(synced, CONFIG, REGIONS)
    loads = [i for i in synced if i.opcode == Opcode.LOAD]
    assert 2 <= sum(i.wait != 0 for i in loads) <= 10


def test_a_token_from_the_instruction_just_before_the_needed_one_is_not_enough() -> None:
    early = [
        load(0, give=1 << Unit.MATRIX),
        load(4),
        matrix(0, 4, 0, wait=1 << Unit.LOAD),
    ]
    with pytest.raises(ProgramError, match=r"instruction 2 \(MATRIX\) races with instruction 1 \(LOAD\)"):
        verify(early, CONFIG, REGIONS)


@pytest.mark.parametrize(
    ("shape", "strides", "merged"),
    [
        ((4, 8), (8, 1), ((32,), (1,))),
        ((4, 8), (3, 1), ((17,), (1,))),
        ((4, 8), (0, 1), ((8,), (1,))),
        ((4, 8), (9, 1), ((4, 8), (9, 1))),
        ((3, 4, 8), (32, 8, 1), ((96,), (1,))),
        ((3, 4, 8), (40, 8, 1), ((3, 32), (40, 1))),
        ((3, 4, 8), (5, 100, 1), ((3, 4, 8), (5, 100, 1))),
        ((1, 1, 8), (5, 100, 1), ((8,), (1,))),
    ],
)
def test_merged_spans_touch_the_same_rows(shape, strides, merged):
    span = Span(0, 7, shape, strides)
    assert (span.merged().shape, span.merged().strides) == merged
    marked = [np.zeros(400, bool), np.zeros(400, bool)]
    for rows, one in zip(marked, (span, span.merged()), strict=True):
        one.view(rows)[...] = True
    np.testing.assert_array_equal(*marked)


def test_a_program_written_to_be_slow_is_refused(monkeypatch):
    monkeypatch.setattr("systolith.compiler.hazards._MOST_ROWS", 100)
    load = Instruction(Opcode.LOAD, {"rows": 30, "blocks": 1})
    with pytest.raises(ProgramError, match="instruction 1: the program touches more than 100 rows"):
        verify([load, load], PRESETS["tiny"], (1024,))
