"""Jobs that run one after the other in one simulator, without a reset between them; what each left and counted."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.rtl.isa import INSTRUCTION_BYTES
from systolith.sim.build import Simulator
from systolith.sim.dram import DramSettings, Shared
from systolith.sim.job import CONFIG_VARIABLE
from systolith.sim.launch import launch

_BENCH = "systolith.sim.benches.drivers.endurance"
_PAGE = 4096
_SECONDS = 1800.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One program run; ``timing`` is the memory's latency (cycles), bandwidth (bytes a cycle) and seed or None."""

    image: npt.NDArray[np.uint8]
    regions: Sequence[npt.NDArray[np.uint8]]
    timing: tuple[int, int, int | None]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the bench is told of a job: addresses and timing. Its memory lies in the file of all of them."""

    program_base: int
    program_length: int
    regions: list[tuple[int, int]]
    timing: tuple[int, int, int | None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the bench saw: the accelerator's counters, beats by the memory's count, bytes of its process's own."""

    problem: str
    counters: dict[str, int]
    read_beats: int
    write_beats: int
    seconds: float
    resident: int


@dataclass(frozen=True)
class Finished:
    """A job's report and its DRAM regions afterwards."""

    report: Report
    regions: list[npt.NDArray[np.uint8]]


class Files:
    """The files of a batch in its directory: orders, DRAM, DRAM before and after each job, reports."""

    def __init__(self, directory: Path) -> None:
        self.orders, self.dram, self.status = directory / "orders", directory / "dram", directory / "status"
        self.before, self.after, self.reports = directory / "before", directory / "after", directory / "reports"


def own_bytes() -> int:
    """Bytes of physical memory that this process has to itself; mapped files are not counted."""
    _, resident, shared, *_ = (int(pages) for pages in Path("/proc/self/statm").read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _offsets(job: Job) -> tuple[list[int], int]:
    """Where regions and program lie, each on a page of its own, and the bytes of all."""
    offsets, end = [], 0
    for part in (*job.regions, job.image):
        offsets.append(end)
        end += max(1, -(-len(part) // _PAGE)) * _PAGE
    return offsets, end


def run_jobs(config: Config, simulator: Simulator, jobs: Sequence[Job]) -> list[Finished]:
    """Run ``jobs`` on an accelerator that is reset once, before the first; stops after one with a problem.

    Raises
    ------
    SimulationError
        If the simulator fails or does not end.
    """
    base = 1 << (config.axi_address_width - 1)
    places = [_offsets(job) for job in jobs]
    size = max(end for _, end in places)
    with tempfile.TemporaryDirectory(prefix="systolith-endurance-") as name:
        files = Files(Path(name))
        np.memmap(files.dram, np.uint8, "w+", shape=(size,)).flush()
        before = np.memmap(files.before, np.uint8, "w+", shape=(len(jobs), size))
        after = np.memmap(files.after, np.uint8, "w+", shape=(len(jobs), size))
        orders = []
        for row, job, (offsets, _) in zip(before, jobs, places, strict=True):
            for offset, part in zip(offsets, (*job.regions, job.image), strict=True):
                row[offset : offset + len(part)] = part
            orders.append(
                Order(
                    program_base=base + offsets[-1],
                    program_length=len(job.image) // INSTRUCTION_BYTES,
                    regions=[
                        (base + offset, len(part)) for offset, part in zip(offsets, job.regions, strict=False)
                    ],
                    timing=job.timing,
                )
            )  # fmt: skip
        files.orders.write_text(json.dumps([asdict(order) for order in orders]))
        (Path(name) / "config.toml").write_text(config.to_toml(), encoding="utf-8")
        Shared(files.status, create=True)
        args = [f"+dram_file={files.dram}", f"+dram_status={files.status}", f"+dram_base={base:x}"]
        env = {CONFIG_VARIABLE: str(Path(name) / "config.toml")}
        with launch(
            simulator, _BENCH, directory=Path(name), plusargs=[*args, *DramSettings().plusargs()], env=env
        ) as simulation:
            if not simulation.wait(_SECONDS):
                raise simulation.failure(f"the jobs did not end within {_SECONDS:.0f} seconds")
        lines = files.reports.read_text().splitlines() if files.reports.exists() else []
        reports = [Report(**json.loads(line)) for line in lines]
        if not reports or (len(reports) < len(jobs) and not reports[-1].problem):
            raise simulation.failure(f"the simulation failed after {len(reports)} of {len(jobs)} jobs")
        return [
            Finished(
                report,
                [np.array(memory[o : o + len(part)]) for o, part in zip(offsets, job.regions, strict=False)],
            )
            for report, memory, job, (offsets, _) in zip(reports, after, jobs, places, strict=False)
        ]
