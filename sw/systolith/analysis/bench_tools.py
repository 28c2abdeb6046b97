"""The benchmark of the tools: how fast a simulation runs, and what generating and building an accelerator takes."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from systolith.rtl.config import preset
from systolith.runtime.device import open_device
from systolith.sim.build import build

from .workloads import EncoderWorkload

Report = Callable[[str], None]

#: Array sizes of suite ``generate``, and the largest of them that is also built into a simulator.
DIMENSIONS = (4, 8, 16, 32, 64)
_LARGEST_BUILT = 64
#: Runs of each kind in suite ``sim``: the machine is never quiet, so the fastest counts.
_RUNS = 3

#: Run in a process of its own, so that its peak memory is this configuration's.
_GENERATE = """
import json, resource, sys, time
from systolith.rtl.config import preset
from systolith.rtl.verilog import generate
begin = time.perf_counter()
text = generate(preset("default").resized(int(sys.argv[1]), int(sys.argv[1])))
seconds = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"seconds": seconds, "verilog_bytes": len(text), "peak_bytes": peak}))
"""


@dataclass(frozen=True)
class Speed:
    """Cycles a second of the whole accelerator, the best of some runs: under cocotb, and in a bare C++ loop."""

    cycles: int
    cocotb: float
    bare: float

    @property
    def ratio(self) -> float:
        return self.cocotb / self.bare


@dataclass(frozen=True)
class Generation:
    """Generating a square accelerator: wall time, Verilog size, peak memory; ``build_seconds`` from nothing to a
    simulator, None where it was not built."""

    dim: int
    seconds: float
    verilog_bytes: int
    peak_bytes: int
    build_seconds: float | None


def simulation_speed(report: Report) -> Speed:
    """A MiniLM layer on the default accelerator, in turns under cocotb and in the bare loop; both bit-exact."""
    workload = EncoderWorkload(hidden=384, heads=12, ffn=1536, tokens=128)
    best = {False: 0.0, True: 0.0}
    cycles = 0
    for run in range(2 * _RUNS):
        bare = run % 2 == 1
        report(f"sim: {'bare loop' if bare else 'cocotb'}, run {run // 2 + 1} of {_RUNS}")
        measured = workload.run(open_device(preset("default"), "rtl", bare=bare, trace=False))
        if measured.difference is not None:
            raise RuntimeError(f"{'bare loop' if bare else 'cocotb'}: {measured.difference}")
        cycles = measured.result.counters["cycles"]
        best[bare] = max(best[bare], cycles / measured.result.wall_seconds)
    return Speed(cycles, best[False], best[True])


@dataclass(frozen=True)
class Functional:
    """Six MiniLM-L6 layers at 128 tokens: wall time to compile them, and to run them on the functional device."""

    compile_seconds: float
    run_seconds: float


def functional_speed(report: Report) -> Functional:
    """Compile the real MiniLM-L6 and run it on the functional device, bit-exact; the fastest of some runs."""
    workload = EncoderWorkload(hidden=384, heads=12, ffn=1536, tokens=128, layers=6, model="minilm-l6")
    compile_seconds, run_seconds = [], []
    for run in range(_RUNS):
        report(f"sim: functional device, run {run + 1} of {_RUNS}")
        measured = workload.run(open_device(preset("default"), "functional"))
        if measured.difference is not None:
            raise RuntimeError(f"functional device: {measured.difference}")
        compile_seconds.append(measured.compile_seconds)
        run_seconds.append(measured.result.wall_seconds)
    return Functional(min(compile_seconds), min(run_seconds))


def generation(dim: int, report: Report, *, build_it: bool) -> Generation:
    """Generate a ``dim`` x ``dim`` accelerator in a fresh process; with ``build_it`` also build it in an empty cache,
    generation and Verilator's run-time library included."""
    report(f"generate: {dim}x{dim}")
    done = subprocess.run([sys.executable, "-c", _GENERATE, str(dim)], capture_output=True, text=True, check=True)
    build_seconds = None
    if build_it:
        with tempfile.TemporaryDirectory(prefix="systolith-") as cache:
            begin = time.perf_counter()
            build(preset("default").resized(dim, dim), cache=Path(cache), report=lambda s: report(f"{dim}x{dim}: {s}"))
            build_seconds = time.perf_counter() - begin
    return Generation(dim=dim, **json.loads(done.stdout), build_seconds=build_seconds)


def run_sim(console: Console, report: Report) -> dict[str, Any]:
    """Run and print suite ``sim``; its JSON object."""
    speed = simulation_speed(report)
    functional = functional_speed(report)
    console.print(
        f"16x16 accelerator, {speed.cycles:,} cycles, best of {_RUNS} runs each: {speed.cocotb / 1e3:,.0f} kcycle/s "
        f"under cocotb, {speed.bare / 1e3:,.0f} in a bare C++ loop, ratio {speed.ratio:.2f}",
        soft_wrap=True,
    )
    console.print(
        f"MiniLM-L6, 128 tokens, six layers: compiled and proved in {functional.compile_seconds:.1f} s, run on the "
        f"functional device in {functional.run_seconds:.1f} s (the fastest of {_RUNS})",
        soft_wrap=True,
    )
    return {**asdict(speed), "ratio": speed.ratio, "functional": asdict(functional)}


def run_generate(console: Console, report: Report) -> list[dict[str, Any]]:
    """Run and print suite ``generate``; its JSON objects."""
    results = [generation(dim, report, build_it=dim <= _LARGEST_BUILT) for dim in DIMENSIONS]
    table = Table(title="Generating Verilog, and a simulator from scratch", title_justify="left")
    for name in ("array", "generate, s", "Verilog, KB", "peak memory, MB", "build, s"):
        table.add_column(name, justify="right")
    for result in results:
        table.add_row(
            f"{result.dim}x{result.dim}",
            f"{result.seconds:.1f}",
            f"{result.verilog_bytes / 1e3:,.0f}",
            f"{result.peak_bytes / 1e6:,.0f}",
            "" if result.build_seconds is None else f"{result.build_seconds:.1f}",
        )
    console.print(table)
    return [asdict(result) for result in results]
