"""What array, queues and bus of a simulated accelerator did in every cycle, as ``cpp/dram.cpp`` records it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from systolith.rtl.csr_map import ARRAY_CAUSES
from systolith.rtl.isa import Unit

#: One record (``struct Change`` there): from ``cycle`` to the next record every cycle was like ``activity``.
CHANGE = np.dtype([("cycle", "<u8"), ("activity", "<u4")], align=True)
#: Most records of a run, of 16 bytes each: 256 MiB.
MOST_CHANGES = 1 << 24

#: The bits of ``activity`` from the lowest: why the array did what it did, ...
_WAIT = "array_wait_instruction"  # known only afterwards, and an array_drain until then
CAUSE_BITS = tuple(name for name, _ in ARRAY_CAUSES if name != _WAIT)
#: ... and what happened (``sv/dram_port.sv``). ``read_fetch`` and ``read_address_fetch`` tell whose beat and address.
BITS = (
    *CAUSE_BITS,
    "run",
    *(f"queue_{unit.name.lower()}" for unit in Unit),
    "read", "read_fetch", "write", "read_address", "read_address_fetch", "write_address", "response", "irq",
    "register_write",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Intervals of a run in each of which every cycle was alike.

    Attributes
    ----------
    start, end : int64 (intervals,), cycles
        Interval i is ``start[i]`` to ``end[i] - 1``, 0 being the program's first cycle. Cycles before ``first`` and
        after ``last`` show only what entered the queues.
    words : uint32 (intervals,)
        :data:`BITS` of each.
    first, last : int, cycles
        What was recorded wholly: ``first`` to ``last - 1``. All before the program too, if ``first`` is negative.
    whole : bool
        False if there was more to record than :data:`MOST_CHANGES` allow, so that the run goes on after ``last``.
    origin : int, cycles
        The program's first cycle, counted from the start of the simulation.
    ended : int, cycles
        The first cycle after the program; where the simulation or the record ended, if that was before.
    """

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint32]
    first: int
    last: int
    whole: bool
    origin: int
    ended: int

    def intervals(self, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First cycles, and ends, of the longest intervals in which bit ``name`` was set."""
        return self.merged(self.bit(name))

    def merged(self, on: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The same for the intervals that ``on`` (bool, one for each) selects."""
        edges = np.diff(np.concatenate(([False], on, [False])).astype(np.int8))
        return self.start[np.flatnonzero(edges == 1)], self.end[np.flatnonzero(edges == -1) - 1]

    def bit(self, name: str) -> npt.NDArray[np.bool_]:
        """Whether bit ``name`` was set in each interval."""
        return (self.words >> BITS.index(name) & 1).astype(bool)


def read_activity(path: Path, window_from: int | None, window_cycles: int | None, simulated: int) -> Activity | None:
    """The activity that a simulator left, for the window (None: all) that it was given; None if no program ran.

    ``simulated`` are the cycles of the whole simulation, which tell how long a program ran that did not end.
    """
    changes = np.fromfile(path, CHANGE)
    run = changes["activity"] >> BITS.index("run") & 1
    began = np.flatnonzero(run)
    if len(began) == 0:
        return None
    origin = int(changes["cycle"][began[0]])
    cycles = changes["cycle"].astype(np.int64) - origin
    whole = len(changes) < MOST_CHANGES
    stopped = began[-1] + 1
    ended = int(cycles[-1])
    if whole:
        ended = int(cycles[stopped]) if stopped < len(changes) else max(simulated - origin, ended + 1)
    first = -origin if window_from is None else min(window_from, ended)
    last = ended if window_cycles is None else min(ended, max(first, 0) + window_cycles)
    ends = np.append(cycles[1:], max(int(cycles[-1]) + 1, ended))
    keep = ends > cycles
    return Activity(
        start=cycles[keep],
        end=ends[keep],
        words=changes["activity"][keep],
        first=first,
        last=last,
        whole=whole,
        origin=origin,
        ended=ended,
    )
