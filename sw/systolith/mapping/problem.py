"""What a search needs to know of a mapspace, and the two that there are: a product's and a layer's."""

import heapq
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.energy import DRAM_64
from systolith.analysis.workloads import EncoderWorkload, GemmWorkload, Workload
from systolith.compiler.compile import layer_instructions
from systolith.compiler.gemm import product_instructions
from systolith.compiler.mapping import MappingError, ProductMapping, ProductShape
from systolith.compiler.plan import Plan, Shape
from systolith.rtl.config import Config
from systolith.rtl.isa import Instruction

from .closed_form import ClosedForm
from .layer_space import Choice, LayerSpace
from .product_space import Mappings, ProductSpace
from .score import Score, predicted

M = TypeVar("M")
#: Draws of a changed mapping before a search gives up on a place, and mappings of a layer that are ranked at most: ten
#: seconds or so.
_TRIES, _ALL_LAYERS = 200, 2_000_000


class Problem(ABC, Generic[M]):
    """A computation on an accelerator, in search of a mapping ``M``."""

    def __init__(self, config: Config, timing: MemoryTiming) -> None:
        self.config, self.timing = config, timing

    @abstractmethod
    def heuristic(self) -> M:
        """The compiler's own mapping; ``CapacityError`` if there is none."""

    @abstractmethod
    def draw(self, rng: random.Random) -> M:
        """Any mapping."""

    @abstractmethod
    def neighbour(self, mapping: M, rng: random.Random) -> M:
        """A mapping that differs in one respect; the same one if none is found."""

    @abstractmethod
    def promising(self, count: int, objective: str) -> Iterator[M]:
        """The ``count`` roughly best of all mappings, the best first; ``MappingError`` if they are too many to rank."""

    @abstractmethod
    def rough(self, mapping: M) -> Score:
        """A score by size alone, in microseconds: to choose what is predicted."""

    @abstractmethod
    def instructions(self, mapping: M) -> list[Instruction]:
        """The program of a mapping."""

    @abstractmethod
    def workload(self, mapping: M | None) -> Workload:
        """What runs it on a device, by the compiler's own mapping if by none."""

    def score(self, mapping: M) -> Score:
        """Predicted cycles and estimated energy of the program."""
        return predicted(self.instructions(mapping), self.config, self.timing)


class ProductProblem(Problem[ProductMapping]):
    """A matrix product."""

    def __init__(self, config: Config, timing: MemoryTiming, shape: ProductShape) -> None:
        super().__init__(config, timing)
        self.shape = shape
        self.space = ProductSpace(config, shape)
        self.closed_form = ClosedForm(self.space.tiles, timing)

    def heuristic(self) -> ProductMapping:
        return self.space.heuristic()

    def draw(self, rng: random.Random) -> ProductMapping:
        return self.space.draw(1, np.random.default_rng(rng.getrandbits(64)))[0]

    def neighbour(self, mapping: ProductMapping, rng: random.Random) -> ProductMapping:
        for _ in range(_TRIES):
            other = self.draw(rng)
            name = rng.choice(("row_block", "cut", "piece", "tiles_outer", "x_resident", "weights_resident"))
            names = ("group", "last_group", "chunk") if name == "cut" else (name,)
            changed = replace(mapping, **{n: getattr(other, n) for n in names})
            if changed != mapping and self.space.tiles.fits(changed):
                return changed
        return mapping

    def promising(self, count: int, objective: str) -> Iterator[ProductMapping]:
        best: list[tuple[float, ProductMapping]] = []
        for some in self.space.all():
            values = self.closed_form.score(some).of(objective)
            order = np.argsort(values, kind="stable")[:count]
            best += [(float(values[i]), some[int(i)]) for i in order]
            best = sorted(best, key=lambda pair: pair[0])[:count]
        yield from (mapping for _, mapping in best)

    def rough(self, mapping: ProductMapping) -> Score:
        score = self.closed_form.score(Mappings.of([mapping]))
        return Score(float(score.cycles[0]), float(score.energy[0]))

    def instructions(self, mapping: ProductMapping) -> list[Instruction]:
        return product_instructions(self.config, self.shape, mapping)

    def workload(self, mapping: ProductMapping | None) -> Workload:
        s = self.shape
        return GemmWorkload(rows=s.tokens, depth=s.inputs, columns=s.outputs, mapping=mapping)


class LayerProblem(Problem[Plan]):
    """An encoder layer."""

    def __init__(self, config: Config, timing: MemoryTiming, shape: Shape) -> None:
        super().__init__(config, timing)
        self.shape = shape
        self.space = LayerSpace(config, shape)
        self._choices: dict[Plan, Choice] = {}

    def _plan(self, choice: Choice) -> Plan:
        plan = self.space.plan(choice)
        self._choices[plan] = choice
        return plan

    def heuristic(self) -> Plan:
        return self._plan(self.space.choice_of(self.space.heuristic()))

    def draw(self, rng: random.Random) -> Plan:
        return self._plan(self.space.draw(rng))

    def neighbour(self, mapping: Plan, rng: random.Random) -> Plan:
        choice = self._choices[mapping]
        for _ in range(_TRIES):
            changed = self.space.changed(choice, rng)
            if changed is not None and changed != choice:
                return self._plan(changed)
        return mapping

    def promising(self, count: int, objective: str) -> Iterator[Plan]:
        if self.space.candidates > _ALL_LAYERS:
            raise MappingError(
                f"an exhaustive search of a layer ranks {_ALL_LAYERS:,} mappings at most, and here are "
                f"{self.space.candidates:,}; use --search random or guided"
            )
        ranked = heapq.nsmallest(count, self.space.all(), key=lambda choice: self._estimate(choice).of(objective))
        yield from map(self._plan, ranked)

    def rough(self, mapping: Plan) -> Score:
        """Cycles of the planner's estimates; energy of the bytes loaded, which is what a plan changes most."""
        return self._estimate(self._choices[mapping])

    def _estimate(self, choice: Choice) -> Score:
        a, r = choice.attention, choice.rows
        bits = 8 * self.config.row_pitch * (a.load_rows + r.load_rows)
        cycles = a.compute_cycles + r.compute_cycles + a.stall_cycles + r.vector_cycles + r.chunk_cycles
        return Score(cycles, DRAM_64 / 64 * bits)

    def instructions(self, mapping: Plan) -> list[Instruction]:
        return layer_instructions(self.config, self.shape, mapping)

    def workload(self, mapping: Plan | None) -> Workload:
        s = self.shape
        return EncoderWorkload(hidden=s.hidden, heads=s.heads, ffn=s.ffn, tokens=s.tokens, plan=mapping)
