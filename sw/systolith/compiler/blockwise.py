"""Lowering of self-attention cut by keys: for sequences whose keys, values or scores do not fit the memories.

The result is that of whole rows, bit for bit, so the exponents' maximum is that of all keys (no online softmax, which
rescales what it has summed, and rounds each time). Scores of most key blocks are therefore made twice: once for the row
maxima alone, and once for the numerators, which are contracted with the values block by block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from systolith.rtl.isa import Function, Opcode

from .attention import Task
from .emit import Operand
from .keyblocks import KeyBlocks
from .plan import Geometry, Plan, blocks_of, ceil_div, round_up
from .program import Tensor
from .projections import HeadLowering

Pair = tuple[Operand, Operand]


@dataclass(frozen=True)
class BlockBuffers:
    """Places of one head's tensors; pairs are used in turn.

    ``key`` and ``value`` hold the whole head (``kv_resident``: both places are the same) or one key block each.
    ``projected`` are the projections that leave for DRAM, a block of rows each; ``context`` only if it is not resident.
    """

    query: Pair
    key: Pair
    value: Pair
    scores: Pair
    projected: dict[str, Pair]
    context: Pair | None


class BlockwiseAttention(HeadLowering):
    """Emits the attention of one layer, key block by key block.

    For each query block, the first pass makes the scores of all keys and tracks their maxima. The accumulator still
    holds those of the last ``held_blocks`` key blocks: their numerators come first, those of the others follow as their
    scores are made again. The values of a block are contracted while the numerators of the next are made, and the
    first pass of the next query block goes before the last contraction: the array has work meanwhile.

    ``tensors`` are ``query`` and, unless keys and values are resident, ``key`` and ``value`` of all heads in DRAM.
    """

    def __init__(self, *args: Any, buffers: BlockBuffers, tensors: dict[str, Tensor], **kwargs: Any) -> None:
        super().__init__(*args, context_blocks=buffers.context, **kwargs)
        self.buffers = buffers
        self.tensors = tensors
        plan = self.e.plan
        # Blocks of padding alone add nothing: they are left out.
        self.blocks = blocks_of(self.valid, plan.key_rows)
        self.held = min(plan.held_blocks, len(self.blocks))
        self.block_sums = plan.key_rows // self.e.config.cols * plan.query_rows
        self.context_sums = self.g.outputs(self.size)[2] * plan.query_rows
        self.counts: dict[str, int] = {}

    def lower(self) -> None:
        """Emit the whole attention, up to the context rows of the last head."""
        for head in range(self.layer.heads):
            self._project(head)
            self._attend(head)

    def _turn(self, name: str) -> int:
        """How often ``name`` was asked for before: what is used in turn goes by it."""
        self.counts[name] = self.counts.get(name, -1) + 1
        return self.counts[name]

    def _destination(self, name: str, head: int, token: int) -> Operand:
        if name in self.tensors:
            return self.buffers.projected[name][self._turn(f"projected {name}") % 2]
        return {"key": self.buffers.key, "value": self.buffers.value}[name][0].at(token)

    def _projected(self, name: str, head: int, token: int, rows: int, out: Operand) -> None:
        if name in self.tensors:
            tensor = self.tensors[name]
            self.e.store_tensor(tensor, token, rows, head * tensor.blocks, tensor.blocks, out)

    def _fetched(self, name: str, head: int, token: int, rows: int, places: Pair) -> Operand:
        """Rows of a head's ``name``, from DRAM unless they are resident."""
        if name not in self.tensors:
            return places[0].at(token)
        tensor = self.tensors[name]
        place = places[self._turn(name) % 2]
        self.e.load_tensor(tensor, token, rows, head * tensor.blocks, tensor.blocks, place)
        return place

    def _attend(self, head: int) -> None:
        """Scores, softmax and context of one head."""
        e, plan = self.e, self.e.plan
        area = e.accumulator.take(2 * self.context_sums + self.held * self.block_sums)
        self.slots = area + 2 * self.context_sums
        again, kept = self.blocks[: len(self.blocks) - self.held], self.blocks[len(self.blocks) - self.held :]
        contraction: Callable[[], None] | None = None
        for token, rows in blocks_of(self.g.shape.tokens, plan.query_rows):
            task = Task(self._turn("task"), head, token, rows, e.take_statistics())
            sums = area + task.index % 2 * self.context_sums
            e.operation(self.index, "scores")
            self._fetch_queries(task)
            for block in again:
                self._scores(task, block, maxima=True)
            slots = {block: self._scores(task, block, maxima=True) for block in kept}
            for block in [*kept, *again]:
                slot = slots[block] if block in slots else self._scores(task, block, maxima=False)
                first, last = block == kept[0], block == [*kept, *again][-1]
                numerators = self._numerators(task, block, slot, first=first, last=last)
                if contraction is not None:
                    contraction()
                contraction = self._contraction(task, block, numerators, sums, first=first, last=last)
        if contraction is not None:
            contraction()
        e.accumulator.free(area)

    def _fetch_queries(self, task: Task) -> None:
        """Where the queries of ``task`` are, for its scores."""
        self.query = self._fetched("query", task.head, task.token, task.rows, self.buffers.query)

    def _slot(self) -> int:
        """The next slot of the accumulator for the scores of a key block."""
        return self.slots + self._turn("slot") % self.held * self.block_sums

    def _scores(self, task: Task, block: tuple[int, int], *, maxima: bool) -> int:
        """Scores of one key block in the next slot of the accumulator, which is returned."""
        e, config = self.e, self.e.config
        start, keys = block
        e.operation(self.index, "scores")
        key = self._fetched("key", task.head, start, keys, self.buffers.key)
        slot = self._slot()
        e.emit(
            Opcode.MATRIX,
            rows=task.rows,
            k_tiles=self.g.outputs(self.size)[0],
            n_tiles=ceil_div(keys, config.cols),
            a_address=self.query.address,
            a_stride=self.query.stride,
            w_address=key.address,
            w_k_stride=key.stride,
            w_n_stride=config.cols,
            acc_address=slot,
            acc_stride=task.rows,
            transpose=1,
            track_max=maxima,
            max_first=maxima and start == 0,
            stat_address=task.sums,
            valid=keys,
        )
        return slot

    def _numerators(self, task: Task, block: tuple[int, int], slot: int, *, first: bool, last: bool) -> Operand:
        """Softmax numerators of one key block, and their place."""
        e, keys, attention = self.e, block[1], self.layer.attention
        e.operation(self.index, "softmax")
        out = self.buffers.scores[self._turn("numerators") % 2]
        e.vector(
            Function.EXPONENT, task.rows, self.g.outputs(keys)[2], keys, slot,
            out=out, stat_address=task.sums, first=first, last=last,
            multiplier=int(attention.exponent_multiplier[task.head]), shift_a=attention.exponent_shift,
        )  # fmt: skip
        return out

    def _contraction(
        self, task: Task, block: tuple[int, int], numerators: Operand, sums: int, *, first: bool, last: bool
    ) -> Callable[[], None]:
        """What emits the product of one key block's numerators and values, and after the last the context rows."""

        def emit() -> None:
            e, config = self.e, self.e.config
            start, keys = block
            e.operation(self.index, "context")
            value = self._fetched("value", task.head, start, keys, self.buffers.value)
            e.emit(
                Opcode.MATRIX,
                rows=task.rows,
                k_tiles=self.g.outputs(keys)[0],
                n_tiles=self.g.outputs(self.size)[1],
                a_address=numerators.address,
                a_stride=numerators.stride,
                w_address=value.address,
                w_k_stride=config.rows,
                w_n_stride=value.stride,
                acc_address=sums,
                acc_stride=task.rows,
                accumulate=not first,
            )
            if last:
                columns = self._context_columns(task.head)
                self._write_context(
                    task.head, task.token, task.rows,
                    number=task.index, sums=sums, columns=columns, statistics=task.sums,
                )  # fmt: skip

        return emit


