"""The mapspace of an encoder layer: every way of cutting it that the compiler can lower."""

import functools
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from systolith.compiler.keyblocks import fitting
from systolith.compiler.plan import (
    AttentionCost,
    Geometry,
    Plan,
    RowCost,
    Shape,
    plan_layer,
    plan_of,
    ring_rows,
    row_costs,
    whole_rows,
)
from systolith.rtl.config import Config

#: Weight tiles of one LOAD.
CHUNKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
_RESIDENT = ((True, True), (True, False), (False, True), (False, False))


@dataclass(frozen=True)
class Choice:
    """One mapping, by its parts."""

    x_resident: bool
    context_resident: bool
    attention: AttentionCost
    rows: RowCost
    chunk: int


class LayerSpace:
    """Mappings of a layer of ``shape`` on the accelerator of ``config``.

    Attention is cut by rows of queries, or by keys as well; what follows, by token rows and chunks of the FFN; the
    layer's input and its context are resident or come from DRAM; weights are loaded in chunks of some tiles.
    """

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config, self.shape = config, shape
        self._geometry = Geometry(shape, config.rows, config.cols)

    @functools.cached_property
    def parts(self) -> dict[tuple[bool, bool], tuple[list[AttentionCost], list[RowCost]]]:
        """(input resident, context resident) -> the ways to cut attention and what follows."""
        config, g = self.config, self._geometry
        found = {
            r: ([*whole_rows(config, g, *r), *fitting(config, g, *r)], row_costs(config, g, *r)) for r in _RESIDENT
        }
        return {r: both for r, both in found.items() if all(both)}

    def plan(self, c: Choice) -> Plan:
        """The compiler's plan of a choice."""
        return plan_of(self.config, c.attention, c.rows, c.x_resident, c.context_resident, c.chunk)

    def heuristic(self) -> Plan:
        """What the compiler chooses; ``CapacityError`` if nothing fits."""
        return plan_layer(self.config, self.shape)

    def _fits(self, c: Choice) -> bool:
        return ring_rows(self.config, c.attention, c.rows) >= c.chunk * self.config.rows

    def all(self) -> Iterator[Choice]:
        """Every mapping that fits."""
        for resident, (attention, rows) in self.parts.items():
            for a, r, chunk in itertools.product(attention, rows, CHUNKS):
                choice = Choice(*resident, a, r, chunk)
                if self._fits(choice):
                    yield choice

    def draw(self, rng: random.Random) -> Choice:
        """A mapping that fits: its parts are drawn alike, again until they fit together."""
        while True:
            resident = rng.choice(list(self.parts))
            attention, rows = self.parts[resident]
            choice = Choice(*resident, rng.choice(attention), rng.choice(rows), rng.choice(CHUNKS))
            if self._fits(choice):
                return choice
