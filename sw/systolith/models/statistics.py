"""What calibration learns of an encoder's activations: all that static quantisation needs besides the weights."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.models.encoder import Float32, FloatEncoder


class ColumnMeans:
    """Column means of tensors over all their rows, by name."""

    def __init__(self) -> None:
        self._totals: dict[str, npt.NDArray[np.float64]] = {}
        self._rows: dict[str, int] = {}

    def observe(self, name: str, tensor: npt.NDArray[Any]) -> None:
        self._totals[name] = self._totals.get(name, 0.0) + tensor.sum(axis=0, dtype=np.float64)
        self._rows[name] = self._rows.get(name, 0) + len(tensor)

    def __getitem__(self, name: str) -> npt.NDArray[np.float64]:
        return self._totals[name] / self._rows[name]


@dataclass(kw_only=True)
class LayerStatistics:
    """Largest magnitudes of one layer's tensors: (channels,) each, or one number for the sums.

    ``ffn`` is the largest value, not magnitude (GELU's least is -0.17 in every channel); ``ffn_sum`` the largest
    value before GELU. ``ffn_mean`` and ``ffn_deviation`` (ffn,) are over all tokens. ``output_shift`` and
    ``ffn2_shift`` (hidden,) are what bias correction adds to the biases of the two projections before a LayerNorm, in
    float units.
    """

    query: Float32
    key: Float32
    value: Float32
    context: Float32
    attention_sum: Float32
    attention: Float32
    ffn_sum: Float32
    ffn: Float32
    ffn_mean: Float32
    ffn_deviation: Float32
    output_sum: Float32
    output: Float32
    output_shift: Float32
    ffn2_shift: Float32

    @classmethod
    def empty(cls, hidden: int, ffn: int) -> "LayerStatistics":
        sizes = {"attention_sum": 1, "ffn_sum": 1, "output_sum": 1}
        sizes |= {"ffn": ffn, "ffn_mean": ffn, "ffn_deviation": ffn}
        return cls(**{f.name: np.zeros(sizes.get(f.name, hidden), np.float32) for f in fields(cls)})

    def observe(self, name: str, tensor: Float32) -> None:
        """Take (tokens, channels) ``tensor`` into the largest magnitudes of ``name``."""
        maximum: Float32 = getattr(self, name)
        magnitude = tensor if name in ("ffn", "ffn_sum") else np.abs(tensor)
        largest = magnitude.max(axis=0)
        np.maximum(maximum, largest.max() if len(maximum) == 1 else largest, out=maximum)


@dataclass(kw_only=True)
class Statistics:
    """``inputs`` (hidden,): largest magnitudes of the first layer's input; and one record for each layer."""

    inputs: Float32
    layers: list[LayerStatistics] = field(default_factory=list)

    def save(self, path: Path) -> None:
        arrays: dict[str, Any] = {"inputs": self.inputs}
        for index, layer in enumerate(self.layers):
            arrays |= {f"{index}.{f.name}": getattr(layer, f.name) for f in fields(layer)}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        with np.load(path, allow_pickle=False) as arrays:
            count = sum(name.endswith(".query") for name in arrays)
            layers = [
                LayerStatistics(**{f.name: arrays[f"{index}.{f.name}"] for f in fields(LayerStatistics)})
                for index in range(count)
            ]
            return cls(inputs=arrays["inputs"], layers=layers)


def measure(encoder: FloatEncoder, inputs: Iterable[npt.NDArray[np.float32]]) -> Statistics:
    """Statistics of the float encoder over ``inputs``, each (tokens, hidden); bias corrections are left at 0."""
    first = encoder.layers[0]
    statistics = Statistics(
        inputs=np.zeros(first.hidden, np.float32),
        layers=[LayerStatistics.empty(layer.hidden, layer.ffn) for layer in encoder.layers],
    )
    means = [ColumnMeans() for _ in encoder.layers]
    for x in inputs:
        np.maximum(statistics.inputs, np.abs(x).max(axis=0), out=statistics.inputs)
        for layer, record, mean in zip(encoder.layers, statistics.layers, means, strict=True):

            def observe(name: str, tensor: Float32, record: LayerStatistics = record, mean: ColumnMeans = mean) -> None:
                record.observe(name, tensor)
                if name == "ffn":
                    mean.observe("ffn", tensor)
                    mean.observe("squares", tensor * tensor)

            x = layer.forward(x, observe=observe)
    for record, mean in zip(statistics.layers, means, strict=True):
        record.ffn_mean[:] = mean["ffn"]
        record.ffn_deviation[:] = np.sqrt(np.maximum(mean["squares"] - mean["ffn"] ** 2, 0))
    return statistics
