"""Tests of one source tree, in a process of their own: which of them fails first?

``python -m systolith.verification.mutants.run JOB RESULT``, both JSON files: a :class:`Job` and a :class:`Verdict`.
The faulty module is whatever ``PYTHONPATH`` finds first.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from amaranth.hdl import Fragment

from systolith.rtl.config import preset

#: Not imported before it is needed: it brings most of the project, with the fault.
_ON_RTL = "systolith.verification.mutants.on_rtl"
#: What one test may take, in seconds of the processor; the slowest takes a fifth of it.
_TEST_SECONDS = 80.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run.

    Parameters
    ----------
    module : str
        The module with the fault, which must be imported.
    groups : list of list of str
        Arguments of pytest: each group is collected and run, in order, until a test fails.
    design : bool
        Whether an accelerator must come out before anything is run.
    trial : str
        File of programs that must run on the RTL after these groups, as ``on_rtl`` recorded it; empty for none.
    more : list of list of str
        Groups that run last.
    record : str
        File to record such programs in, instead of all the rest; empty for none.
    """

    module: str
    groups: list[list[str]] = field(default_factory=list)
    design: bool = False
    trial: str = ""
    more: list[list[str]] = field(default_factory=list)
    record: str = ""


@dataclass(kw_only=True)
class Verdict:
    """What came out.

    ``design`` is what kept the module from being imported or generated, ``killer`` the first test that failed (both
    empty if none did), and ``seconds`` what each test file took.
    """

    design: str = ""
    killer: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


class _Recorder:
    """A plugin of pytest that remembers the first failure, adds up times by file, and ends tests that hang."""

    def __init__(self) -> None:
        self.failed = ""
        self.seconds: dict[str, float] = {}

    def pytest_runtest_setup(self) -> None:
        # Of the processor's time, not of the clock's: other work on the machine must not notice a mutant.
        signal.setitimer(signal.ITIMER_VIRTUAL, _TEST_SECONDS)

    def pytest_runtest_logreport(self, report: Any) -> None:
        file = report.nodeid.partition("::")[0]
        self.seconds[file] = self.seconds.get(file, 0.0) + report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid or "collection"


def run_tests(arguments: Sequence[str]) -> tuple[str, dict[str, float]]:
    """The first test that failed, or "", and seconds by file."""
    import pytest

    recorder = _Recorder()
    status = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments], plugins=[recorder])
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.TESTS_FAILED):
        recorder.failed = recorder.failed or f"pytest: {status}"
    return recorder.failed, recorder.seconds


def run(job: Job) -> Verdict:
    """Import, generate, test, simulate; stop at the first that fails."""
    verdict = Verdict()
    try:
        importlib.import_module(job.module)
        if job.design:
            from systolith.rtl.accelerator import Accelerator

            Fragment.get(Accelerator(preset("tiny")), None)
    except Exception as error:
        verdict.design = f"{type(error).__name__}: {error}"[:200]
        return verdict
    if job.record:
        verdict.killer = importlib.import_module(_ON_RTL).record(Path(job.record))
        return verdict
    for group in job.groups:
        if _notices(group, verdict):
            return verdict
    if job.trial:
        verdict.killer = importlib.import_module(_ON_RTL).judge(Path(job.trial))
    for group in job.more:
        if verdict.killer or _notices(group, verdict):
            break
    return verdict


def _notices(group: Sequence[str], verdict: Verdict) -> bool:
    """Whether one of these tests fails."""
    verdict.killer, seconds = run_tests([*group, "-x"])
    verdict.seconds |= seconds
    return bool(verdict.killer)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {_TEST_SECONDS:.0f} s")


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def main(job: str, result: str) -> None:
    """Run the job in one file and write the verdict to the other; end when the process that asked for it ends."""
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGVTALRM, _too_long)
    verdict = run(Job(**json.loads(Path(job).read_text())))
    Path(result).write_text(json.dumps(asdict(verdict)))


if __name__ == "__main__":
    main(*sys.argv[1:])
