"""The simulated memory as Python sees it: settings, and the files shared with ``dram.cpp``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from systolith.rtl.interfaces import Regions
from systolith.rtl.isa import Unit

#: What the memory counts and checks, updated every cycle (``struct Status`` in ``cpp/shared.h``).
STATUS = np.dtype([
    ("cycles", "<u8"),
    ("retired", "<u8"),
    ("read_beats", "<u8"),
    ("write_beats", "<u8"),
    ("violations", "<u8"),
    ("first_violation", "S216"),
    ("strays", "<u8"),
    ("reads_waiting", "<u8"),
    ("writes_waiting", "<u8"),
    ("last_request", "<u8"),
    ("retired_of", "<u8", len(Unit)),
])  # fmt: skip
#: Bytes ``low`` to ``high - 1``.
WINDOW = np.dtype([("low", "<u8"), ("high", "<u8")])
#: How the memory is to behave from now on (``struct Control`` there). ``mute`` has a bit for each of :data:`CHANNELS`;
#: ``timing`` changes when the three values after it are to be taken over.
CONTROL = np.dtype([
    ("timing", "<u8"), ("latency", "<u8"), ("bandwidth", "<u8"), ("seed", "<u8"),
    ("mute", "<u8"), ("mute_from", "<u8"),
    ("forget", "<u8"),
    ("error_response", "<u8"), ("error_kinds", "<u8"), ("error", WINDOW),
    ("granting", "<u8"), ("grants", WINDOW, Regions.COUNT + 1),
])  # fmt: skip
#: The file that ``dram.cpp`` maps.
SHARED = np.dtype([("status", STATUS), ("control", CONTROL)])
#: The bus, in the order of the bits of ``mute``.
CHANNELS = ("AR", "R", "AW", "W", "B")
#: Kinds of access that an error region refuses.
READS, WRITES = 1, 2

#: Most cycles of latency, and most bytes a cycle of bandwidth.
MOST_TIMING = (1 << 31) - 1

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
        From an accepted read address to its first beat, and from the last write beat to its response. 1 to
        :data:`MOST_TIMING`.
    bandwidth : int, bytes a cycle
        Shared by reads and writes; 0 is one beat a cycle in each direction. At most :data:`MOST_TIMING`.
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
        if not 1 <= self.latency <= MOST_TIMING:
            raise ValueError(f"memory latency must be 1 to {MOST_TIMING} cycles, not {self.latency}")
        if not 0 <= self.bandwidth <= MOST_TIMING:
            raise ValueError(f"memory bandwidth must be 0 to {MOST_TIMING} bytes a cycle, not {self.bandwidth}")
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


class Shared:
    """The file that the memory and Python share, mapped: what the memory saw, and how it is to behave.

    Parameters
    ----------
    path : Path
    create : bool
        Make a new one instead of mapping one that is there.
    """

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        record = np.memmap(path, dtype=SHARED, mode="w+" if create else "r+", shape=(1,))[0]
        self._status: Any = record["status"]
        #: One ``CONTROL`` record; assigning to its fields takes effect in the next cycle.
        self.control: Any = record["control"]

    def __getattr__(self, name: str) -> int:
        if name not in STATUS.names:  # type: ignore[operator]
            raise AttributeError(name)
        return int(self._status[name])

    @property
    def retired_of(self) -> list[int]:
        """Instructions retired, by unit."""
        return [int(count) for count in self._status["retired_of"]]

    @property
    def violation(self) -> str:
        """The first violation of the protocol and how many there were, or nothing."""
        if not self.violations:
            return ""
        first = bytes(self._status["first_violation"]).decode()
        return f"broke the AXI protocol {self.violations} times, first in {first}"

    def pardon(self) -> str:
        """What :attr:`violation` says; it says nothing any more until there is another one."""
        violation = self.violation
        self._status["violations"] = 0
        return violation

    @property
    def unanswered(self) -> str:
        """Bursts whose responses have not been consumed; nothing if there are none. For the end of a program."""
        if not self.reads_waiting and not self.writes_waiting:
            return ""
        return f"left {self.reads_waiting} read and {self.writes_waiting} write bursts without their responses"

    def settle(self, latency: int, bandwidth: int, seed: int | None) -> None:
        """Another timing from now on; the parameters are those of :class:`DramSettings`."""
        self.control["latency"], self.control["bandwidth"] = latency, bandwidth
        self.control["seed"] = 0 if seed is None else _state(seed)
        self.control["timing"] += 1

    def refuse(self, error: BusError | None, kinds: int = READS | WRITES) -> None:
        """Answer ``kinds`` of access to these addresses with an error, and no others."""
        self.control["error_kinds"] = 0 if error is None else kinds
        if error is not None:
            self.control["error"]["low"], self.control["error"]["high"] = error.low, error.high
            self.control["error_response"] = error.response

    def grant(self, windows: Sequence[tuple[int, int]], program: tuple[int, int]) -> None:
        """Only these addresses, (low, high) of each region and of the program, may be asked for."""
        grants = self.control["grants"]
        grants[:] = 0
        for i, window in enumerate(windows):
            grants[i] = window
        grants[Regions.COUNT] = program
        self.control["granting"] = 1


def read_events(path: Path) -> np.ndarray:
    """The instruction trace written so far: ``EVENT`` records in order of time."""
    return np.fromfile(path, dtype=EVENT)
