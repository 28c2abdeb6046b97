"""A program of a single matrix product, by any mapping."""

from collections.abc import Iterator
from dataclasses import dataclass

from systolith.models.quantized import Projection
from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Layout, Opcode

from .blank import blank_projection
from .emit import Operand, Weights, pack_columns, pack_weights
from .kernels import Kernel
from .mapping import ProductMapping, ProductShape, ProductTiles, product_heuristic
from .plan import blocks_of, ceil_div
from .program import CONSTANTS, INPUT, NO_LAYER, OUTPUT, Program


def compile_gemm(config: Config, projection: Projection, tokens: int, mapping: ProductMapping | None = None) -> Program:
    """``requantize(x @ weight)`` of int8 ``x`` (tokens, inputs) → int8 (tokens, outputs), the same by every mapping.

    Without a ``mapping``, :func:`.mapping.product_heuristic` chooses one.

    Raises
    ------
    CapacityError
        If the memories are too small for a single row and tile.
    MappingError
        If ``mapping`` is none of this product or does not fit.
    """
    inputs, outputs = projection.weight.shape
    shape = ProductShape(tokens=tokens, inputs=inputs, outputs=outputs)
    chosen = mapping or product_heuristic(config, shape)
    return _lowered(config, shape, chosen, projection).finish()


def product_instructions(config: Config, shape: ProductShape, mapping: ProductMapping) -> list[Instruction]:
    """The instructions of the program of ``mapping``, whatever the weights; not verified, and so quick.

    Raises
    ------
    MappingError
        As :func:`compile_gemm`.
    """
    return _lowered(config, shape, mapping, blank_projection(shape.inputs, shape.outputs)).instructions()


def _lowered(config: Config, shape: ProductShape, mapping: ProductMapping, projection: Projection) -> Kernel:
    tiles = ProductTiles(config, shape)
    tiles.check(mapping)
    return _ProductLowering(tiles, mapping, projection).lower()


@dataclass(frozen=True)
class _Block:
    """The sums that are made together: some output tiles of some token rows, and their turns in both loops."""

    turn: int
    tiles: range
    group: int
    token: int
    rows: int
    row_block: int


