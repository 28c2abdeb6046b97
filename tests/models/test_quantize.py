"""Quantised constants within their fields, and the integer encoder close to the float one."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from systolith.models.encoder import ModelError
from systolith.models.quantize import multipliers, smooth_scales, to_int8
from systolith.models.registry import load_model
from systolith.models.split import split_outliers
from systolith.models.statistics import measure

SHAPES = [
    {"hidden": 2, "heads": 1, "ffn": 2, "layers": 1, "tokens": 1},
    {"hidden": 24, "heads": 3, "ffn": 40, "layers": 3, "tokens": 50},
    {"hidden": 64, "heads": 2, "ffn": 128, "layers": 2, "tokens": 200, "seed": 5},
]


@pytest.mark.parametrize("bits", [15, 16])
@pytest.mark.parametrize("largest", [1e-9, 0.3, 1.0, 32767.4])
def test_multipliers_keep_the_precision_of_the_largest(bits, largest):
    ratios = np.array([largest, largest / 3, -largest])
    values, shift = multipliers(ratios, bits, 43)
    assert np.abs(values).max() < 1 << bits
    assert 0 <= shift <= 43
    assert np.abs(values / 2.0**shift - ratios).max() <= 0.5 / 2**shift
    assert shift == 43 or np.abs(values).max() >= 1 << (bits - 1)


def test_multipliers_refuse_what_does_not_fit():
    with pytest.raises(ModelError, match="scale ratio 40000 exceeds the 32767 that 15 bits hold"):
        multipliers([40000.0], 15, 31)


def test_smoothing_clips_nothing_and_evens_out():
    maximum = np.array([1.0, 100.0, 3.0], np.float32)
    scales = smooth_scales(maximum, np.ones((3, 2)))
    assert (scales * 127 >= maximum * 0.999999).all()
    assert scales.max() / scales.min() == pytest.approx(100**0.75, rel=1e-5)


def test_to_int8_rounds_and_clips():
    assert to_int8(np.array([[0.6, -9.0, 500.0]], np.float32), np.array([1, 2, 1])).tolist() == [[1, -4, 127]]


def _constants(node, path=""):
    for f in fields(node):
        value = getattr(node, f.name)
        if is_dataclass(value):
            yield from _constants(value, f"{path}{f.name}.")
        else:
            yield path + f.name, value


@pytest.mark.parametrize("shape", SHAPES)
def test_constants_have_the_widths_of_their_fields(shape):
    model = load_model("random", **shape)
    for layer in model.quantized.layers:
        assert (layer.hidden, layer.ffn, layer.heads) == (shape["hidden"], shape["ffn"], shape["heads"])
        for name, value in _constants(layer):
            kind = name.rsplit(".", 1)[-1]
            if kind.endswith("shift"):
                assert 0 <= value <= 43, name
            elif kind == "weight":
                assert value.dtype == np.int8, name
            elif kind == "bias":
                assert value.dtype == np.int32, name
                assert np.abs(value.astype(np.int64)).max() < 1 << (31 if "norm" in name else 27), name
            elif name.split(".")[0] in ("query", "key", "value", "output", "ffn1", "ffn2") or "exponent" in name:
                assert value.dtype == np.uint16, name
            elif kind in ("multiplier", "context_multiplier", "skip_multiplier", "gain"):
                assert value.dtype == np.int16, name
        assert -128 <= layer.gelu.offset <= 127
        assert 0 <= layer.gelu.grid <= 3


@pytest.mark.parametrize("shape", SHAPES)
def test_every_layer_is_close_to_float(shape):
    model = load_model("random", **shape)
    x = model.prepare()
    assert x.dtype == np.int8
    assert x.shape == (shape["tokens"], shape["hidden"])
    outputs = model.quantized.forward(x)
    for index, (got, want) in enumerate(zip(outputs, model.reference(x), strict=True)):
        error = np.linalg.norm(model.dequantize(got, index) - want) / np.linalg.norm(want)
        assert error < 0.12, index
    assert model.cosine("", outputs[-1]) > 0.98


def test_padded_keys_change_nothing():
    model = load_model("random", tokens=12)
    x = model.prepare()
    padded = np.concatenate([x, np.full((4, 64), 77, np.int8)])
    for got, want in zip(model.quantized.forward(padded, valid=12), model.quantized.forward(x), strict=True):
        np.testing.assert_array_equal(got[:12], want)


def test_splitting_an_outlier_keeps_the_function():
    model = load_model("random", hidden=24, ffn=192, layers=1)
    layer = model.encoder.layers[0]
    layer.ffn2.weight[7, 3] = 40.0
    layer.ffn2.weight[[50, 60]] = 0.0
    x = model.activations("")
    record = measure(model.encoder, [x]).layers[0]
    split, taken = split_outliers(layer, record, float(np.percentile(record.ffn, 99)))
    assert np.abs(split.ffn2.weight).max() == pytest.approx(40 / 3)
    np.testing.assert_array_equal(split.ffn1.weight[:, 50], layer.ffn1.weight[:, 7])
    assert taken.ffn[60] == record.ffn[7]
    np.testing.assert_allclose(split.forward(x), layer.forward(x), atol=1e-4)


def test_a_layer_without_outliers_is_left_alone():
    model = load_model("random", layers=1)
    record = measure(model.encoder, [model.activations("")]).layers[0]
    assert split_outliers(model.encoder.layers[0], record, 10.0)[0] is model.encoder.layers[0]
