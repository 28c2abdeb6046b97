"""Who is built and run when, and whose fault it is when a process dies."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from systolith.rtl.config import Config
from systolith.sweep import schedule
from systolith.sweep.fingerprint import synthesis_key, synthesis_origin
from systolith.sweep.record import Outcome, Record
from systolith.sweep.schedule import Build, Built, Schedule, Synthesize, Task, build_simulator
from systolith.sweep.space import Point, points_of
from systolith.sweep.workers import Workers, local_workers
from systolith.sweep.workload import SweepError

WORKLOADS = [f"random:1x{tokens}@16/2/24" for tokens in (4, 5, 6)]


@contextmanager
def threads(alone: bool) -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was done, in order, by tasks that do nothing."""
    done: list[Any] = []

    def built(config: Any) -> Built:
        done.append(("build", config.rows))
        return Built(True, "no compiler" if config.rows == 8 else None)

    def ran(point: Point, origin: str, name: str) -> Record:
        done.append(("run", point.rows, point.workload.encoder.tokens))
        return {"key": name, "outcome": str(Outcome.EXACT)}

    def synthesized(config: Any, target: str, origin: str, name: str) -> Record:
        raise ValueError("too large")

    monkeypatch.setattr(schedule, "build_simulator", built)
    monkeypatch.setattr(schedule, "run_point", ran)
    monkeypatch.setattr(schedule, "run_synthesis", synthesized)
    return done


def test_hardware_is_built_once_and_runs_its_workloads_before_the_next_is_built(ended: list[Any]) -> None:
    points = points_of({"dims": [4, 2], "workload": WORKLOADS})
    finished: list[Record] = []
    builds: list[Any] = []
    told = Schedule(points, [], finished.append, finished.append, built=lambda c, made: builds.append((c.rows, made)))
    told.run(Workers(threads, lambda: 1))
    assert builds == [(4, True), (2, True)]
    assert ended == [
        ("build", 4), ("run", 4, 4), ("run", 4, 5), ("run", 4, 6), ("build", 2), ("run", 2, 4), ("run", 2, 5),
        ("run", 2, 6),
    ]  # fmt: skip
    assert len(finished) == 6


def test_what_cannot_be_built_fails_with_all_of_its_points_and_the_rest_goes_on(ended: list[Any]) -> None:
    points = points_of({"dims": [8, 4], "workload": WORKLOADS[:2]})
    config = points[0].config
    assert config is not None
    finished: list[Record] = []
    areas: list[Record] = []
    Schedule(points, [Synthesize(config, "ecp5")], finished.append, areas.append).run(Workers(threads, lambda: 1))
    assert [(r["outcome"], r.get("failure")) for r in finished] == [("failed", "no compiler")] * 2 + [
        ("bit-exact", None)
    ] * 2
    expected = (synthesis_origin(), synthesis_key(config.to_toml(), "ecp5"))
    assert [(a["failure"], a["result"], a["origin"], a["key"]) for a in areas] == [("too large", None, *expected)]


def test_a_build_says_whether_it_took_work(monkeypatch: pytest.MonkeyPatch) -> None:
    (config,) = {point.config for point in points_of({"dims": [4], "workload": WORKLOADS})}
    assert config is not None

    def translate(config: Config, report: Callable[[str], None]) -> None:
        report("translating")

    def fail(config: Config, report: Callable[[str], None]) -> None:
        translate(config, report)
        raise ValueError("no compiler")

    for build, ended in (
        (lambda config, report: None, Built(False)),
        (translate, Built(True)),
        (fail, Built(True, "no compiler")),
    ):
        monkeypatch.setattr(schedule, "build", build)
        assert build_simulator(config) == ended


def test_the_point_that_kills_its_process_is_found_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    points = points_of({"dims": [4], "workload": WORKLOADS})

    def submit(call: Callable[..., Future[Any]], task: Task) -> Future[Any]:
        if isinstance(task, Build):
            return call(Built, False)
        assert isinstance(task, Point)
        return call(os._exit, 1) if task is points[1] else call(dict, key=task.workload.name, outcome="bit-exact")

    monkeypatch.setattr(Schedule, "_submit", staticmethod(submit))
    finished: list[Record] = []
    Schedule(points, [], finished.append, finished.append).run(local_workers(2))
    failures = {record.get("workload") or record["key"]: record.get("failure") for record in finished}
    assert failures == {
        WORKLOADS[0]: None,
        WORKLOADS[1]: "the process that ran it died, as if killed or out of memory",
        WORKLOADS[2]: None,
    }


def test_workers_that_come_and_go_are_counted_while_the_sweep_runs(
    ended: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_PASS", 0.001)
    widths, idle = [0, 0, 1, 0], []
    finished: list[Record] = []
    scheduled = Schedule(
        points_of({"dims": [4], "workload": WORKLOADS}), [], finished.append, list, lambda: idle.append(len(ended))
    )
    scheduled.run(Workers(threads, lambda: widths.pop(0) if widths else 2))
    assert len(finished) == 3
    # Said once each time that there are none: before anything ran, and after the build.
    assert idle == [0, 1]


def test_a_lost_scheduler_ends_the_sweep() -> None:
    class Lost(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:  # type: ignore[override]
            future: Future[Any] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    @contextmanager
    def pool(alone: bool) -> Iterator[Executor]:
        yield Lost()

    points = points_of({"dims": [4], "workload": WORKLOADS})
    with pytest.raises(SweepError, match="the connection to the Dask scheduler was lost; the same command goes on"):
        Schedule(points, [], list, list).run(Workers(pool, lambda: 2))
