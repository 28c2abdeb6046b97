"""The integer arithmetic of the accelerator, defined once, on whole tensors, in numpy.

Every function takes and returns arrays; rows are token rows, columns are output channels or keys.
Nothing here depends on tiling or on the array's size. int64 holds every intermediate exactly.
The recipe is that of I-BERT (arXiv 2101.01321) with look-up tables in place of its polynomials (unless a caller gives
those: ``approximation.APPROXIMATIONS``), deferred softmax normalisation, and reciprocals normalised to 16 bits.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
Int8Array = npt.NDArray[np.int8]

#: Bits of a signed operand of multiplier A: holds any sum of up to 8,191 products plus a bias.
OPERAND_BITS = 28
#: Bits of a signed, shifted product of multiplier A: the operand of multiplier B.
PRODUCT_BITS = 20
#: Fraction bits of the exponent's argument, in log2 units, and entries of its table (2**6).
EXPONENT_FRACTION = 6
#: Largest exponent argument: 10 bits; everything from 8 octaves on is 0.
EXPONENT_MAX = 1023
#: Entry f is 127 * 2**9 * 2**(-f / 64): the softmax numerator before its octave shift.
EXPONENT_TABLE: IntArray = np.round(127 * 2**9 * 2.0 ** (-np.arange(64) / 64)).astype(np.int64)
#: GELU inputs have a grid of 2**(grid - 11); the table covers |x| < 4 in 128 bins.
GELU_FRACTION = 11
GELU_BINS = 128
#: Fraction bits of a context row before its column multiplier.
CONTEXT_SHIFT = 27
#: multiplier A's shift in LAYERNORM before the row's exponent is taken off; leaves 14 fraction bits.
LAYERNORM_SHIFT = 23
#: Bits of a row's sum of squares (int16 values, up to 2**14 columns) and of a softmax sum.
SQUARES_BITS = 44
SUM_BITS = 24


def _gelu_table() -> IntArray:
    """``relu(x) - gelu(x)`` at the midpoints of 128 bins over 0 <= x < 4, in units of 2**-11."""
    from math import erfc, sqrt

    midpoints = (np.arange(GELU_BINS) + 0.5) * (4 / GELU_BINS)
    values = [x * 0.5 * erfc(x / sqrt(2)) * 2**GELU_FRACTION for x in midpoints]
    return np.round(np.array(values)).astype(np.int64)


GELU_TABLE: IntArray = _gelu_table()


class Reciprocal(NamedTuple):
    """One row's ``mean`` (int16), and ``mantissa`` (uint16) and ``exponent`` of its reciprocal."""

    mean: IntArray
    mantissa: IntArray
    exponent: IntArray


def _wide(values: npt.ArrayLike) -> IntArray:
    return np.asarray(values).astype(np.int64)


def shift_round(values: npt.ArrayLike, shift: npt.ArrayLike) -> IntArray:
    """``values / 2**shift`` rounded half up: ``(v + 2**(shift - 1)) >> shift``, ``v`` for shift 0. Up to shift 63."""
    amount = _wide(shift)
    # 1 << 63 is negative in int64; its half must not be.
    half = ((np.int64(1) << amount) >> 1) & np.iinfo(np.int64).max
    return (_wide(values) + half) >> amount


