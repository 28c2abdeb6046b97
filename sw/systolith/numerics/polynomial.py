"""I-BERT's integer functions: second-order polynomials where this accelerator has look-up tables.

Kim et al. 2021, arXiv 2101.01321: a real number is ``q * scale`` with an integer ``q``; scales are known beforehand,
so that only ``q`` is computed with. The paper's functions take int64 arrays and a scale, and return the ``q`` and scale
of their result. The last two, :func:`numerator` and :func:`gelu_grid`, are the same polynomials in the formats of the
accelerator's lanes: what a configuration with ``approximation = "polynomial"`` computes.
"""

import math

import numpy as np
import numpy.typing as npt

from .integer import EXPONENT_FRACTION, GELU_FRACTION, IntArray, octave_split, octaves_down, shift_round, square_root

#: exp(x) ~ a (x + b)**2 + c on -ln 2 < x <= 0 (section 3.5, equation 13).
EXPONENTIAL = (0.3585, 1.353, 0.344)
#: erf(x) ~ a (x + b)**2 + c on 0 <= x <= -b (section 3.4, equation 8).
ERROR_FUNCTION = (-0.2888, -1.769, 1.0)
#: exp of a fraction f of an octave is ``a ln(2)**2 / 2**12 (b 2**6 / ln(2) - f)**2 + c`` with f in units of 2**-6. As a
#: numerator of 127 with 9 more bits the factor is 2.734 = 53.0**2 / 2**10 / 1.003, so that f is multiplied by 53 (four
#: bits, three adders) before it is squared, and nothing after; the numerators are 0.3 % larger than the table's,
#: which division by their own sum takes off again: 127.44 at most.
EXPONENT_STEP, EXPONENT_DROPPED = 53, 10
#: 127 * 2**9 by that factor of 1.003.
_NUMERATOR = EXPONENT_STEP**2 / 2**EXPONENT_DROPPED / (EXPONENTIAL[0] * (math.log(2) / 2**EXPONENT_FRACTION) ** 2)
EXPONENT_ROOT = round(EXPONENT_STEP * 2**EXPONENT_FRACTION * EXPONENTIAL[1] / math.log(2))
EXPONENT_OFFSET = round(_NUMERATOR * EXPONENTIAL[2])
#: Magnitude, in units of 2**-11, from which erf(x / sqrt(2)) is 1.
GELU_LIMIT = math.floor(-ERROR_FUNCTION[1] * math.sqrt(2) * 2**GELU_FRACTION)
#: relu(x) - gelu(x) = |x| (1 - erf(|x| / sqrt(2))) / 2 = |x| (0.2888 / 4) (2.502 - |x|)**2, and 0.2888 / 4 = 37 / 2**9
#: within 0.1 %: two adders.
GELU_FACTOR, _GELU_FACTOR_BITS = 37, 9
#: Bits dropped of the square (16 are left) and of its product with |x| (14 are left), each for one operand of an FPGA's
#: multiplier and for short adders; what then is left to drop of 22 + 9.
GELU_SQUARE_DROPPED, GELU_PRODUCT_DROPPED = 9, 12
GELU_DROPPED = 2 * GELU_FRACTION + _GELU_FACTOR_BITS - GELU_SQUARE_DROPPED - GELU_PRODUCT_DROPPED
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


def numerator(t: npt.ArrayLike) -> IntArray:
    """``127 * 2**(-t / 64)``, 0 to 127: ``integer.numerator`` with the polynomial in place of the table."""
    octave, fraction = octave_split(t)
    root = EXPONENT_ROOT - EXPONENT_STEP * fraction
    return octaves_down((root * root >> EXPONENT_DROPPED) + EXPONENT_OFFSET, octave)


def gelu_grid(q: npt.ArrayLike, grid: int) -> IntArray:
    """GELU of int16 ``q`` on the grid ``2**(grid - 11)``: ``integer.gelu_grid`` with the polynomial for the table."""
    wide = np.asarray(q).astype(np.int64)
    magnitude = np.minimum(np.abs(wide), 32767)
    root = GELU_LIMIT - np.minimum(magnitude << grid, GELU_LIMIT)
    product = magnitude * (root * root >> GELU_SQUARE_DROPPED) >> GELU_PRODUCT_DROPPED
    result: IntArray = np.maximum(wide, 0) - shift_round(product * GELU_FACTOR, GELU_DROPPED)
    return result
