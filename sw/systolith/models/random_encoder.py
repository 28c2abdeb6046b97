"""Seeded random encoders of any shape, with activations like those of trained ones: for tests and benchmarks."""

import numpy as np

from systolith.models.encoder import Float32, FloatEncoder, FloatLayer, Linear, ModelError, Norm, check_heads

#: Columns whose sum of squares integer.SQUARES_BITS holds.
MAX_HIDDEN = 1 << 14
#: Tokens whose P V sums the 28-bit operand holds: 8,191 products of int8.
MAX_TOKENS = 8191


def _linear(draw: np.random.Generator, inputs: int, outputs: int, gain: float) -> Linear:
    """Weights that turn ``inputs`` values of variance 1 into outputs of deviation ``gain``."""
    weight = draw.standard_normal((inputs, outputs), dtype=np.float32)
    weight *= np.float32(gain / inputs**0.5)
    return Linear(weight=weight, bias=0.1 * draw.standard_normal(outputs, dtype=np.float32))


def _norm(draw: np.random.Generator, hidden: int) -> Norm:
    gamma = 1 + 0.1 * draw.standard_normal(hidden, dtype=np.float32)
    return Norm(gamma=gamma.astype(np.float32), beta=0.1 * draw.standard_normal(hidden, dtype=np.float32))


def random_encoder(*, layers: int = 2, hidden: int = 64, heads: int = 2, ffn: int = 128, seed: int = 0) -> FloatEncoder:
    """A post-LN encoder of random weights; the same for the same arguments.

    Parameters
    ----------
    layers, hidden, heads, ffn : int
        Layers (at least 1), columns (2 to 16,384, a multiple of ``heads``), attention heads, FFN columns (at least 2).
    seed : int
        Not negative.

    Raises
    ------
    ModelError
        If a value is out of range.
    """
    for name, value, low, high in (
        ("layers", layers, 1, None), ("hidden", hidden, 2, MAX_HIDDEN), ("heads", heads, 1, None),
        ("ffn", ffn, 2, None), ("seed", seed, 0, None),
    ):  # fmt: skip
        if value < low or (high is not None and value > high):
            bound = f"at least {low}" if high is None else f"{low} to {high}"
            raise ModelError(f"{name} must be {bound}, not {value}")
    check_heads(hidden, heads)
    draw = np.random.default_rng(seed)
    # Queries and keys of deviation 1.5 make attention attend: scores of deviation about 2.
    stack = tuple(
        FloatLayer(
            heads=heads,
            query=_linear(draw, hidden, hidden, 1.5),
            key=_linear(draw, hidden, hidden, 1.5),
            value=_linear(draw, hidden, hidden, 1.0),
            output=_linear(draw, hidden, hidden, 1.0),
            output_norm=_norm(draw, hidden),
            ffn1=_linear(draw, hidden, ffn, 1.0),
            ffn2=_linear(draw, ffn, hidden, 1.0),
            ffn2_norm=_norm(draw, hidden),
        )
        for _ in range(layers)
    )
    return FloatEncoder(name="random", layers=stack, max_tokens=MAX_TOKENS)


def random_tokens(tokens: int, hidden: int, seed: int) -> Float32:
    """Input activations (tokens, hidden) of variance 1; ``ModelError`` unless 1 to 8,191 tokens."""
    if not 1 <= tokens <= MAX_TOKENS:
        raise ModelError(f"sequence length {tokens} is not 1 to {MAX_TOKENS}, the sums that 28 bits hold")
    return np.random.default_rng((seed, tokens)).standard_normal((tokens, hidden), dtype=np.float32)
