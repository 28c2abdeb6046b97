"""The oracle of the verifier's campaign finds what is planted, and the campaign passes on a small share."""

import random
from dataclasses import replace

import numpy as np
import pytest

from systolith.compiler.hazards import ProgramError, synchronize, verify
from systolith.rtl.config import PRESETS
from systolith.rtl.isa import Function, Instruction, Opcode, Unit
from systolith.verification.evidence import Options, run_campaign
from systolith.verification.verifier.campaign import Tally, differs, examine
from systolith.verification.verifier.interleave import (
    DeadlockError,
    Machine,
    explore,
    in_program_order,
    run,
)
from systolith.verification.verifier.interleave_device import InterleavedDevice
from systolith.verification.verifier.interleave_symbols import Symbols
from systolith.verification.verifier.mutate_program import mutants, pairs_of_tokens
from systolith.verification.verifier.subjects import COMPILED, Subject, compiled_subject, piled_up, small_subjects

CONFIG = PRESETS["tiny"]
REGIONS = (4096, 4096)
LOAD, MATRIX, VECTOR, STORE = (1 << unit for unit in Unit)


def load(address: int, **values: int) -> Instruction:
    return Instruction(Opcode.LOAD, {"rows": 4, "blocks": 1, "address": address, **values})


def matrix(a: int, w: int, acc: int, **values: int) -> Instruction:
    common = {"rows": 4, "k_tiles": 1, "n_tiles": 1, "a_address": a, "w_address": w, "acc_address": acc}
    return Instruction(Opcode.MATRIX, common | values)


def vector(acc: int, out: int, **values: int) -> Instruction:
    return Instruction(
        Opcode.VECTOR, {"rows": 4, "blocks": 1, "valid": 4, "acc_address": acc, "out_address": out, **values}
    )


def store(address: int, **values: int) -> Instruction:
    return Instruction(Opcode.STORE, {"rows": 4, "blocks": 1, "address": address, "region": 1, **values})


CHAIN = tuple(synchronize([load(0), load(4), matrix(0, 4, 0), vector(0, 8), store(8), load(0)], CONFIG, REGIONS))


def every_order(program: list[Instruction] | tuple[Instruction, ...]) -> tuple[bool, str]:
    """Whether all orders agree with program order, and the deadlock, if any."""
    machine, symbols = Machine(program, CONFIG), Symbols(program, CONFIG)
    expected = in_program_order(machine, symbols)
    symbols.reset()
    found = explore(machine, symbols)
    assert found is not None
    return found.outcomes <= {expected}, found.deadlock


