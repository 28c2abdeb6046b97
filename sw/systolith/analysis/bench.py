"""The benchmark: runs cases on the RTL, checks every bit, and sets the cycles beside the bound and their causes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from systolith.runtime.device import open_device

from .bench_cases import CASES, Case, MemoryTiming, Target
from .bounds import Bound, bound
from .causes import CAUSES, causes
from .report import versions
from .workloads import Measurement

#: The suites, in the order in which all of them run.
SUITES = (*(name for name in CASES if name != "quick"), "sim", "generate", "quick")
#: How the bound of a case is made, as printed below the table.
FORMULA = (
    "bound = max(MACs / (rows x cols), bytes / bandwidth, elements / lanes): every weight, parameter, input and\n"
    "output byte once, unpadded; bandwidth is --bandwidth, or the bus width each way.\n"
    "padding: the share of the bound that is left when every product is padded to whole tiles.\n"
    "elsewhere: Gemmini's RTL at latency 30, matrix products alone."
)


@dataclass(frozen=True)
class Result:
    """One case at one memory timing, run and checked."""

    case: Case
    timing: MemoryTiming
    bound: Bound
    measurement: Measurement

    @property
    def cycles(self) -> int:
        return self.measurement.result.counters["cycles"]

    @property
    def share(self) -> float:
        """Bound over cycles."""
        return self.bound.cycles / self.cycles

    @property
    def padding(self) -> float:
        """Bound over the cycles that whole tiles need: the most that :attr:`share` could be."""
        return self.bound.cycles / self.bound.padded

    @property
    def target(self) -> Target | None:
        return self.case.target_at(self.timing)

    @property
    def met(self) -> bool | None:
        """Whether the case reaches its target; None if it has none."""
        target = self.target
        if target is None:
            return None
        if target.cycles is not None:
            return self.cycles <= target.cycles
        if target.share is not None:
            return self.share >= target.share
        return target.points is None or 100 * (self.padding - self.share) <= target.points

    @property
    def causes(self) -> dict[str, int]:
        """Cycles of each cause; they add up to :attr:`cycles`."""
        return causes(self.measurement.result.counters)

    def record(self) -> dict[str, Any]:
        """The JSON object: everything measured on the RTL but ``bound`` and ``padding``, which are computed."""
        measured, config = self.measurement, self.case.config
        counters = measured.result.counters
        return {
            "suite": self.case.suite,
            "case": self.case.name,
            "config": config.to_dict(),
            "latency": self.timing.latency,
            "bandwidth": self.timing.bandwidth,
            "cycles": self.cycles,
            "bound": {
                "cycles": self.bound.cycles,
                "limit": self.bound.limit,
                "compute": self.bound.compute,
                "memory": self.bound.memory,
                "vector": self.bound.vector,
                "padded": self.bound.padded,
            },
            "share": self.share,
            "padding": self.padding,
            "target": str(self.target) if self.target else None,
            "met": self.met,
            "elsewhere": self.case.elsewhere if self.timing == MemoryTiming() else None,
            "causes": self.causes,
            "macs": measured.program.macs,
            "bytes_least": self.case.workload.work.read_bytes + self.case.workload.work.written_bytes,
            "bytes_read": counters["read_beats"] * config.bus_bytes,
            "bytes_written": counters["write_beats"] * config.bus_bytes,
            "bit_exact": measured.difference is None,
            "difference": measured.difference,
            "compile_seconds": measured.compile_seconds,
            "program_bytes": len(measured.program.image),
            "instructions": len(measured.program.operation_of),
            "sim_cycles_per_second": self.cycles / measured.result.wall_seconds,
            "counters": counters,
        }


def run_case(case: Case, timing: MemoryTiming, **callbacks: Callable[..., None]) -> Result:
    """Run one case on the RTL at one memory timing and check it; ``callbacks`` are the device's."""
    device = open_device(
        case.config, "rtl", latency=timing.latency, bandwidth=timing.bandwidth, trace=False, **callbacks
    )  # fmt: skip
    measurement = case.workload.run(device)
    return Result(case, timing, bound(case.workload.work, case.config, timing.bandwidth), measurement)


