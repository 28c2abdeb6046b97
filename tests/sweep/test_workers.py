"""The workers of a Dask scheduler: those that join late count."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from systolith.sweep.record import Record
from systolith.sweep.schedule import Build, Built, Schedule, Task
from systolith.sweep.space import points_of
from systolith.sweep.workers import dask_workers

distributed = pytest.importorskip("distributed")

#: More tasks at once than any fixed number that a sweep without workers could begin with.
_TOGETHER = threading.Barrier(6)


def meet() -> Record:
    """Ends when as many run as :data:`_TOGETHER` says."""
    _TOGETHER.wait(10)
    return {"outcome": "bit-exact"}


def test_workers_that_join_after_the_start_get_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(call: Callable[..., Future[Any]], task: Task) -> Future[Any]:
        return call(Built, False) if isinstance(task, Build) else call(meet)

    monkeypatch.setattr(Schedule, "_submit", staticmethod(submit))
    points = points_of({"dims": [4], "workload": [f"random:1x{tokens}@16/2/24" for tokens in range(4, 10)]})
    finished: list[Record] = []
    idle: list[bool] = []
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        scheduled = Schedule(points, [], finished.append, list, lambda: idle.append(True))
        workers = dask_workers(cluster.scheduler_address)
        late = threading.Timer(0.5, cluster.scale, [3])
        late.start()
        scheduled.run(workers)
        late.join()
    assert idle == [True]
    assert finished == [{"outcome": "bit-exact"}] * 6
