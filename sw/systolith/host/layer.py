"""An encoder layer split in two: matrix products on the accelerator, everything between them on the host in fp32.

What the accelerator hands over is either the int32 sums, which the host scales itself (the baseline of the survey,
arXiv 2302.14017, section 3.4), or int8 that the vector unit's REQUANTIZE has scaled (what this accelerator can store:
its STORE reads the scratchpad). The host keeps residuals in fp32; only operands of products are int8.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from systolith.models.encoder import Float32, FloatLayer, Linear, Norm
from systolith.models.quantize import multipliers
from systolith.numerics import integer

from .kernels import Host, Int8

#: Softmax weights lie between 0 and 1.
_WEIGHT_UNIT = 1 / 127


class Handover(Enum):
    """What the accelerator's products give the host: their int32 sums, or int8."""

    SUMS = "int32 sums"
    INT8 = "int8"


#: Parts of a layer between products, each of which the host computes as a whole or the accelerator does.
STAGES = ("input", "projections", "attention", "output", "ffn1", "ffn2")


@dataclass(frozen=True)
class Matrix:
    """A product's constant operand: int8 ``values`` (inputs, outputs), and float ``scale`` (outputs,) and ``bias``
    (outputs,) that turn its sums into real numbers."""

    values: Int8
    scale: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    @classmethod
    def of(cls, linear: Linear, unit: float) -> "Matrix":
        """A projection of int8 in units of ``unit``; symmetric, a scale for each output."""
        scale = np.maximum(np.abs(linear.weight).max(axis=0), 1e-30).astype(np.float64) / 127
        return cls(np.round(linear.weight / scale).astype(np.int8), scale * unit, linear.bias.astype(np.float64))


@dataclass(frozen=True, kw_only=True)
class HybridLayer:
    """A float layer whose products run in int8.

    ``units`` holds what one int8 stands for in each tensor, from the largest magnitudes that :meth:`calibrate` saw.
    """

    layer: FloatLayer
    handover: Handover
    units: dict[str, float]

    @classmethod
    def calibrate(cls, layer: FloatLayer, x: Float32, handover: Handover) -> "HybridLayer":
        """Static scales, one for each tensor, from the float layer on ``x`` (tokens, hidden)."""
        seen: dict[str, Float32] = {"input": x}
        layer.forward(x, observe=seen.__setitem__)
        seen["output_product"] = seen["attention_sum"] - x
        seen["ffn2_product"] = seen["output_sum"] - seen["attention"]
        units = {name: max(float(np.abs(tensor).max()), 1e-6) / 127 for name, tensor in seen.items()}
        size = layer.hidden // layer.heads
        largest = max(
            float(np.abs(seen["query"][:, head : head + size] @ seen["key"][:, head : head + size].T).max())
            for head in range(0, layer.hidden, size)
        )
        return cls(layer=layer, handover=handover, units=units | {"scores": max(largest, 1e-6) * size**-0.5 / 127})

    def forward(self, x: Float32, host: Host) -> Float32:
        """The layer on fp32 ``x`` (tokens, hidden); the host counts its instructions by stage and operation."""
        layer, units = self.layer, self.units
        host.stage = "input"
        q = host.quantize(x, units["input"])
        host.stage = "projections"
        query, key, value = (
            self._int8(host, q, Matrix.of(linear, units["input"]), units[name])
            for name, linear in (("query", layer.query), ("key", layer.key), ("value", layer.value))
        )
        host.stage = "attention"
        context = np.empty(x.shape, np.int8)
        size = layer.hidden // layer.heads
        for head in range(layer.heads):
            columns = slice(head * size, (head + 1) * size)
            context[:, columns] = self._attention(host, query[:, columns], key[:, columns], value[:, columns])
        host.stage = "output"
        product = self._real(host, context, Matrix.of(layer.output, units["context"]), units["output_product"])
        hidden = self._norm(host, host.residual(product, x), layer.output_norm)
        q = host.quantize(hidden, units["attention"])
        host.stage = "ffn1"
        inner = host.gelu(self._real(host, q, Matrix.of(layer.ffn1, units["attention"]), units["ffn_sum"]))
        q = host.quantize(inner, units["ffn"])
        host.stage = "ffn2"
        product = self._real(host, q, Matrix.of(layer.ffn2, units["ffn"]), units["ffn2_product"])
        return self._norm(host, host.residual(product, hidden), layer.ffn2_norm)

    def _attention(self, host: Host, query: Int8, key: Int8, value: Int8) -> Int8:
        """One head: int8 (tokens, head size) each."""
        units, tokens = self.units, len(query)
        scale = units["query"] * units["key"] * query.shape[1] ** -0.5
        keys = Matrix(np.ascontiguousarray(key.T), np.full(tokens, scale), np.zeros(tokens))
        weights = host.softmax(self._real(host, query, keys, units["scores"]))
        size = value.shape[1]
        values = Matrix(value, np.full(size, units["value"] * _WEIGHT_UNIT), np.zeros(size))
        return self._int8(host, host.quantize(weights, _WEIGHT_UNIT), values, units["context"])

    def _int8(self, host: Host, x: Int8, matrix: Matrix, unit: float) -> Int8:
        """A product whose result is an operand of the next one."""
        sums = integer.matmul(x, matrix.values)
        if self.handover is Handover.INT8:
            return _requantized(sums, matrix, unit)
        scale, bias = (np.asarray(v / unit, np.float32) for v in (matrix.scale, matrix.bias))
        return host.requantize_sums(sums.astype(np.int32), scale, bias)

    def _real(self, host: Host, x: Int8, matrix: Matrix, unit: float) -> Float32:
        """A product whose result the host computes with, (rows, columns)."""
        sums = integer.matmul(x, matrix.values)
        if self.handover is Handover.INT8:
            return host.dequantize(_requantized(sums, matrix, unit), unit)
        scale, bias = (v.astype(np.float32) for v in (matrix.scale, matrix.bias))
        return host.dequantize_sums(sums.astype(np.int32), scale, bias)

    @staticmethod
    def _norm(host: Host, x: Float32, norm: Norm) -> Float32:
        return host.layernorm(x, norm.gamma, norm.beta, norm.epsilon)


def _requantized(sums: integer.IntArray, matrix: Matrix, unit: float) -> Int8:
    """What REQUANTIZE makes of ``sums``: bias in units of the sums, then a 16-bit multiplier for each column."""
    multiplier, shift = multipliers(matrix.scale / unit, 16, integer.OPERAND_BITS + 15)
    return integer.requantize(sums, np.rint(matrix.bias / matrix.scale), multiplier, shift)
