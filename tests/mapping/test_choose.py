"""What ``--mapping search`` adopts: the better one, on the RTL where the prediction leaves a doubt; searched once."""

import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.compiler.plan import Shape
from systolith.mapping import choose
from systolith.mapping.problem import LayerProblem
from systolith.mapping.score import Score
from systolith.mapping.search import Found
from systolith.rtl.config import preset

TINY, TIMING = preset("tiny"), MemoryTiming()
SHAPE = Shape(tokens=9, hidden=16, heads=2, ffn=24)


def pretend(monkeypatch, predicted, measured):
    """Let the search find a mapping of these ``predicted`` cycles, and the RTL take these ``measured`` ones."""
    problem = LayerProblem(TINY, TIMING, SHAPE)
    heuristic = problem.heuristic()
    best = problem.space.plan(next(iter(problem.space.all())))
    assert best != heuristic
    found = Found(heuristic, Score(predicted[0], 1.0), best, Score(predicted[1], 1.0), 60)
    searches = []
    monkeypatch.setattr(choose, "search", lambda *args, **values: searches.append(values) or found)
    runs = {heuristic: measured[0], best: measured[1]}
    monkeypatch.setattr(choose, "confirmed", lambda problem, mapping, score, *rest: Score(runs[mapping], score.energy))
    return heuristic, best, searches


def chosen(cache):
    return choose.choose_plan(TINY, SHAPE, TIMING, cache, lambda text: None)


@pytest.mark.parametrize(
    ("predicted", "measured", "adopted", "reason"),
    [
        ((1000, 850), (0, 0), True, "cycles 15.0% less than the heuristic's, predicted"),
        ((1000, 980), (1000, 990), True, "cycles 1.0% less than the heuristic's, on the RTL"),
        ((1000, 980), (1000, 1010), False, "the heuristic's: the best found has cycles 1.0% more on the RTL"),
        ((1000, 1000), (0, 0), False, "none of 60 is predicted to be better"),
    ],
)
def test_only_what_is_better_is_adopted(monkeypatch, tmp_path, predicted, measured, adopted, reason):
    heuristic, best, searches = pretend(monkeypatch, predicted, measured)
    found = chosen(tmp_path)
    assert found.plan == (best if adopted else heuristic)
    assert reason in found.reason
    again = chosen(tmp_path)
    assert again.plan == found.plan
    assert "kept from an earlier search" in again.reason
    assert len(searches) == 1


def test_a_search_on_the_rtl_is_no_worse_than_the_heuristic(tmp_path):
    said = []
    plan = choose.choose_plan(TINY, SHAPE, TIMING, tmp_path, said.append).plan
    problem = LayerProblem(TINY, TIMING, SHAPE)
    assert any("RTL" in text for text in said)
    score = choose.confirmed(problem, plan, Score(0, 0.0), tmp_path, lambda text: None)
    default = choose.confirmed(problem, problem.heuristic(), Score(0, 0.0), tmp_path, lambda text: None)
    assert score.cycles < default.cycles
