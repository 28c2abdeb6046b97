"""Lowering of self-attention: projections of one head while the scores of another go through softmax."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from systolith.rtl.isa import Function, Opcode

from .emit import Operand
from .plan import Geometry, ceil_div, even_blocks, round_up
from .projections import HeadLowering


@dataclass(frozen=True)
class AttentionBuffers:
    """Where one head's tensors lie; pairs are used in turn. ``context`` only if it is not resident."""

    query: Operand
    key: Operand
    value: tuple[Operand, Operand]
    scores: tuple[Operand, Operand]
    context: tuple[Operand, Operand] | None


@dataclass(frozen=True)
class Task:
    """One block of query rows of one head."""

    index: int
    head: int
    token: int
    rows: int
    sums: int = 0


class AttentionLowering(HeadLowering):
    """Emits the attention of one layer.

    The array's order is: projections of head h + 1, context of head h, scores of head h + 1; so each result of the
    vector unit has a product's time to become ready before the array needs it. Where there is room for the values of
    one head only, its last context comes before the next head's projections.
    """

    def __init__(self, *args: Any, buffers: AttentionBuffers, **kwargs: Any) -> None:
        super().__init__(*args, context_blocks=buffers.context, **kwargs)
        self.buffers = buffers

    def lower(self) -> None:
        """Emit the whole attention, up to the context rows of the last head."""
        tasks = [
            (head, token, rows)
            for head in range(self.layer.heads)
            for token, rows in even_blocks(self.g.shape.tokens, self.e.plan.query_rows)
        ]
        self._project(0)
        previous: Task | None = None
        for index, (head, token, rows) in enumerate(tasks):
            task = Task(index, head, token, rows, self.e.take_statistics())
            new_head = head > 0 and token == 0
            if new_head and previous is not None:
                if self.e.plan.value_places == 1:
                    self._context(previous)
                self._project(head)
                if self.e.plan.value_places == 2:
                    self._context(previous)
            self._scores(task)
            if previous is not None and not new_head:
                self._context(previous)
            previous = task
        if previous is not None:
            self._context(previous)

    def _destination(self, name: str, head: int, token: int) -> Operand:
        buffers = self.buffers
        return {"query": buffers.query, "key": buffers.key, "value": buffers.value[head % 2]}[name].at(token)

    def _projected(self, name: str, head: int, token: int, rows: int, out: Operand) -> None:
        """They stay."""

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
        _, n, v, _ = self.g.outputs(self.size)
        s_k = self.g.outputs(self.g.shape.tokens)[0]
        scores, value = self.buffers.scores[task.index % 2], self.buffers.value[task.head % 2]
        e.operation(self.index, "context")
        columns = self._context_columns(task.head)
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
        self._write_context(
            task.head, task.token, task.rows, number=task.index, sums=sums, columns=columns, statistics=task.sums
        )
        e.accumulator.free(sums)


def context_rows(heads: int, size: int, geometry: Geometry) -> np.ndarray:
    """For each contraction position of the output projection, the context column there, or -1 for padding."""
    k = geometry.outputs(size)[0]
    positions = np.arange(heads * k * geometry.rows)
    head, column = positions // (k * geometry.rows), positions % (k * geometry.rows)
    return np.where(column < size, head * size + column, -1)


def attention_buffers(
    geometry: Geometry, query_rows: int, value_places: int, take: Callable[[int], int], spilled: bool
) -> AttentionBuffers:
    """Lay out the buffers with ``take(rows) -> address``; context buffers only if the context is ``spilled``."""
    tokens = geometry.shape.tokens
    _, n, _, b = geometry.outputs(geometry.shape.head_size)
    scores = geometry.outputs(tokens)[3]
    keys, values = round_up(tokens, geometry.cols), round_up(tokens, geometry.rows)

    def buffer(blocks: int, stride: int) -> Operand:
        return Operand(take(blocks * stride), stride)

    query, key, value = buffer(b, tokens), buffer(b, keys), buffer(n, values)
    return AttentionBuffers(
        query=query,
        key=key,
        value=(value, buffer(n, values) if value_places == 2 else value),
        scores=(buffer(scores, query_rows), buffer(scores, query_rows)),
        context=(buffer(b, query_rows), buffer(b, query_rows)) if spilled else None,
    )
