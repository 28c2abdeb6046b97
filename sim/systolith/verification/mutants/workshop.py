"""Where mutants are made and tested: a snapshot of the tree, and a memory of what became of them."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from systolith.sim.cache import cache_directory

from .mutation import Mutation
from .run import Job, Verdict
from .tests import SOURCES, TestMap

#: What noticed a mutant that did not end in time.
HANGS = "runs too long"
DIED = "the process died"
#: What a machine short of memory, disk or time does as well as a fault.
UNSURE = (HANGS, DIED)


class Stopped(Exception):  # noqa: N818 (no error)
    """The workshop was stopped before the run ended."""


class Workshop:
    """A snapshot of the tree, and runs of its tests with or without a fault.

    Parameters
    ----------
    place : Path
        The root of the project.
    directory : Path
        An empty directory for the snapshot and the simulators of mutants.
    """

    def __init__(self, place: Path, directory: Path) -> None:
        self.root = directory / "tree"
        self._directory = directory
        self._numbers = itertools.count()
        self._starting = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        for name in (*SOURCES, "tests", "docs"):
            shutil.copytree(place / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(place / "pyproject.toml", self.root)
        self.map = TestMap(self.root)

    def run(self, job: Job, limit: float, mutation: Mutation | None = None) -> Verdict:
        """The verdict on the tree with a fault, or on the sound one.

        A faulty tree has a cache of its own, where it finds what was built without the fault: Verilator's library,
        and, where the fault changes nothing of the Verilog, the simulator.

        Raises
        ------
        Stopped
            If :meth:`stop` was called.
        """
        work = self._directory / f"mutant{next(self._numbers)}"
        work.mkdir()
        paths = [self.root / source for source in SOURCES]
        cache = cache_directory()
        if mutation is not None:
            paths.insert(0, self._overlay(mutation, work))
            cache = _linked(cache, work / "cache")
        (work / "job.json").write_text(json.dumps(asdict(job)))
        command = [sys.executable, "-m", "systolith.verification.mutants.run", work / "job.json", work / "result.json"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "SYSTOLITH_CACHE": str(cache)}
        env["OPENBLAS_NUM_THREADS"] = "1"
        try:
            finished = self._finishes(command, limit, env, work / "output")
            if finished and (work / "result.json").exists():
                return Verdict(**json.loads((work / "result.json").read_text()))
            return Verdict(killer=DIED if finished else HANGS)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def stop(self) -> None:
        """End all runs at hand, and begin no other."""
        with self._starting:
            self._stopped = True
            for process in self._running:
                _kill(process)

    def _finishes(self, command: list[Any], limit: float, env: Mapping[str, str], said: Path) -> bool:
        """Whether a command ends within ``limit`` seconds; else it is killed with all that it started."""
        with said.open("wb") as output:
            with self._starting:
                if self._stopped:
                    raise Stopped
                process = subprocess.Popen(
                    command, cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=output,
                    stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
                self._running.add(process)
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                return False
            finally:
                with self._starting:
                    self._running.remove(process)
                    _kill(process)
                process.wait()
        if self._stopped:
            raise Stopped
        return True

    def _overlay(self, mutation: Mutation, work: Path) -> Path:
        """A source root with the faulty file alone, or all of its package if that has an ``__init__``."""
        _, _, inner = mutation.path.partition("/")
        original, target = self.root / mutation.path, work / "overlay" / inner
        if (original.parent / "__init__.py").exists():
            shutil.copytree(original.parent, target.parent, ignore=shutil.ignore_patterns("__pycache__"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(mutation.apply(original.read_bytes()))
        return work / "overlay"


def _linked(cache: Path, place: Path) -> Path:
    """A cache at ``place`` with the entries of another; what is added or locked there stays there."""
    place.mkdir()
    for entry in cache.iterdir() if cache.exists() else ():
        if entry.is_dir() and not entry.name.startswith("partial-"):
            (place / entry.name).symlink_to(entry)
    return place


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, if it has not ended, with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


class Store:
    """Verdicts of earlier runs, a file for each.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def load(self, name: object) -> dict[str, Any]:
        """What was saved under the name, or nothing."""
        path = self._path(name)
        entry: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return entry

    def save(self, name: object, entry: Mapping[str, Any]) -> None:
        path = self._path(name)
        path.with_suffix(f".{os.getpid()}").write_text(json.dumps(entry))
        path.with_suffix(f".{os.getpid()}").replace(path)

    def _path(self, name: object) -> Path:
        return self._directory / f"{sha256(repr(name).encode()).hexdigest()[:24]}.json"
