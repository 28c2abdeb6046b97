"""How far the integer encoder is from fp32, over texts that calibration never saw."""

from collections.abc import Callable, Sequence

import numpy as np

from systolith.models.encoder import ModelError, cosine, pool
from systolith.models.registry import Model, load_model
from systolith.models.sentences import evaluation_texts


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


def evaluate_model(name: str, count: int, progress: Callable[[int], None] | None = None) -> dict[str, float]:
    """:func:`evaluate` of the named model over ``count`` held-out texts; ``ModelError`` for one that reads no text."""
    model = load_model(name)
    if model.encoder.embedding is None:
        raise ModelError(f"model {name} reads no text to evaluate on")

    def accept(text: str) -> bool:
        try:
            model.activations(text)
        except ModelError:
            return False
        return True

    return evaluate(model, evaluation_texts(count, accept), progress)