def run_cases(
    cases: Iterable[Case],
    latencies: Sequence[int] | None,
    bandwidth: int | None,
    report: Callable[[str], None],
) -> Iterable[Result]:
    """Run cases one after the other, each at every memory timing; ``report`` hears which is running."""
    for case in cases:
        for timing in case.timings(latencies, bandwidth):
            report(f"{case.suite}: {case.name}, latency {timing_name(timing)}")
            yield run_case(case, timing)


def run_suites(
    suites: Sequence[str],
    latencies: Sequence[int] | None,
    bandwidth: int | None,
    console: Console,
    report: Callable[[str], None],
    done: Callable[[str], None],
) -> list[Result]:
    """Run and print those of ``suites`` that are of :data:`CASES`.

    ``report`` hears what is running, ``done`` each case's figures as soon as they are known.
    """
    everything = []
    for suite in (name for name in suites if name in CASES):
        results = []
        for result in run_cases(CASES[suite], latencies, bandwidth, report):
            results.append(result)
            name = f"{result.case.name}, latency {timing_name(result.timing)}"
            done(f"{name}: {result.cycles:,} cycles, {result.share:.1%} of the bound")
        print_results(console, results)
        everything += results
    return everything


def suites_record(results: Sequence[Result]) -> dict[str, Any]:
    """The JSON object of a benchmark; ``bit_exact`` is over all cases."""
    return {
        "versions": versions(),
        "bit_exact": all(result.measurement.difference is None for result in results),
        "cases": [result.record() for result in results],
    }


def print_results(console: Console, results: Sequence[Result]) -> None:
    """Three tables: cycles beside their bound, the causes of the cycles, and the programs."""
    console.print(_cycles_table(results))
    console.print(FORMULA, highlight=False)
    console.print(_causes_table(results))
    console.print(_programs_table(results))


def _table(title: str, first: Sequence[str], rest: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for name in first:
        table.add_column(name, no_wrap=True)
    for name in rest:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def timing_name(timing: MemoryTiming) -> str:
    """Latency, and bandwidth if it is limited."""
    return f"{timing.latency}" + (f", {timing.bandwidth} B" if timing.bandwidth else "")


def _cycles_table(results: Sequence[Result]) -> Table:
    table = _table(
        "Cycles, measured on the RTL, every result compared bit for bit",
        ("case",),
        ("latency", "cycles", "bound", "of", "share", "padding", "target", "elsewhere", "exact"),
    )
    for result in results:
        target = str(result.target or "")
        if result.met is not None:
            target = f"[{'green' if result.met else 'red'}]{target}[/]"
        table.add_row(
            result.case.name,
            timing_name(result.timing),
            f"{result.cycles:,}",
            f"{result.bound.cycles:,.0f}",
            result.bound.limit,
            f"{result.share:.1%}",
            f"{result.padding:.1%}",
            target,
            f"{result.case.elsewhere:,}" if result.case.elsewhere and result.timing == MemoryTiming() else "",
            "yes" if result.measurement.difference is None else f"[red]{result.measurement.difference}[/]",
        )
    return table


def _causes_table(results: Sequence[Result]) -> Table:
    """Shares of each run's cycles."""
    table = _table(
        "Where the cycles went: percent of the run in which the array was busy, or waited for", ("case",), ("latency",)
    )
    for _, label in CAUSES:
        name = label.removeprefix("waiting for ").removeprefix("a ").removeprefix("the ")
        table.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    for result in results:
        found = result.causes
        shares = (f"{100 * found[label] / result.cycles:.2f}" for _, label in CAUSES)
        table.add_row(result.case.name, timing_name(result.timing), *shares)
    return table


def _programs_table(results: Sequence[Result]) -> Table:
    """The program of each case: its size, the wall time to compile and prove it, and the simulator's speed."""
    table = _table("Programs", ("case",), ("instructions", "KB", "compiled, s", "simulated, kcycle/s"))
    shown: set[str] = set()
    for result in results:
        measured = result.measurement
        if result.case.name in shown:
            continue
        shown.add(result.case.name)
        table.add_row(
            result.case.name,
            f"{len(measured.program.operation_of):,}",
            f"{len(measured.program.image) / 1e3:,.0f}",
            f"{measured.compile_seconds:.1f}",
            f"{result.cycles / measured.result.wall_seconds / 1e3:,.0f}",
        )
    return table
