"""Searches: deterministic, never worse than the heuristic, and better where there is something to find."""

import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.compiler.mapping import MappingError, ProductShape
from systolith.compiler.plan import CapacityError, Shape
from systolith.mapping.problem import LayerProblem, ProductProblem
from systolith.mapping.search import SEARCHES, search
from systolith.rtl.config import Config, preset

TINY = preset("tiny")
TIMING = MemoryTiming()


def product(tokens=20, inputs=30, outputs=40, config=TINY):
    return ProductProblem(config, TIMING, ProductShape(tokens=tokens, inputs=inputs, outputs=outputs))


def layer():
    return LayerProblem(TINY, TIMING, Shape(tokens=9, hidden=16, heads=2, ffn=24))


@pytest.mark.parametrize("how", ["random", "guided"])
@pytest.mark.parametrize("problem", [product, layer])
def test_the_same_seed_finds_the_same(problem, how):
    one, two = (search(problem(), how, samples=8, seed=3) for _ in range(2))
    assert one == two
    assert one.predicted <= 8
    assert one.best_score.cycles <= one.heuristic_score.cycles
    assert search(problem(), how, samples=8, seed=4).predicted <= 8


@pytest.mark.parametrize("objective", ["cycles", "energy", "edp"])
def test_what_is_found_is_best_by_the_objective(objective):
    found = search(product(), "exhaustive", objective=objective, samples=30)
    assert found.best_score.of(objective) <= found.heuristic_score.of(objective)
    assert objective == "cycles" or found.best != found.heuristic
    random = search(product(), "random", objective=objective, samples=30)
    assert found.best_score.of(objective) <= random.best_score.of(objective)


def test_guided_search_beats_random_search_of_a_layer():
    guided, random = (search(layer(), how, samples=40, seed=1) for how in ("guided", "random"))
    assert guided.best_score.cycles < min(random.best_score.cycles, guided.heuristic_score.cycles)


def test_the_heuristic_alone_is_one_prediction():
    found = search(product(), "heuristic")
    assert (found.predicted, found.best) == (1, found.heuristic)


def test_progress_counts_predictions():
    seen = []
    search(product(), "random", samples=5, progress=lambda done, most: seen.append((done, most)))
    assert seen == [(number, 5) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"how": "wild"}, f"unknown search 'wild'; the searches are {', '.join(SEARCHES)}"),
        ({"how": "random", "objective": "area"}, "unknown objective 'area'; the objectives are cycles, energy, edp"),
    ],
)
def test_unknown_names_are_refused(arguments, sentence):
    with pytest.raises(MappingError, match=sentence):
        search(product(), **arguments)


def everything(problem):
    """All mappings of a problem, the slow way."""
    if isinstance(problem, LayerProblem):
        return [problem._plan(choice) for choice in problem.space.all()]
    return [some[i] for some in problem.space.all() for i in range(len(some))]


@pytest.mark.parametrize("problem", [product(2, 9, 5), LayerProblem(TINY, TIMING, Shape(1, 4, 1, 4))])
def test_an_exhaustive_search_finds_what_predicting_all_finds(problem):
    scores = [problem.score(mapping) for mapping in everything(problem)]
    assert 170 < len(scores) < 600
    for objective in ("cycles", "energy", "edp"):
        found = search(problem, "exhaustive", objective=objective, samples=30)
        assert found.predicted <= 30
        assert found.best_score.of(objective) == min(score.of(objective) for score in scores)


@pytest.mark.parametrize("objective", ["cycles", "edp"])
def test_an_exhaustive_search_of_a_layer_predicts_the_roughly_best_of_all(objective):
    problem = layer()
    ranked = [problem.rough(plan).of(objective) for plan in problem.promising(25, objective)]
    assert ranked == sorted(problem.rough(plan).of(objective) for plan in everything(problem))[:25]


def test_too_many_mappings_of_a_layer_are_refused():
    large = LayerProblem(preset("default"), TIMING, Shape(tokens=128, hidden=384, heads=12, ffn=1536))
    with pytest.raises(MappingError, match=r"ranks 2,000,000 mappings at most, and here are \d\d,\d{3},\d{3}; use --"):
        search(large, "exhaustive")


def test_memories_that_hold_no_tile_are_refused():
    config = Config(rows=5, cols=7, lanes=1, parameter_bytes=112)
    with pytest.raises(CapacityError, match="5 parameter rows are needed, 2 are there"):
        search(product(config=config), "guided")
