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

from systolith.models.registry import load_model
from systolith.rtl.config import preset
from systolith.runtime.device import open_device

#: The encoder that runs on the RTL when no test has failed; the mask leaves two tokens out.
_ENCODER = {"tokens": 9, "hidden": 24, "heads": 2, "ffn": 40, "layers": 1}
_VALID = 7
#: What one test may take, in seconds of the processor; the slowest takes a fifth of it.
_TEST_SECONDS = 40.0


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
    cycles : int or None
        Cycles that an encoder takes on the RTL, run last; 0 to only measure them, None not to run it.
    """

    module: str
    groups: list[list[str]] = field(default_factory=list)
    design: bool = False
    cycles: int | None = None


@dataclass(kw_only=True)
class Verdict:
    """What came out.

    ``design`` is what kept the module from being imported or generated, ``killer`` the first test that failed (both
    empty if none did), ``cycles`` what the encoder took and ``seconds`` what each test file took.
    """

    design: str = ""
    killer: str = ""
    cycles: int = 0
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


def run_encoder_on_rtl(cycles: int) -> tuple[str, int]:
    """What is wrong with a small encoder on the smallest accelerator, or "", and its cycles."""
    from systolith.runtime.session import run_encoder

    model = load_model("random", **_ENCODER)
    try:
        device = open_device(preset("tiny"), "rtl", max_cycles=10 * cycles or None)
        outcome = run_encoder(model.quantized, model.prepare(), device, valid=_VALID)
    except Exception as error:
        return f"encoder on the RTL: {type(error).__name__}", 0
    if outcome.difference is not None:
        return "encoder on the RTL: a wrong bit", 0
    measured = outcome.cycles or 0
    return (f"encoder on the RTL: {measured} cycles" if cycles and measured != cycles else ""), measured


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
    for group in job.groups:
        verdict.killer, seconds = run_tests([*group, "-x"])
        verdict.seconds |= seconds
        if verdict.killer:
            return verdict
    if job.cycles is not None:
        verdict.killer, verdict.cycles = run_encoder_on_rtl(job.cycles)
    return verdict


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
