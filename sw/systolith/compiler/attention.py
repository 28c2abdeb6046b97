"""Lowering of self-attention: projections of one head while the scores of another go through softmax."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from systolith.models.quantized import Projection, QuantizedLayer
from systolith.rtl.isa import Function, Layout, Opcode

from .emit import Emitter, Operand, Weights, pack_columns, pack_weights
from .plan import Geometry, blocks_of, ceil_div, round_up
from .program import Tensor


@dataclass(frozen=True)
class AttentionBuffers:
    """Where one head's tensors lie: ``value`` and ``scores`` have two places, used in turn."""

    query: Operand
    key: Operand
    value: tuple[Operand, Operand]
    scores: tuple[Operand, Operand]
    context: tuple[Operand, Operand]


@dataclass(frozen=True)
class Task:
    """One block of query rows of one head."""

    index: int
    head: int
    token: int
    rows: int
    sums: int = 0


class AttentionLowering:
    """Emits the attention of one layer.

    The array's order is: projections of head h + 1, context of head h, scores of head h + 1; so each result of the
    vector unit has a product's time to become ready before the array needs it.
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
        buffers: AttentionBuffers,
        context: Operand | None,
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
        self.buffers = buffers
        self.context = context
        self.context_tensor = context_tensor
        self.observed = observed
        self.size = layer.head_size
        self.loaded = 0
        self._weights: dict[tuple[int, str], Weights] = {}

    def lower(self) -> None:
        """Emit the whole attention, up to the context rows of the last head."""
        tasks = [
            (head, token, rows)
            for head in range(self.layer.heads)
            for token, rows in blocks_of(self.g.shape.tokens, self.e.plan.query_rows)
        ]
        self._project(0)
        previous: Task | None = None
        for index, (head, token, rows) in enumerate(tasks):
            task = Task(index, head, token, rows, self.e.take_statistics())
            new_head = head > 0 and token == 0
            if new_head:
                self._project(head)
                if previous is not None:
                    self._context(previous)
            self._scores(task)
            if previous is not None and not new_head:
                self._context(previous)
            previous = task
        if previous is not None:
            self._context(previous)

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
        for token, rows in blocks_of(self.g.shape.tokens, e.plan.project_rows):
            e.operation(self.index, "projections")
            if self.x is not None:
                x = self.x.at(token)
            else:
                assert self.x_blocks is not None
                x = self.x_blocks[self.loaded % 2]
                self.loaded += 1
                e.load_tensor(self.x_tensor, token, rows, 0, x_k, x)
            for name, p, out, layout in (
                ("key", layer.key, self.buffers.key, Layout.ROWS),
                ("query", layer.query, self.buffers.query, Layout.ROWS),
                ("value", layer.value, self.buffers.value[head % 2], Layout.COLS),
            ):
                blocks = v if layout == Layout.ROWS else n
                parameters = pack_columns(
                    f"{self.index}.{name}.{head}.columns", e.config, v, bias=p.bias[columns], a=p.multiplier[columns]
                )
                row = e.load_columns(parameters, 0, blocks)
                sums = e.accumulator.take(blocks * rows)
                e.product(x, rows, self._packed(head, name, p), range(n), sums)
                e.vector(
                    Function.REQUANTIZE, rows, blocks, self.size, sums,
                    out=out.at(token), layout=layout, param_address=row, shift_a=p.shift,
                )  # fmt: skip
                e.accumulator.free(sums)
                e.parameters.free(row)
                if name in self.observed:
                    tensor = self.observed[name]
                    width = tensor.blocks
                    e.store_tensor(tensor, token, rows, head * width, width, out.at(token))

    def _scores(self, task: Task) -> None:
        """Scores and softmax numerators of one task."""
        e, config = self.e, self.e.config
        h_k = self.g.outputs(self.size)[0]
        _, _, s_v, _ = self.g.outputs(self.g.shape.tokens)
        n_tiles = ceil_div(self.g.shape.tokens, config.cols)
        query, key = self.buffers.query, self.buffers.key
        sums = e.accumulator.take(s_v * task.rows)
        e.operation(self.index, "scores")
        e.emit(
            Opcode.MATRIX,
            rows=task.rows,
            k_tiles=h_k,
            n_tiles=n_tiles,
            a_address=query.at(task.token).address,
            a_stride=query.stride,
            w_address=key.address,
            w_k_stride=key.stride,
            w_n_stride=config.cols,
            acc_address=sums,
            acc_stride=task.rows,
            transpose=1,
            track_max=1,
            max_first=1,
            stat_address=task.sums,
            valid=self.valid,
        )
        e.operation(self.index, "softmax")
        attention = self.layer.attention
        e.vector(
            Function.EXPONENT, task.rows, s_v, self.valid, sums,
            out=self.buffers.scores[task.index % 2], stat_address=task.sums, first=1, last=1,
            multiplier=int(attention.exponent_multiplier[task.head]), shift_a=attention.exponent_shift,
        )  # fmt: skip
        e.accumulator.free(sums)

    def _context(self, task: Task) -> None:
        """Context rows of one task: softmax numerators times values, divided by their sum."""
        e, config = self.e, self.e.config
        k, n, v, _ = self.g.outputs(self.size)
        s_k = self.g.outputs(self.g.shape.tokens)[0]
        scores, value = self.buffers.scores[task.index % 2], self.buffers.value[task.head % 2]
        columns = slice(task.head * self.size, (task.head + 1) * self.size)
        e.operation(self.index, "context")
        parameters = pack_columns(
            f"{self.index}.context.{task.head}", config, v, b=self.layer.attention.context_multiplier[columns]
        )
        row = e.load_columns(parameters, 0, v)
        sums = e.accumulator.take(v * task.rows)
        e.emit(
            Opcode.MATRIX,
            rows=task.rows,
            k_tiles=s_k,
            n_tiles=n,
            a_address=scores.address,
            a_stride=scores.stride,
            w_address=value.address,
            w_k_stride=config.rows,
            w_n_stride=value.stride,
            acc_address=sums,
            acc_stride=task.rows,
        )
        out = self.context.at(task.token, task.head * k) if self.context else self.buffers.context[task.index % 2]
        e.vector(
            Function.CONTEXT, task.rows, v, self.size, sums,
            out=out, param_address=row, stat_address=task.sums, shift_b=self.layer.attention.context_shift,
        )  # fmt: skip
        e.accumulator.free(sums)
        e.parameters.free(row)
        e.statistics.free(task.sums)
        for tensor in ([] if self.context else [self.context_tensor]) + [
            self.observed[name] for name in ("context",) if name in self.observed
        ]:
            e.store_tensor(tensor, task.token, task.rows, task.head * k, k, out)


def context_rows(heads: int, size: int, geometry: Geometry) -> np.ndarray:
    """For each contraction position of the output projection, the context column there, or -1 for padding."""
    k = geometry.outputs(size)[0]
    positions = np.arange(heads * k * geometry.rows)
    head, column = positions // (k * geometry.rows), positions % (k * geometry.rows)
    return np.where(column < size, head * size + column, -1)


def attention_buffers(
    geometry: Geometry, query_rows: int, take: Callable[[int], int], spilled: bool
) -> AttentionBuffers:
    """Lay out the buffers with ``take(rows) -> address``; context buffers only if the context is ``spilled``."""
    tokens = geometry.shape.tokens
    _, n, _, b = geometry.outputs(geometry.shape.head_size)
    scores = geometry.outputs(tokens)[3]
    keys, values = round_up(tokens, geometry.cols), round_up(tokens, geometry.rows)

    def buffer(blocks: int, stride: int) -> Operand:
        return Operand(take(blocks * stride), stride)

    nowhere = Operand(0, query_rows)
    return AttentionBuffers(
        query=buffer(b, tokens),
        key=buffer(b, keys),
        value=(buffer(n, values), buffer(n, values)),
        scores=(buffer(scores, query_rows), buffer(scores, query_rows)),
        context=(buffer(b, query_rows), buffer(b, query_rows)) if spilled else (nowhere, nowhere),
    )
