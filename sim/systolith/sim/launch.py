"""Starts a built simulator with a cocotb bench inside, and ends it with whatever started it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cocotb_tools.config
import find_libpython

from .build import Simulator
from .testbench import TOP
from .toolchain import SimulationError

#: Lines at the end of a failed simulation's output that are worth showing.
_SHOWN_LINES = 15


class Simulation:
    """A running simulator.

    Parameters
    ----------
    process : Popen
    log : Path
        Where its output goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def wait(self, seconds: float) -> bool:
        """Whether the simulator ended within ``seconds``."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def failure(self, what: str) -> SimulationError:
        """An error that says ``what`` and shows the end of the simulator's output."""
        lines = self._log.read_text(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
        return SimulationError("\n  ".join([f"{what} (exit status {self._process.returncode})", *lines]))


@contextlib.contextmanager
def launch(
    simulator: Simulator,
    bench: str,
    *,
    directory: Path,
    plusargs: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Simulation]:
    """Run the bench module ``bench`` in ``simulator``, in ``directory``, until it ends or the block is left.

    The simulator gets a process group of its own, killed when the block is left early; it also dies with
    this process. Its output goes to ``simulation.log`` and cocotb's results to ``results.xml``, in ``directory``.

    Raises
    ------
    SimulationError
        If this Python has no shared library for the simulator to load.
    """
    python = find_libpython.find_libpython()
    if python is None:
        raise SimulationError("cocotb needs a Python with a shared library (libpython), and this one has none")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{python};{cocotb_tools.config.pygpi_entry_point()}",
        "COCOTB_TOPLEVEL": TOP,
        "COCOTB_TEST_MODULES": bench,
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_RESULTS_FILE": str(directory / "results.xml"),
        "COCOTB_LOG_LEVEL": "WARNING",
        "COCOTB_REWRITE_ASSERTION_FILES": "",  # rewriting parses every imported module again, at each start
        "OPENBLAS_NUM_THREADS": "1",
        "TOPLEVEL_LANG": "verilog",
        **(env or {}),
    }
    log = directory / "simulation.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(simulator.executable), *plusargs], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield Simulation(process, log)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
