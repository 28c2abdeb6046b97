"""Fusion as a choice of the mapping: a chain of a layer's operations in one program, or in several.

Fused, the sums stay in the accumulator; otherwise each operation is a program of its own, and int8 goes through DRAM.
The chains and the plans that are tried are in :mod:`systolith.mapping.chains`.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from systolith.analysis.bench_cases import MemoryTiming
from systolith.compiler.plan import CapacityError, Shape
from systolith.rtl.config import Config
from systolith.rtl.isa import disassemble

from .chains import (
    NAMES,
    Alternative,
    Chain,
    Step,
    chains,
    few_heads,
    programs,
    run_chosen,
)
from .confirm import Report
from .score import Score, check_objective, predicted

#: What ``--workload`` calls a chain -> the chain's name.
CHAINS = {re.sub(r"\W+", "-", name.lower()): name for name in NAMES}
#: What the two schedules of a chain are called.
FUSED, UNFUSED = "fused", "through DRAM"


@dataclass(frozen=True)
class Schedule:
    """Programs that are run one after another, each so many times, and what they take together."""

    programs: tuple[tuple[int, Alternative], ...]
    score: Score


def chain_named(name: str, shape: Shape, config: Config) -> Chain:
    """The chain that :data:`CHAINS` calls ``name``, of a layer of ``shape``."""
    return next(chain for chain in chains(shape, config) if chain.name == CHAINS[name])


def best_schedules(
    chain: Chain, config: Config, timing: MemoryTiming, objective: str, report: Report
) -> dict[str, Schedule]:
    """The best predicted plan of each schedule of ``chain``, :data:`FUSED` and :data:`UNFUSED`; one may not fit.

    Raises
    ------
    MappingError
        If there is no such objective.
    CapacityError
        If neither fits.
    """
    check_objective(objective)
    found = {}
    for name, steps in ((FUSED, chain.fused), (UNFUSED, chain.unfused)):
        report(f"{chain.name}, {name}: predicting {sum(len(step.alternatives) for step in steps)} plans")
        schedule = _best(steps, config, timing, objective)
        if schedule is not None:
            found[name] = schedule
    if not found:
        raise CapacityError(f"of {chain.name} no plan tried fits the memories, fused or through DRAM")
    return found


def _best(steps: Sequence[Step], config: Config, timing: MemoryTiming, objective: str) -> Schedule | None:
    """The plans that make the objective of all programs together least; None if a step has none that fits.

    They are compared on few heads, which follow one another, all alike; the chosen ones are predicted as they are.
    """
    tried = [list(_plans(step, config, timing)) for step in steps]
    # An energy-delay product is of the whole schedule: that of a step does not tell the best plan of the step.
    plans = min(
        itertools.product(*tried),
        key=lambda some: total(score for _, score in some).of(objective), default=None,
    )  # fmt: skip
    if plans is None:
        return None
    chosen = tuple((step.times, alternative) for step, (alternative, _) in zip(steps, plans, strict=True))
    return Schedule(
        chosen, total(_times(times, _score(alternative, config, timing)) for times, alternative in chosen)
    )  # fmt: skip


def _plans(step: Step, config: Config, timing: MemoryTiming) -> Iterator[tuple[Alternative, Score]]:
    """The alternatives that fit, each with the score of all its runs and heads."""
    for index, program in programs(step, config):
        alternative = step.alternatives[index]
        few = getattr(few_heads(alternative), "heads", 1)
        share = getattr(alternative, "heads", 1) / few
        yield alternative, _times(step.times * share, predicted(program, config, timing))


def _score(alternative: Alternative, config: Config, timing: MemoryTiming) -> Score:
    return predicted(disassemble(alternative.compile(config).image.tobytes()), config, timing)


def _times(times: float, score: Score) -> Score:
    return Score(times * score.cycles, times * score.energy)


def total(scores: Iterator[Score]) -> Score:
    """Programs one after another."""
    some = list(scores)
    return Score(sum(score.cycles for score in some), sum(score.energy for score in some))


def measured_schedule(
    schedule: Schedule, config: Config, timing: MemoryTiming, cache: Path, report: Report
) -> Score:  # fmt: skip
    """The score with the cycles of the runs on the RTL, each checked bit for bit.

    Raises
    ------
    SweepError
        If one is not bit-exact.
    """
    ran = run_chosen(schedule.programs, config, timing, cache, report)
    return Score(ran["cycles"], schedule.score.energy)
