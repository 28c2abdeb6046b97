"""What a mapping costs, and what is to be least."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.energy import count_accesses, estimate
from systolith.analysis.prediction import predict
from systolith.compiler.mapping import MappingError
from systolith.rtl.config import Config
from systolith.rtl.isa import Instruction

#: What a search can make least.
OBJECTIVES = ("cycles", "energy", "edp")


@dataclass(frozen=True)
class Score:
    """Cycles, predicted or measured, and estimated picojoules: numbers, or arrays with one element for each mapping."""

    cycles: Any
    energy: Any

    @property
    def edp(self) -> Any:
        """Energy-delay product, picojoules x cycles."""
        return self.cycles * self.energy

    def of(self, objective: str) -> Any:
        """The figure that is to be least."""
        return getattr(self, objective)


def check_objective(objective: str) -> str:
    """``objective`` itself; ``MappingError`` if there is no such one."""
    if objective not in OBJECTIVES:
        raise MappingError(f"unknown objective {objective!r}; the objectives are {', '.join(OBJECTIVES)}")
    return objective


def predicted(instructions: Sequence[Instruction], config: Config, timing: MemoryTiming) -> Score:
    """Cycles by the cycle model, energy by the accesses of the instructions."""
    cycles = predict(instructions, config, timing).cycles
    return Score(cycles, estimate(count_accesses(instructions, config), config).total)
