"""The mapspace of a matrix product: every mapping, random ones, and many at once as arrays."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.compiler.mapping import ProductMapping, ProductShape, ProductTiles, product_heuristic
from systolith.compiler.plan import CapacityError, ceil_div
from systolith.rtl.config import Config

Integers = npt.NDArray[np.int64]
#: Draws at a time where mappings that do not fit are drawn again.
_DRAWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Mappings:
    """Many mappings of one product: each attribute of :class:`ProductMapping` is an int64 array of one shape."""

    row_block: Integers
    group: Integers
    last_group: Integers
    piece: Integers
    chunk: Integers
    tiles_outer: Integers
    x_resident: Integers
    weights_resident: Integers

    def __len__(self) -> int:
        return len(self.row_block)

    def chosen(self, which: npt.NDArray[np.bool_] | Integers) -> "Mappings":
        """Those that a mask or indices choose."""
        return Mappings(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def __getitem__(self, index: int) -> ProductMapping:
        values: dict[str, Any] = {f.name: int(getattr(self, f.name)[index]) for f in fields(self)}
        flags = {name: bool(values[name]) for name in ("tiles_outer", "x_resident", "weights_resident")}
        return ProductMapping(**values | flags)

    @classmethod
    def of(cls, mappings: list[ProductMapping]) -> "Mappings":
        """A list as arrays."""
        return cls(**{f.name: np.array([getattr(m, f.name) for m in mappings], np.int64) for f in fields(cls)})


def even_sizes(total: int) -> list[int]:
    """Sizes that cut ``total`` into different numbers of parts, the smallest for each number."""
    return sorted({ceil_div(total, parts) for parts in range(1, total + 1)})


class ProductSpace:
    """All mappings of a product that fit.

    Of sizes that cut a dimension into the same number of parts only the smallest counts, as the others need more room
    for the same. Chunks of weights are parts of the contraction, or the whole one for some output tiles.
    """

    def __init__(self, config: Config, shape: ProductShape) -> None:
        self.config, self.shape = config, shape
        self.tiles = ProductTiles(config, shape)

    def heuristic(self) -> ProductMapping:
        """What the compiler chooses; ``CapacityError`` if nothing fits."""
        return product_heuristic(self.config, self.shape)

    @functools.cached_property
    def _cuts(self) -> list[tuple[int, int, int]]:
        """(group, last group, chunk): the sizes that depend on each other."""
        t = self.tiles
        found = []
        units = ceil_div(t.v, t.granule)
        for group in (size * t.granule for size in even_sizes(units)):
            if group > t.most_group:
                continue
            last, tails = group, []
            while last not in tails:
                tails.append(last)
                last = max(t.granule, last // 2 // t.granule * t.granule)
            whole = [t.k * n for n in even_sizes(min(group, t.n))]
            found += [(group, last, chunk) for last in tails for chunk in sorted({*even_sizes(t.k), *whole})]
        return found

    @functools.cached_property
    def _cut_sizes(self) -> Integers:
        return np.array(self._cuts, np.int64).T

    @functools.cached_property
    def _sizes(self) -> list[Integers]:
        flags = np.arange(2)
        sizes = [
            np.array(even_sizes(self.shape.tokens)), np.arange(len(self._cuts)), np.array(even_sizes(self.tiles.k)),
            flags, flags, flags,
        ]  # fmt: skip
        return [size.astype(np.int64) for size in sizes]

    def _of(self, indices: list[Integers]) -> Mappings:
        row_block, cut, piece, tiles_outer, x_resident, weights_resident = (
            size[index] for size, index in zip(self._sizes, indices, strict=True)
        )
        group, last, chunk = self._cut_sizes[:, cut]
        return Mappings(
            row_block=row_block, group=group, last_group=last, piece=piece, chunk=chunk, tiles_outer=tiles_outer,
            x_resident=x_resident, weights_resident=weights_resident,
        )  # fmt: skip

    @property
    def candidates(self) -> int:
        """Mappings, those that do not fit included."""
        return int(np.prod([len(size) for size in self._sizes]))

    def draw(self, count: int, rng: np.random.Generator) -> Mappings:
        """``count`` mappings that fit, each as likely as any other; ``CapacityError`` if none is met."""
        parts: list[Mappings] = []
        found, drawings = 0, 0
        while found < count:
            if found == 0 and drawings > self.candidates + _DRAWS:
                raise CapacityError(f"no mapping of a product of {self.shape} fits the memories")
            size = min(_DRAWS, 64 + 2 * count)
            drawn = self._of([rng.integers(len(sizes), size=size) for sizes in self._sizes])
            drawn = drawn.chosen(self.tiles.fits(drawn))
            parts.append(drawn)
            found += len(drawn)
            drawings += size
        names = [f.name for f in fields(Mappings)]
        return Mappings(**{n: np.concatenate([getattr(part, n) for part in parts])[:count] for n in names})

    def all(self) -> Iterator[Mappings]:
        """All that fit, some at a time."""
        shape = [len(size) for size in self._sizes]
        for start in range(0, self.candidates, _DRAWS):
            numbers = np.arange(start, min(start + _DRAWS, self.candidates))
            found = self._of(list(np.unravel_index(numbers, shape)))
            yield found.chosen(self.tiles.fits(found))
