"""Tests of one source tree, in a process of their own: which of them fails first?

``python -m systolith.verification.mutation_run JOB RESULT``, both JSON files: a :class:`Job` and a :class:`Verdict`.
The faulty module is whatever ``PYTHONPATH`` finds first.
"""

import gc
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from systolith.models.registry import load_model
from systolith.rtl.config import preset
from systolith.runtime.device import open_device

#: The encoder that runs on the RTL when no test has failed; the mask leaves two tokens out.
_ENCODER = {"tokens": 9, "hidden": 24, "heads": 2, "ffn": 40, "layers": 1}
_VALID = 7


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
        Whether Verilog must come out before anything is run.
    cycles : int or None
        Cycles that an encoder takes on the RTL, run last; 0 to only measure them, None not to run it.
    keep_going : bool
        Run all tests whether or not some fail.
    """

    module: str
    groups: list[list[str]]
    design: bool
    cycles: int | None = None
    keep_going: bool = False


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
    """A plugin of pytest that remembers the first failure and adds up times by file."""

    def __init__(self) -> None:
        self.failed = ""
        self.seconds: dict[str, float] = {}

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
            from systolith.rtl.verilog import generate

            generate(preset("tiny"))
    except Exception as error:
        verdict.design = f"{type(error).__name__}: {error}"[:200]
        return verdict
    gc.collect()
    for group in job.groups:
        killer, seconds = run_tests([*group, *([] if job.keep_going else ["-x"])])
        verdict.seconds |= seconds
        verdict.killer = verdict.killer or killer
        if verdict.killer and not job.keep_going:
            return verdict
    if job.cycles is not None:
        killer, verdict.cycles = run_encoder_on_rtl(job.cycles)
        verdict.killer = verdict.killer or killer
    return verdict


def main(job: str, result: str) -> None:
    """Run the job in one file and write the verdict to the other."""
    verdict = run(Job(**json.loads(Path(job).read_text())))
    Path(result).write_text(json.dumps(asdict(verdict)))


if __name__ == "__main__":
    main(*sys.argv[1:])