def saturate(values: npt.ArrayLike, bits: int) -> IntArray:
    """Clip to a signed integer of ``bits`` bits."""
    return np.clip(_wide(values), -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def matmul(a: npt.ArrayLike, w: npt.ArrayLike) -> IntArray:
    """Exact ``a @ w`` of int8 matrices (float64 holds every sum of fewer than 2**39 products)."""
    return (np.asarray(a).astype(np.float64) @ np.asarray(w).astype(np.float64)).astype(np.int64)


def scale(acc: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> IntArray:
    """Multiplier A: 28-bit operand times uint16, shifted, saturated to 20 bits."""
    return saturate(shift_round(saturate(acc, OPERAND_BITS) * _wide(multiplier), shift), PRODUCT_BITS)


def requantize(acc: npt.ArrayLike, bias: npt.ArrayLike, multiplier: npt.ArrayLike, shift: int) -> Int8Array:
    """REQUANTIZE: int8 of ``(acc + bias) * multiplier / 2**shift``.

    ``acc`` int32 (rows, cols); ``bias`` int32 and ``multiplier`` uint16, one per column; shift 0 to 63
    but at most 43 is of use.
    """
    return saturate(scale(_wide(acc) + _wide(bias), multiplier, shift), 8).astype(np.int8)


def gelu_grid(q: npt.ArrayLike, grid: int) -> IntArray:
    """GELU of int16 ``q`` on the grid ``2**(grid - 11)``: ``relu(q) - table[|q|]``, on the same grid."""
    q = _wide(q)
    magnitude = np.minimum(np.abs(q), 32767) << grid
    bin_index = magnitude >> 6
    correction = np.where(bin_index < GELU_BINS, GELU_TABLE[np.minimum(bin_index, GELU_BINS - 1)], 0)
    result: IntArray = np.maximum(q, 0) - (correction >> grid)
    return result


def gelu(
    acc: npt.ArrayLike,
    bias: npt.ArrayLike,
    multiplier_a: npt.ArrayLike,
    shift_a: int,
    multiplier_b: npt.ArrayLike,
    shift_b: int,
    offset: int,
    grid: int = 0,
    unit: Callable[[IntArray, int], IntArray] = gelu_grid,
) -> Int8Array:
    """GELU: requantize to int16 on the grid, ``unit``, then ``* multiplier_b / 2**shift_b + offset`` to int8.

    ``multiplier_a`` uint16 and ``multiplier_b`` int16, one per column; ``offset`` is the int8 zero point.
    """
    q = saturate(scale(_wide(acc) + _wide(bias), multiplier_a, shift_a), 16)
    y = shift_round(unit(q, grid) * _wide(multiplier_b), shift_b) + offset
    return saturate(y, 8).astype(np.int8)


def octave_split(t: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """Octave and fraction of EXPONENT's argument, which is first clipped to 0 to 1023."""
    clipped = np.clip(_wide(t), 0, EXPONENT_MAX)
    return clipped >> EXPONENT_FRACTION, clipped & ((1 << EXPONENT_FRACTION) - 1)


def octaves_down(entry: IntArray, octave: IntArray) -> IntArray:
    """A numerator times 2**9, halved ``octave`` times and rounded; 0 from 8 octaves on."""
    return np.where(octave < 8, shift_round(entry, 9 + octave), 0)


def numerator(t: npt.ArrayLike) -> IntArray:
    """``127 * 2**(-t / 64)``, 0 to 127: the softmax numerator of EXPONENT's argument."""
    octave, fraction = octave_split(t)
    return octaves_down(EXPONENT_TABLE[fraction], octave)


def exponent(
    scores: npt.ArrayLike,
    maximum: npt.ArrayLike,
    multiplier: int,
    shift: int,
    unit: Callable[[IntArray], IntArray] = numerator,
) -> Int8Array:
    """EXPONENT: ``unit((maximum - score) * multiplier / 2**shift)`` as int8 0 to 127.

    ``scores`` int32 (rows, keys); ``maximum`` int32 (rows,) over the valid keys.
    """
    x = np.asarray(_wide(maximum))[..., None] - _wide(scores)
    return unit(scale(x, multiplier, shift)).astype(np.int8)


def divide(divisor: npt.ArrayLike) -> IntArray:
    """``min(65535, floor(2**39 / divisor))`` for a normalised 24-bit divisor; 65535 for 0."""
    d = _wide(divisor)
    return np.minimum(np.where(d == 0, 65535, (np.int64(1) << 39) // np.maximum(d, 1)), 65535)


def _bit_length(values: IntArray) -> IntArray:
    length = np.zeros_like(values)
    remaining = values.copy()
    for step in (32, 16, 8, 4, 2, 1):
        large = remaining >= (np.int64(1) << step)
        length += np.where(large, step, 0)
        remaining = np.where(large, remaining >> step, remaining)
    return length + (remaining > 0)


def square_root(values: npt.ArrayLike) -> IntArray:
    """``floor(sqrt(v))`` of unsigned 32-bit values.

    IEEE 754's square root is correctly rounded: the root of ``r**2 - 1`` is more than 2**-18 below ``r``, and its last
    place is at most 2**-37, so that none is rounded up to the next integer.
    """
    return np.sqrt(_wide(values).astype(np.float64)).astype(np.int64)


def softmax_reciprocal(total: npt.ArrayLike) -> Reciprocal:
    """Reciprocal of a softmax row sum (0 to 2**24 - 1): ``mantissa * 2**(exponent - 39)``."""
    total = _wide(total)
    lead = np.where(total > 0, SUM_BITS - _bit_length(total), 0)
    return Reciprocal(np.zeros_like(total), divide(total << lead), lead)


def context(acc: npt.ArrayLike, row: Reciprocal, multiplier: npt.ArrayLike, shift: int) -> Int8Array:
    """CONTEXT: P V rows times 1/sum (12 fraction bits), times int16 ``multiplier`` per column, to int8."""
    z = scale(acc, row.mantissa[..., None], CONTEXT_SHIFT - row.exponent[..., None])
    return saturate(shift_round(z * _wide(multiplier), shift), 8).astype(np.int8)


def residual(
    acc: npt.ArrayLike,
    bias: npt.ArrayLike,
    multiplier_a: npt.ArrayLike,
    shift_a: int,
    skip: npt.ArrayLike,
    multiplier_b: npt.ArrayLike,
    shift_b: int,
) -> IntArray:
    """RESIDUAL: int16 sum of the scaled accumulator and the scaled int8 ``skip`` rows."""
    main = scale(_wide(acc) + _wide(bias), multiplier_a, shift_a)
    return saturate(main + shift_round(_wide(skip) * _wide(multiplier_b), shift_b), 16)


def mean_multiplier(columns: int) -> int:
    """``round(2**24 / columns)``, half up."""
    return ((1 << 25) + columns) // (2 * columns)


def layernorm_reciprocal(total: npt.ArrayLike, squares: npt.ArrayLike, columns: int, multiplier: int) -> Reciprocal:
    """Mean of a row and the reciprocal of the root of its summed squared deviations.

    ``total`` and ``squares`` are the row's sums of s and s**2 over ``columns`` columns; the deviations
    follow exactly: ``sum((s - mean)**2) = squares - mean * (2 * total - columns * mean)``.
    ``1 / sqrt(V)`` is ``mantissa * 2**(exponent - 37)``.
    """
    total, squares = _wide(total), _wide(squares)
    mean = saturate(shift_round(total * multiplier, 24), 16)
    variance = np.clip(squares - mean * (2 * total - columns * mean), 0, (1 << SQUARES_BITS) - 1)
    half_lead = np.where(variance > 0, (SQUARES_BITS - _bit_length(variance)) >> 1, 0)
    root = square_root((variance << (2 * half_lead)) >> (SQUARES_BITS - 32))
    return Reciprocal(mean, divide(root << 8), half_lead)


def layernorm(s: npt.ArrayLike, row: Reciprocal, gain: npt.ArrayLike, bias: npt.ArrayLike, shift: int) -> Int8Array:
    """LAYERNORM: ``((s - mean) / sqrt(V)) * gain + bias``, shifted, to int8.

    ``gain`` int16 per column (holds gamma, sqrt(columns) and the output scale), ``bias`` int32 per column.
    """
    z = scale(_wide(s) - row.mean[..., None], row.mantissa[..., None], LAYERNORM_SHIFT - row.exponent[..., None])
    return saturate(shift_round(z * _wide(gain) + _wide(bias), shift), 8).astype(np.int8)
