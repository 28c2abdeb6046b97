"""Campaign ``verifier``: whatever can go wrong on some timing, ``compiler.hazards.verify`` refuses.

Correct programs are changed in every small way. Each mutant that is accepted runs in many orders of the units' reads
and writes, adversarial ones among them, and must do what it does in program order, in every byte. Small programs, and
their mutants, run in every order there is.
"""

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from systolith.compiler.hazards import TOKEN_LIMIT, ProgramError, verify
from systolith.rtl.isa import Instruction
from systolith.verification.evidence import Evidence, Options, Report

from .interleave import DeadlockError, Machine, adversaries, explore, in_program_order, run
from .interleave_device import InterleavedDevice
from .interleave_symbols import Symbols
from .mutate_program import Mutant, mutants
from .on_rtl import differing_on_rtl
from .subjects import (
    COMPILED,
    SMALLEST,
    Subject,
    compiled_subject,
    piled_up,
    random_subjects,
    small_subjects,
)

#: Mutants with two changes, of each kind, of a program; instructions of all of its mutants taken together.
_PAIRS, _MUTATED = 200, 20_000
_QUICK_PAIRS, _QUICK_MUTATED = 6, 800
#: Random orders of each program, besides the adversarial ones, and orders of each on the functional device.
_RANDOM_ORDERS, _DEVICE_ORDERS = 10, 2
#: Instructions of the programs that run in every order, and mutants of each.
_SMALL, _SMALL_MUTANTS = 8, 60
#: Accepted mutants that run on the RTL.
_ON_RTL = 600
#: Random programs, and small ones, if no time is given.
_RANDOM_PROGRAMS, _SMALL_PROGRAMS = 12, 60
#: What the verifier's sentences say, by what is wrong.
_REASONS = {
    "race": "races with",
    "token that no earlier instruction gives": "no earlier instruction gives",
    "own unit": "its own unit",
    "token counter": "tokens for",
    "out of bounds": "reaches row",
    "overlapping result": "they overlap",
    "sums under way": "still be under way",
}


@dataclass
class Tally:
    """What became of programs and mutants.

    ``wrong`` counts the refused ones that some order showed to go wrong. ``escapes`` are accepted ones that did, and
    ``slips`` those in which the functional device saw a difference that the symbols did not. ``kept`` are the accepted
    ones for the configuration that also runs on the RTL.
    """

    programs: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    device_runs: int = 0
    states: int = 0
    unexplored: int = 0
    kept: list[tuple[Subject, Mutant]] = field(default_factory=list)
    escapes: list[str] = field(default_factory=list)
    slips: list[str] = field(default_factory=list)

    @property
    def mutants(self) -> int:
        return self.accepted + self.refused.total()


def refusal(instructions: Sequence[Instruction], subject: Subject) -> str:
    """Why the verifier refuses a program for ``subject``'s memories, in a few words; nothing if it accepts it."""
    try:
        verify(instructions, subject.config, subject.region_bytes)
    except ProgramError as error:
        return next((reason for reason, words in _REASONS.items() if words in str(error)), "field")
    return ""


def differs(instructions: Sequence[Instruction], subject: Subject, source: random.Random, tally: Tally) -> bool:
    """Whether some of many orders ends in a deadlock or computes something else than program order."""
    machine = Machine(instructions, subject.config)
    symbols = Symbols(instructions, subject.config)
    expected = in_program_order(machine, symbols)
    for priorities in adversaries(source, random_ones=_RANDOM_ORDERS):
        symbols.reset()
        tally.orders += 1
        try:
            if run(machine, symbols, priorities, source) != expected:
                return True
        except DeadlockError:
            return True
    return False


def differs_on_device(
    instructions: Sequence[Instruction], subject: Subject, source: random.Random, tally: Tally
) -> bool:
    """The same, for some orders, by the bytes in the memories of the functional device."""
    machine = Machine(instructions, subject.config)
    seed = source.randrange(1 << 31)

    def device() -> InterleavedDevice:
        return InterleavedDevice(subject.config, instructions, subject.regions, seed=seed)

    expected = in_program_order(machine, device())
    for priorities in source.sample(list(adversaries(source, random_ones=4)), _DEVICE_ORDERS):
        tally.device_runs += 1
        if run(machine, device(), priorities, source) != expected:
            return True
    return False


def examine(mutant: Mutant, subject: Subject, source: random.Random, tally: Tally) -> None:
    """Verify one program, run it, and write down what came of it."""
    reason = refusal(mutant.instructions, subject)
    if reason:
        tally.refused[reason] += 1
        # Out of its memories, or of what a unit can do at all, a program has no meaning to compare with.
        if reason in ("race", "token that no earlier instruction gives"):
            tally.wrong[reason] += differs(mutant.instructions, subject, source, tally)
        return
    tally.accepted += 1
    name = f"{subject.name}: {mutant.change}"
    if subject.config == SMALLEST:
        tally.kept.append((subject, mutant))
    if differs(mutant.instructions, subject, source, tally):
        tally.escapes.append(name)
    elif differs_on_device(mutant.instructions, subject, source, tally):
        tally.slips.append(name)


