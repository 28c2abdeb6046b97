"""What simulations reach: lines and branches of the Verilog, toggles of its registers, values of instruction fields.

Encoders, random programs as in the fuzz, faults of every kind and the benches of the registers and buses run on the
smallest accelerator, built to count (``systolith.sim.counting``). ``floor.toml`` holds what must be reached, overall
and of each source file's lines, and why each other line is not. The quick share is one block alone, the token counters.
"""

import contextlib
import os
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from systolith.models.registry import load_model
from systolith.rtl.config import Config, preset
from systolith.runtime.rtl import RtlDevice
from systolith.runtime.session import run_encoder
from systolith.sim.block import MODULE
from systolith.sim.build import Simulator, build
from systolith.sim.dram import DramSettings
from systolith.sim.run_benches import run_benches
from systolith.sim.toolchain import COVERAGE_VARIABLE, SimulationError
from systolith.verification.evidence import Evidence, Options, Report
from systolith.verification.faults import campaign as faults
from systolith.verification.faults.kinds import KINDS
from systolith.verification.fuzz import campaign as fuzz
from systolith.verification.fuzz.batch import Fuzzer
from systolith.verification.fuzz.fields_hit import FieldCoverage

from .holes import Explanation, Holes, sort_holes
from .points import LINES, TOGGLES, Point, Reached, by_source, read_points, registers, sources, total

FLOOR = Path(__file__).with_name("floor.toml")
#: Batches of random programs without ``seconds``, and programs of each.
_BATCHES, _BATCH = 10, 64
#: Injections of each kind of fault: with 4 it may be that none of 8 illegal instructions is one of the array.
_INJECTIONS = 12
#: Benches of the whole accelerator, and the one of the quick share.
_BENCHES, _QUICK_BENCH = ("csr", "bus_peers"), "tokens"
#: Encoders: shape, valid tokens, memory latency, bandwidth and seed.
_ENCODERS: tuple[tuple[dict[str, int], int, DramSettings], ...] = (
    ({"tokens": 9, "hidden": 24, "heads": 2, "ffn": 40, "layers": 2}, 7, DramSettings(latency=30)),
    ({"tokens": 70, "hidden": 16, "heads": 1, "ffn": 24, "layers": 1}, 70, DramSettings(latency=100, bandwidth=4)),
    ({"tokens": 14, "hidden": 30, "heads": 3, "ffn": 50, "layers": 1}, 14, DramSettings(seed=1)),
)


@contextlib.contextmanager
def counting() -> Iterator[Path]:
    """A directory where all simulators that are built and run meanwhile leave their counts."""
    before = os.environ.get(COVERAGE_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="systolith-coverage-") as name:
        os.environ[COVERAGE_VARIABLE] = name
        try:
            yield Path(name)
        finally:
            del os.environ[COVERAGE_VARIABLE]
            if before is not None:
                os.environ[COVERAGE_VARIABLE] = before


def collect(directory: Path, counts: Counter[Point]) -> None:
    """Add what the simulators left in a directory, and remove it there."""
    for path in directory.glob("*.dat"):
        counts.update(read_points(path))
        path.unlink()


def run_programs(config: Config, simulator: Simulator, options: Options, report: Report) -> FieldCoverage:
    """Run random programs; the values of their fields."""
    tally = fuzz.Tally()
    start, done = time.monotonic(), 0
    with Fuzzer(config, simulator) as fuzzer:
        while done < _BATCHES if options.seconds is None else time.monotonic() - start < options.seconds:
            label = f"coverage, seed {options.seed}, batch {done}"
            fuzz.run_batch(fuzzer, np.random.default_rng([options.seed, done]), _BATCH, label, tally, report)
            done += 1
            report(f"{tally.programs} random programs")
    _all_well("a random program", tally.differences)
    return tally.coverage


def inject_faults(config: Config, simulator: Simulator, options: Options, report: Report) -> None:
    """Every kind of fault, each with a correct program after it."""
    tally = faults.Tally()
    faults.inject(config, simulator, _INJECTIONS * len(KINDS), options.seed, tally, report)
    _all_well("a fault", tally.failures)


