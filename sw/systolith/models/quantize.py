"""Static post-training quantisation: a float encoder and its statistics become a :class:`QuantizedEncoder`.

Scales are float numbers: real value = integer * scale. Every ratio of scales that the hardware applies is a multiplier
of at most 16 bits per column and one shift per tensor. No scale depends on the data that is run.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from systolith.models.encoder import Float32, FloatEncoder, FloatLayer, Linear, ModelError, Norm
from systolith.models.quantized import AddNorm, Attention, Gelu, Projection, QuantizedEncoder, QuantizedLayer
from systolith.models.split import split_outliers
from systolith.models.statistics import LayerStatistics, Statistics
from systolith.numerics import integer

Float64 = npt.NDArray[np.float64]

#: Share of activation outliers that smoothing moves into the weights (SmoothQuant, arXiv 2211.10438).
SMOOTHING = 0.75
#: A bias takes at most this many units of its accumulator, so that sums keep within integer.OPERAND_BITS.
BIAS_LIMIT = 1 << (integer.OPERAND_BITS - 4)
#: Headroom of the int16 sum before LayerNorm over the largest calibrated magnitude.
SUM_HEADROOM = 1.5
#: Channels whose largest GELU output lies above this percentile of all channels' get a scale of their own.
GELU_PERCENTILE = 99
#: GELU's least value, at x = -0.7518.
GELU_MINIMUM = -0.16997


def multipliers(ratios: npt.ArrayLike, bits: int, max_shift: int) -> tuple[npt.NDArray[np.int64], int]:
    """Integers m of ``bits`` bits (sign not counted) and a shift n, at most ``max_shift``: m / 2**n ~ ``ratios``.

    Raises
    ------
    ModelError
        If the largest ratio needs more than ``bits`` bits, or one is no number.
    """
    wanted = np.asarray(ratios, dtype=np.float64)
    largest = float(np.abs(wanted).max())
    if not np.isfinite(largest):
        raise ModelError(f"scale ratio {largest} is no finite number")
    limit = (1 << bits) - 1
    shift = max_shift if largest == 0 else min(max_shift, int(np.floor(np.log2((limit + 0.5) / largest))))
    if shift < 0:
        raise ModelError(f"scale ratio {largest:.6g} exceeds the {limit} that {bits} bits hold")
    values = np.floor(wanted * 2.0**shift + 0.5).astype(np.int64)
    if np.abs(values).max() > limit:
        values, shift = np.floor(wanted * 2.0 ** (shift - 1) + 0.5).astype(np.int64), shift - 1
    return values, shift


def smooth_scales(maximum: Float32, *consumers: npt.NDArray[np.floating]) -> Float64:
    """Scales (channels,) of an int8 tensor that the weights ``consumers`` (channels, outputs) read.

    ``maximum`` (channels,) is never clipped. With no consumers each channel fills its own range.
    """
    amax = maximum.astype(np.float64)
    amax = np.maximum(amax, max(float(amax.max()) * 2.0**-12, 1e-30))
    if not consumers:
        return np.asarray(amax / 127)
    weight = np.max([np.abs(w).max(axis=1) for w in consumers], axis=0).astype(np.float64)
    weight = np.maximum(weight, max(float(weight.max()) * 2.0**-12, 1e-30))
    shape = amax**SMOOTHING / weight ** (1 - SMOOTHING)
    return np.asarray(shape * float((amax / shape).max()) / 127)


@dataclass(frozen=True)
class _Weight:
    """int8 ``values`` (inputs, outputs), float ``scale`` and int32 ``bias`` (outputs,)."""

    values: npt.NDArray[np.int8]
    scale: Float64
    bias: npt.NDArray[np.int32]


def _quantize_weight(weight: Float64, bias: Float64) -> _Weight:
    """Symmetric int8 per output column; the scale also keeps the bias within :data:`BIAS_LIMIT`."""
    scale = np.maximum(np.abs(weight).max(axis=0) / 127, np.abs(bias) / BIAS_LIMIT)
    scale = np.maximum(scale, max(float(scale.max()) * 2.0**-16, 1e-30))
    return _Weight(np.round(weight / scale).astype(np.int8), scale, np.floor(bias / scale + 0.5).astype(np.int32))


def _projection(w: _Weight, out_scale: Float64 | float) -> Projection:
    multiplier, shift = multipliers(w.scale / out_scale, 16, integer.OPERAND_BITS + 15)
    return Projection(weight=w.values, bias=w.bias, multiplier=multiplier.astype(np.uint16), shift=shift)


def _linear(linear: Linear, in_scale: Float64) -> _Weight:
    return _quantize_weight(linear.weight * in_scale[:, None], linear.bias.astype(np.float64))


def _query_key_scales(record: LayerStatistics, heads: int) -> tuple[Float64, Float64, Float64]:
    """Scales of query and key (hidden,) each, and their product (heads,).

    Within a head only the product of a query's and its key's scale must be constant: the ratio evens out the two
    ranges in each channel.
    """
    query, key = (np.maximum(x.astype(np.float64), 1e-6).reshape(heads, -1) for x in (record.query, record.key))
    common = np.sqrt(query * key).max(axis=1, keepdims=True) / 127
    ratio = np.sqrt(query / key)
    return (common * ratio).ravel(), (common / ratio).ravel(), (common**2).ravel()


def sum_scale(maximum: Float32) -> float:
    """Scale of the int16 sum before LayerNorm, from its largest calibrated magnitude (1,)."""
    return SUM_HEADROOM * max(float(maximum[0]), 1e-6) / 32767


def _add_norm(
    w: _Weight, norm: Norm, sum_maximum: Float32, skip_scale: Float64, out_scale: Float64
) -> tuple[Projection, AddNorm]:
    step = sum_scale(sum_maximum)
    skip, skip_shift = multipliers(skip_scale / step, 15, 31)
    # The normalised value has 14 fraction bits and lacks the factor sqrt(hidden).
    gain_ratio = norm.gamma * np.sqrt(len(norm.gamma)) / out_scale * 2.0**-14
    bias_ratio = norm.beta / out_scale
    largest_bias = float(np.abs(bias_ratio).max())
    bias_room = 30 if largest_bias == 0 else int(np.floor(np.log2((2**31 - 1) / largest_bias)))
    gain, shift = multipliers(gain_ratio, 15, min(30, bias_room))
    return _projection(w, step), AddNorm(
        skip_multiplier=skip.astype(np.int16),
        skip_shift=skip_shift,
        gain=gain.astype(np.int16),
        bias=np.floor(bias_ratio * 2.0**shift + 0.5).astype(np.int32),
        shift=shift,
    )


def quantize_layer(layer: FloatLayer, record: LayerStatistics, in_scale: Float64, out_scale: Float64) -> QuantizedLayer:
    """One layer, between int8 tensors of the scales ``in_scale`` and ``out_scale`` (hidden,)."""
    ffn_range = max(float(np.percentile(record.ffn, GELU_PERCENTILE)), 1e-6)
    layer, record = split_outliers(layer, record, ffn_range)
    query_scale, key_scale, product = _query_key_scales(record, layer.heads)
    value_scale = np.maximum(record.value.astype(np.float64), 1e-6) / 127
    exponent_ratio = product / np.log(2) * (layer.hidden // layer.heads) ** -0.5 * 2.0**integer.EXPONENT_FRACTION
    exponent_multiplier, exponent_shift = multipliers(exponent_ratio, 16, 43)
    context_scale = smooth_scales(record.context, layer.output.weight)
    context_multiplier, context_shift = multipliers(value_scale / context_scale * 2.0**-12, 15, 40)

    output = _quantize_weight(
        layer.output.weight * context_scale[:, None], layer.output.bias.astype(np.float64) + record.output_shift
    )
    attention_scale = smooth_scales(record.attention, layer.ffn1.weight)
    projected, output_norm = _add_norm(output, layer.output_norm, record.attention_sum, in_scale, attention_scale)

    grid = 0 if record.ffn_sum[0] < 15 else 1 if record.ffn_sum[0] < 30 else 2
    outlier = np.maximum(record.ffn / ffn_range, 1).astype(np.float64)
    step = (float((record.ffn / outlier).max()) - GELU_MINIMUM) / 255
    offset = int(np.ceil(-128 - GELU_MINIMUM / step))
    gelu_multiplier, gelu_shift = multipliers(2.0 ** (grid - integer.GELU_FRACTION) / (step * outlier), 15, 31)
    ffn_scale = step * outlier
    ffn2_weight = layer.ffn2.weight * ffn_scale[:, None]
    ffn2 = _quantize_weight(ffn2_weight, layer.ffn2.bias.astype(np.float64) + record.ffn2_shift)
    zero = offset * ffn2.values.astype(np.int64).sum(axis=0)
    ffn2 = _Weight(ffn2.values, ffn2.scale, (ffn2.bias - zero).astype(np.int32))
    projected2, ffn2_norm = _add_norm(ffn2, layer.ffn2_norm, record.output_sum, attention_scale, out_scale)

    return QuantizedLayer(
        heads=layer.heads,
        query=_projection(_linear(layer.query, in_scale), query_scale),
        key=_projection(_linear(layer.key, in_scale), key_scale),
        value=_projection(_linear(layer.value, in_scale), value_scale),
        attention=Attention(
            exponent_multiplier=exponent_multiplier.astype(np.uint16),
            exponent_shift=exponent_shift,
            context_multiplier=context_multiplier.astype(np.int16),
            context_shift=context_shift,
        ),
        output=projected,
        output_norm=output_norm,
        ffn1=_projection(_linear(layer.ffn1, attention_scale), 2.0 ** (grid - integer.GELU_FRACTION)),
        gelu=Gelu(multiplier=gelu_multiplier.astype(np.int16), shift=gelu_shift, offset=offset, grid=grid),
        ffn2=projected2,
        ffn2_norm=ffn2_norm,
    )


def layer_scales(encoder: FloatEncoder, statistics: Statistics) -> list[Float64]:
    """Scales (hidden,) of every layer's int8 input, and of the last layer's output."""
    scales = []
    amax = statistics.inputs
    for layer, record in zip(encoder.layers, statistics.layers, strict=True):
        scales.append(smooth_scales(amax, layer.query.weight, layer.key.weight, layer.value.weight))
        amax = record.output
    return [*scales, smooth_scales(amax)]


def quantize(encoder: FloatEncoder, statistics: Statistics) -> QuantizedEncoder:
    """The whole encoder in integers.

    Raises
    ------
    ModelError
        If a scale ratio does not fit its multiplier, which means that the statistics are not this encoder's.
    """
    scales = layer_scales(encoder, statistics)
    layers = tuple(
        quantize_layer(layer, record, scales[index], scales[index + 1])
        for index, (layer, record) in enumerate(zip(encoder.layers, statistics.layers, strict=True))
    )
    return QuantizedEncoder(
        name=encoder.name,
        layers=layers,
        max_tokens=encoder.max_tokens,
        input_scale=scales[0].astype(np.float32),
        output_scale=scales[-1].astype(np.float32),
    )


def to_int8(x: Float32, scale: npt.NDArray[np.floating]) -> npt.NDArray[np.int8]:
    """``x`` (tokens, channels) in units of ``scale`` (channels,), rounded and clipped to int8."""
    return np.clip(np.round(x / scale), -128, 127).astype(np.int8)
