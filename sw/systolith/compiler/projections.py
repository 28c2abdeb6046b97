"""Lowering of what every way of running attention has: the projections of a head and the end of its context rows."""

from abc import ABC, abstractmethod

from systolith.models.quantized import Projection, QuantizedLayer
from systolith.rtl.isa import Function, Layout

from .emit import Emitter, Operand, Weights, pack_columns, pack_weights
from .plan import Geometry, even_blocks
from .program import Tensor


class HeadLowering(ABC):
    """The part of a layer's attention that does not depend on how its scores are cut.

    ``x`` is the layer's resident input; without it ``x_blocks`` are two places for blocks of it. ``context`` is the
    resident context; without it, context rows go to ``context_tensor`` by way of the two ``context_blocks``.
    """

    def __init__(
        self,
        emitter: Emitter,
        geometry: Geometry,
        index: int,
        layer: QuantizedLayer,
        *,
        valid: int,
        x: Operand | None,
        x_blocks: tuple[Operand, Operand] | None,
        x_tensor: Tensor,
        context: Operand | None,
        context_blocks: tuple[Operand, Operand] | None,
        context_tensor: Tensor,
        observed: dict[str, Tensor],
    ) -> None:
        self.e = emitter
        self.g = geometry
        self.index = index
        self.layer = layer
        self.valid = valid
        self.x = x
        self.x_blocks = x_blocks
        self.x_tensor = x_tensor
        self.context = context
        self.context_blocks = context_blocks
        self.context_tensor = context_tensor
        self.observed = observed
        self.size = layer.head_size
        self.loaded = 0
        self._weights: dict[tuple[int, str], Weights] = {}

    @abstractmethod
    def lower(self) -> None:
        """Emit the whole attention, up to the context rows of the last head."""

    @abstractmethod
    def _destination(self, name: str, head: int, token: int) -> Operand:
        """Where the rows from ``token`` on of ``query``, ``key`` or ``value`` of a head are written."""

    @abstractmethod
    def _projected(self, name: str, head: int, token: int, rows: int, out: Operand) -> None:
        """Called when the rows of a projection have been written to ``out``: store them if they do not stay there."""

    def _packed(self, head: int, name: str, projection: Projection) -> Weights:
        if (head, name) not in self._weights:
            columns = slice(head * self.size, (head + 1) * self.size)
            self._weights[head, name] = pack_weights(
                f"{self.index}.{name}.{head}", projection.weight[:, columns], self.e.config
            )
        return self._weights[head, name]

    def _project(self, head: int) -> None:
        """Keys, queries and values of one head: the keys first, as every row of scores needs them all."""
        e, layer = self.e, self.layer
        _, n, v, _ = self.g.outputs(self.size)
        x_k = self.g.outputs(self.g.shape.hidden)[0]
        columns = slice(head * self.size, (head + 1) * self.size)
        for token, rows in even_blocks(self.g.shape.tokens, e.plan.project_rows):
            e.operation(self.index, "projections")
            if self.x is not None:
                x = self.x.at(token)
            else:
                assert self.x_blocks is not None
                x = self.x_blocks[self.loaded % 2]
                self.loaded += 1
                e.load_tensor(self.x_tensor, token, rows, 0, x_k, x)
            for name, p, layout in (
                ("key", layer.key, Layout.ROWS),
                ("query", layer.query, Layout.ROWS),
                ("value", layer.value, Layout.COLS),
            ):
                out = self._destination(name, head, token)
                blocks = v if layout == Layout.ROWS else n
                parameters = pack_columns(
                    f"{self.index}.{name}.{head}.columns", e.config, v, bias=p.bias[columns], a=p.multiplier[columns]
                )
                row = e.load_columns(parameters, 0, blocks)
                sums = e.accumulator.take(blocks * rows)
                e.product(x, rows, self._packed(head, name, p), range(n), sums)
                e.vector(
                    Function.REQUANTIZE, rows, blocks, self.size, sums,
                    out=out, layout=layout, param_address=row, shift_a=p.shift,
                )  # fmt: skip
                e.accumulator.free(sums)
                e.parameters.free(row)
                self._projected(name, head, token, rows, out)
                if name in self.observed:
                    tensor = self.observed[name]
                    width = tensor.blocks
                    e.store_tensor(tensor, token, rows, head * width, width, out)

    def _context_columns(self, head: int) -> int:
        """LOAD the column parameters of a head's context; returns their row."""
        v = self.g.outputs(self.size)[2]
        columns = slice(head * self.size, (head + 1) * self.size)
        parameters = pack_columns(
            f"{self.index}.context.{head}", self.e.config, v, b=self.layer.attention.context_multiplier[columns]
        )
        return self.e.load_columns(parameters, 0, v)

    def _write_context(
        self, head: int, token: int, rows: int, *, number: int, sums: int, columns: int, statistics: int
    ) -> None:
        """Divide ``sums`` by the softmax sums and write them; ``number`` counts the blocks of context rows."""
        e = self.e
        k, _, v, _ = self.g.outputs(self.size)
        if self.context is not None:
            out = self.context.at(token, head * k)
        else:
            assert self.context_blocks is not None
            out = self.context_blocks[number % 2]
        e.vector(
            Function.CONTEXT, rows, v, self.size, sums,
            out=out, param_address=columns, stat_address=statistics, shift_b=self.layer.attention.context_shift,
        )  # fmt: skip
        e.parameters.free(columns)
        e.statistics.free(statistics)
        for tensor in ([] if self.context else [self.context_tensor]) + [
            self.observed[name] for name in ("context",) if name in self.observed
        ]:
            e.store_tensor(tensor, token, rows, head * k, k, out)
