"""The fault campaign: its quick share on the RTL, and that its expectations and verdicts tell right from wrong."""

import dataclasses
import itertools
import random
from pathlib import Path

import pytest

from systolith.compiler.footprint import footprint, space_rows
from systolith.compiler.hazards import ProgramError, verify
from systolith.rtl.config import Config, preset
from systolith.rtl.interfaces import Fault
from systolith.rtl.isa import Instruction, Opcode, Unit
from systolith.sim.build import Simulator
from systolith.verification.evidence import Options, run_campaign
from systolith.verification.faults import campaign
from systolith.verification.faults.batch import RESETS, Injection, Observation
from systolith.verification.faults.fields import illegal_values, outside_the_chip, outside_the_region
from systolith.verification.faults.kinds import KINDS, Expected, Maker, took_effect, verdict
from systolith.verification.faults.subjects import Subject, subjects
from systolith.verification.faults.tokens import Rest, come_to_rest

TINY = preset("tiny")
LOAD, MATRIX, VECTOR, STORE = (1 << unit for unit in Unit)


@pytest.fixture(scope="module")
def pool() -> list[Subject]:
    return subjects(TINY, 0)


def test_one_fault_of_each_kind() -> None:
    machine, memory = run_campaign("faults", Options(quick=True), lambda _: None)
    assert machine.passed, machine.details["failures"]
    assert memory.passed
    assert machine.details["kinds"] == dict.fromkeys(KINDS, 1)


def changed(i: Instruction, values: dict[str, int]) -> Instruction:
    return Instruction(i.opcode, {**i.values, **values})


def test_subjects_use_every_unit_and_lie_apart(pool: list[Subject]) -> None:
    for subject in pool:
        assert {i.unit for i in subject.instructions} == set(Unit)
        assert len(subject.before) == len(subject.after) == subject.layout.total
        ends = [(base, base + size) for base, size in subject.layout.regions if size]
        ends.append((subject.layout.program_base, subject.layout.program_base + 32 * subject.layout.program_length))
        ends.sort()
        assert all(high + 4096 <= low for (_, high), (low, _) in itertools.pairwise(ends))


def test_addresses_outside_are_outside(pool: list[Subject]) -> None:
    source = random.Random(0)
    for subject in pool:
        sizes = tuple(size for _, size in subject.layout.regions)
        rows = space_rows(TINY, sizes)

        def beyond(i: Instruction, spaces: range, rows: dict[int, int] = rows) -> bool:
            spans = footprint(i, TINY)
            used = (*spans.reads, *spans.writes, *spans.private)
            return any(span.space in spaces and span.last >= rows[span.space] for span in used)

        for i in subject.instructions:
            assert beyond(changed(i, outside_the_chip(i, TINY, source)), range(4))
            if i.opcode in (Opcode.LOAD, Opcode.STORE):
                moved = changed(i, outside_the_region(i, TINY, sizes[i.region], source))
                assert beyond(moved, range(4, 12))
                assert not beyond(moved, range(4))


def test_illegal_values_are_refused_by_the_verifier_too(pool: list[Subject]) -> None:
    seen = set()
    for subject in pool:
        sizes = tuple(size for _, size in subject.layout.regions)
        for i in subject.instructions:
            alone = changed(i, {"wait": 0})
            verify([alone], TINY, sizes)
            for name, values in illegal_values(alone, TINY).items():
                seen.add(name)
                with pytest.raises(ProgramError):
                    verify([changed(alone, values)], TINY, sizes)
    assert len(seen) == 10


def test_where_tokens_run_out() -> None:
    load = Instruction(Opcode.LOAD, {"give": MATRIX})
    product = Instruction(Opcode.MATRIX, {"wait": LOAD, "give": VECTOR})
    vector = Instruction(Opcode.VECTOR, {"wait": MATRIX})
    assert come_to_rest([load, product, vector], TINY) is None
    mute = Instruction(Opcode.MATRIX, {"wait": LOAD})
    assert come_to_rest([load, mute, load, product, vector, vector], TINY) == Rest(5, MATRIX << 8)
    assert come_to_rest([product, load], TINY) is None
    # A queue full of instructions that wait keeps the giver from being dispatched.
    crowd = [mute] * (TINY.matrix_queue + 1)
    assert come_to_rest([*crowd, *[load] * len(crowd)], TINY) == Rest(0, LOAD << 4)
    assert come_to_rest([*crowd[1:], *[load] * len(crowd)], TINY) is None


def test_verdicts(pool: list[Subject]) -> None:
    subject = pool[0]
    injection = dataclasses.replace(
        Maker(TINY, subject, 0, len(pool), random.Random(0)).plain(), interrupts=True, length=len(subject.instructions)
    )
    expected = Expected(frozenset({(Fault.REGION, 3), (Fault.WATCHDOG, None)}), waiting=0)
    right = Observation(status=4, code=Fault.REGION, index=3, interrupted=True, retired_of=[2, 0, 0, 0])
    assert not verdict(injection, expected, right, subject)
    assert took_effect(injection, expected, right)
    for wrong in (
        {"problem": "bus traffic after the end"},
        {"good": "2 bytes differ"},
        {"strays": 1},
        {"interrupted": False},
        {"status": 2, "exact": True},
        {"status": 6},
        {"code": Fault.ADDRESS},
        {"index": 4},
        {"waiting": 1},
        {"code": Fault.WATCHDOG, "index": len(subject.instructions)},
    ):
        assert verdict(injection, expected, dataclasses.replace(right, **wrong), subject), wrong
    done = dataclasses.replace(right, status=2, exact=True)
    assert not verdict(injection, dataclasses.replace(expected, done=True), done, subject)
    assert not took_effect(injection, expected, done)
    for action in ("doorbell", *RESETS):
        acted = dataclasses.replace(injection, action=action)
        assert not took_effect(acted, Expected(done=True), done)
        assert took_effect(acted, Expected(done=True), dataclasses.replace(done, busy_at_action=True))
    assert verdict(injection, Expected(done=True), dataclasses.replace(done, exact=False), subject)
    oldest = [n for n, i in enumerate(subject.instructions) if i.unit == Unit.LOAD][2]
    unretired = min(oldest, *(n for n, i in enumerate(subject.instructions) if i.unit != Unit.LOAD))
    late = dataclasses.replace(right, code=Fault.WATCHDOG, index=unretired)
    assert not verdict(injection, expected, late, subject)


def test_hangs_are_counted_and_what_came_too_late_is_injected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three resets the second finds the program at its end, and after the third the correct program hangs."""
    seen = [
        Observation(retired_of=[0] * 4, busy_at_action=True),
        Observation(retired_of=[0] * 4),
        Observation(retired_of=[0] * 4, busy_at_action=True, good="no interrupt within 9 cycles", hung=True),
        Observation(retired_of=[0] * 4, busy_at_action=True),
    ]
    batches = []

    def run(
        config: Config, simulator: Simulator, pool: list[Subject], injections: list[Injection]
    ) -> list[Observation]:
        batches.append(len(injections))
        return [seen.pop(0) for _ in injections]

    monkeypatch.setattr(campaign, "KINDS", {"reset pin": KINDS["reset pin"]})
    monkeypatch.setattr(campaign, "run_batch", run)
    tally = campaign.Tally()
    campaign.inject(TINY, Simulator(Path("none"), None), 3, 0, tally, lambda _: None)
    assert batches == [3, 1]
    assert (tally.total, tally.too_late, tally.hangs, len(tally.failures)) == (3, 1, 1, 1)
