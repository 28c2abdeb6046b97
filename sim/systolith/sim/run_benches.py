"""Runs cocotb benches against the accelerator and collects their results."""

import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from systolith.rtl.config import Config

from .build import build
from .job import CONFIG_VARIABLE
from .launch import launch
from .testbench import MemoryPort
from .toolchain import SimulationError

#: Benches on the accelerator's bare ports; ``run_program`` is not among them, it needs a job.
BENCHES = ("csr", "bus_peers")
#: Seconds after which a bench is ended.
_LIMIT = 600.0


@dataclass(frozen=True)
class BenchResult:
    """One cocotb test: ``bench.test``, and what it failed with, or an empty string."""

    name: str
    failure: str

    @property
    def passed(self) -> bool:
        return not self.failure


def run_benches(
    names: Sequence[str],
    config: Config,
    *,
    cache: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> list[BenchResult]:
    """Run the named benches (of :data:`BENCHES`) on the accelerator of ``config``.

    Raises
    ------
    ValueError
        If there is no bench of a name.
    SimulationError
        If the simulator cannot be built, or a bench does not end or leaves no results.
    """
    for name in names:
        if name not in BENCHES:
            raise ValueError(f"unknown bench {name!r}; the benches are {', '.join(BENCHES)}")
    simulator = build(config, memory=MemoryPort.PORTS, cache=cache, report=report)
    results = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="systolith-") as temporary:
            directory = Path(temporary)
            description = directory / "config.toml"
            description.write_text(config.to_toml(), encoding="utf-8")
            env = {CONFIG_VARIABLE: str(description), "COCOTB_REWRITE_ASSERTION_FILES": f"{name}.py"}
            with launch(simulator, f"systolith.sim.benches.{name}", directory=directory, env=env) as simulation:
                if not simulation.wait(_LIMIT):
                    raise SimulationError(f"bench {name} did not end within {_LIMIT:.0f} seconds")
            if not (directory / "results.xml").exists():
                raise simulation.failure(f"bench {name} left no results")
            results += _read_results(name, directory / "results.xml")
    return results


def _read_results(bench: str, path: Path) -> list[BenchResult]:
    """The tests of a JUnit file as cocotb writes it."""
    results = []
    for case in ElementTree.parse(path).iter("testcase"):
        problems = [problem for kind in ("failure", "error") for problem in case.findall(kind)]
        texts = [problem.get("message") or (problem.text or "").strip() or "failed" for problem in problems]
        results.append(BenchResult(f"{bench}.{case.get('name')}", "; ".join(texts)))
    return results
