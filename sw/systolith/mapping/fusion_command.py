"""What ``systolith map`` does with a chain: both schedules of it side by side."""

from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.fusion_workloads import AttentionLayerWorkload
from systolith.compiler.plan import Shape
from systolith.rtl.config import Config
from systolith.sim.cache import cache_directory
from systolith.steps import steps

from .chains import Alternative
from .fusion import FUSED, UNFUSED, Schedule, best_schedules, chain_named, measured_schedule
from .score import Score

out = Console()
err = Console(stderr=True)
#: The fields of a program that are its plan.
_PLAN = ("rows", "keys")


def map_chain(
    name: str, shape: Shape, config: Config, timing: MemoryTiming, objective: str, *, confirm: bool
) -> dict[str, Any]:
    """Print both schedules of the chain of that name; the same as JSON values."""
    chain = chain_named(name, shape, config)
    with steps(err, chain.name) as step:
        found = best_schedules(chain, config, timing, objective, step)
        measured: dict[str, Score] = {}
        if confirm:
            cache = cache_directory() / "survey"
            for schedule, best in found.items():
                measured[schedule] = measured_schedule(best, config, timing, cache, step)
    scores = measured or {schedule: best.score for schedule, best in found.items()}
    better = min(scores, key=lambda schedule: scores[schedule].of(objective))
    _print(f"{chain.name}: the best plans for the least {objective}", found, measured)
    out.print(_verdict(scores, better, objective, "on the RTL" if measured else "predicted"))
    return {
        "workload": name, "shape": asdict(shape), "objective": objective, "memory": asdict(timing),
        "predicted": {schedule: asdict(best.score) for schedule, best in found.items()},
        "measured": {schedule: asdict(score) for schedule, score in measured.items()}, "better": better,
        "programs": {
            schedule: [{"times": times, "program": repr(program)} for times, program in best.programs]
            for schedule, best in found.items()
        },
    }  # fmt: skip


def _verdict(scores: dict[str, Score], better: str, objective: str, how: str) -> str:
    if len(scores) == 1:
        return f"Of the plans tried only {better} fits the memories."
    values = sorted(score.of(objective) for score in scores.values())
    if values[0] == values[1]:
        return f"Both have the same {objective}, {how}."
    return f"Better {better}: {objective} {1 - values[0] / values[1]:.1%} less, {how}."


def _print(title: str, found: dict[str, Schedule], measured: dict[str, Score]) -> None:
    costs = Table(title=title, title_justify="left", box=SIMPLE)
    headings = ("schedule", "cycles (predicted)", "energy, uJ (estimated)", "EDP, J x cycles", "cycles (measured, RTL)")
    for heading in headings[: 5 if measured else 4]:
        costs.add_column(heading, justify="left" if heading == "schedule" else "right")
    programs = Table(title="Programs", title_justify="left", box=SIMPLE)
    for heading in ("schedule", "program", "runs", "plan"):
        programs.add_column(heading)
    for name in (FUSED, UNFUSED):
        if name not in found:
            costs.add_row(name, "no plan tried fits")
            continue
        score = found[name].score
        cells = [name, f"{score.cycles:,}", f"{score.energy / 1e6:,.2f}", f"{score.edp / 1e12:.4g}"]
        costs.add_row(*cells, *([f"{measured[name].cycles:,}"] if measured else []))
        for times, program in found[name].programs:
            programs.add_row(name, type(program).__name__.removesuffix("Workload"), str(times), _plan(program))
    out.print(costs)
    out.print(programs)


def _plan(program: Alternative) -> str:
    """How a program is cut, if that was chosen here."""
    if isinstance(program, AttentionLayerWorkload) and program.plan is not None:
        plan = program.plan
        sizes = [f"{plan.query_rows} rows", *([f"{plan.key_rows} keys"] if plan.by_keys else [])]
    else:
        sizes = [f"{getattr(program, name)} {name}" for name in _PLAN if hasattr(program, name)]
    return f"{', '.join(sizes)} at a time" if sizes else "the compiler's"
