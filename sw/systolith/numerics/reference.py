"""The float reference: what an encoder layer computes in fp32, with nothing quantised.

Rows are tokens, columns are channels; every function keeps the dtype of its input.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

# Coefficients, highest power first, of erf(x) ~ x P(x**2) / Q(x**2) on |x| <= 4: the single-precision
# rational approximation of Eigen (MathFunctionsImpl.h) and XLA (ErfImpl32).
_ERF_P = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_ERF_Q = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
          -1.42647390514189e-02)  # fmt: skip


def _horner(x: FloatArray, coefficients: tuple[float, ...]) -> FloatArray:
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= x
        result += x.dtype.type(coefficient)
    return result


def erf(x: FloatArray) -> FloatArray:
    """The error function, any shape; absolute error below 1e-7, plus rounding in fp32 (5e-7 in all)."""
    clipped = np.clip(x, -4, 4)
    square = clipped * clipped
    clipped *= _horner(square, _ERF_P)
    clipped /= _horner(square, _ERF_Q)
    return clipped


def gelu(x: FloatArray) -> FloatArray:
    """``x * Phi(x)``, the exact GELU (arXiv 1606.08415)."""
    result = erf(x * x.dtype.type(0.5**0.5))
    result += 1
    result *= x
    result *= x.dtype.type(0.5)
    return result


def softmax(scores: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    weights: FloatArray = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def layer_norm(x: FloatArray, gamma: FloatArray, beta: FloatArray, epsilon: float) -> FloatArray:
    """LayerNorm over the columns of ``x`` (tokens, hidden); ``gamma`` and ``beta`` are (hidden,)."""
    deviation = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(deviation * deviation, axis=-1, keepdims=True)
    return np.asarray(deviation / np.sqrt(variance + x.dtype.type(epsilon)) * gamma + beta)


def attention(query: FloatArray, key: FloatArray, value: FloatArray, heads: int) -> FloatArray:
    """Multi-head attention: ``softmax(Q K^T / sqrt(head size)) V`` per head, concatenated.

    ``query`` is (tokens, hidden), ``key`` and ``value`` (keys, hidden), columns ordered by head.
    """
    size = query.shape[1] // heads
    q, k, v = (x.reshape(x.shape[0], heads, size).transpose(1, 0, 2) for x in (query, key, value))
    scores = (q @ k.transpose(0, 2, 1)) * query.dtype.type(size**-0.5)
    return (softmax(scores) @ v).transpose(1, 0, 2).reshape(query.shape)
