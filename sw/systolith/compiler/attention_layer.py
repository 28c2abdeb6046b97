"""A program of a layer's attention alone, all of it on the chip: projections, softmax, output projection, LayerNorm."""

from systolith.models.quantized import QuantizedLayer
from systolith.rtl.config import Config

from .compile import _Lowering
from .emit import Operand
from .feedforward import FeedForwardLowering
from .plan import Geometry, Plan, Shape, plan_layer
from .program import Program


def compile_attention_layer(config: Config, layer: QuantizedLayer, tokens: int, plan: Plan | None = None) -> Program:
    """The attention of ``layer`` with its LayerNorm: ``input`` int8 (tokens, hidden) → ``layer0`` of the same shape.

    It is cut as ``plan`` says, one of a layer of :func:`attention_shape`; by default as the compiler does.

    Raises
    ------
    CapacityError
        If it does not fit the on-chip memories.
    """
    g = Geometry(attention_shape(config, tokens, layer.hidden, layer.heads), config.rows, config.cols)
    lowering = _AttentionLayer(config, plan or plan_layer(config, g.shape), g, 1, observe=False)
    lowering.layer(0, layer, tokens)
    program = lowering.finish("")
    program.verify()
    return program


def attention_shape(config: Config, tokens: int, hidden: int, heads: int) -> Shape:
    """As what attention is planned: a layer whose FFN is a single tile, which weighs next to nothing."""
    return Shape(tokens, hidden, heads, config.cols)


class _OutputLowering(FeedForwardLowering):
    """Ends with the attention's output rows."""

    def _finish(self, token: int, rows: int, hidden: Operand, x: Operand) -> None:
        self._store(token, rows, hidden)


class _AttentionLayer(_Lowering):
    rest = _OutputLowering

    def _operations(self, valid: int) -> dict[str, int]:
        left_out = ("ffn1", "gelu", "ffn2", "ffn2 norm")
        return {name: macs for name, macs in super()._operations(valid).items() if name not in left_out}
