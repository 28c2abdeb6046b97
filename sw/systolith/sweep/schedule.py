"""The order of a sweep's work: each accelerator is built once and runs its workloads; a failure stops no other."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass
from typing import Any

from systolith.rtl.config import Config
from systolith.sim.build import build

from .fingerprint import key, origin, synthesis_key, synthesis_origin
from .record import Outcome, Record, record, run_point, sentence
from .space import Point
from .synthesis import run_synthesis, synthesis_record
from .workers import LOST, Workers
from .workload import SweepError

#: Seconds after which workers are counted again, if no task has ended.
_PASS = 1.0
#: What a point is told that was running when its process was killed, alone.
_DIED = "the process that ran it died, as if killed or out of memory"


@dataclass(frozen=True)
class Build:
    """Build the simulator of a configuration, for all of its points."""

    config: Config


@dataclass(frozen=True)
class Synthesize:
    """Area and clock of a configuration on a target."""

    config: Config
    target: str

    @property
    def expected(self) -> tuple[str, str]:
        """Origin and name here of the record, which a worker elsewhere must agree with."""
        return synthesis_origin(), synthesis_key(self.config.to_toml(), self.target)


Task = Build | Synthesize | Point


@dataclass(frozen=True)
class Built:
    """How a build ended: whether anything was ``made`` or all found in the cache, and why it failed if it did."""

    made: bool
    failure: str | None = None


def build_simulator(config: Config) -> Built:
    """Build, or find in the cache; never raises."""
    taken: list[str] = []
    try:
        build(config, report=taken.append)
    except Exception as error:
        return Built(bool(taken), sentence(error))
    return Built(bool(taken))


class Schedule:
    """Runs points and syntheses on workers.

    Parameters
    ----------
    points : iterable of Point
        Those to run.
    syntheses : iterable of Synthesize
    finished : function of Record
        Told each point's record when it is there, whatever its outcome.
    synthesized : function of Record
        The same for syntheses.
    idle : function
        Told when there are no workers to give tasks to.
    built : function of Config and bool
        Told each configuration whose build ended, and whether it took work.
    """

    def __init__(
        self,
        points: Iterable[Point],
        syntheses: Iterable[Synthesize],
        finished: Callable[[Record], None],
        synthesized: Callable[[Record], None],
        idle: Callable[[], None] = lambda: None,
        built: Callable[[Config, bool], None] = lambda _, __: None,
    ) -> None:
        self._finished, self._synthesized, self._idle, self._built = finished, synthesized, idle, built
        self._waiting: dict[Config, list[Point]] = {}
        self._ready: deque[Task] = deque()
        for point in points:
            if point.config is None:
                finished(run_point(point, origin(), key(point)))
            else:
                self._waiting.setdefault(point.config, []).append(point)
        self._ready.extend(Build(config) for config in self._waiting)
        self._ready.extend(syntheses)

    def run(self, workers: Workers) -> None:
        """Run everything. What ran while a worker process died is tried once more, alone, to see whose fault it was.

        Raises
        ------
        SweepError
            If the cluster's scheduler is lost.
        """
        suspects: deque[Task] = deque()
        while suspects or self._ready:
            alone = bool(suspects)
            with workers.open(alone) as executor:
                width = (lambda: min(1, workers.width())) if alone else workers.width
                lost = self._drive(executor.submit, suspects if alone else self._ready, width)
            if alone and lost:
                self._end(lost[0], None, _DIED)
            else:
                suspects.extend(lost)

    def _drive(self, submit: Callable[..., Future[Any]], queue: deque[Task], width: Callable[[], int]) -> list[Task]:
        """Work ``queue`` off, ``width()`` tasks at a time; returns those that were running if a process died."""
        running: dict[Future[Any], Task] = {}
        manned = True
        while queue or running:
            places = width()
            if manned and not places:
                self._idle()
            manned = places > 0
            try:
                while queue and len(running) < places:
                    running[self._submit(submit, queue[0])] = queue[0]
                    queue.popleft()
            except BrokenExecutor:
                if not running:
                    raise
            if not running:
                time.sleep(_PASS)
                continue
            done, _ = wait(running, _PASS, FIRST_COMPLETED)
            for future in done:
                if future.cancelled():
                    raise SweepError(LOST)
                error = future.exception()
                if isinstance(error, BrokenExecutor):
                    return list(running.values())
                task = running.pop(future)
                self._end(task, None if error else future.result(), sentence(error) if error else None)
        return []

    @staticmethod
    def _submit(submit: Callable[..., Future[Any]], task: Task) -> Future[Any]:
        if isinstance(task, Build):
            return submit(build_simulator, task.config)
        if isinstance(task, Synthesize):
            return submit(run_synthesis, task.config, task.target, *task.expected)
        return submit(run_point, task, origin(), key(task))

    def _end(self, task: Task, result: Any, failure: str | None) -> None:
        """Note the end of a task: its ``result``, or why it has none."""
        if isinstance(task, Build):
            points = self._waiting.pop(task.config)
            ended: Built = Built(False, failure) if failure else result
            self._built(task.config, ended.made)
            if ended.failure is None:
                self._ready.extendleft(reversed(points))
            else:
                for point in points:
                    self._finished(_failed(point, ended.failure))
        elif isinstance(task, Synthesize):
            self._synthesized(result or synthesis_record(task.config, task.target, *task.expected, None, failure))
        else:
            self._finished(result or _failed(task, failure or ""))


def _failed(point: Point, failure: str) -> Record:
    return record(point, origin(), key(point), Outcome.FAILED, failure, {}, 0.0)
