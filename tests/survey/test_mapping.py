"""Mapspace statistics: the whole experiment on a small product and layer."""

import json

import numpy as np
import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.compiler.mapping import ProductShape
from systolith.mapping.problem import ProductProblem
from systolith.rtl.config import preset
from systolith.survey import mapping
from systolith.survey.figure import Options, run_figure


def test_the_spread_is_counted_and_a_sample_confirmed(tmp_path):
    found = run_figure("mapping", Options(cache=tmp_path, quick=True), lambda text: None)
    product = found.data["products"]["scores"]
    assert product["edp"]["min"] < product["edp"]["median"] < product["edp"]["max"]
    assert 0 < product["within_1.1x"] < product["within_3x"] <= 1
    sample = product["sample"]
    assert (sample["drawn"], sample["predicted"]) == (8, 8)
    assert 0 <= sample["within_3x"] <= 1
    for errors in (sample["cycles_error"], sample["edp_error"]):
        assert 0 < errors["mean"] < errors["worst"] < 0.5
    assert [run["mapping"] for run in product["runs"]] == ["heuristic", "best of the random", "random 1"]
    for run in product["runs"]:
        assert abs(run["predicted"] / run["measured"] - 1) < 0.05
    (layer,) = found.data["layers"]
    assert layer["measured"][1] <= layer["measured"][0] * 1.05
    json.dumps(found.data)
    spread, off, _, _ = found.tables
    assert "8 by the cycle model" in spread.columns
    assert "the first 8 mappings drawn" in off.title
    found.pictures["mapping"](tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 5000
    assert run_figure("mapping", Options(cache=tmp_path, quick=True), lambda text: None).data == found.data


def test_a_sample_is_any_mappings_predicted_once(tmp_path, monkeypatch):
    problem = ProductProblem(preset("tiny"), MemoryTiming(30), ProductShape(tokens=32, inputs=8, outputs=32))
    drawn = problem.space.draw(6, np.random.default_rng(0))
    scores = [problem.score(drawn[i]) for i in range(6)]
    least = min(score.edp for score in scores)
    closed = problem.closed_form.score(drawn)

    def sampled():
        known = mapping._Least(float(closed.edp.min()), 2 * least)
        return mapping._sampled("p", problem, drawn, known, Options(cache=tmp_path), lambda text: None)

    found = sampled()
    assert found["within_3x"] == pytest.approx(sum(score.edp <= 3 * least for score in scores) / 6)
    errors = [abs(float(closed.edp[i]) / scores[i].edp - 1) for i in range(6)]
    assert found["edp_error"] == pytest.approx({"mean": sum(errors) / 6, "worst": max(errors)})
    monkeypatch.setattr(ProductProblem, "score", lambda *args: 1 / 0)
    assert sampled() == found
    # Longer programs are left out, and the closed form says whether they are near.
    lengths = problem.closed_form.instructions(drawn)
    monkeypatch.setattr(mapping, "_INSTRUCTIONS", int(np.median(lengths)))
    assert sampled()["predicted"] == int((lengths <= int(np.median(lengths))).sum()) < 6
