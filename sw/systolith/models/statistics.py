"""What calibration learns of an encoder's activations: all that static quantisation needs besides the weights."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.arrays import read_arrays
from systolith.files import write_whole
from systolith.models.encoder import MAX_MAGNITUDE, Float32, FloatEncoder, ModelError

#: Most bytes of a statistics file, as it is and inflated.
_FILE_BYTES, _INFLATED_BYTES = 1 << 24, 1 << 26


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
        """Write the statistics to one file; it appears whole or not at all."""
        arrays: dict[str, Any] = {"inputs": self.inputs}
        for index, layer in enumerate(self.layers):
            arrays |= {f"{index}.{f.name}": getattr(layer, f.name) for f in fields(layer)}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path, encoder: FloatEncoder) -> "Statistics":
        """The statistics of ``encoder`` from a file.

        Raises
        ------
        FileError
            If the file cannot be read, is larger than 16 MiB (inflated: 64 MiB), or truncated or corrupted.
        ModelError
            If it holds other statistics than this encoder's, or values that are no finite numbers.
        """
        arrays = read_arrays(path, _FILE_BYTES, inflated=_INFLATED_BYTES)

        def array(name: str, wanted: Float32) -> Float32:
            if name not in arrays:
                raise ModelError(f"{path}: there is no array {name} for model {encoder.name}")
            value = arrays[name]
            if value.dtype != np.float32 or value.shape != wanted.shape:
                raise ModelError(
                    f"{path}: {name} is {value.dtype} of shape {value.shape}, not float32 of {wanted.shape}"
                )
            if not np.all(np.abs(value) <= MAX_MAGNITUDE):
                raise ModelError(f"{path}: {name} holds values that are not within ±{MAX_MAGNITUDE:g}")
            return value

        empty = [LayerStatistics.empty(layer.hidden, layer.ffn) for layer in encoder.layers]
        return cls(
            inputs=array("inputs", np.zeros(encoder.layers[0].hidden, np.float32)),
            layers=[
                LayerStatistics(**{f.name: array(f"{i}.{f.name}", getattr(record, f.name)) for f in fields(record)})
                for i, record in enumerate(empty)
            ],
        )


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