def run_encoders(config: Config, report: Report) -> None:
    """All of :data:`_ENCODERS`."""
    for shape, valid, memory in _ENCODERS:
        report(f"an encoder of {shape['tokens']} tokens")
        model = load_model("random", **shape)
        device = RtlDevice(config, memory=memory, peek=True, report=report)
        outcome = run_encoder(model.quantized, model.prepare(), device, valid=valid)
        _all_well(f"an encoder of {shape['tokens']} tokens", [str(outcome.difference)] * (not outcome.bit_exact))


def _all_well(what: str, wrong: list[str]) -> None:
    if wrong:
        raise SimulationError(f"{what}: {wrong[0]}")


def campaign(options: Options, report: Report) -> list[Evidence]:
    """Run everything on the smallest accelerator and compare what it reached with what it must reach."""
    floors = tomllib.loads(FLOOR.read_text(encoding="utf-8"))
    config = preset("tiny")
    counts: Counter[Point] = Counter()
    with counting() as directory:
        if options.quick:
            _bench((_QUICK_BENCH,), config, report)
            collect(directory, counts)
            return [judge(by_source(counts, {MODULE: _QUICK_BENCH}), None, floors["quick"], Holes())]
        simulator = build(config, peek=True, report=report)
        run_encoders(config, report)
        fields = run_programs(config, simulator, options, report)
        inject_faults(config, simulator, options, report)
        _bench(_BENCHES, config, report)
        collect(directory, counts)
    table = by_source(counts, sources(config))
    verilog = simulator.executable.with_name("systolith.v").read_text(encoding="utf-8").splitlines()
    holes = sort_holes(table, verilog, [Explanation(**entry) for entry in floors["explained"]])
    return [judge(table, fields, floors["full"], holes)]


def _bench(names: tuple[str, ...], config: Config, report: Report) -> None:
    failed = [result.name for result in run_benches(names, config, report=report) if not result.passed]
    _all_well("benches", failed)


def _share(reached: Reached) -> tuple[str, str]:
    return f"{reached.hit:,} of {reached.total:,}", f"{reached.share:.1f} %" if reached.total else ""


def judge(
    table: Mapping[str, dict[str, Reached]], fields: FieldCoverage | None, floors: Mapping[str, Any], holes: Holes
) -> Evidence:
    """The row of the table: passed if no share is below its floor, overall and by source, and holes are explained."""
    bins = fields.table() if fields else {}
    share = {kind: total(table.values(), kind).share for kind in (LINES, TOGGLES)}
    if bins:
        share["field bins"] = 100.0 * sum(b.hit for b in bins.values()) / sum(b.bins for b in bins.values())
    low = [f"{kind}: {value:.1f} %, not {floors[kind]} %" for kind, value in share.items() if value < floors[kind]]
    for name, floor in floors.get("sources", {}).items():
        reached = table[name][LINES] if name in table else Reached()
        if not reached.total or reached.share < floor:
            low.append(f"lines of {name}: {reached.share:.1f} %, not {floor} %")
    toggles = registers(total(table.values(), TOGGLES).holes)
    wrong = [f"unexplained: {line}" for line in holes.unexplained]
    wrong += [f"explains nothing: {explanation}" for explanation in holes.stale]
    return Evidence(
        campaign="coverage",
        promise="simulations reach the lines of the Verilog, the toggles of its registers and the values of fields",
        figure=", ".join(
            [
                *(f"{kind} {value:.1f} %" for kind, value in share.items()),
                *([f"{len(holes.explained)} lines explained, {len(holes.unexplained)} not"] if fields else []),
            ]
        ),
        passed=not low and not wrong,
        listing=[
            ("source", LINES, "", TOGGLES, ""),
            *(
                (name, *(cell for kind in (LINES, TOGGLES) for cell in _share(row[kind])))
                for name, row in sorted(table.items())
            ),
            *((line, "", "", "", "") for line in (*low, *wrong)),
        ],
        details={
            "below": low,
            "sources": {
                name: {kind: [reached.hit, reached.total] for kind, reached in row.items()}
                for name, row in sorted(table.items())
            },
            "lines": [f"{hole.module}: {hole.what}" for hole in total(table.values(), LINES).holes],
            "explained": holes.explained,
            "unexplained": holes.unexplained,
            "stale": holes.stale,
            "toggles": {f"{module}: {name}": bits for (module, name), bits in toggles.items()},
            "fields": {name: b.missing for name, b in bins.items() if b.missing},
        },
    )
