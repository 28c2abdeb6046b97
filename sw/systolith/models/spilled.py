"""Sums that leave the chip as int8 between a product and the softmax or LayerNorm that follows it.

The accelerator keeps these sums in its accumulator, 32 bits wide; only int8 can be stored. Whoever wants softmax and
LayerNorm to be operations of their own, reading and writing DRAM, has to round once more, to int8 of a scale that is
chosen here. The integer reference of such a schedule is that of :mod:`.quantized` with these constants.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from systolith.models.quantize import multipliers
from systolith.models.quantized import Array, Projection, QuantizedLayer
from systolith.numerics import integer

#: The largest magnitude that a spilled sum is scaled to.
_LARGEST = 127
#: Most bits that a shift after multiplier A is of use for.
_MAX_SHIFT = integer.OPERAND_BITS + 15


@dataclass(frozen=True, kw_only=True)
class SpilledScores:
    """Attention whose scores are int8: ``multiplier`` (heads,) uint16 and ``shift`` make them of the sums.

    ``layer`` is the layer with the softmax constants of int8 scores.
    """

    multiplier: npt.NDArray[np.uint16]
    shift: int
    layer: QuantizedLayer

    def scores(self, head: int, query: Array, key: Array) -> npt.NDArray[np.int8]:
        """int8 scores (rows, keys) of one head's ``query`` (rows, head size) and ``key`` (keys, head size)."""
        return integer.requantize(integer.matmul(query, key.T), 0, self.multiplier[head], self.shift)


def spill_scores(layer: QuantizedLayer, query: Array, key: Array) -> SpilledScores:
    """Scales from the largest score of each head for int8 ``query`` and ``key`` (tokens, hidden)."""
    size, attention = layer.head_size, layer.attention
    heads = [slice(head * size, (head + 1) * size) for head in range(layer.heads)]
    largest = [np.abs(integer.matmul(query[:, h], key[:, h].T)).max(initial=1) for h in heads]
    unit = np.array(largest) / _LARGEST
    multiplier, shift = multipliers(1 / unit, 16, _MAX_SHIFT)
    exponent_ratio = attention.exponent_multiplier * unit * 2.0**-attention.exponent_shift
    exponent_multiplier, exponent_shift = multipliers(exponent_ratio, 16, _MAX_SHIFT)
    softmax = replace(
        attention, exponent_multiplier=exponent_multiplier.astype(np.uint16), exponent_shift=exponent_shift
    )
    return SpilledScores(multiplier=multiplier.astype(np.uint16), shift=shift, layer=replace(layer, attention=softmax))


def spill_sums(p: Projection, x: Array) -> tuple[Projection, Projection]:
    """``p``, which leads to a residual addition, in two: to int8, and from int8 by way of the identity matrix.

    The first makes int8 columns that each fill their range for int8 ``x`` (tokens, inputs); the second, whose weights
    are the identity matrix, takes them to the scale that ``p`` leads to.
    """
    sums = integer.scale(integer.matmul(x, p.weight) + p.bias, p.multiplier, p.shift)
    unit = np.maximum(np.abs(sums).max(axis=0), 1) / _LARGEST
    multiplier, shift = multipliers(p.multiplier * 2.0**-p.shift / unit, 16, _MAX_SHIFT)
    back, back_shift = multipliers(unit, 16, _MAX_SHIFT)
    columns = len(unit)
    return (
        replace(p, multiplier=multiplier.astype(np.uint16), shift=shift),
        Projection(
            weight=np.eye(columns, dtype=np.int8), bias=np.zeros(columns, np.int32),
            multiplier=back.astype(np.uint16), shift=back_shift,
        ),
    )  # fmt: skip
