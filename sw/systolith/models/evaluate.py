"""How far the integer encoder is from fp32, over texts that calibration never saw."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from systolith.models.encoder import ModelError, cosine, pool
from systolith.models.registry import Model, load_model
from systolith.models.sentences import evaluation_texts
from systolith.numerics.approximation import APPROXIMATIONS, DEFAULT


def evaluate(model: Model, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> dict[str, float]:
    """Cosine between the sentence embeddings of the integer reference and of fp32 (from the unquantised input).

    ``progress`` is called with the number of texts done. Returns mean, min and n, the number of texts.
    """
    cosines = []
    for done, text in enumerate(texts, 1):
        exact = pool(model.encoder.forward(model.activations(text))[-1])
        cosines.append(cosine(model.embed(model.quantized.forward(model.prepare(text))[-1]), exact))
        if progress is not None:
            progress(done)
    return {"mean": float(np.mean(cosines)), "min": float(np.min(cosines)), "n": len(cosines)}


def evaluate_model(
    name: str, count: int, progress: Callable[[int], None] | None = None, approximation: str = DEFAULT
) -> dict[str, float]:
    """:func:`evaluate` of the named model, calibrated for look-ups, over ``count`` held-out texts.

    Raises
    ------
    ModelError
        If the model reads no text, or nothing is known by the names.
    """
    if approximation not in APPROXIMATIONS:
        raise ModelError(f"unknown approximation {approximation!r}; the approximations are {', '.join(APPROXIMATIONS)}")
    model = load_model(name)
    model = replace(model, quantized=model.quantized.approximated(approximation))
    return evaluate(model, held_out(model, count), progress)


def held_out(model: Model, count: int) -> list[str]:
    """``count`` texts that calibration never saw; ``ModelError`` if the model reads no text."""
    if model.encoder.embedding is None:
        raise ModelError(f"model {model.name} reads no text to evaluate on")

    def accept(text: str) -> bool:
        try:
            model.activations(text)
        except ModelError:
            return False
        return True

    return evaluation_texts(count, accept)
