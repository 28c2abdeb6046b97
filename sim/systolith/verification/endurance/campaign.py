"""Campaign ``endurance``: thousands of jobs on a device that is never reset, each exact, none slower than the last."""

import gc
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from systolith.rtl.config import Config, preset
from systolith.rtl.csr_map import ARRAY_CAUSES
from systolith.runtime.functional import FunctionalDevice
from systolith.sim.build import build
from systolith.verification.evidence import Evidence, Options, Report

from .batch import Finished, Job, own_bytes, run_jobs
from .jobs import Task, random_task

#: Jobs on the functional device, and different programs among them; the same for a quick share.
_JOBS, _TASKS = 10_000, 100
_QUICK_JOBS, _QUICK_TASKS = 60, 6
#: The same on the RTL.
_RTL_JOBS, _RTL_TASKS = 400, 24
_QUICK_RTL_JOBS, _QUICK_RTL_TASKS = 30, 5
#: Memory timings (latency, bandwidth, seed) of the jobs on the RTL.
_TIMINGS: tuple[tuple[int, int, int | None], ...] = ((1, 0, None), (30, 0, None), (100, 0, None), (12, 0, 5))
#: Share of the jobs after which memory counts as warm, and bytes that it may grow from then on.
_WARM, _GROWTH = 0.2, 16 << 20
_MIB = 1 << 20


