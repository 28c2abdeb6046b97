"""Lowering of what follows attention, a block of token rows at a time: output projection, feed-forward, LayerNorms."""

from dataclasses import dataclass

from systolith.models.quantized import AddNorm, Projection, QuantizedLayer
from systolith.rtl.isa import Function

from .attention import context_rows
from .emit import Emitter, Operand, pack_columns, pack_weights
from .norm import AddNormLowering, column_group
from .plan import Geometry, blocks_of, ceil_div, even_blocks
from .program import Tensor


@dataclass(frozen=True)
class RowBuffers:
    """Scratchpad places of one block of token rows; pairs are used in turn.

    ``x`` is the layer's input, then its output, when they are not resident, ``context`` likewise.
    """

    x: tuple[Operand, Operand] | None
    context: tuple[Operand, Operand] | None
    hidden: Operand
    inner: tuple[Operand, Operand]


class FeedForwardLowering:
    """Emits a layer from its context rows to its output rows."""

    def __init__(
        self,
        emitter: Emitter,
        geometry: Geometry,
        index: int,
        layer: QuantizedLayer,
        *,
        x: Operand | None,
        x_tensor: Tensor,
        context: Operand | None,
        context_tensor: Tensor,
        output: Tensor,
        buffers: RowBuffers,
        observed: dict[str, Tensor],
    ) -> None:
        self.e = emitter
        self.g = geometry
        self.index = index
        self.layer = layer
        self.x = x
        self.x_tensor = x_tensor
        self.context = context
        self.context_tensor = context_tensor
        self.output = output
        self.buffers = buffers
        self.observed = observed
        config = emitter.config
        row_of = context_rows(layer.heads, layer.head_size, geometry)
        self.output_weights = pack_weights(f"{index}.output", layer.output.weight, config, row_of)
        self.ffn1_weights = pack_weights(f"{index}.ffn1", layer.ffn1.weight, config)
        self.group = column_group(config, geometry)

    def lower(self) -> None:
        e, g = self.e, self.g
        h_k = g.outputs(self.layer.head_size)[0]
        x_k = g.outputs(self.layer.hidden)[0]
        for number, (token, rows) in enumerate(even_blocks(g.shape.tokens, e.plan.block_rows)):
            e.operation(self.index, "output projection")
            if self.context is not None:
                context = self.context.at(token)
            else:
                assert self.buffers.context is not None
                context = self.buffers.context[number % 2]
                e.load_tensor(self.context_tensor, token, rows, 0, self.layer.heads * h_k, context)
            if self.x is not None:
                x = self.x.at(token)
            else:
                assert self.buffers.x is not None
                x = self.buffers.x[number % 2]
                e.load_tensor(self.x_tensor, token, rows, 0, x_k, x)
            hidden = self.buffers.hidden
            sums = e.accumulator.take(g.outputs(self.layer.hidden)[2] * rows)
            statistics = e.take_statistics()
            norm = self._norm("output norm", self.layer.output, self.layer.output_norm, rows, sums, statistics)
            for tiles in norm.groups():
                e.operation(self.index, "output projection")
                e.product(context, rows, self.output_weights, tiles, sums + tiles.start * rows)
                norm.add(tiles, x)
            norm.normalize(hidden)
            self._observe("attention", token, rows, hidden)
            e.accumulator.free(sums)
            e.statistics.free(statistics)
            self._finish(token, rows, hidden, x)

    def _finish(self, token: int, rows: int, hidden: Operand, x: Operand) -> None:
        """From the attention's output rows ``hidden`` to the layer's, and to DRAM."""
        # The input was the residual of the first LayerNorm and has no other use: the output takes its place.
        self._feed_forward(token, rows, hidden, x)
        self._observe("output", token, rows, x)
        self._store(token, rows, x)

    def _store(self, token: int, rows: int, y: Operand) -> None:
        self.e.operation(self.index, "output store")
        self.e.store_tensor(self.output, token, rows, 0, self.g.outputs(self.layer.hidden)[0], y)

    def _norm(self, name: str, p: Projection, norm: AddNorm, rows: int, sums: int, statistics: int) -> AddNormLowering:
        return AddNormLowering(
            self.e, self.g, self.index, name, p, norm, rows=rows, sums=sums, statistics=statistics,
            group=self.group,
        )  # fmt: skip

    def _observe(self, name: str, token: int, rows: int, source: Operand) -> None:
        if name in self.observed:
            self.e.store_tensor(self.observed[name], token, rows, 0, self.observed[name].blocks, source)

    def _feed_forward(self, token: int, rows: int, hidden: Operand, y: Operand) -> None:
        """Both feed-forward products, chunk by chunk: chunk j + 1 enters GELU while chunk j is contracted."""
        e, g = self.e, self.g
        statistics = e.take_statistics()
        sums = e.accumulator.take(g.outputs(self.layer.hidden)[2] * rows)
        norm = self._norm("ffn2 norm", self.layer.ffn2, self.layer.ffn2_norm, rows, sums, statistics)
        chunks = blocks_of(self.layer.ffn, e.plan.ffn_tiles * e.config.cols)
        self._expand(0, chunks[0], token, rows, hidden)
        for number, (start, columns) in enumerate(chunks):
            if number + 1 < len(chunks):
                self._expand(number + 1, chunks[number + 1], token, rows, hidden)
            inner = self.buffers.inner[number % 2]
            weights = pack_weights(
                f"{self.index}.ffn2.{start}", self.layer.ffn2.weight[start : start + columns], e.config
            )
            for tiles in norm.groups():
                e.operation(self.index, "ffn2")
                e.product(inner, rows, weights, tiles, sums + tiles.start * rows, accumulate=number > 0)
                if number + 1 == len(chunks):
                    norm.add(tiles, hidden)
        norm.normalize(y)
        e.accumulator.free(sums)
        e.statistics.free(statistics)

    def _expand(self, number: int, chunk: tuple[int, int], token: int, rows: int, hidden: Operand) -> None:
        """One chunk of the first feed-forward product and GELU."""
        e, g, p, gelu = self.e, self.g, self.layer.ffn1, self.layer.gelu
        start, columns = chunk
        first = start // e.config.cols
        _, n, v, _ = g.outputs(columns)
        inner = self.buffers.inner[number % 2]
        here = slice(start, start + columns)
        parameters = pack_columns(
            f"{self.index}.ffn1.columns.{start}",
            e.config,
            v,
            bias=p.bias[here],
            a=p.multiplier[here],
            b=gelu.multiplier[here],
        )
        # The sums of the second product are live; half of what they leave is contiguous wherever they lie.
        free = e.config.accumulator_rows - g.outputs(self.layer.hidden)[2] * rows
        room = free // (2 * rows) // g.granule * g.granule
        for group, count in blocks_of(v, min(self.group, room)):
            e.operation(self.index, "ffn1")
            row = e.load_columns(parameters, group, count)
            sums = e.accumulator.take(count * rows)
            tiles = range(first + group, first + min(group + count, n))
            if len(tiles):
                e.product(hidden, rows, self.ffn1_weights, tiles, sums)
            e.operation(self.index, "gelu")
            e.vector(
                Function.GELU, rows, count, columns - group * e.config.cols, sums,
                out=inner.at(block=group * e.config.cols // e.config.rows), param_address=row,
                shift_a=p.shift, shift_b=gelu.shift, offset=gelu.offset, grid=gelu.grid,
            )  # fmt: skip
            e.accumulator.free(sums)
            e.parameters.free(row)
            if "ffn" in self.observed:
                tensor = self.observed["ffn"]
                block = start // e.config.rows + group * e.config.cols // e.config.rows
                blocks = min(ceil_div(count * e.config.cols, e.config.rows), tensor.blocks - block)
                if blocks > 0:
                    e.store_tensor(
                        tensor, token, rows, block, blocks, inner.at(block=group * e.config.cols // e.config.rows)
                    )
