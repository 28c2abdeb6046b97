"""The workers of a Dask scheduler: those that join late count."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from systolith.sweep.record import Record
from systolith.sweep.schedule import Build, Schedule, Task
from systolith.sweep.space import points_of
from systolith.sweep.workers import dask_workers

distributed = pytest.importorskip("distributed")

#: More tasks at once than any fixed number that a sweep without workers could begin with.
_TOGETHER = threading.Barrier(6)


def meet() -> Record:
    """Ends when as many run as :data:`_TOGETHER` says."""
    _TOGETHER.wait(30)
    return {"outcome": "bit-exact"}


def test_workers_that_join_after_the_start_get_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(call: Callable[..., Future[Any]], task: Task) -> Future[Any]:
        return call(time.sleep, 0) if isinstance(task, Build) else call(meet)

    monkeypatch.setattr(Schedule, "_submit", staticmethod(submit))
    points = points_of({"dims": [4], "workload": [f"random:1x{tokens}@16/2/24" for tokens in range(4, 10)]})
    finished: list[Record] = []
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        # Nothing runs until somebody has seen that there are no workers.
        scheduled = Schedule(points, [], finished.append, list, lambda: cluster.scale(3))
        scheduled.run(dask_workers(cluster.scheduler_address))
    assert finished == [{"outcome": "bit-exact"}] * 6
