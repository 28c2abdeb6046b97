"""A device runs programs; the backends are the functional model (numpy) and the RTL (simulated)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.rtl.interfaces import Fault
from systolith.rtl.isa import Unit
from systolith.sim.toolchain import SimulationError

if TYPE_CHECKING:
    from systolith.sim.activity import Activity
    from systolith.sim.watch import Watched

#: Names that :func:`open_device` knows.
BACKENDS = ("functional", "rtl")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a program run leaves.

    Attributes
    ----------
    counters : dict of str to int
        Counters by their names in ``csr_map.COUNTERS``; the functional device has ``instructions`` only.
    regions : list of uint8 arrays
        The DRAM regions after the run: writable copies, of the sizes given.
    events : structured array or None
        The instruction trace, in order of time: ``cycle`` (u8, counted from the start of the program),
        ``unit`` (u1, a ``Unit``), ``kind`` (u1, 0 issue, 1 retire), ``index`` (u4, in the program).
    wall_seconds : float
        From the start of the program to its end; building a simulator is not counted.
    simulated : bool
        Whether hardware was simulated, so that ``cycles`` and the other counters mean something.
    activity : Activity or None
        What array, queues and bus did in every cycle, if it was to be recorded.
    state : record of ``chip_state`` or None
        The memories on the chip after the run, if they were to be looked at.
    watched : Watched or None
        What was in the elements of memory that were to be watched.
    waves : path or None
        The waveform, if one was to be written and the run reached its window.
    """

    counters: dict[str, int]
    regions: list[npt.NDArray[np.uint8]]
    events: npt.NDArray[np.void] | None
    wall_seconds: float
    simulated: bool
    activity: "Activity | None" = None
    state: npt.NDArray[np.void] | None = None
    watched: "Watched | None" = None
    waves: Path | None = None

    @property
    def ended(self) -> int:
        """The first cycle after the program, after a hang the first after its record; 0 if neither is known."""
        return self.counters.get("cycles") or (0 if self.activity is None else self.activity.ended)

    def misses(self, trace_from: int | None) -> bool:
        """Whether the program is known to have ended before a window that begins in cycle ``trace_from``."""
        return 0 < self.ended <= (trace_from or 0)


class DeviceFault(Exception):  # noqa: N818 (the hardware's own word for it)
    """The accelerator stopped with a fault.

    Parameters
    ----------
    code : int
        A ``Fault``.
    index : int
        The instruction at fault, counted from the start of the program.
    waiting : int
        Which units waited for whose tokens (register FAULT_WAITING). A watchdog's message says it.
    result : RunResult or None
        What the run left until then; events only beside the activity.
    """

    def __init__(self, code: int, index: int, waiting: int = 0, result: RunResult | None = None) -> None:
        self.result = result
        self.code = code
        self.index = index
        name = Fault(code).name if code in list(Fault) else "UNKNOWN"
        self.waiting = waiting
        pairs = [(a, b) for a in Unit for b in Unit if waiting >> len(Unit) * a + b & 1]
        tokens = "; ".join(f"{a.name} waited for a token of {b.name}" for a, b in pairs if code == Fault.WATCHDOG)
        super().__init__(
            f"the accelerator stopped at instruction {index}: {name} (fault {code})" + (f"; {tokens}" if tokens else "")
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.code, self.index, self.waiting, self.result)


class AcceleratorError(SimulationError):
    """The accelerator did on the RTL what none may: it broke the bus's protocol, hangs, or ended in no known way.

    Parameters
    ----------
    what : str
        The sentence.
    result : RunResult
        What the run left until then. After a hang it has no counters, and events only beside the activity.
    """

    def __init__(self, what: str, result: RunResult) -> None:
        self.result = result
        super().__init__(what)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.result)


class Device(ABC):
    """What runs programs for one configuration."""

    config: Config

    @abstractmethod
    def run(self, program: npt.NDArray[np.uint8], regions: Sequence[npt.NDArray[np.uint8]]) -> RunResult:
        """Run the instructions of ``program`` on DRAM ``regions``.

        Parameters
        ----------
        program : uint8 of shape (32 x instructions,)
        regions : at most eight arrays of uint8, one-dimensional
            Region i of the program; left as they are.

        Raises
        ------
        DeviceFault
            If the accelerator stopped with a fault.
        """

    def unrecorded(self) -> "Device":
        """This device for further runs, which leave the waveform of an earlier one alone."""
        return self


def open_device(config: Config, backend: str = "rtl", **options: Any) -> Device:
    """The device ``backend`` (one of :data:`BACKENDS`) for ``config``; ``options`` are its constructor's.

    Raises
    ------
    ValueError
        If there is no such backend.
    """
    if backend == "rtl":
        from .rtl import RtlDevice

        return RtlDevice(config, **options)
    if backend == "functional":
        from .functional import FunctionalDevice

        return FunctionalDevice(config, **options)
    raise ValueError(f"unknown backend {backend!r}; the backends are {', '.join(BACKENDS)}")
