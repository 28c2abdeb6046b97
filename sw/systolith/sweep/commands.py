"""The commands ``systolith sweep`` and ``systolith report``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from systolith.rtl.config import Config
from systolith.steps import steps

from .series import point_titles, settings_of_all
from .space import LISTS, Point, parse_list, points_of, read_file, replaced
from .workload import NAMES, SYNTAX, SweepError

out = Console()
err = Console(stderr=True)

_List = str | None


def sweep(
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the results.")] = Path("results"),
    workload: Annotated[
        _List, typer.Option(help=f"{SYNTAX}; encoders: {', '.join(NAMES)}. Lists are separated by commas.")
    ] = None,
    dims: Annotated[_List, typer.Option(help="Array sizes: N or ROWSxCOLS.")] = None,
    axi: Annotated[_List, typer.Option(help="Widths of the memory bus, bits.")] = None,
    scratchpad: Annotated[_List, typer.Option(help="Scratchpad sizes: bytes, or KiB (64K), MiB (1M).")] = None,
    accumulator: Annotated[_List, typer.Option(help="Accumulator sizes, likewise.")] = None,
    lanes: Annotated[_List, typer.Option(help="Lanes of the vector unit.")] = None,
    latency: Annotated[_List, typer.Option(help="Memory latencies, cycles (default 30).")] = None,
    bandwidth: Annotated[_List, typer.Option(help="Memory bandwidths, bytes a cycle; 0 is the bus width.")] = None,
    preset: Annotated[str | None, typer.Option(help="What sizes start from: tiny, small, default or large.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration in TOML that sizes start from.")] = None,
    file: Annotated[Path | None, typer.Option(help="Options in TOML; those given here replace them.")] = None,
    synth: Annotated[str | None, typer.Option(help="Also synthesise each accelerator, for this target.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes (default: one for each processor).")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Run on this Dask scheduler, e.g. tcp://host:8786.")] = None,
) -> None:
    """Run workloads on accelerators of many sizes, on the RTL and checked bit for bit; resumes where it stopped."""
    lists = {
        "dims": dims, "workload": workload, "axi": axi, "scratchpad": scratchpad, "accumulator": accumulator,
        "lanes": lanes, "latency": latency, "bandwidth": bandwidth,
    }  # fmt: skip
    given: dict[str, Any] = {name: parse_list(text) for name in LISTS if (text := lists[name]) is not None}
    given |= {name: str(v) for name, v in (("preset", preset), ("config", config), ("synth", synth)) if v is not None}
    options = replaced(read_file(file), given) if file else given
    points = points_of(options)
    if scheduler is not None and jobs is not None:
        raise SweepError("--scheduler excludes --jobs: the cluster's workers decide")
    raise typer.Exit(_sweep(points, options.get("synth"), output, jobs or _processors(), scheduler))


def _processors() -> int:
    """Those that this process may use, where the system says so: a cluster's job often has a part of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sweep(points: list[Point], target: str | None, output: Path, jobs: int, scheduler: str | None) -> int:
    """Run what has not run; the exit status."""
    from .fingerprint import key, origin, synthesis_key, synthesis_origin
    from .progress import SweepProgress
    from .record import Outcome
    from .schedule import Schedule, Synthesize
    from .store import JSON_LINES, TABLE, Store
    from .synthesis import check_target, missing, synthesis_title
    from .workers import dask_workers, local_workers

    if target is not None:
        check_target(target)
    workers = local_workers(jobs) if scheduler is None else dask_workers(scheduler)
    store = Store(output, origin(), synthesis_origin())
    keyed = {key(point): point for point in points}
    todo = {name: point for name, point in keyed.items() if store.done(name) is None}
    configs: dict[Config, None] = dict.fromkeys(point.config for point in points if point.config)
    areas = {synthesis_key(c.to_toml(), target): Synthesize(c, target) for c in configs} if target else {}
    left = {name: task for name, task in areas.items() if store.done_synthesis(name) is None}
    if len(todo) < len(keyed):
        err.print(f"{len(keyed) - len(todo)} of {len(keyed)} points are done already")
    interrupted = False
    ended: list[str] = []
    with SweepProgress(err, todo.items(), left) as progress:

        def finished(record: dict[str, Any]) -> None:
            store.put(record)
            ended.append(record["key"])
            progress.point(record)

        def synthesized(record: dict[str, Any]) -> None:
            store.put_synthesis(record)
            progress.synthesis(record)

        try:
            Schedule(todo.values(), left.values(), finished, synthesized, progress.idle, progress.built).run(workers)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            store.write()
    records = [store.records[name] for name in keyed if name in store.records]
    syntheses = [store.syntheses[name] for name in areas if name in store.syntheses]
    same = f"; {settings_of_all(records)}" if records else ""
    out.print(f"Measured on the RTL{same}; the bound is computed", highlight=False, soft_wrap=True)
    out.print(_table(records))
    complaints = [f"{keyed[r['key']].title}, {r['outcome']}: {r['failure']}" for r in records if r["failure"]]
    complaints += [f"{synthesis_title(r)}: {reason}" for r in syntheses if (reason := missing(r))]
    for complaint in complaints:
        out.print(complaint, style="red", markup=False, highlight=False, soft_wrap=True)
    exact = sum(record["outcome"] == Outcome.EXACT for record in records)
    out.print(
        f"{len(records)} of {len(keyed)} points, {exact} bit-exact, {len(ended)} run this time: "
        f"{output / JSON_LINES}, {output / TABLE}",
        soft_wrap=True,
    )
    if interrupted:
        err.print("interrupted: nothing that finished is lost, and the same command goes on")
        return 130
    whole = sum(missing(record) is None for record in syntheses)
    return 0 if exact == len(keyed) and whole == len(areas) else 1


def _table(records: list[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column("array and workload", overflow="fold")
    for name in ("cycles", "bound", "share", "exact"):
        table.add_column(name, justify="right", no_wrap=True)
    for title, record in zip(point_titles(records), records, strict=True):
        ran = record["cycles"] is not None
        table.add_row(
            escape(title),
            f"{record['cycles']:,}" if ran else "",
            f"{record['bound_cycles']:,.0f}" if ran else "",
            f"{record['share']:.1%}" if ran else "",
            "yes" if record["bit_exact"] else "[red]no[/]",
        )
    return table


def report(
    results: Annotated[Path, typer.Argument(help="Directory that a sweep wrote.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Directory to write to, if another.")] = None,
) -> None:
    """Write one HTML page, and figures as PNG and SVG, about the results of a sweep."""
    from .store import read_results

    records = read_results(results)
    try:
        from .page import write_report
    except ModuleNotFoundError as error:
        raise SweepError(f"systolith report needs {error.name}: pip install systolith[report]") from error
    with steps(err, "drawing"):
        files = write_report(records, output or results)
    out.print(", ".join(str(path) for path in files), soft_wrap=True)
