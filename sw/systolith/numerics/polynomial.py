"""I-BERT's integer functions: second-order polynomials where this accelerator has look-up tables.

Kim et al. 2021, arXiv 2101.01321: a real number is ``q * scale`` with an integer ``q``; scales are known beforehand,
so that only ``q`` is computed with. Every function takes int64 arrays and a scale, and returns the ``q`` and scale of
its result.
"""

import math

import numpy as np

from .integer import IntArray, square_root

#: exp(x) ~ a (x + b)**2 + c on -ln 2 < x <= 0 (section 3.5, equation 13).
EXPONENTIAL = (0.3585, 1.353, 0.344)
#: erf(x) ~ a (x + b)**2 + c on 0 <= x <= -b (section 3.4, equation 8).
ERROR_FUNCTION = (-0.2888, -1.769, 1.0)
#: Bits of a reciprocal and of a softmax numerator, and octaves beyond which exp is 0.
_RECIPROCAL_BITS, _NUMERATOR_BITS, _OCTAVES = 32, 15, 30
#: Bits of a row's sum of squares in LayerNorm (section 3.6): squares are shifted until it fits.
_SQUARES_BITS = 32


def polynomial(q: IntArray, scale: float, coefficients: tuple[float, float, float]) -> tuple[IntArray, float]:
    """``a (x + b)**2 + c`` (algorithm 1)."""
    a, b, c = coefficients
    unit = a * scale * scale
    shifted = q + math.floor(b / scale)
    return shifted * shifted + math.floor(c / unit), unit


def exponential(q: IntArray, scale: float) -> tuple[IntArray, float]:
    """``exp(x)`` of ``x <= 0`` (algorithm 3): 2**-z times the polynomial of what is left of ``x``."""
    octave = math.floor(math.log(2) / scale)
    z = -q // octave
    y, unit = polynomial(q + z * octave, scale, EXPONENTIAL)
    return y >> np.minimum(z, _OCTAVES), unit


def softmax(q: IntArray, scale: float, bits: int = 8) -> tuple[IntArray, float]:
    """Softmax over the last axis (algorithm 3), rounded down to ``bits`` bits.

    The numerators are cut to 16 bits with a sign before they are added, as in the authors' code (IntSoftmax of
    Hugging Face's transformers/models/ibert/quant_modules.py).
    """
    y, unit = exponential(q - q.max(axis=-1, keepdims=True), scale)
    y >>= max(math.floor(1 / unit).bit_length() - _NUMERATOR_BITS, 0)
    reciprocal = (1 << _RECIPROCAL_BITS) // y.sum(axis=-1, keepdims=True)
    return (y * reciprocal) >> (_RECIPROCAL_BITS - bits), 2.0**-bits


def gelu(q: IntArray, scale: float) -> tuple[IntArray, float]:
    """``x (1 + erf(x / sqrt(2))) / 2`` (algorithm 2)."""
    inner = scale / math.sqrt(2)
    clipped = np.minimum(np.abs(q), math.floor(-ERROR_FUNCTION[1] / inner))
    y, unit = polynomial(clipped, inner, ERROR_FUNCTION)
    return q * (np.sign(q) * y + math.floor(1 / unit)), scale * unit / 2


def normalize(q: IntArray) -> tuple[IntArray, float]:
    """LayerNorm of each row without gamma and beta (section 3.6); the scale of ``q`` does not matter.

    The root is exact: its integer Newton iteration ends at ``floor(sqrt(v))``.
    """
    columns = q.shape[-1]
    deviation = q - np.rint(q.mean(axis=-1, keepdims=True)).astype(np.int64)
    squares = deviation * deviation
    excess = max(int(squares.sum(axis=-1).max(initial=1)).bit_length() - _SQUARES_BITS, 0)
    shift = (excess + 1) // 2
    root = square_root((squares >> (2 * shift)).sum(axis=-1, keepdims=True)) << shift
    factor = (1 << 31) // np.maximum(root, 1)
    return (deviation * factor) >> 1, math.sqrt(columns) * 2.0**-30
