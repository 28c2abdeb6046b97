"""Several experiments at a time, each in a process of its own, with what each is doing."""

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

from systolith.files import write_whole
from systolith.sweep.workers import local_workers

from .figure import FigureTable, Options, Report, run_figure

#: Seconds between looks at what the processes report.
_POLL = 0.2

Tables = tuple[FigureTable, ...]


def produce(name: str, options: Options, output: Path | None, report: Report) -> Tables:
    """Run one experiment; write its data as JSON and its pictures to ``output``, if there is one; return its tables."""
    found = run_figure(name, options, report)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_whole(output / f"{name}.json", json.dumps(found.data, indent=1) + "\n")
        for stem, draw in found.pictures.items():
            draw(output / f"{stem}.svg")
    return found.tables


def produce_all(
    names: Sequence[str], options: Options, output: Path | None, report: Report, jobs: int
) -> Iterator[tuple[str, Tables]]:
    """Run ``names``, ``jobs`` at a time; each with its tables as soon as it is done.

    Raises
    ------
    SurveyError
        As the experiments do; what the others have run until then is kept.
    """
    if jobs == 1 or len(names) == 1:
        for name in names:
            yield name, produce(name, options, output, partial(_labelled, report, name))
        return
    with multiprocessing.get_context("spawn").Manager() as manager, local_workers(jobs).open(False) as pool:
        said: Any = manager.Queue()
        running = {pool.submit(_produce_reporting, name, options, output, said): name for name in names}
        doing: dict[str, str] = {}
        while running:
            done, _ = wait(running, timeout=_POLL, return_when=FIRST_COMPLETED)
            doing |= dict(_latest(said))
            for future in done:
                yield _finished(running, doing, future)
            report("; ".join(f"{name}: {text}" for name, text in doing.items()))


def _labelled(report: Report, name: str, text: str) -> None:
    report(f"{name}: {text}")


def _produce_reporting(name: str, options: Options, output: Path | None, said: Any) -> Tables:
    return produce(name, options, output, lambda text: said.put((name, text)))


def _latest(said: Any) -> Iterator[tuple[str, str]]:
    try:
        while True:
            yield said.get_nowait()
    except Empty:
        return


def _finished(running: dict[Future[Tables], str], doing: dict[str, str], future: Future[Tables]) -> tuple[str, Tables]:
    name = running.pop(future)
    doing.pop(name, None)
    return name, future.result()
