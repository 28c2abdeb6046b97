"""A float Transformer encoder, BERT's post-LayerNorm kind, in fp32 numpy: what quantisation starts from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from systolith.numerics import reference

Float32 = npt.NDArray[np.float32]
#: Called with the name and value of every intermediate tensor, each (tokens, channels).
Observer = Callable[[str, Float32], None]
#: Largest magnitude of a weight or statistic from a file: float16's, far beyond any trained encoder's. With it no fp32
#: sum or square of the encoder overflows.
MAX_MAGNITUDE = 65504.0


class ModelError(ValueError):
    """A model that is unknown, not installed or misshapen, or a text that it cannot take; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """``x @ weight + bias``: ``weight`` (inputs, outputs), ``bias`` (outputs,)."""

    weight: Float32
    bias: Float32

    def __call__(self, x: Float32) -> Float32:
        return np.asarray(x @ self.weight + self.bias)


@dataclass(frozen=True, kw_only=True)
class Norm:
    """LayerNorm: ``gamma`` and ``beta`` (hidden,)."""

    gamma: Float32
    beta: Float32
    epsilon: float = 1e-12

    def __call__(self, x: Float32) -> Float32:
        return reference.layer_norm(x, self.gamma, self.beta, self.epsilon)


@dataclass(frozen=True, kw_only=True)
class FloatLayer:
    """One post-LN encoder layer with GELU; head size is hidden / heads.

    Raises
    ------
    ModelError
        If the weights' shapes do not fit each other.
    """

    heads: int
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    output_norm: Norm
    ffn1: Linear
    ffn2: Linear
    ffn2_norm: Norm

    def __post_init__(self) -> None:
        hidden, ffn = self.ffn1.weight.shape
        shapes = dict.fromkeys(("query", "key", "value", "output"), (hidden, hidden))
        for name, shape in (shapes | {"ffn1": (hidden, ffn), "ffn2": (ffn, hidden)}).items():
            linear: Linear = getattr(self, name)
            if linear.weight.shape != shape or linear.bias.shape != shape[1:]:
                raise ModelError(f"{name} holds {linear.weight.shape} and {linear.bias.shape}, not {shape}")
        for name in ("output_norm", "ffn2_norm"):
            _check_norm(name, getattr(self, name), hidden)
        check_heads(hidden, self.heads)

    @property
    def hidden(self) -> int:
        return int(self.ffn1.weight.shape[0])

    @property
    def ffn(self) -> int:
        return int(self.ffn1.weight.shape[1])

    def forward(self, x: Float32, valid: int | None = None, observe: Observer | None = None) -> Float32:
        """The layer on ``x`` (tokens, hidden) → the same shape.

        ``valid`` is the number of keys that are not padding (default: all). ``observe`` sees query, key, value,
        context, attention_sum (before LayerNorm), attention, ffn_sum (before GELU), ffn, output_sum, output.
        """

        def seen(name: str, tensor: Float32) -> Float32:
            if observe is not None:
                observe(name, tensor)
            return tensor

        query = seen("query", self.query(x))
        key = seen("key", self.key(x))
        value = seen("value", self.value(x))
        context = seen("context", reference.attention(query, key[:valid], value[:valid], self.heads))
        hidden = seen("attention", self.output_norm(seen("attention_sum", self.output(context) + x)))
        ffn = seen("ffn", reference.gelu(seen("ffn_sum", self.ffn1(hidden))))
        return seen("output", self.ffn2_norm(seen("output_sum", self.ffn2(ffn) + hidden)))


def check_heads(hidden: int, heads: int) -> None:
    """``ModelError`` unless ``hidden`` columns divide into ``heads`` heads."""
    if heads < 1 or hidden % heads:
        raise ModelError(f"hidden size {hidden} does not divide into {heads} heads")


def _check_norm(name: str, norm: Norm, hidden: int) -> None:
    if norm.gamma.shape != (hidden,) or norm.beta.shape != (hidden,):
        raise ModelError(f"{name} holds {norm.gamma.shape} and {norm.beta.shape}, not {(hidden,)}")


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Tables ``word`` (vocabulary, hidden), ``position`` (tokens, hidden), ``token_type`` (hidden,); a LayerNorm.

    Raises
    ------
    ModelError
        If the tables' shapes do not fit each other; when called, if an id or a position is in no table.
    """

    word: Float32
    position: Float32
    token_type: Float32
    norm: Norm

    def __post_init__(self) -> None:
        hidden = self.word.shape[-1]
        for name, table, dimensions in (
            ("word", self.word, 2), ("position", self.position, 2), ("token_type", self.token_type, 1),
        ):  # fmt: skip
            if table.ndim != dimensions or table.shape[-1] != hidden:
                raise ModelError(f"embedding {name} holds {table.shape}; its rows must be of {hidden} columns")
        _check_norm("embedding norm", self.norm, hidden)

    def __call__(self, tokens: npt.NDArray[np.int64]) -> Float32:
        """(tokens,) ids → (tokens, hidden)."""
        if len(tokens) > len(self.position):
            raise ModelError(f"{len(tokens)} tokens exceed the {len(self.position)} rows of the position embedding")
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < len(self.word):
            raise ModelError(f"token id {tokens.max()} exceeds the {len(self.word)} rows of the word embedding")
        return self.norm(self.word[tokens] + self.position[: len(tokens)] + self.token_type)


@dataclass(frozen=True, kw_only=True)
class FloatEncoder:
    """A stack of layers; ``embedding`` is None where inputs are activations already."""

    name: str
    layers: tuple[FloatLayer, ...]
    max_tokens: int
    embedding: Embedding | None = None

    def forward(self, x: Float32, valid: int | None = None) -> list[Float32]:
        """Every layer's output, first to last, for ``x`` (tokens, hidden)."""
        outputs = []
        for layer in self.layers:
            x = layer.forward(x, valid)
            outputs.append(x)
        return outputs


def pool(x: Float32) -> Float32:
    """Sentence embedding of ``x`` (tokens, hidden): the mean over tokens, scaled to length 1."""
    mean = x.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def cosine(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Cosine of the angle between two vectors; 1 for two zero vectors, 0 for one."""
    u, v = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    norms = float(np.linalg.norm(u) * np.linalg.norm(v))
    return float(u @ v) / norms if norms else float(np.array_equal(u, v))
