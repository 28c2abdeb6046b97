"""The predicted cycles stay near the RTL's."""

import dataclasses

import pytest

from systolith.analysis.prediction import MEAN_ERROR, WORST_ERROR
from systolith.survey import cyclemodel
from systolith.survey.cyclemodel import check_errors, points
from systolith.survey.figure import Options, SurveyError, run_figure


def test_the_quick_points_are_predicted(tmp_path):
    found = run_figure("cycle-model", Options(cache=tmp_path, quick=True), lambda text: None)
    summary = found.data["summary"]
    assert summary["points"] == len(list(points(quick=True))) == 28
    assert summary["mean"] <= MEAN_ERROR
    assert summary["worst"] <= WORST_ERROR
    for record in found.data["points"]:
        assert abs(record["predicted"] / record["measured"] - 1) <= WORST_ERROR
    found.pictures["cycle-model"](tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 5000
    # A second time nothing is simulated.
    again = run_figure("cycle-model", Options(cache=tmp_path, quick=True), lambda text: 1 / 0)
    assert [r["measured"] for r in again.data["points"]] == [r["measured"] for r in found.data["points"]]


def test_a_model_that_is_off_is_no_answer(tmp_path, monkeypatch):
    right = cyclemodel.predict

    def short(instructions, config, timing):
        found = right(instructions, config, timing)
        return dataclasses.replace(found, cycles=round(0.9 * found.cycles))

    monkeypatch.setattr(cyclemodel, "points", lambda quick: list(points(quick=True))[:1])
    monkeypatch.setattr(cyclemodel, "predict", short)
    said = r"the predicted cycles of GEMM 24x40x33 on 4x4, memory latency 30 are -\d+\.\d\d% off, more than 5%"
    with pytest.raises(SurveyError, match=said):
        run_figure("cycle-model", Options(cache=tmp_path, quick=True), lambda text: None)


def records(*errors):
    return [{"name": f"p{i}", "array": "4x4", "latency": 30, "error": error} for i, error in enumerate(errors)]


def test_errors_up_to_the_bounds_pass_and_beyond_are_named():
    check_errors(records(0.05, -0.01, 0.0))
    with pytest.raises(SurveyError, match=r"^the predicted cycles of p1 on 4x4, memory latency 30 are -5.10% off"):
        check_errors(records(0.01, -0.051, *[0.0] * 9))
    with pytest.raises(SurveyError, match=r"of 2 points are 3.00% off in the mean, more than 2%; the worst is p0 on"):
        check_errors(records(0.04, -0.02))


def test_all_points_are_more_than_sixty():
    assert len(list(points(quick=False))) >= 60
