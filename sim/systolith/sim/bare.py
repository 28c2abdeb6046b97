"""Runs a program in a built simulator without cocotb: the model in a plain C++ loop (``bare_loop.h``)."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from systolith.rtl.csr_map import OFFSETS

from .build import Simulator
from .job import Job, Outcome, program_registers
from .toolchain import SimulationError


def run_bare(simulator: Simulator, job: Job, directory: Path, plusargs: Sequence[str]) -> Outcome:
    """Run ``job`` in ``directory``. The outcome's only counter is ``cycles``, counted by the loop.

    Raises
    ------
    SimulationError
        If the simulator does not run to the interrupt.
    """
    writes = directory / "writes"
    registers = {**program_registers(job.program_base, job.program_length, job.regions, job.watchdog), "CONTROL": 1}
    writes.write_text("".join(f"{OFFSETS[name]:x} {value:x}\n" for name, value in registers.items()))
    done = subprocess.run(
        [str(simulator.executable), *plusargs, f"+bare={writes}"], cwd=directory, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    result = directory / "writes.result"
    if done.returncode or not result.exists():
        raise SimulationError(f"the bare loop failed (exit status {done.returncode}): {done.stdout.strip()}")
    cycles, seconds = result.read_text().split()
    return Outcome(done=True, counters={"cycles": int(cycles)}, seconds=float(seconds))
