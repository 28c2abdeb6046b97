"""The mapspace of an encoder layer: every way of cutting it that the compiler can lower."""

import functools
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
_ATTENTION = ("project_rows", "query_rows", "key_rows", "held_blocks", "kv_resident", "value_places")
_ROWS = ("block_rows", "ffn_tiles")
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

    @property
    def candidates(self) -> int:
        """Mappings, those that do not fit included."""
        return sum(len(attention) * len(rows) for attention, rows in self.parts.values()) * len(CHUNKS)

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

    def choice_of(self, plan: Plan) -> Choice:
        """The parts of one of the compiler's plans."""
        resident = (plan.x_resident, plan.context_resident)
        attention, rows = self.parts[resident]
        sizes = tuple(getattr(plan, name) for name in _ATTENTION)
        return Choice(
            *resident,
            next(a for a in attention if _sizes(a, _ATTENTION) == sizes),
            next(r for r in rows if _sizes(r, _ROWS) == (plan.block_rows, plan.ffn_tiles)),
            plan.chunk_rows // self.config.rows,
        )

    def changed(self, c: Choice, rng: random.Random) -> Choice | None:
        """``c`` with one size, or where one tensor lies, changed at random; None if the change drawn does not fit."""
        what = rng.choice(("attention", "rows", "chunk", "resident"))
        x_resident, context_resident = c.x_resident, c.context_resident
        if what == "resident":
            others = [r for r in self.parts if r != (x_resident, context_resident)]
            x_resident, context_resident = rng.choice(others or list(self.parts))
        attention, rows = self.parts[x_resident, context_resident]
        apart = {"attention": 1}.get(what, 0)
        near = [a for a in attention if _apart(a, c.attention, _ATTENTION) <= apart]
        cuts = [r for r in rows if _apart(r, c.rows, _ROWS) <= (what == "rows")]
        if not near or not cuts:
            return None
        chunk = rng.choice(CHUNKS) if what == "chunk" else c.chunk
        changed = Choice(x_resident, context_resident, rng.choice(near), rng.choice(cuts), chunk)
        room = ring_rows(self.config, changed.attention, changed.rows) // self.config.rows
        changed = replace(changed, chunk=min(chunk, room))
        return changed if changed.chunk > 0 else None


def _sizes(part: AttentionCost | RowCost, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(getattr(part, name) for name in names)


def _apart(one: AttentionCost | RowCost, other: AttentionCost | RowCost, names: tuple[str, ...]) -> int:
    """In how many sizes two ways to cut differ."""
    return sum(a != b for a, b in zip(_sizes(one, names), _sizes(other, names), strict=True))
