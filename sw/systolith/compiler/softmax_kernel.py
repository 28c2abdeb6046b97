"""Programs of attention, key block by key block, whose scores or whose softmax numerators pass through DRAM.

They are :mod:`.blockwise` attention without its projections: the scores are made of Q and K, or come from DRAM as int8
and enter the accumulator by the identity matrix; the numerators meet the values, or go to DRAM.
"""

from collections.abc import Callable
from dataclasses import replace

from systolith.models.quantized import QuantizedLayer
from systolith.rtl.config import Config

from .attention import Task
from .blockwise import BlockBuffers, BlockwiseAttention, Pair
from .emit import Operand
from .identity import Identity, Maxima
from .kernels import Kernel
from .plan import CapacityError, Geometry, Shape, ceil_div, round_up
from .program import INPUT, NO_LAYER, OUTPUT, Program


def compile_softmax(
    config: Config, layer: QuantizedLayer, tokens: int, *, rows: int, keys: int, spilled: bool, context: bool
) -> Program:
    """Softmax of all heads of ``layer``, ``rows`` queries and ``keys`` keys at a time, the latter rounded up to
    whole tiles.

    ``spilled``: ``input`` are int8 scores (tokens, heads x tokens), else Q, and K is ``key``, int8 (tokens, hidden).
    ``context``: ``output`` is the context (tokens, hidden), V being ``value``; else the numerators, of the scores'
    shape, without their sums, which cannot leave the chip.

    Raises
    ------
    CapacityError
        If the memories are too small for that.
    """
    g = Geometry(Shape(tokens, layer.hidden, layer.heads, layer.ffn), config.rows, config.cols)
    rows, keys = min(rows, tokens), round_up(min(keys, tokens), g.key_granule)
    context_sums = g.outputs(layer.head_size)[2] * rows if context else 0
    block_sums = keys // config.cols * rows
    held = min(ceil_div(tokens, keys), (config.accumulator_rows - 2 * context_sums) // block_sums)
    identity = Identity.rows(config, g.granule) if spilled else 0
    h_k, n, _, b = g.outputs(layer.head_size)
    block = keys // config.rows * rows
    #: Rows of one of two places of each tensor.
    sizes = {
        "query": 0 if spilled else h_k * rows, "key": 0 if spilled else h_k * keys, "value": n * keys if context else 0,
        "context": b * rows if context else 0, "spilled": block if spilled else 0, "scores": block,
    }  # fmt: skip
    needed = identity + 2 * sum(sizes.values())
    fits = held >= 1 and rows <= config.statistics_rows // 2 and needed + config.rows <= config.scratchpad_rows
    if not fits:
        raise CapacityError(
            f"{keys} keys and {rows} queries take {needed} scratchpad rows of "
            f"{config.scratchpad_rows}, "
            f"{2 * context_sums + block_sums} accumulator rows of {config.accumulator_rows} and {rows} rows of "
            f"statistics of {config.statistics_rows // 2}"
        )
    kernel = Kernel(config, tokens, config.rows, config.rows)
    kernel.e.plan = replace(kernel.e.plan, query_rows=rows, key_rows=keys, held_blocks=held, kv_resident=False)
    strides = {"key": keys, "value": keys}
    places, address = {}, identity
    for name, size in sizes.items():
        stride = strides.get(name, rows)
        places[name] = (Operand(address, stride), Operand(address + size, stride))
        address += 2 * size
    _Softmax(kernel, g, layer, places, spilled=spilled, context=context).lower()
    return kernel.finish()


class _Softmax(BlockwiseAttention):
    """Blockwise attention of the program that :func:`compile_softmax` describes; ``places`` are its buffers."""

    def __init__(
        self,
        kernel: Kernel,
        g: Geometry,
        layer: QuantizedLayer,
        places: dict[str, Pair],
        *,
        spilled: bool,
        context: bool,
    ) -> None:
        config, tokens, size = kernel.config, kernel.tokens, layer.head_size
        self.places = places
        tensors = {}
        if spilled:
            source = kernel.tensor("input", INPUT, layer.heads, tokens, config.rows)
        else:
            source = tensors["query"] = kernel.tensor("input", INPUT, layer.heads, size, config.rows)
            tensors["key"] = kernel.tensor("key", INPUT, layer.heads, size, config.rows)
        if context:
            tensors["value"] = kernel.tensor("value", INPUT, layer.heads, size, config.cols)
        self.source = source
        columns = size if context else tokens
        self.output = kernel.tensor("output", OUTPUT, layer.heads, columns, config.rows)
        buffers = BlockBuffers(
            query=places["query"], key=places["key"], value=places["value"], scores=places["scores"],
            projected={}, context=places["context"],
        )  # fmt: skip
        super().__init__(
            kernel.e, g, NO_LAYER, layer, valid=tokens, x=None, x_blocks=None, x_tensor=source, context=None,
            context_tensor=self.output, observed={}, buffers=buffers, tensors=tensors,
        )  # fmt: skip
        if not context:
            self.context_sums = 0
        self.has_context = context
        macs = tokens * tokens * layer.hidden
        for name, count in (("scores", 0 if spilled else macs), ("softmax", 0), ("context", macs if context else 0)):
            kernel.e.operation(NO_LAYER, name, count)
        kernel.e.operation(NO_LAYER, "scores")
        self.identity = Identity(kernel.e, g.granule, 0) if spilled else None

    def lower(self) -> None:
        for head in range(self.layer.heads):
            self._attend(head)

    def _fetch_queries(self, task: Task) -> None:
        if self.identity is None:
            super()._fetch_queries(task)

    def _scores(self, task: Task, block: tuple[int, int], *, maxima: bool) -> int:
        if self.identity is None:
            return super()._scores(task, block, maxima=maxima)
        e, config, source = self.e, self.e.config, self.source
        start, keys = block
        e.operation(self.index, "scores")
        place, slot = self.places["spilled"][self._turn("spilled") % 2], self._slot()
        first = task.head * source.blocks + start // config.rows
        e.load_tensor(source, task.token, task.rows, first, ceil_div(keys, config.rows), place)
        self.identity.product(
            place, task.rows, keys, range(ceil_div(keys, config.cols)), slot,
            Maxima(task.sums, start == 0) if maxima else None,
        )  # fmt: skip
        return slot

    def _contraction(
        self, task: Task, block: tuple[int, int], numerators: Operand, sums: int, *, first: bool, last: bool
    ) -> Callable[[], None]:
        if self.has_context:
            return super()._contraction(task, block, numerators, sums, first=first, last=last)

        def emit() -> None:
            e, config = self.e, self.e.config
            start, keys = block
            e.operation(self.index, "softmax")
            place = task.head * self.output.blocks + start // config.rows
            e.store_tensor(self.output, task.token, task.rows, place, ceil_div(keys, config.rows), numerators)
            if last:
                e.statistics.free(task.sums)

        return emit
