"""Runs cocotb benches against the accelerator, or against one block of it, and collects their results."""

import json
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from systolith.rtl.config import Config

from .benches.common import CHECKED, EFFORT_VARIABLE, SEED_VARIABLE
from .benches.units.blocks import BLOCKS
from .block import PORTS_VARIABLE
from .build import build, build_block
from .job import CONFIG_VARIABLE
from .launch import launch
from .testbench import MemoryPort
from .toolchain import SimulationError

#: Benches by name and what they do: those of the whole accelerator on its bare ports, and those of one block each.
#: Those in ``benches/drivers`` are not among them: they run what somebody else hands to them.
BENCHES: Mapping[str, str] = {
    "csr": "registers of the whole accelerator, over AXI4-Lite",
    "bus_peers": "whole programs between cocotbext-axi's memory and register master, with random back-pressure",
    **{name: block.description for name, block in BLOCKS.items()},
}
#: Seconds after which a bench is ended.
_LIMIT = 1800.0


@dataclass(frozen=True)
class BenchResult:
    """One cocotb test: ``bench.test``, and what it failed with, or an empty string."""

    name: str
    failure: str

    @property
    def passed(self) -> bool:
        return not self.failure


@dataclass(frozen=True, kw_only=True)
class BenchRun:
    """One bench on one configuration: its tests, and how much of what they compared with the model."""

    name: str
    results: list[BenchResult]
    checked: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def run_benches(
    names: Sequence[str],
    config: Config,
    *,
    seed: int = 0,
    effort: float = 1.0,
    cache: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> list[BenchResult]:
    """Run the named benches (of :data:`BENCHES`) on the hardware of ``config``; see :func:`run_bench`."""
    for name in names:
        _known(name)
    return [
        result
        for name in names
        for result in run_bench(name, config, seed=seed, effort=effort, cache=cache, report=report).results
    ]


def run_bench(
    name: str,
    config: Config,
    *,
    seed: int = 0,
    effort: float = 1.0,
    cache: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> BenchRun:
    """Run one of :data:`BENCHES` on the hardware of ``config``.

    Parameters
    ----------
    seed : int
        What random stimulus follows from.
    effort : float
        Share of the full amount of stimulus. Tables and polynomials are gone through whole at any; the divisors of
        ``reciprocal`` at 1 and above, below it their ends and a random share.

    Raises
    ------
    ValueError
        If there is no bench of that name.
    SimulationError
        If the simulator cannot be built, or the bench does not end or leaves no results.
    """
    _known(name)
    step = report or (lambda _: None)
    if name in BLOCKS:
        module = f"systolith.sim.benches.units.{name}"
        simulator = build_block(BLOCKS[name], config, cache=cache, report=report)
    else:
        module = f"systolith.sim.benches.{name}"
        simulator = build(config, memory=MemoryPort.PORTS, cache=cache, report=report)
    step(f"{name} on {config.rows}x{config.cols}")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="systolith-") as temporary:
        directory = Path(temporary)
        description = directory / "config.toml"
        description.write_text(config.to_toml(), encoding="utf-8")
        env = {
            CONFIG_VARIABLE: str(description),
            PORTS_VARIABLE: str(simulator.executable.with_name("ports.json")),
            SEED_VARIABLE: str(seed),
            EFFORT_VARIABLE: str(effort),
            "COCOTB_REWRITE_ASSERTION_FILES": f"{name}.py",
        }
        with launch(simulator, module, directory=directory, env=env) as simulation:
            if not simulation.wait(_LIMIT):
                raise SimulationError(f"bench {name} did not end within {_LIMIT:.0f} seconds")
        if not (directory / "results.xml").exists():
            raise simulation.failure(f"bench {name} left no results")
        return BenchRun(
            name=name,
            results=_read_results(name, directory / "results.xml"),
            checked=_read_checked(directory / CHECKED),
            seconds=time.perf_counter() - started,
        )


def _known(name: str) -> None:
    if name not in BENCHES:
        raise ValueError(f"unknown bench {name!r}; the benches are {', '.join(BENCHES)}")


def _read_checked(path: Path) -> Counter[str]:
    """The sums of what the bench's tests reported."""
    total: Counter[str] = Counter()
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        total[entry["what"]] += entry["number"]
    return total


def _read_results(bench: str, path: Path) -> list[BenchResult]:
    """The tests of a JUnit file as cocotb writes it."""
    results = []
    for case in ElementTree.parse(path).iter("testcase"):
        problems = [problem for kind in ("failure", "error") for problem in case.findall(kind)]
        texts = [problem.get("message") or (problem.text or "").strip() or "failed" for problem in problems]
        results.append(BenchResult(f"{bench}.{case.get('name')}", "; ".join(texts)))
    return results
