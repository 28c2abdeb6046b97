"""A program of attention without its projections: softmax(Q K') V of all heads, Q, K and V being given."""

from systolith.models.quantized import QuantizedLayer
from systolith.rtl.config import Config

from .arena import Arena, OutOfMemoryError
from .attention import AttentionBuffers, AttentionLowering, Task
from .emit import Operand
from .kernels import Kernel
from .plan import CapacityError, Geometry, Shape, blocks_of, ceil_div, round_up
from .program import INPUT, NO_LAYER, OUTPUT, Program


def compile_attention(config: Config, layer: QuantizedLayer, tokens: int) -> Program:
    """softmax(Q K') V of all heads of ``layer``, given int8 Q, K and V (tokens, hidden) → int8 (tokens, hidden).

    Raises
    ------
    CapacityError
        If the memories are too small for one head.
    """
    g = Geometry(Shape(tokens, layer.hidden, layer.heads, layer.ffn), config.rows, config.cols)
    _, _, h_v, _ = g.outputs(layer.head_size)
    _, _, s_v, _ = g.outputs(tokens)
    # Scores and context of two blocks at once; statistics of three, as the next one's maxima come early.
    most = min(tokens, config.statistics_rows // 3, config.accumulator_rows // (2 * (s_v + h_v)))
    if most == 0:
        raise CapacityError(
            f"one row's scores and context of two blocks take {2 * (s_v + h_v)} accumulator rows of "
            f"{config.accumulator_rows}"
        )
    rows = ceil_div(tokens, ceil_div(tokens, most))
    kernel = Kernel(config, tokens, config.rows, config.rows)
    try:
        _KernelLowering(kernel, g, layer, rows).lower()
    except OutOfMemoryError as error:
        raise CapacityError(f"one head's queries, keys, values and scores do not fit: {error}") from error
    return kernel.finish()


class _KernelLowering(AttentionLowering):
    """Attention whose queries, keys and values come from DRAM: the scores of a block precede the last one's context,
    so that its softmax has a product's time."""

    def __init__(self, kernel: Kernel, g: Geometry, layer: QuantizedLayer, rows: int) -> None:
        e, config, size = kernel.e, kernel.config, layer.head_size
        region = INPUT
        self.sources = {
            "query": kernel.tensor("input", region, layer.heads, size, config.rows),
            "key": kernel.tensor("key", region, layer.heads, size, config.rows),
            "value": kernel.tensor("value", region, layer.heads, size, config.cols),
        }
        area = Arena("scratchpad", 0, config.scratchpad_rows - config.rows)
        tokens = g.shape.tokens
        _, n, _, b = g.outputs(size)
        keys, values = round_up(tokens, config.cols), round_up(tokens, config.rows)
        scores = g.outputs(tokens)[3]

        def pair(blocks: int, stride: int) -> tuple[Operand, Operand]:
            return Operand(area.take(blocks * stride), stride), Operand(area.take(blocks * stride), stride)

        queries, key_places, value = pair(b, tokens), pair(b, keys), pair(n, values)
        shared = {"value": value, "scores": pair(scores, rows), "context": pair(b, rows)}
        #: Buffers of even and odd heads.
        self.places = [AttentionBuffers(query=queries[i], key=key_places[i], **shared) for i in range(2)]
        self.query_rows = rows
        super().__init__(
            e, g, NO_LAYER, layer, valid=tokens, x=None, x_blocks=None, x_tensor=self.sources["query"],
            buffers=self.places[0], context=None, observed={},
            context_tensor=kernel.tensor("output", OUTPUT, layer.heads, size, config.rows),
        )  # fmt: skip
        for name in ("scores", "softmax", "context"):
            e.operation(NO_LAYER, name, 0 if name == "softmax" else tokens * tokens * layer.hidden)

    def lower(self) -> None:
        previous: Task | None = None
        index = 0
        for head in range(self.layer.heads):
            self.buffers = self.places[head % 2]
            self._fetch(head)
            for token, rows in blocks_of(self.g.shape.tokens, self.query_rows):
                task = Task(index, head, token, rows, self.e.statistics.take(rows))
                self._scores(task)
                if previous is not None:
                    self._context(previous)
                previous, index = task, index + 1
        if previous is not None:
            self._context(previous)

    def _fetch(self, head: int) -> None:
        """LOAD of one head's queries, keys and values."""
        self.e.operation(NO_LAYER, "scores")
        tokens = self.g.shape.tokens
        for name, place in (
            ("key", self.buffers.key), ("query", self.buffers.query), ("value", self.buffers.value[head % 2]),
        ):  # fmt: skip
            tensor = self.sources[name]
            self.e.load_tensor(tensor, 0, tokens, head * tensor.blocks, tensor.blocks, place)
