"""The simulated memory as Python sees it: settings, and the files shared with ``dram.cpp``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Layout of the file that ``dram.cpp`` maps and updates every cycle (``struct Status`` there).
STATUS = np.dtype([
    ("cycles", "<u8"),
    ("retired", "<u8"),
    ("read_beats", "<u8"),
    ("write_beats", "<u8"),
    ("violations", "<u8"),
    ("first_violation", "S216"),
])  # fmt: skip

#: One record of the instruction trace (``struct Event`` there): ``kind`` is 0 for issue, 1 for retire.
EVENT = np.dtype([("cycle", "<u8"), ("unit", "u1"), ("kind", "u1"), ("index", "<u4")], align=True)


@dataclass(frozen=True, kw_only=True)
class BusError:
    """Addresses ``low`` to ``high - 1`` answer with ``response``: 2 (SLVERR) or 3 (DECERR)."""

    low: int
    high: int
    response: int = 2


@dataclass(frozen=True, kw_only=True)
class DramSettings:
    """How the memory behaves.

    Parameters
    ----------
    latency : int, cycles
        From an accepted read address to its first beat, and from the last write beat to its response. >= 1.
    bandwidth : int, bytes a cycle
        Shared by reads and writes; 0 is one beat a cycle in each direction.
    seed : int or None
        Randomises latencies (1 to twice ``latency``), stalls every channel a quarter of the time and
        interleaves read identifiers. None: as regular as can be.
    error : BusError or None
        Addresses that answer with an error. Those outside the memory always answer DECERR.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    latency: int = 30
    bandwidth: int = 0
    seed: int | None = None
    error: BusError | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.latency < 1 << 31:
            raise ValueError(f"memory latency must be at least 1 cycle, not {self.latency}")
        if not 0 <= self.bandwidth < 1 << 31:
            raise ValueError(f"memory bandwidth must be 0 or more bytes a cycle, not {self.bandwidth}")
        if self.seed is not None and not 0 <= self.seed < 1 << 31:
            raise ValueError(f"memory seed must be 0 to {(1 << 31) - 1}, not {self.seed}")

    def plusargs(self) -> list[str]:
        args = [f"+dram_latency={self.latency}", f"+dram_bandwidth={self.bandwidth}"]
        if self.seed is not None:
            args.append(f"+dram_seed={_state(self.seed)}")
        if self.error is not None:
            args.append(f"+dram_error={self.error.low:x},{self.error.high:x},{self.error.response}")
        return args


def _state(seed: int) -> int:
    """The generator's first state: never 0, and neighbouring seeds far apart (golden ratio hashing)."""
    return (seed * 2 + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1


def create_status(path: Path) -> np.memmap:
    """A new status file, mapped: an array of one ``STATUS`` record that follows the simulation."""
    return np.memmap(path, dtype=STATUS, mode="w+", shape=(1,))


def read_events(path: Path) -> np.ndarray:
    """The instruction trace written so far: ``EVENT`` records in order of time."""
    return np.fromfile(path, dtype=EVENT)
