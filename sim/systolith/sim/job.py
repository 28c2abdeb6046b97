"""What a program run hands to the bench in the simulator, and gets back: JSON both ways."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: Environment variables that hold the path of the job, and of the accelerator's configuration (TOML).
JOB_VARIABLE = "SYSTOLITH_JOB"
CONFIG_VARIABLE = "SYSTOLITH_CONFIG"


def program_registers(
    base: int, length: int, regions: Iterable[Iterable[int]], watchdog: int, interrupts: int = 3
) -> dict[str, int]:
    """Registers that a program needs before its doorbell, and their values.

    Parameters
    ----------
    base, length : int
        Address and instructions of the program.
    regions : iterable of (int, int)
        Base address and size in bytes of each region, from the first on.
    watchdog : int, cycles
        Cycles without a retired instruction that count as a fault; 0 is never.
    interrupts : int
        Which causes interrupt: bit 0 the end, bit 1 a fault.
    """
    values = {"PROGRAM_BASE_LO": base & 0xFFFFFFFF, "PROGRAM_BASE_HI": base >> 32, "PROGRAM_LENGTH": length}
    for index, (low, size) in enumerate(regions):
        values[f"REGION{index}_BASE_LO"] = low & 0xFFFFFFFF
        values[f"REGION{index}_BASE_HI"] = low >> 32
        values[f"REGION{index}_SIZE"] = size
    return {**values, "WATCHDOG": watchdog, "IRQ_ENABLE": interrupts}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One program run.

    Parameters
    ----------
    program_base : int
        Address of the program, which is ``program_length`` instructions long.
    regions : list of (int, int)
        Base address and size in bytes of each region.
    watchdog : int, cycles
        Cycles without a retired instruction that count as a fault; 0 is never.
    max_cycles : int or None
        Give up after this many cycles.
    status, result : str
        Paths of the file shared with the memory (``dram.Shared``) and of the result to write.
    chip : str
        Path to which the memories on the chip are copied at the end (a ``chip_state`` record), or nothing. Then, as
        for ``watch``, the simulator must have been built with ``peek``.
    watch : dict or None
        A ``watch.Watch``, whose samples go to file ``watched.npz``.
    """

    program_base: int
    program_length: int
    regions: list[tuple[int, int]]
    watchdog: int
    max_cycles: int | None
    status: str
    result: str
    chip: str = ""
    watch: dict[str, Any] | None = None

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: str) -> "Job":
        return cls(**json.loads(Path(path).read_text()))


@dataclass(kw_only=True)
class Outcome:
    """What the registers said at the end.

    ``hang`` is set, and the rest is not, when no end came: why the bench gave up. ``start`` is the cycle of the
    simulation in which counter ``cycles`` was 0. ``seconds`` is the wall-clock time from start to interrupt.
    """

    hang: str = ""
    done: bool = False
    fault_code: int = 0
    fault_index: int = 0
    fault_waiting: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    start: int = 0
    seconds: float = 0.0

    def save(self, path: str) -> None:
        Path(path).write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        return cls(**json.loads(path.read_text()))