class _ProductLowering:
    """Emits one product: for each block of sums its operands that are not there yet, the product, the results."""

    def __init__(self, tiles: ProductTiles, mapping: ProductMapping, projection: Projection) -> None:
        config = tiles.config
        self.t, self.m, self.p = tiles, mapping, projection
        self.kernel = Kernel(config, tiles.shape.tokens, int(tiles.ring_rows(mapping)), mapping.chunk * config.rows)
        self.e = self.kernel.e
        self.x = self.kernel.tensor("input", INPUT, 1, tiles.shape.inputs, config.rows)
        self.y = self.kernel.tensor("output", OUTPUT, 1, tiles.shape.outputs, config.rows)
        held, staged = int(tiles.x_rows(mapping)), tiles.staged(mapping) * mapping.row_block
        self.results = [Operand(held + i * staged, mapping.row_block) for i in range(2)]
        self.weights = pack_weights("gemm", projection.weight, config)
        self.columns = pack_columns(
            "gemm.columns", config, tiles.v, bias=projection.bias, a=projection.multiplier
        )  # fmt: skip
        self.pieces_loaded = 0
        #: First rows of the groups of weights that are resident.
        self.places: dict[int, int] = {}

    def lower(self) -> Kernel:
        """Emit all of it."""
        e, shape = self.e, self.t.shape
        e.operation(NO_LAYER, "product", shape.tokens * shape.inputs * shape.outputs)
        for block in self._blocks():
            sums = e.accumulator.take(len(block.tiles) * block.rows)
            row = e.load_columns(self.columns, block.tiles.start, len(block.tiles))
            self._product(block, sums)
            self._finish(block, sums, row)
        return self.kernel

    def _blocks(self) -> Iterator[_Block]:
        rows = list(enumerate(blocks_of(self.t.shape.tokens, self.m.row_block)))
        groups = list(enumerate(_groups(self.t.v, self.m.group, self.m.last_group)))
        inner_rows = ((r, g) for g in groups for r in rows)
        inner_groups = ((r, g) for r in rows for g in groups)
        pairs = inner_rows if self.m.tiles_outer else inner_groups
        for turn, ((row_block, (token, count)), (group, tiles)) in enumerate(pairs):
            yield _Block(turn, tiles, group, token, count, row_block)

    def _product(self, b: _Block, sums: int) -> None:
        """Load what is missing of both operands, piece by piece, and stream it."""
        k, m = self.t.k, self.m
        fresh_x = b.group == 0 or not m.x_resident
        fresh_weights = b.row_block == 0 or not m.weights_resident
        product = range(b.tiles.start, min(b.tiles.stop, self.t.n))
        if m.weights_resident and fresh_weights and len(product):
            self.places[b.group] = self.e.ring.take(len(product) * k * self.e.config.rows)
        for start, stop in _pieces(k, m.piece, growing=b.turn == 0) if fresh_x else [(0, k)]:
            x = self._place(b, start)
            if fresh_x:
                self.e.load_tensor(self.x, b.token, b.rows, start, stop - start, x)
                self.pieces_loaded += 1
            if not len(product):
                continue
            if m.weights_resident:
                self._resident_product(x, b, product, range(start, stop), sums, fresh=fresh_weights)
            else:
                part = Weights(f"gemm.{start}.{stop}", self.weights.tiles[:, start:stop])
                self.e.product(x, b.rows, part, product, sums, accumulate=start > 0)
        last_block = b.token + b.rows == self.t.shape.tokens
        if m.weights_resident and m.tiles_outer and last_block and len(product):
            self.e.ring.free(self.places.pop(b.group))

    def _place(self, b: _Block, start: int) -> Operand:
        """Where the activations from contraction tile ``start`` on lie, or come to lie."""
        rows = self.m.row_block
        if not self.m.x_resident:
            return Operand(self.pieces_loaded % 2 * self.m.piece * rows, rows)
        turn = b.row_block if self.m.tiles_outer else b.row_block % 2
        return Operand((turn * self.t.blocks + start) * rows, rows)

    def _resident_product(self, x: Operand, b: _Block, product: range, k: range, sums: int, *, fresh: bool) -> None:
        """The product of contraction tiles ``k`` with weights that stay; ``fresh``: that are loaded now, in chunks."""
        e, pitch = self.e, self.e.config.row_pitch
        tile = e.config.rows
        place, stride = self.places[b.group], self.t.k * tile
        if fresh:
            part = Weights(f"gemm.{k.start}.{k.stop}", self.weights.tiles[:, k.start : k.stop])
            chunks = [(n, c, k.start + first, depth) for n, c, first, depth in e.chunks(part, product)]
        else:
            chunks = [(product.start, len(product), k.start, len(k))]
        for n, n_tiles, first, depth in chunks:
            address = place + (n - product.start) * stride + first * tile
            if fresh:
                offset = e.constant(
                    ("gemm.resident", n, n_tiles, first, depth),
                    self.weights.tiles[n : n + n_tiles, first : first + depth],
                )
                e.emit(
                    Opcode.LOAD, region=CONSTANTS, rows=depth * tile, blocks=n_tiles, address=address, stride=stride,
                    offset=offset, dram_stride=depth * tile * pitch,
                )  # fmt: skip
            e.emit(
                Opcode.MATRIX,
                rows=b.rows,
                k_tiles=depth,
                n_tiles=n_tiles,
                a_address=x.at(block=first - k.start).address,
                a_stride=x.stride,
                w_address=address,
                w_k_stride=tile,
                w_n_stride=stride,
                acc_address=sums + (n - product.start) * b.rows,
                acc_stride=b.rows,
                accumulate=first > 0,
            )

    def _finish(self, b: _Block, sums: int, row: int) -> None:
        """Requantise the sums and store the results."""
        e, config = self.e, self.e.config
        out = self.results[b.turn % 2]
        e.vector(
            Function.REQUANTIZE, b.rows, len(b.tiles), self.t.shape.outputs - b.tiles.start * config.cols, sums,
            out=out, layout=Layout.ROWS, param_address=row, shift_a=self.p.shift,
        )  # fmt: skip
        e.accumulator.free(sums)
        e.parameters.free(row)
        first = b.tiles.start * config.cols // config.rows
        last = min(first + ceil_div(len(b.tiles) * config.cols, config.rows), self.y.blocks)
        if last > first:
            e.store_tensor(self.y, b.token, b.rows, first, last - first, out)


def _groups(tiles: int, size: int, least: int) -> list[range]:
    """Output tiles in groups of ``size``; the last group is halved down to ``least``, as nothing hides its end."""
    groups = [range(a, a + b) for a, b in blocks_of(tiles, size)]
    while len(groups[-1]) > least:
        last = groups.pop()
        middle = last.start + max(least, len(last) // 2 // least * least)
        groups += [range(last.start, middle), range(middle, last.stop)]
    return groups


def _pieces(tiles: int, size: int, *, growing: bool) -> list[tuple[int, int]]:
    """(start, stop) of consecutive contraction tiles, at most ``size``; ``growing``: 1, 1, 2, 4, ... at first."""
    pieces, start, length = [], 0, 1 if growing else size
    while start < tiles:
        stop = min(tiles, start + min(length, size))
        pieces.append((start, stop))
        length = max(length, stop)
        start = stop
    return pieces
