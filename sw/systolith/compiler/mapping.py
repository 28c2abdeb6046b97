"""How one matrix product is cut, ordered and kept on the chip: its mapping, what that takes, and the compiler's choice.

The array is weight-stationary, the only dataflow there is; a mapping is everything else. Sums never leave the
accumulator before they are complete, so the contraction is the innermost loop over blocks, and what is free is which of
the two operands is used again by the loop around it, how much of it, and in which portions it comes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from systolith.rtl.config import Config

from .plan import CapacityError, Geometry, Shape, ceil_div, round_up

#: Output tiles whose sums the heuristic makes together: the first ones share each load of activations, which takes as
#: long as one tile's product, and still leave the bus half free.
_GROUP_TILES = 4
#: Weight tiles of one LOAD at most, and portions of the rest of the scratchpad, in the heuristic.
_CHUNK_TILES, _RING_CHUNKS = 24, 3


class MappingError(ValueError):
    """A mapping that is not one of this product or layer, or does not fit the memories."""


def check_size(name: str, value: int, low: int, high: int, step: int = 1) -> None:
    """``MappingError`` unless ``value`` is a multiple of ``step`` from ``low`` to ``high``."""
    if not low <= value <= high or value % step:
        multiple = f"a multiple of {step} " if step > 1 else ""
        raise MappingError(f"{name} must be {multiple}from {low} to {high}, not {value}")


@dataclass(frozen=True, kw_only=True)
class ProductShape:
    """``tokens`` x ``inputs`` times ``inputs`` x ``outputs``."""

    tokens: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.tokens}x{self.inputs}x{self.outputs}"


@dataclass(frozen=True, kw_only=True)
class ProductMapping:
    """One way to run a matrix product.

    Attributes
    ----------
    row_block : int, token rows
        Rows of activations that stream through each weight tile.
    group, last_group : int, output tiles
        Tiles whose sums are made together, one VECTOR instruction; the last group is halved down to ``last_group``,
        as nothing hides its end.
    piece : int, contraction tiles
        Activations of one LOAD.
    chunk : int, tiles
        Weights of one LOAD at most.
    tiles_outer : bool
        Whether the outer loop is over groups of output tiles, and row blocks are the inner one.
    x_resident : bool
        Whether activations stay for all the groups that use them: a row block's (``tiles_outer``: all of them).
    weights_resident : bool
        Whether weights stay for all the row blocks that use them: all of them (``tiles_outer``: a group's).
    """

    row_block: int
    group: int
    last_group: int
    piece: int
    chunk: int
    tiles_outer: bool = False
    x_resident: bool = True
    weights_resident: bool = False


class ProductTiles:
    """A product in tiles of an array, and what a mapping of it takes.

    The methods take a :class:`ProductMapping`, or anything whose attributes are arrays of the same shape, one element
    for each of many mappings.

    Attributes
    ----------
    k, n, v : int
        Contraction tiles, output tiles, and output tiles that the vector unit writes.
    blocks : int
        Scratchpad blocks of one row of activations.
    granule : int, output tiles
        What group sizes are multiples of.
    """

    def __init__(self, config: Config, shape: ProductShape) -> None:
        g = Geometry(Shape(shape.tokens, shape.inputs, 1, shape.outputs), config.rows, config.cols)
        self.config, self.shape = config, shape
        self.k, _, _, self.blocks = g.outputs(shape.inputs)
        _, self.n, self.v, _ = g.outputs(shape.outputs)
        self.granule = g.granule

    @property
    def most_group(self) -> int:
        """The largest group that the parameter memory and the product allow, in output tiles.

        Raises
        ------
        CapacityError
            If the parameter memory holds none.
        """
        most = min(round_up(self.v, self.granule), self.config.parameter_rows // self.granule * self.granule)
        if most == 0:
            raise CapacityError(f"{self.granule} parameter rows are needed, {self.config.parameter_rows} are there")
        return most

    def staged(self, m: Any) -> Any:
        """Scratchpad blocks of one group's results."""
        return ceil_div(m.group * self.config.cols, self.config.rows)

    def x_rows(self, m: Any) -> Any:
        """Scratchpad rows of the activations: two row blocks in turn, one if there is only one, or two pieces."""
        row_blocks = ceil_div(self.shape.tokens, m.row_block)
        places = np.where(m.tiles_outer, row_blocks, np.minimum(row_blocks, 2))
        return np.where(m.x_resident, places * self.blocks, 2 * m.piece) * m.row_block

    def ring_rows(self, m: Any) -> Any:
        """Scratchpad rows that activations and results leave for weights."""
        return self.config.scratchpad_rows - self.x_rows(m) - 2 * self.staged(m) * m.row_block

    def weight_rows(self, m: Any) -> Any:
        """Scratchpad rows that the weights need at least: what is resident, or one chunk."""
        resident = np.where(m.tiles_outer, np.minimum(m.group, self.n), self.n) * self.k
        return np.where(m.weights_resident, resident, m.chunk) * self.config.rows

    def sum_rows(self, m: Any) -> Any:
        """Accumulator rows of one group's sums."""
        return m.group * m.row_block

    def fits(self, m: Any) -> Any:
        """Whether the memories hold it."""
        enough = self.sum_rows(m) <= self.config.accumulator_rows
        return enough & (self.ring_rows(m) >= self.weight_rows(m))

    def check(self, m: ProductMapping) -> None:
        """Refuse a mapping that is none of this product.

        Raises
        ------
        MappingError
            If a size is out of range or a memory too small; the sentence names it.
        """
        most, total = self.most_group, self.k * self.n
        for name, value, step, high in (
            ("row_block", m.row_block, 1, self.shape.tokens), ("group", m.group, self.granule, most),
            ("last_group", m.last_group, self.granule, m.group), ("piece", m.piece, 1, self.k),
            ("chunk", m.chunk, 1, total),
        ):  # fmt: skip
            check_size(name, value, step, high, step)
        for what, need, there in (
            ("accumulator rows for one group's sums", self.sum_rows(m), self.config.accumulator_rows),
            ("scratchpad rows for weights", self.weight_rows(m), max(0, self.ring_rows(m))),
        ):
            if need > there:
                raise MappingError(f"the mapping takes {need} {what}; {there} are there")


def product_heuristic(config: Config, shape: ProductShape) -> ProductMapping:
    """The compiler's own choice: a few output tiles at a time, activations resident where there is room.

    Raises
    ------
    CapacityError
        If the memories are too small for a single row and tile.
    """
    tiles = ProductTiles(config, shape)
    group = min(round_up(_GROUP_TILES, tiles.granule), tiles.most_group)
    most = min(shape.tokens, config.accumulator_rows // (2 * group))
    if most == 0:
        raise CapacityError(f"{config.accumulator_rows} accumulator rows hold no two groups of {group} tiles")
    rows = ceil_div(shape.tokens, ceil_div(shape.tokens, most))
    staged = ceil_div(group * config.cols, config.rows)
    half = config.scratchpad_rows // 2
    places = 1 if rows == shape.tokens else 2
    resident = (places * tiles.blocks + 2 * staged) * rows <= half * 3 // 2
    piece = tiles.k if resident else min(tiles.k, max(1, (half - 2 * staged * rows) // (2 * rows)))
    held = (places * tiles.blocks if resident else 2 * piece) * rows
    ring = config.scratchpad_rows - held - 2 * staged * rows
    if ring < config.rows:
        raise CapacityError(f"{config.scratchpad_rows} scratchpad rows leave {ring} rows for weights")
    return ProductMapping(
        row_block=rows,
        group=group,
        # Where each group loads x again, one tile's product takes no longer than that load.
        last_group=tiles.granule if resident else max(tiles.granule, group // 2 // tiles.granule * tiles.granule),
        piece=piece,
        chunk=min(max(1, min(_CHUNK_TILES, ring // _RING_CHUNKS // config.rows)), tiles.k * tiles.n),
        x_resident=resident,
    )
