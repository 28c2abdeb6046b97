"""Models by name: each with its float encoder, its integer encoder and a way to make inputs."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from systolith.models import minilm
from systolith.models.calibrate import calibrate
from systolith.models.encoder import Float32, FloatEncoder, ModelError, cosine, pool
from systolith.models.quantize import layer_scales, quantize, to_int8
from systolith.models.quantized import QuantizedEncoder
from systolith.models.random_encoder import random_encoder, random_tokens
from systolith.models.statistics import Statistics

__all__ = ["MODELS", "Model", "ModelError", "load_model"]

Int8 = npt.NDArray[np.int8]

#: Tokens of each of the sequences that a random encoder is calibrated on.
_CALIBRATION_TOKENS = (8, 48, 96)


@dataclass(frozen=True, kw_only=True)
class Model:
    """An encoder in float and in integers.

    ``scales`` holds, for the input and for each layer's output, the float scale (hidden,) of an int8 unit;
    ``activations`` makes the float input (tokens, hidden) of a text (which a random encoder ignores).
    """

    name: str
    encoder: FloatEncoder
    quantized: QuantizedEncoder
    scales: tuple[Float32, ...]
    activations: Callable[[str], Float32]

    def prepare(self, text: str = "") -> Int8:
        """The int8 input (tokens, hidden) of ``text``; ``ModelError`` if it has too many tokens."""
        return to_int8(self.activations(text), self.scales[0])

    def dequantize(self, x: npt.NDArray[np.int8], layer: int = -1) -> Float32:
        """Float values of layer ``layer``'s int8 output (by default the last's)."""
        return np.asarray(x * self.scales[1:][layer], dtype=np.float32)

    def embed(self, output: npt.NDArray[np.int8]) -> Float32:
        """Sentence embedding (hidden,), of length 1, from the last layer's int8 output (tokens, hidden)."""
        return pool(self.dequantize(output))

    def reference(self, x: npt.NDArray[np.int8]) -> list[Float32]:
        """Every layer's output in fp32, for the int8 input ``x`` (tokens, hidden)."""
        return self.encoder.forward(np.asarray(x * self.scales[0], dtype=np.float32))

    def cosine(self, text: str, output: npt.NDArray[np.int8]) -> float:
        """Cosine between the sentence embeddings of the int8 ``output`` and of fp32 throughout, for ``text``."""
        return cosine(self.embed(output), pool(self.encoder.forward(self.activations(text))[-1]))


def _bundle(
    encoder: FloatEncoder, statistics: Statistics, layers: int | None, activations: Callable[[str], Float32]
) -> Model:
    """The quantised model, cut to its first ``layers`` layers; those are the same however many follow."""
    count = len(encoder.layers) if layers is None else layers
    if not 1 <= count <= len(encoder.layers):
        raise ModelError(f"model {encoder.name} has {len(encoder.layers)} layers; cannot take the first {count}")
    scales = tuple(s.astype(np.float32) for s in layer_scales(encoder, statistics)[: count + 1])
    whole = quantize(encoder, statistics)
    return Model(
        name=encoder.name,
        encoder=replace(encoder, layers=encoder.layers[:count]),
        quantized=replace(whole, layers=whole.layers[:count], output_scale=scales[-1]),
        scales=scales,
        activations=activations,
    )


def _minilm(layers: int | None = None) -> Model:
    encoder = minilm.load_encoder()
    tokenize = minilm.TextTokenizer()

    def activations(text: str) -> Float32:
        if encoder.embedding is None:
            raise ModelError(f"model {encoder.name} has no embedding")
        return encoder.embedding(tokenize(text))

    return _bundle(encoder, Statistics.load(minilm.STATISTICS, encoder), layers, activations)


def _random(
    layers: int | None = None, seed: int = 0, hidden: int = 64, heads: int = 2, ffn: int = 128, tokens: int = 32
) -> Model:
    encoder = random_encoder(layers=2 if layers is None else layers, hidden=hidden, heads=heads, ffn=ffn, seed=seed)
    x = random_tokens(tokens, hidden, seed)
    statistics = calibrate(encoder, [random_tokens(count, hidden, seed + 1) for count in _CALIBRATION_TOKENS])
    return _bundle(encoder, statistics, None, lambda text: x)


MODELS: dict[str, Callable[..., Model]] = {minilm.NAME: _minilm, "random": _random}


def load_model(name: str, **shape: int | None) -> Model:
    """The named model, quantised.

    Parameters
    ----------
    name : str
        ``minilm-l6`` or ``random``.
    shape : int
        ``layers``: only the first layers (random: how many). ``random`` also takes ``seed``, ``hidden``, ``heads``,
        ``ffn`` and ``tokens`` (of its input).

    Raises
    ------
    ModelError
        If the name is unknown, the model's package is not installed, or it has no such option or shape.
    """
    if name not in MODELS:
        raise ModelError(f"unknown model {name!r}; the models are {', '.join(MODELS)}")
    options = inspect.signature(MODELS[name]).parameters
    for option in shape:
        if option not in options:
            raise ModelError(f"model {name} has no option {option!r}; its options are {', '.join(options)}")
    return MODELS[name](**shape)
