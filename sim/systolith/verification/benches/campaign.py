"""Campaign ``benches``: every unit bench over several sizes, and the accelerator between third-party peers."""

import dataclasses
from collections import Counter

from systolith.rtl.config import Config, preset
from systolith.sim.benches.units.blocks import BLOCKS
from systolith.sim.run_benches import BENCHES, BenchRun, run_bench
from systolith.verification.evidence import Evidence, Options, Report

#: Arrays and buses that the full campaign builds: square, oblong, and every bus from 32 to 256 bits.
CONFIGS: dict[str, Config] = {
    f"{rows}x{cols}, {bus}-bit bus": dataclasses.replace(preset("tiny").resized(rows, cols), axi_data_width=bus)
    for rows, cols, bus in ((4, 4, 64), (6, 10, 32), (8, 8, 128), (16, 16, 256))
}
#: What the quick share runs, at its share of the random stimulus: blocks that are built in seconds.
_QUICK = ("tokens", "exponent_table", "gelu_table")
_QUICK_EFFORT = 0.05


def campaign(options: Options, report: Report) -> list[Evidence]:
    """Run all benches on all of :data:`CONFIGS`; quick, a few of them on the first."""
    names = _QUICK if options.quick else tuple(BENCHES)
    effort = _QUICK_EFFORT if options.quick else 1.0
    evidence = []
    for name in names:
        sized = name not in BLOCKS or BLOCKS[name].sized
        configs = list(CONFIGS.items())[: 1 if options.quick or not sized else None]
        runs = {
            size: run_bench(name, config, seed=options.seed, effort=effort, report=report) for size, config in configs
        }
        evidence.append(_row(name, runs, options.seed))
    return evidence


def _row(name: str, runs: dict[str, BenchRun], seed: int) -> Evidence:
    """One bench's row of the table."""
    results = [(size, result) for size, run in runs.items() for result in run.results]
    checked = sum((run.checked for run in runs.values()), Counter[str]())
    failures = [f"{size}: {result.name}: {result.failure}" for size, result in results if not result.passed]
    counts = ", ".join(f"{number:,} {what}" for what, number in checked.items())
    figure = f"{len(results)} tests on {len(runs)} size{'s' if len(runs) > 1 else ''}"
    if counts:
        figure += f": {counts}"
    if failures:
        figure += f"; {len(failures)} failed, the first: {failures[0]}"
    return Evidence(
        campaign="benches",
        promise=f"{name}: {BENCHES[name]}",
        figure=figure,
        passed=bool(results) and not failures,
        details={
            "seed": seed,
            "sizes": list(runs),
            "tests": len(results),
            "checked": dict(checked),
            "failures": failures,
            "seconds": {size: round(run.seconds, 1) for size, run in runs.items()},
        },
    )