def examine_all(subject: Subject, source: random.Random, tally: Tally, *, budget: int, most_pairs: int) -> None:
    """A correct program and its mutants, or as many of them as have ``budget`` instructions.

    If there are more, half of them are dropped tokens.
    """
    most = budget // len(subject.instructions)
    tally.programs += 1
    if refusal(subject.instructions, subject) or differs(subject.instructions, subject, source, tally):
        tally.escapes.append(subject.name)
    drawn = list(mutants(subject.instructions, subject.config, source, most_pairs=most_pairs))
    dropped = [m for m in drawn if m.kind.endswith("dropped")]
    others = [m for m in drawn if not m.kind.endswith("dropped")]
    if len(dropped) + len(others) > most:
        dropped = source.sample(dropped, min(len(dropped), most // 2))
        others = source.sample(others, min(len(others), most - len(dropped)))
    for mutant in dropped + others:
        examine(mutant, subject, source, tally)


def explore_all(subject: Subject, source: random.Random, tally: Tally, *, most: int) -> None:
    """A small program and its mutants, ``most`` at the most, in every order there is."""
    tally.programs += 1
    drawn = [
        Mutant("none", "unchanged", subject.instructions),
        *(m for m in mutants(subject.instructions, subject.config, source, most_pairs=10)),
    ]
    for mutant in drawn[:1] + source.sample(drawn[1:], min(most, len(drawn) - 1)):
        reason = refusal(mutant.instructions, subject)
        if reason and reason not in ("race", "token that no earlier instruction gives"):
            tally.refused[reason] += 1
            continue
        machine, symbols = Machine(mutant.instructions, subject.config), Symbols(mutant.instructions, subject.config)
        expected = in_program_order(machine, symbols)
        symbols.reset()
        found = explore(machine, symbols)
        if found is None:
            tally.unexplored += 1
            continue
        tally.states += found.states
        good = found.outcomes == {expected} and not found.deadlock
        if reason:
            tally.refused[reason] += 1
            tally.wrong[reason] += not good
        else:
            tally.accepted += 1
            if not good:
                tally.escapes.append(f"{subject.name}: {mutant.change}")


def _within(subjects: Iterable[Subject], count: int, seconds: float | None) -> Iterable[Subject]:
    """``count`` of them, or as many as ``seconds`` allow."""
    if seconds is None:
        return itertools.islice(subjects, count)
    end = time.monotonic() + seconds
    return itertools.takewhile(lambda _: time.monotonic() < end, subjects)


def campaign(options: Options, report: Report) -> list[Evidence]:
    """Mutants in many orders; small programs in all. ``seconds`` are for random programs, half of it for small ones."""
    source = random.Random(options.seed)
    half = None if options.seconds is None else options.seconds / 2
    many, every = Tally(), Tally()
    budget, most_pairs = (_QUICK_MUTATED, _QUICK_PAIRS) if options.quick else (_MUTATED, _PAIRS)
    names = list(COMPILED)[:2] if options.quick else list(COMPILED)
    for name in names:
        report(f"mutants of {name}")
        examine_all(compiled_subject(name), source, many, budget=budget, most_pairs=most_pairs)
    for subject in _within(random_subjects(options.seed), 1 if options.quick else _RANDOM_PROGRAMS, half):
        report(f"mutants of {subject.name}, {len(subject.instructions)} instructions")
        examine_all(subject, source, many, budget=budget, most_pairs=most_pairs)
    small = small_subjects(options.seed, 5 if options.quick else _SMALL)
    for subject in _within(small, 2 if options.quick else _SMALL_PROGRAMS, half):
        report(f"every order of {subject.name}, {len(subject.instructions)} instructions")
        explore_all(subject, source, every, most=8 if options.quick else _SMALL_MUTANTS)
    evidence = [
        _evidence(many, "what can go wrong on some timing is refused", f"{many.orders:,} orders"),
        _evidence(every, "the same for small programs in every order there is", f"{every.states:,} states"),
    ]
    if not options.quick:
        most_tokens = Mutant("none", "unchanged", piled_up(TOKEN_LIMIT).instructions)
        chosen = [(piled_up(TOKEN_LIMIT), most_tokens), *source.sample(many.kept, min(_ON_RTL, len(many.kept)))]
        count, wrong = differing_on_rtl(chosen, source, report)
        evidence.append(
            Evidence(
                campaign="verifier",
                promise="what is accepted runs on the RTL as in program order, at any memory timing",
                figure=f"{count} accepted mutants, {len(wrong)} differ in a byte from the functional device",
                passed=count == len(chosen) and not wrong,
                details={"wrong": wrong[:20]},
            )
        )
    return evidence


def _evidence(tally: Tally, promise: str, amount: str) -> Evidence:
    sound = not tally.escapes and not tally.slips and not tally.unexplored
    escapes = f"{len(tally.escapes) + len(tally.slips)} escapes"
    unexplored = f", {tally.unexplored} too large to explore" if tally.unexplored else ""
    return Evidence(
        campaign="verifier",
        promise=promise,
        figure=(
            f"{tally.programs} programs, {tally.mutants:,} mutants: {tally.refused.total():,} refused, "
            f"{tally.accepted:,} accepted and harmless in {amount}, {escapes}{unexplored}"
        ),
        passed=sound and tally.accepted > 0 and tally.refused.total() > 0,
        details={
            "refused": dict(tally.refused),
            "shown to go wrong": dict(tally.wrong),
            "orders": tally.orders,
            "orders on the functional device": tally.device_runs,
            "states": tally.states,
            "too large to explore": tally.unexplored,
            "escapes": tally.escapes[:20],
            "slips": tally.slips[:20],
        },
    )
