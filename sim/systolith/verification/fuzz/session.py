"""A simulator process that runs batch after batch of programs: starting one takes longer than many a batch."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.rtl.chip_state import chip_state
from systolith.rtl.config import Config
from systolith.rtl.isa import INSTRUCTION_BYTES
from systolith.sim.build import Simulator
from systolith.sim.dram import DramSettings, Shared
from systolith.sim.job import CONFIG_VARIABLE
from systolith.sim.launch import Simulation, launch
from systolith.sim.toolchain import SimulationError

_BENCH = "systolith.sim.benches.drivers.fuzz_programs"
#: Bytes of the simulated memory; what a batch does not use stays 0.
DRAM_BYTES = 1 << 20
#: Seconds after which a batch is given up, and between looks for its end.
_LIMIT = 600.0
#: Seconds that the simulator gets to end by itself.
_ENDING = 20.0
_INTERVAL = 0.002
#: The named pipe in the process's directory on which it is told the next batch's directory, or in an empty line to end.
PIPE = "next"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One program of a batch for the bench: addresses, timing of the memory, what it begins with.

    ``regions`` are base and size in bytes, ``grants`` the addresses of each that the program may use (low, high);
    ``state`` is an index into the batch's states, None for what is there.
    """

    program_base: int
    program_length: int
    regions: list[list[int]]
    grants: list[list[int]]
    latency: int
    bandwidth: int
    seed: int | None
    reset: bool
    state: int | None

    @property
    def program_bytes(self) -> int:
        return self.program_length * INSTRUCTION_BYTES


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Cycles from start to interrupt, and what went wrong other than data."""

    cycles: int
    problem: str


class Files:
    """The files of a batch: what the bench reads, ``after`` and ``chips`` that it fills, ``outcomes`` at its end."""

    def __init__(self, directory: Path) -> None:
        self.entries = directory / "entries"
        self.before = directory / "before"
        self.after = directory / "after"
        self.states = directory / "states"
        self.chips = directory / "chips"
        self.outcomes = directory / "outcomes"


def dram_base(config: Config) -> int:
    """Address of the memory: the upper half of the address space, so that every address bit is used."""
    return 1 << (config.axi_address_width - 1)


class Session:
    """Starts the simulator when first needed, and anew after a batch that ended with a problem."""

    def __init__(self, config: Config, simulator: Simulator) -> None:
        self.config = config
        self.simulator = simulator
        self._open = contextlib.ExitStack()
        self._simulation: Simulation | None = None
        self._directory = Path()
        self._batch = 0
        self._running: tuple[Files, npt.NDArray[np.uint8], npt.NDArray[Any]] | None = None

    def close(self) -> None:
        """Let the simulator end by itself, as then it leaves what it counted; if it does not, it is ended."""
        if self._simulation is not None:
            os.write(self._pipe, b"\n")
            self._simulation.wait(_ENDING)
        self._open.close()
        self._simulation = None

    def start(self, entries: Sequence[Entry], before: npt.NDArray[np.uint8], states: npt.NDArray[Any]) -> None:
        """Have a batch run: ``before`` is the simulated memory for each entry, (entries, bytes); ``states`` records."""
        if before.shape[1] > DRAM_BYTES:
            raise ValueError(f"a program with its regions takes {before.shape[1]} bytes; the memory has {DRAM_BYTES}")
        if self._simulation is None:
            self._launch()
        self._batch += 1
        place = self._directory / str(self._batch)
        place.mkdir()
        files = Files(place)
        before.tofile(files.before)
        states.tofile(files.states)
        after = np.memmap(files.after, np.uint8, "w+", shape=before.shape)
        chips = np.memmap(files.chips, chip_state(self.config), "w+", shape=(len(entries),))
        files.entries.write_text(json.dumps([asdict(entry) for entry in entries]))
        self._running = files, after, chips
        os.write(self._pipe, f"{place}\n".encode())

    def finish(self) -> Iterator[tuple[Outcome, npt.NDArray[np.uint8], npt.NDArray[Any]]]:
        """For each entry that ran, its outcome, the memory and the chip after it; the last may have a problem.

        Raises
        ------
        SimulationError
            If the simulator ended within the batch, or the batch does not end; the next one starts another.
        """
        if self._running is None or self._simulation is None:
            raise ValueError("no batch was started")
        files, after, chips = self._running
        limit = time.monotonic() + _LIMIT
        while not files.outcomes.exists():
            if self._simulation.wait(_INTERVAL):
                raise self._failure("the simulator ended within a batch")
            if time.monotonic() > limit:
                raise self._failure(f"a batch did not end within {_LIMIT:.0f} seconds")
        outcomes = [Outcome(**outcome) for outcome in json.loads(files.outcomes.read_text())]
        yield from zip(outcomes, after, chips, strict=False)
        if outcomes[-1].problem:
            self.close()

    def _failure(self, what: str) -> SimulationError:
        """An error with the end of the simulator's output, which goes with its directory."""
        assert self._simulation is not None
        failure = self._simulation.failure(what)
        self.close()
        return failure

    def _launch(self) -> None:
        self._directory = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="systolith-fuzz-")))
        os.mkfifo(self._directory / PIPE)
        # Open for both, so that neither opening nor the end of a batch waits for the other side.
        self._pipe = os.open(self._directory / PIPE, os.O_RDWR)
        self._open.callback(os.close, self._pipe)
        np.memmap(self._directory / "dram", np.uint8, "w+", shape=(DRAM_BYTES,)).flush()
        Shared(self._directory / "status", create=True)
        description = self._directory / "config.toml"
        description.write_text(self.config.to_toml(), encoding="utf-8")
        plusargs = ["+dram_file=dram", "+dram_status=status", f"+dram_base={dram_base(self.config):x}"]
        plusargs += ["+memories=memories", *DramSettings().plusargs()]
        self._simulation = self._open.enter_context(
            launch(
                self.simulator, _BENCH, directory=self._directory, plusargs=plusargs,
                env={CONFIG_VARIABLE: str(description)},
            )
        )  # fmt: skip
