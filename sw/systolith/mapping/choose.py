"""The best mapping that is known for a layer: searched for once, kept, and never worse than the heuristic."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.prediction import WORST_ERROR, is_bounded
from systolith.compiler.mapping import MappingError
from systolith.compiler.plan import Plan, Shape
from systolith.files import FileError, digest
from systolith.rtl.config import Config
from systolith.sweep.fingerprint import origin, sources_of

from .confirm import Report, confirmed
from .file import MappingFile, config_digest, read_mapping
from .problem import LayerProblem
from .score import Score, check_objective
from .search import Found, search

#: A gain smaller than this is not worth a run on the RTL.
_LEAST_GAIN = 0.001
#: Mappings that are predicted, and the seed of the search.
_SAMPLES, _SEED = 60, 0


@dataclass(frozen=True)
class Chosen:
    """A plan, and in a sentence why it is the one."""

    plan: Plan
    reason: str


def surely_better(found: Found[Any], objective: str, config: Config) -> bool:
    """Whether the best beats the heuristic by more than the error of the predicted cycles could amount to.

    Accesses are counted exactly, so an energy has no such error. Where there is no bound, nothing is sure.
    """
    if objective != "energy" and not is_bounded(config):
        return False
    margin = 1.0 if objective == "energy" else (1 + WORST_ERROR) / (1 - WORST_ERROR)
    return bool(found.best_score.of(objective) * margin < found.heuristic_score.of(objective))


def choose_plan(
    config: Config, shape: Shape, timing: MemoryTiming, cache: Path, report: Report, objective: str = "cycles"
) -> Chosen:
    """The best plan of a guided search, kept under ``cache``.

    It is taken instead of the heuristic if it is better by more than the model's error, or on the RTL.

    Raises
    ------
    CapacityError
        If no plan fits the memories.
    """
    check_objective(objective)
    # Runs on the RTL decide, and before them the predictions and the search, on which no run depends.
    what = f"{shape} {timing} {objective} {_SAMPLES} {_SEED} {origin()} {sources_of('analysis', 'mapping')}"
    path = cache / "mappings" / f"{digest(f'{config.to_toml()}{what}'.encode())[:24]}.json"
    try:
        plan = read_mapping(path, config, shape)
        assert isinstance(plan, Plan)
        return Chosen(plan, f"kept from an earlier search in {path}")
    except (FileError, MappingError):
        pass

    def progress(done: int, most: int) -> None:
        report(f"searching mappings: {done} of {most}")

    found = search(
        LayerProblem(config, timing, shape), "guided", objective=objective, samples=_SAMPLES, seed=_SEED,
        progress=progress,
    )  # fmt: skip
    chosen, results = _adopt(found, config, shape, timing, cache, report, objective)
    path.parent.mkdir(parents=True, exist_ok=True)
    MappingFile(config=config_digest(config), shape=shape, mapping=chosen.plan, results=results).write(path)
    return chosen


def _adopt(
    found: Found[Plan], config: Config, shape: Shape, timing: MemoryTiming, cache: Path, report: Report, objective: str
) -> tuple[Chosen, dict[str, Any]]:
    results: dict[str, Any] = {
        "objective": objective, "memory": asdict(timing), "predicted": _scores(found.heuristic_score, found.best_score)
    }  # fmt: skip
    gain = 1 - found.best_score.of(objective) / found.heuristic_score.of(objective)
    if gain < _LEAST_GAIN:
        why = f"the heuristic's: none of {found.predicted} is predicted to be better"
        return Chosen(found.heuristic, why), results
    where = "predicted"
    if not surely_better(found, objective, config):
        problem, where = LayerProblem(config, timing, shape), "on the RTL"
        both = ((found.heuristic, found.heuristic_score), (found.best, found.best_score))
        scores = [confirmed(problem, mapping, score, cache, report) for mapping, score in both]
        results["measured"] = _scores(*scores)
        gain = 1 - scores[1].of(objective) / scores[0].of(objective)
    if gain > 0:
        return Chosen(
            found.best, f"found by search: {objective} {gain:.1%} less than the heuristic's, {where}"
        ), results
    why = f"the heuristic's: the best found has {objective} {-gain:.1%} more on the RTL"
    return Chosen(found.heuristic, why), results


def _scores(heuristic: Score, best: Score) -> dict[str, Any]:
    return {"heuristic": asdict(heuristic), "best": asdict(best)}
