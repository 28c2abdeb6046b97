"""Mapspace statistics: the whole experiment on a small product and layer."""

import json

from systolith.survey.figure import Options, run_figure


def test_the_spread_is_counted_and_a_sample_confirmed(tmp_path):
    found = run_figure("mapping", Options(cache=tmp_path, quick=True), lambda text: None)
    product = found.data["products"]["scores"]
    assert product["edp"]["min"] < product["edp"]["median"] < product["edp"]["max"]
    assert 0 < product["within_1.1x"] < product["within_3x"] <= 1
    assert [run["mapping"] for run in product["runs"]] == ["heuristic", "best of the random", "random 1"]
    for run in product["runs"]:
        assert abs(run["predicted"] / run["measured"] - 1) < 0.05
    (layer,) = found.data["layers"]
    assert layer["measured"][1] <= layer["measured"][0] * 1.05
    json.dumps(found.data)
    found.pictures["mapping"](tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 5000
    assert run_figure("mapping", Options(cache=tmp_path, quick=True), lambda text: None).data == found.data
