"""Searches of a mapspace: the heuristic alone, all, random ones, or guided by simulated annealing."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic

from systolith.compiler.mapping import MappingError

from .problem import M, Problem
from .score import Score, check_objective

#: Said of each mapping that was predicted: how many so far, out of how many.
Progress = Callable[[int, int], None]
#: Temperatures of the annealing at its begin and end, as shares of the value: a change for the worse by so much is
#: accepted once in e times.
_HOT, _COLD = 0.03, 0.0005
#: Changed mappings of which the roughly best is predicted.
_PROPOSALS = 4


@dataclass(frozen=True)
class Found(Generic[M]):
    """What a search found: the heuristic, the best mapping (often the same), and their scores, predicted."""

    heuristic: M
    heuristic_score: Score
    best: M
    best_score: Score
    predicted: int


class _Predictions(Generic[M]):
    """Scores of mappings, each predicted once, and the best of them."""

    def __init__(self, problem: Problem[M], objective: str, most: int, progress: Progress) -> None:
        self.problem, self.objective, self.most, self.progress = problem, objective, most, progress
        self.scores: dict[M, Score] = {}

    def value(self, mapping: M) -> float:
        """What is to be least; infinite for one that cannot be lowered."""
        if mapping not in self.scores:
            try:
                self.scores[mapping] = self.problem.score(mapping)
            except MappingError:
                self.scores[mapping] = Score(math.inf, math.inf)
            self.progress(len(self.scores), self.most)
        return float(self.scores[mapping].of(self.objective))


def search(
    problem: Problem[M], how: str, *, objective: str = "cycles", samples: int = 100, seed: int = 0,
    progress: Progress = lambda done, most: None,
) -> Found[M]:  # fmt: skip
    """Search ``how`` (one of :data:`SEARCHES`) for the mapping with the least ``objective``; the same for a ``seed``.

    At most ``samples`` mappings are predicted: exhaustively the roughly best of all that there are. The heuristic is
    always one of them, and is only left for a better one.

    Raises
    ------
    MappingError
        If there is no such search or objective, or an exhaustive one would take too long.
    CapacityError
        If the memories hold no mapping.
    """
    check_objective(objective)
    if how not in SEARCHES:
        raise MappingError(f"unknown search {how!r}; the searches are {', '.join(SEARCHES)}")
    heuristic = problem.heuristic()
    seen = _Predictions(problem, objective, 1 if how == "heuristic" else samples, progress)
    seen.value(heuristic)
    for mapping in SEARCHES[how](problem, seen, random.Random(seed)):
        seen.value(mapping)
    best = min(seen.scores, key=seen.value)
    return Found(heuristic, seen.scores[heuristic], best, seen.scores[best], len(seen.scores))


def _none(problem: Problem[M], seen: _Predictions[M], rng: random.Random) -> Iterator[M]:
    yield from ()


def _all(problem: Problem[M], seen: _Predictions[M], rng: random.Random) -> Iterator[M]:
    yield from problem.promising(seen.most - 1, seen.objective)


def _random(problem: Problem[M], seen: _Predictions[M], rng: random.Random) -> Iterator[M]:
    for _ in range(seen.most - 1):
        yield problem.draw(rng)


def _guided(problem: Problem[M], seen: _Predictions[M], rng: random.Random) -> Iterator[M]:
    """Simulated annealing (Kirkpatrick et al. 1983) from the heuristic."""
    here = next(iter(seen.scores))
    # A walk that only meets what it has seen comes to its end as well.
    for _ in range(4 * seen.most):
        done = len(seen.scores) / seen.most
        if done >= 1:
            return
        proposals = [problem.neighbour(here, rng) for _ in range(_PROPOSALS)]
        there = min(proposals, key=lambda m: problem.rough(m).of(seen.objective))
        yield there
        worse = seen.value(there) / seen.value(here) - 1
        temperature = _HOT * (_COLD / _HOT) ** done
        if worse <= 0 or rng.random() < math.exp(-worse / temperature):
            here = there


#: Name -> the mappings that it predicts beside the heuristic.
SEARCHES: dict[str, Callable[[Problem[Any], "_Predictions[Any]", random.Random], Iterator[Any]]] = {
    "heuristic": _none, "exhaustive": _all, "random": _random, "guided": _guided,
}  # fmt: skip
