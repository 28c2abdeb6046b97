"""Mappings on the RTL."""

from collections.abc import Callable
from pathlib import Path

from systolith.sweep.measure import measure

from .problem import M, Problem
from .score import Score

Report = Callable[[str], None]


def confirmed(problem: Problem[M], mapping: M, score: Score, cache: Path, report: Report) -> Score:
    """The ``score`` of ``mapping`` with the cycles of its run on the RTL, which is checked bit for bit.

    Raises
    ------
    SweepError
        If it is not bit-exact.
    """
    ran = measure(problem.workload(mapping), problem.config, problem.timing, cache, report)
    return Score(ran.cycles, score.energy)
