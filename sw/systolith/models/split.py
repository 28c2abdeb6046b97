"""Outlier channel splitting (arXiv 1901.09504) between the two FFN projections, without widening the FFN.

A trained encoder may hold a GELU channel that fires hard on one token and feeds one output column with a weight a
hundred times the usual. With a scale per column, that column's ordinary weights then round to next to nothing: in
MiniLM this one column made 4/5 of all weight rounding error. Here the weakest channels of the FFN give way to copies
of such a channel, among which its weights are divided; their means move into the bias.
"""

from dataclasses import replace

import numpy as np

from systolith.models.encoder import FloatLayer, Linear
from systolith.models.statistics import LayerStatistics

#: At most one channel in this many gives way.
SHARE = 96
#: A channel is split while its largest weight exceeds this many times the median of the columns' largest.
EXCESS = 20.0


def split_outliers(
    layer: FloatLayer, record: LayerStatistics, channel_range: float
) -> tuple[FloatLayer, LayerStatistics]:
    """The layer with split channels, and its statistics; both unchanged where no channel is an outlier.

    ``channel_range`` is the largest GELU output that needs no scale of its own: above it, the channel's weights grow
    by the channel's scale.
    """
    weight = layer.ffn2.weight
    scaled = np.abs(weight) * np.maximum(record.ffn / channel_range, 1)[:, None]
    bound = EXCESS * float(np.median(scaled.max(axis=0)))
    largest = scaled.max(axis=1)
    copies = np.ones(layer.ffn)
    weakest = iter(np.argsort(record.ffn_deviation * np.linalg.norm(weight, axis=1), kind="stable"))

    source = np.arange(layer.ffn)
    for _ in range(layer.ffn // SHARE):
        outlier = int(np.argmax(largest / copies))
        if largest[outlier] / copies[outlier] <= bound:
            break
        source[next(weakest)] = outlier
        copies[outlier] += 1
    if np.all(copies == 1):
        return layer, record

    given = source != np.arange(layer.ffn)
    bias = layer.ffn2.bias + record.ffn_mean[given] @ weight[given]
    divided = (weight / copies[:, None])[source].astype(np.float32)
    taken = {name: getattr(record, name)[source] for name in ("ffn", "ffn_mean", "ffn_deviation")}
    ffn1 = Linear(weight=layer.ffn1.weight[:, source], bias=layer.ffn1.bias[source])
    return replace(layer, ffn1=ffn1, ffn2=Linear(weight=divided, bias=bias)), replace(record, **taken)