def block_buffers(geometry: Geometry, plan: Plan, take: Callable[[int], int]) -> BlockBuffers:
    """Lay out the buffers with ``take(rows) -> address``."""
    sizes = KeyBlocks.of(geometry, plan.project_rows, plan.query_rows, plan.key_rows, plan.kv_resident)
    _, n, _, b = geometry.outputs(geometry.shape.head_size)
    tokens, project = geometry.shape.tokens, plan.project_rows
    place = take(sizes.scratchpad_rows + (0 if plan.context_resident else 2 * b * plan.query_rows))

    def run(rows: int, stride: int) -> Operand:
        nonlocal place
        place += rows
        return Operand(place - rows, stride)

    def pair(rows: int, stride: int) -> Pair:
        return run(rows, stride), run(rows, stride)

    context = None if plan.context_resident else pair(b * plan.query_rows, plan.query_rows)
    leaving = {"query": b} if plan.kv_resident else {"query": b, "key": b, "value": n}
    if plan.kv_resident:
        key = run(sizes.key, round_up(tokens, geometry.cols))
        value = run(sizes.value, round_up(tokens, geometry.rows))
        keys, values = (key, key), (value, value)
    # Projections on their way to DRAM lie where the blocks of the query blocks come to lie.
    shared = place
    projected = {name: pair(blocks * project, project) for name, blocks in leaving.items()}
    place = shared
    if not plan.kv_resident:
        keys, values = pair(sizes.key, plan.key_rows), pair(sizes.value, plan.key_rows)
    return BlockBuffers(
        query=pair(sizes.query, plan.query_rows),
        key=keys,
        value=values,
        scores=pair(sizes.scores, plan.query_rows),
        projected=projected,
        context=context,
    )
