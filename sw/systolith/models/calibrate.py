"""Calibration: measure a float encoder, then correct the biases for what rounding shifts.

``python -m systolith.models.calibrate`` measures MiniLM on the package's own sentences and rewrites the statistics
file that the registry loads.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from systolith.models import minilm
from systolith.models.encoder import Float32, FloatEncoder, ModelError
from systolith.models.quantize import Float64, layer_scales, quantize_layer, sum_scale, to_int8
from systolith.models.quantized import AddNorm, Array, Projection, QuantizedLayer
from systolith.models.sentences import calibration_texts
from systolith.models.statistics import ColumnMeans, LayerStatistics, Statistics, measure
from systolith.numerics.approximation import DEFAULT


def _mean_sum(inputs: Float64, skip: Float64, p: Projection, norm: AddNorm) -> Float64:
    """Mean (hidden,) of the integer sum before LayerNorm, from the means of its int8 operands (RESIDUAL is linear)."""
    main = (inputs @ p.weight.astype(np.float64) + p.bias) * p.multiplier.astype(np.float64) * 2.0**-p.shift
    return main + skip * norm.skip_multiplier.astype(np.float64) * 2.0**-norm.skip_shift


def calibrate(encoder: FloatEncoder, inputs: Sequence[Float32], approximation: str = DEFAULT) -> Statistics:
    """Statistics of ``encoder`` over ``inputs``, each (tokens, hidden), with bias corrections.

    The corrections make the mean of each sum before LayerNorm, over all tokens, that of the float encoder; layer by
    layer, behind the quantised layers before it, which compute with ``approximation``.
    """
    statistics = measure(encoder, inputs)
    scales = layer_scales(encoder, statistics)
    exact = list(inputs)
    integers: list[Array] = [to_int8(x, scales[0]) for x in inputs]

    for index, (layer, record) in enumerate(zip(encoder.layers, statistics.layers, strict=True)):
        wanted = ColumnMeans()
        exact = [layer.forward(x, observe=wanted.observe) for x in exact]

        def quantized(index: int = index, record: LayerStatistics = record) -> QuantizedLayer:
            layer = quantize_layer(encoder.layers[index], record, scales[index], scales[index + 1])
            return replace(layer, approximation=approximation)

        trial, found = quantized(), ColumnMeans()
        for x in integers:
            found.observe("skip", x)
            trial.forward(x, observe=found.observe)
        mean = _mean_sum(found["context"], found["skip"], trial.output, trial.output_norm)
        record.output_shift[:] = wanted["attention_sum"] - mean * sum_scale(record.attention_sum)

        trial, found = quantized(), ColumnMeans()
        for x in integers:
            trial.forward(x, observe=found.observe)
        mean = _mean_sum(found["ffn"], found["attention"], trial.ffn2, trial.ffn2_norm)
        record.ffn2_shift[:] = wanted["output_sum"] - mean * sum_scale(record.output_sum)

        final = quantized()
        if index + 1 < len(encoder.layers):
            integers = [final.forward(x) for x in integers]
    return statistics


def main() -> None:
    """Calibrate MiniLM and write its statistics file."""
    encoder = minilm.load_encoder()
    embedding = encoder.embedding
    if embedding is None:
        raise ModelError(f"model {encoder.name} has no embedding")
    tokenize = minilm.TextTokenizer()
    statistics = calibrate(encoder, [embedding(tokenize(text)) for text in calibration_texts()])
    statistics.save(minilm.STATISTICS)
    print(f"{minilm.STATISTICS}: {minilm.STATISTICS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