def test_every_order_of_a_synchronised_chain_agrees_and_of_none_of_its_mutants() -> None:
    assert every_order(CHAIN) == (True, "")
    for give, wait in pairs_of_tokens(CHAIN):
        program = list(CHAIN)
        for bit in (give, wait):
            i = program[bit.index]
            program[bit.index] = replace(i, values=i.values | {bit.mask: getattr(i, bit.mask) & ~(1 << bit.unit)})
        agree, deadlock = every_order(program)
        assert not agree
        assert deadlock == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (load(0), matrix(0, 8, 0)),
        (load(0), matrix(8, 0, 0)),
        (load(4), store(4)),
        (load(0), vector(0, 0)),
        (load(0, memory=1, rows=8), vector(0, 8)),
        (matrix(0, 4, 0), load(0)),
        (matrix(0, 4, 0), vector(0, 8)),
        (matrix(0, 4, 0), vector(0, 8, function=Function.RESIDUAL)),
        (matrix(0, 4, 8, track_max=1, max_first=1), vector(0, 8, function=Function.EXPONENT, multiplier=1, shift_a=20)),
        (vector(0, 8), matrix(8, 0, 8)),
        (vector(0, 8, function=Function.RESIDUAL), matrix(0, 0, 0, accumulate=1)),
        (vector(0, 8, function=Function.RESIDUAL, residual_address=4), load(4)),
        (vector(0, 8), store(8)),
        (store(8), load(8)),
        (store(8), load(0, region=1)),
        (load(0, region=1), store(8)),
    ],
)
def test_both_oracles_see_each_kind_of_conflict(first: Instruction, second: Instruction) -> None:
    program = [first, second]
    machine, source = Machine(program, CONFIG), random.Random(0)
    regions = [np.random.default_rng(n).integers(0, 256, 4096, np.uint8) for n in range(2)]

    def device() -> InterleavedDevice:
        return InterleavedDevice(CONFIG, program, regions, seed=1)

    late = [-1.0 if event // 3 == first.unit else 0.0 for event in range(12)]
    symbols = Symbols(program, CONFIG)
    expected = in_program_order(machine, symbols), in_program_order(machine, device())
    symbols.reset()
    got = run(machine, symbols, late, source), run(machine, device(), late, source)
    assert got[0] != expected[0]
    assert got[1] != expected[1]
    with pytest.raises(ProgramError, match="races with"):
        verify(program, CONFIG, REGIONS)


def test_instructions_of_one_unit_overlap_but_do_not_overtake() -> None:
    program = [load(0), load(0, offset=16), load(0, offset=32)]
    assert every_order(program) == (True, "")
    drained = [
        vector(0, 0, function=Function.RESIDUAL, first=1, last=1, residual_address=8),
        vector(0, 8, function=Function.LAYERNORM),
        vector(8, 16, function=Function.EXPONENT, first=1, last=1),
        vector(8, 20, function=Function.CONTEXT),
    ]
    assert every_order(drained) == (True, "")


def test_a_token_that_never_comes_is_a_deadlock() -> None:
    machine = Machine([load(0), matrix(0, 4, 0, wait=LOAD)], CONFIG)
    with pytest.raises(DeadlockError, match="MATRIX 1 waits for LOAD"):
        run(machine, Symbols(machine.program, CONFIG), [0.0] * 12, random.Random(0))


def test_the_token_limit_is_exactly_what_cannot_deadlock() -> None:
    subject = piled_up(255)
    verify(subject.instructions, subject.config, subject.region_bytes)
    assert not differs(subject.instructions, subject, random.Random(0), Tally())
    subject = piled_up(256)
    with pytest.raises(ProgramError, match="more than 255 tokens for STORE are outstanding"):
        verify(subject.instructions, subject.config, subject.region_bytes)
    machine, symbols = Machine(subject.instructions, CONFIG), Symbols(subject.instructions, CONFIG)
    with pytest.raises(DeadlockError, match="MATRIX 257 waits for LOAD; STORE 258 waits for MATRIX"):
        run(machine, symbols, [0.0] * 12, random.Random(0))


def test_a_verifier_that_overlooks_something_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accepts all programs lets every race through: each must show as an escape."""
    monkeypatch.setattr("systolith.verification.verifier.campaign.refusal", lambda instructions, subject: "")
    regions = tuple(np.random.default_rng(n).integers(0, 256, 4096, np.uint8) for n in range(2))
    subject, source, tally = Subject("chain", CONFIG, CHAIN, regions), random.Random(0), Tally()
    dropped = [m for m in mutants(CHAIN, CONFIG, source, most_pairs=0) if m.kind == "token dropped"]
    assert len(dropped) == 4
    assert all(differs(m.instructions, subject, source, tally) for m in dropped)
    for mutant in dropped:
        examine(mutant, subject, source, tally)
    assert len(tally.escapes) == tally.accepted == 4


def test_crowded_programs_conflict_and_are_correct() -> None:
    subjects = small_subjects(0, 8)
    waits = 0
    for _ in range(10):
        subject = next(subjects)
        verify(subject.instructions, subject.config, subject.region_bytes)
        waits += sum(i.wait != 0 for i in subject.instructions)
    assert waits > 15


def test_attention_by_keys_is_among_the_subjects() -> None:
    subject = compiled_subject(list(COMPILED)[-1])
    starts = [i.max_first for i in subject.instructions if i.opcode == Opcode.MATRIX and i.track_max]
    assert 0 < sum(starts) < len(starts)


def test_quick_share() -> None:
    rows = run_campaign("verifier", Options(quick=True), lambda _: None)
    assert len(rows) == 2
    for row in rows:
        assert row.passed, row
        assert row.details["escapes"] == row.details["slips"] == []
        assert sum(row.details["refused"].values()) > 0
