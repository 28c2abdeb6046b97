"""Runs a program in a built simulator without cocotb: the model in a plain C++ loop (``bare_loop.h``)."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from systolith.rtl.csr_map import OFFSETS

from .build import Simulator
from .job import Job, Outcome
from .toolchain import SimulationError


def run_bare(simulator: Simulator, job: Job, directory: Path, plusargs: Sequence[str]) -> Outcome:
    """Run ``job`` in ``directory``. The outcome's only counter is ``cycles``, counted by the loop.

    Raises
    ------
    SimulationError
        If the simulator does not run to the interrupt.
    """
    writes = directory / "writes"
    writes.write_text("".join(f"{OFFSETS[name]:x} {value:x}\n" for name, value in _register_writes(job)))
    done = subprocess.run(
        [str(simulator.executable), *plusargs, f"+bare={writes}"], cwd=directory, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    result = directory / "writes.result"
    if done.returncode or not result.exists():
        raise SimulationError(f"the bare loop failed (exit status {done.returncode}): {done.stdout.strip()}")
    cycles, seconds = result.read_text().split()
    return Outcome(done=True, counters={"cycles": int(cycles)}, seconds=float(seconds))


def _register_writes(job: Job) -> list[tuple[str, int]]:
    """Names and values in the order of ``benches/drivers/run_program.py``; the last one starts the program."""
    pairs = [
        ("PROGRAM_BASE", job.program_base),
        *((f"REGION{i}_BASE", base) for i, (base, _) in enumerate(job.regions)),
    ]
    return [
        *((f"{name}_LO", value & 0xFFFFFFFF) for name, value in pairs),
        *((f"{name}_HI", value >> 32) for name, value in pairs),
        ("PROGRAM_LENGTH", job.program_length),
        ("WATCHDOG", job.watchdog),
        *((f"REGION{i}_SIZE", size) for i, (_, size) in enumerate(job.regions)),
        ("IRQ_ENABLE", 3),
        ("CONTROL", 1),
    ]
