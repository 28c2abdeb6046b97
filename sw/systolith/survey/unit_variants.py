"""The accelerator's look-ups and I-BERT's polynomials (arXiv 2101.01321) as real functions, and their errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.models.encoder import cosine, pool
from systolith.models.quantize import sum_scale
from systolith.models.registry import Model
from systolith.numerics import integer, polynomial, reference

Array = npt.NDArray[Any]

#: Units of the inputs: scores, and GELU's argument (the accelerator's finest grid).
_SCORE, _GELU = 2.0**-12, 2.0**-integer.GELU_FRACTION


def _whole(x: Array, unit: float, bits: int) -> integer.IntArray:
    return integer.saturate(np.rint(x / unit), bits)


def lookup_softmax(scores: Array) -> Array:
    """EXPONENT and its row's reciprocal."""
    q = _whole(scores, _SCORE, integer.OPERAND_BITS)
    shift = 16
    multiplier = round(_SCORE / np.log(2) * 2 ** (integer.EXPONENT_FRACTION + shift))
    y = integer.exponent(q, q.max(axis=-1), multiplier, shift).astype(np.int64)
    row = integer.softmax_reciprocal(y.sum(axis=-1))
    weights = y * (row.mantissa * 2.0 ** (row.exponent - 39))[..., None]
    return np.asarray(weights, scores.dtype)


def polynomial_softmax(scores: Array, bits: int = 8) -> Array:
    """I-BERT's, whose weights have 8 bits; or more, to tell the polynomial's error from that of the weights."""
    y, unit = polynomial.softmax(_whole(scores, _SCORE, integer.OPERAND_BITS), _SCORE, bits)
    return np.asarray(y * unit, scores.dtype)


def lookup_gelu(x: Array) -> Array:
    """The table on its finest grid that holds the largest value (|x| < 16, 32 or 64)."""
    grid = int(np.clip(np.ceil(np.log2(max(float(np.abs(x).max(initial=1)), 1) / 16)), 0, 2))
    unit = _GELU * 2**grid
    return np.asarray(integer.gelu_grid(_whole(x, unit, 16), grid) * unit, x.dtype)


def polynomial_gelu(x: Array) -> Array:
    y, unit = polynomial.gelu(_whole(x, _GELU, 20), _GELU)
    return np.asarray(y * unit, x.dtype)


def _sums(x: Array) -> integer.IntArray:
    """int16 with the headroom over the largest magnitude that quantisation leaves."""
    return _whole(x, sum_scale(np.abs(x).max(initial=0.0, keepdims=True).ravel().astype(np.float32)), 16)


def lookup_normalize(x: Array) -> Array:
    """LAYERNORM without gain and bias: 14 fraction bits."""
    s, columns = _sums(x), x.shape[-1]
    row = integer.layernorm_reciprocal(
        s.sum(axis=-1), (s * s).sum(axis=-1), columns, integer.mean_multiplier(columns)
    )  # fmt: skip
    z = integer.scale(
        s - row.mean[..., None], row.mantissa[..., None], integer.LAYERNORM_SHIFT - row.exponent[..., None]
    )
    return np.asarray(z * 2.0**-14 * columns**0.5, x.dtype)


def polynomial_normalize(x: Array) -> Array:
    y, unit = polynomial.normalize(_sums(x))
    return np.asarray(y * unit, x.dtype)


def _normalize(x: Array) -> Array:
    columns = x.shape[-1]
    return reference.layer_norm(x, np.ones(columns, x.dtype), np.zeros(columns, x.dtype), 0.0)


#: Unit -> exact function, and what computes it in integers.
VARIANTS: dict[str, tuple[Callable[[Array], Array], dict[str, Callable[[Array], Array]]]] = {
    "softmax": (
        reference.softmax,
        {
            "look-up": lookup_softmax,
            "polynomial": polynomial_softmax,
            "polynomial, 16-bit weights": partial(polynomial_softmax, bits=16),
        },
    ),
    "gelu": (reference.gelu, {"look-up": lookup_gelu, "polynomial": polynomial_gelu}),
    "layernorm": (_normalize, {"look-up": lookup_normalize, "polynomial": polynomial_normalize}),
}


@contextmanager
def replaced(unit: str, function: Callable[[Array], Array]) -> Iterator[None]:
    """The float reference with one function replaced; for LayerNorm, what precedes gamma and beta."""

    def layer_norm(x: Array, gamma: Array, beta: Array, epsilon: float) -> Array:
        return np.asarray(function(x) * gamma + beta)

    name = {"layernorm": "layer_norm"}.get(unit, unit)
    exact = getattr(reference, name)
    setattr(reference, name, layer_norm if unit == "layernorm" else function)
    try:
        yield
    finally:
        setattr(reference, name, exact)


def samples(unit: str) -> Array:
    """Inputs in float64, seeded: rows of scores and of sums of 768 columns; GELU's every input over -4 to 4."""
    draw = np.random.default_rng(0)
    if unit == "gelu":
        return np.arange(-4, 4, _GELU)
    return draw.normal(0, 2 if unit == "softmax" else 1.5, (256, 128 if unit == "softmax" else 768))


def errors(unit: str, function: Callable[[Array], Array]) -> tuple[float, float]:
    """Largest and root-mean-square deviation from the exact function over :func:`samples`."""
    x = samples(unit)
    away = np.abs(function(x) - VARIANTS[unit][0](x))
    return float(away.max()), float(np.sqrt(np.mean(away**2)))


def least_cosine(model: Model, texts: list[str], unit: str, function: Callable[[Array], Array]) -> float:
    """Of the sentence embeddings with one function replaced and those of fp32, over ``texts``."""
    least = 1.0
    for text in texts:
        x = model.activations(text)
        exact = pool(model.encoder.forward(x)[-1])
        with replaced(unit, function):
            least = min(least, cosine(pool(model.encoder.forward(x)[-1]), exact))
    return least
