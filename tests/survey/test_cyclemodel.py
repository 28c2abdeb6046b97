"""The predicted cycles stay near the RTL's."""

from systolith.survey.cyclemodel import MEAN, WORST, points
from systolith.survey.figure import Options, run_figure


def test_the_quick_points_are_predicted(tmp_path):
    found = run_figure("cycle-model", Options(cache=tmp_path, quick=True), lambda text: None)
    summary = found.data["summary"]
    assert summary["points"] == len(list(points(quick=True))) == 28
    assert summary["mean"] <= MEAN
    assert summary["worst"] <= WORST
    for record in found.data["points"]:
        assert abs(record["predicted"] / record["measured"] - 1) <= WORST
    found.pictures["cycle-model"](tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 5000
    # A second time nothing is simulated.
    again = run_figure("cycle-model", Options(cache=tmp_path, quick=True), lambda text: 1 / 0)
    assert [r["measured"] for r in again.data["points"]] == [r["measured"] for r in found.data["points"]]


def test_all_points_are_more_than_sixty():
    assert len(list(points(quick=False))) >= 60