@dataclass
class Tally:
    """Jobs and what was wrong with them; memory in bytes and time in seconds, by job."""

    jobs: int = 0
    instructions: int = 0
    wrong: list[str] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def growth(self) -> int:
        """Bytes that the process grew by since it was warm."""
        return self.resident[-1] - self.resident[int(_WARM * len(self.resident))]

    @property
    def slowdown(self) -> float:
        """Median time of the last quarter of jobs over that of the second quarter."""
        quarter = max(1, len(self.seconds) // 4)
        return float(np.median(self.seconds[-quarter:]) / np.median(self.seconds[quarter : 2 * quarter] or [1]))


def run_functional(config: Config, seed: int, jobs: int, tasks: int, seconds: float | None, report: Report) -> Tally:
    """``jobs`` jobs, or as many as ``seconds`` allow, on one functional device; programs are made on the way."""
    rng, tally = np.random.default_rng(seed), Tally()
    device = FunctionalDevice(config, seed=seed)
    known: list[Task] = []
    end = None if seconds is None else time.monotonic() + seconds
    while tally.jobs < jobs and (end is None or time.monotonic() < end):
        if len(known) < tasks and tally.jobs >= len(known) * jobs // (2 * tasks):
            known.append(random_task(config, rng))
        task = known[int(rng.integers(len(known)))]
        inputs, expected = task.draw(rng)
        result = device.run(task.program.image, task.regions(inputs))
        if not np.array_equal(task.result(result.regions), expected):
            tally.wrong.append(f"job {tally.jobs} ({task.name}) differs from the integer reference")
        if result.counters["instructions"] != task.instructions:
            tally.wrong.append(f"job {tally.jobs} ({task.name}) ran {result.counters['instructions']} instructions")
        tally.jobs += 1
        tally.instructions += task.instructions
        tally.seconds.append(result.wall_seconds)
        tally.resident.append(own_bytes())
        if tally.jobs % 1000 == 0:
            gc.collect()
            report(f"{tally.jobs:,} jobs on the functional device, {own_bytes() / _MIB:.0f} MiB")
    return tally


def check_rtl(tasks: Sequence[Task], expected: Sequence[np.ndarray], finished: Sequence[Finished]) -> list[str]:
    """What is wrong with single jobs: results, and counters that contradict each other, the program or the memory."""
    wrong = []
    for index, (task, want, done) in enumerate(zip(tasks, expected, finished, strict=False)):
        report, counters = done.report, done.report.counters
        causes = sum(counters[name] for name, _ in ARRAY_CAUSES)
        for problem, found in (
            (report.problem, bool(report.problem)),
            ("differs from the integer reference", not np.array_equal(task.result(done.regions), want)),
            (f"took {counters['cycles']} cycles, whose causes add up to {causes}", causes != counters["cycles"]),
            (f"counted {counters['instructions']} instructions", counters["instructions"] != task.instructions),
            (f"counted {counters['read_beats']} beats read", counters["read_beats"] != report.read_beats),
            (f"counted {counters['write_beats']} beats written", counters["write_beats"] != report.write_beats),
        ):
            if found:
                wrong.append(f"job {index} ({task.name}) {problem}")
    return wrong


def drifting(keys: Sequence[tuple[str, object]], finished: Sequence[Finished]) -> list[str]:
    """Jobs of the same program and memory timing, of which some counter is not what it was the first time."""
    first: dict[tuple[str, object], tuple[int, dict[str, int]]] = {}
    wrong = []
    for index, (key, done) in enumerate(zip(keys, finished, strict=False)):
        earlier, counters = first.setdefault(key, (index, done.report.counters))
        for name, value in done.report.counters.items():
            if value != counters[name]:
                wrong.append(f"job {index} ({key[0]}) has {name} {value}; as job {earlier} it had {counters[name]}")
    return wrong


def run_rtl(config: Config, seed: int, jobs: int, tasks: int, report: Report) -> tuple[Tally, int]:
    """``jobs`` jobs on the RTL in one simulator process; the tally, and how many repeated an earlier one."""
    rng, tally = np.random.default_rng((seed, jobs)), Tally()
    simulator = build(config, report=report)
    known = [random_task(config, rng) for _ in range(tasks)]
    chosen = [known[int(rng.integers(tasks))] for _ in range(jobs)]
    drawn = [task.draw(rng) for task in chosen]
    timings = [_TIMINGS[int(rng.integers(len(_TIMINGS)))] for _ in range(jobs)]
    report(f"{jobs} jobs on the RTL")
    finished = run_jobs(
        config, simulator,
        [Job(image=task.program.image, regions=task.regions(inputs), timing=timing)
         for task, (inputs, _), timing in zip(chosen, drawn, timings, strict=True)],
    )  # fmt: skip
    keys = [(task.name, timing) for task, timing in zip(chosen, timings, strict=True)]
    tally.jobs = len(finished)
    tally.instructions = sum(task.instructions for task in chosen[: len(finished)])
    tally.wrong = check_rtl(chosen, [want for _, want in drawn], finished) + drifting(keys, finished)
    tally.resident = [done.report.resident for done in finished]
    tally.seconds = [done.report.seconds for done in finished]
    repeated = sum(count - 1 for count in Counter(keys[: len(finished)]).values())
    return tally, repeated


def campaign(options: Options, report: Report) -> list[Evidence]:
    """Long runs on both devices; ``seconds`` limit those on the functional device."""
    config = preset("tiny")
    quick = options.quick
    jobs, tasks = (_QUICK_JOBS, _QUICK_TASKS) if quick else (_JOBS, _TASKS)
    functional = run_functional(config, options.seed, jobs, tasks, options.seconds, report)
    jobs, tasks = (_QUICK_RTL_JOBS, _QUICK_RTL_TASKS) if quick else (_RTL_JOBS, _RTL_TASKS)
    rtl, repeated = run_rtl(config, options.seed, jobs, tasks, report)
    return [
        _evidence(functional, "jobs of random sizes on one functional device without reset", ""),
        _evidence(
            rtl, "the same on one RTL accelerator; counters agree, and repeat whatever came before",
            f", {repeated} repeated an earlier one with all of its counters",
        ),
    ]  # fmt: skip


def _evidence(tally: Tally, promise: str, more: str) -> Evidence:
    verdict = f"{len(tally.wrong)} complaints" if tally.wrong else "all bit-exact"
    return Evidence(
        campaign="endurance",
        promise=promise,
        figure=(
            f"{tally.jobs:,} jobs, {verdict}{more}; memory grew by "
            f"{tally.growth / _MIB:.1f} MiB, {1000 * float(np.mean(tally.seconds)):.1f} ms a job"
        ),
        passed=not tally.wrong and tally.growth < _GROWTH,
        details={
            "jobs": tally.jobs,
            "instructions": tally.instructions,
            "wrong": tally.wrong[:20],
            "own MiB at the end": round(tally.resident[-1] / _MIB, 1),
            "growth MiB": round(tally.growth / _MIB, 2),
            "last quarter's time over the second's": round(tally.slowdown, 2),
        },
    )
