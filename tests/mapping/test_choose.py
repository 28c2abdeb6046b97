"""What ``--mapping search`` adopts: the better one, on the RTL where the prediction leaves a doubt; searched once."""

import dataclasses

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


def pretend(monkeypatch, predicted, measured, energy=(1.0, 1.0)):
    """Let the search find a mapping of these ``predicted`` cycles, and the RTL take these ``measured`` ones."""
    problem = LayerProblem(TINY, TIMING, SHAPE)
    heuristic = problem.heuristic()
    best = problem.space.plan(next(iter(problem.space.all())))
    assert best != heuristic
    found = Found(heuristic, Score(predicted[0], energy[0]), best, Score(predicted[1], energy[1]), 60)
    searches = []
    monkeypatch.setattr(choose, "search", lambda *args, **values: searches.append(values) or found)
    runs = {heuristic: measured[0], best: measured[1]}
    monkeypatch.setattr(choose, "confirmed", lambda problem, mapping, score, *rest: Score(runs[mapping], score.energy))
    return heuristic, best, searches


def chosen(cache, *objective):
    return choose.choose_plan(TINY, SHAPE, TIMING, cache, lambda text: None, *objective)


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


def test_where_the_model_has_no_bound_the_rtl_decides(monkeypatch):
    found = Found(None, Score(1000, 1.0), None, Score(700, 0.9), 60)
    one_bank = dataclasses.replace(TINY, scratchpad_banks=1)
    assert [choose.surely_better(found, "cycles", config) for config in (TINY, one_bank)] == [True, False]
    assert [choose.surely_better(found, "edp", config) for config in (TINY, one_bank)] == [True, False]
    assert choose.surely_better(found, "energy", one_bank)


def test_a_choice_is_kept_for_the_tools_that_ran_it(monkeypatch, tmp_path):
    _, _, searches = pretend(monkeypatch, (1000, 850), (0, 0))
    chosen(tmp_path)
    monkeypatch.setattr(choose, "origin", lambda: "another compiler")
    assert "kept" not in chosen(tmp_path).reason
    assert len(searches) == 2


@pytest.mark.parametrize(
    ("objective", "energy", "adopted", "reason"),
    [
        # An energy has no error, however small the gain; the cycles do not count.
        ("energy", (1.0, 0.99), True, "energy 1.0% less than the heuristic's, predicted"),
        ("energy", (1.0, 1.0), False, "none of 60 is predicted to be better"),
        ("edp", (1.0, 0.8), True, "edp 19.2% less than the heuristic's, predicted"),
        ("edp", (1.0, 0.95), True, "edp 1.2% less than the heuristic's, on the RTL"),
        ("edp", (1.0, 0.98), False, "the heuristic's: the best found has edp 1.9% more on the RTL"),
    ],
)
def test_the_objective_decides(monkeypatch, tmp_path, objective, energy, adopted, reason):
    heuristic, best, searches = pretend(monkeypatch, (1000, 1010), (1000, 1040), energy)
    found = chosen(tmp_path, objective)
    assert found.plan == (best if adopted else heuristic)
    assert reason in found.reason
    assert searches[0]["objective"] == objective
    # What is kept is kept for this objective.
    assert "kept" not in chosen(tmp_path).reason
    assert "kept" in chosen(tmp_path, objective).reason


@pytest.mark.parametrize("objective", ["energy", "edp"])
def test_a_search_for_another_objective_is_no_worse_by_it(tmp_path, objective):
    problem = LayerProblem(TINY, TIMING, SHAPE)
    plan = choose.choose_plan(TINY, SHAPE, TIMING, tmp_path, lambda text: None, objective).plan
    assert problem.score(plan).of(objective) < problem.score(problem.heuristic()).of(objective)


def test_a_search_on_the_rtl_is_no_worse_than_the_heuristic(tmp_path):
    said = []
    plan = choose.choose_plan(TINY, SHAPE, TIMING, tmp_path, said.append).plan
    problem = LayerProblem(TINY, TIMING, SHAPE)
    assert any("RTL" in text for text in said)
    score = choose.confirmed(problem, plan, Score(0, 0.0), tmp_path, lambda text: None)
    default = choose.confirmed(problem, problem.heuristic(), Score(0, 0.0), tmp_path, lambda text: None)
    assert score.cycles < default.cycles
