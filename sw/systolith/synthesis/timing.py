"""What nextpnr reports: the clock that a design reaches, and the path that keeps it from a faster one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .targets import SynthesisError

#: What Yosys appends to a signal's name to name the cells and nets behind it.
_DERIVED = re.compile(
    r"_(?:TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21|MULT18X18D|DP16KD|PDPW16KD|TRELLIS_DPR16X4|TRELLIS_COMB|TRELLIS_RAMW"
    r"|Q_DI|COUT|S0|S1)(?:_|\$|$).*"
)
#: The place of a bit in its signal.
_BITS = re.compile(r"(?:\[\d+\])+$")
#: The instance of the accelerator in :mod:`.pins`.
_INSTANCE = "accelerator."


@dataclass(frozen=True, kw_only=True)
class Path:
    """The slowest path between two registers (or memories, multipliers).

    ``start``, ``end`` and ``through`` are signals by their hierarchical names, ``levels`` the cells between the
    registers, ``logic`` and ``routing`` nanoseconds.
    """

    start: str
    end: str
    through: tuple[str, ...]
    levels: int
    logic: float
    routing: float


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One run of place and route: MHz, its critical path, and cells used of those that the device has."""

    seed: int
    mhz: float
    path: Path
    used: Mapping[str, tuple[int, int]]


def signal_of(name: str) -> str:
    """The design's own signal behind a cell or net: ``accelerator.core.x.total_LUT4_D_1`` is ``core.x.total``."""
    name = name.removeprefix("$nextpnr_").removeprefix(_INSTANCE)
    return _BITS.sub("", _DERIVED.sub("", name))


def read_report(report: Mapping[str, Any], seed: int) -> Placement:
    """A placement from what nextpnr writes with ``--report``.

    Raises
    ------
    SynthesisError
        If the report names no clock or no path of it.
    """
    clocks = report.get("fmax", {})
    if len(clocks) != 1:
        raise SynthesisError(f"the report of place and route names {len(clocks)} clocks; the design has one")
    ((clock, fmax),) = clocks.items()
    own = f"posedge {clock}"
    paths = [path for path in report["critical_paths"] if path["from"] == path["to"] == own]
    if not paths:
        raise SynthesisError(f"the report of place and route holds no path of {clock}")
    return Placement(
        seed=seed,
        mhz=float(fmax["achieved"]),
        path=_path(paths[0]["path"]),
        used={cell: (count["used"], count["available"]) for cell, count in report["utilization"].items()},
    )


def _path(steps: list[dict[str, Any]]) -> Path:
    delays = {"routing": 0.0, "logic": 0.0}
    signals: list[str] = []
    for step in steps:
        delays["routing" if step["type"] == "routing" else "logic"] += step["delay"]
        if step["type"] == "routing":
            name = signal_of(step["net"])
            if name not in signals[-1:] and not name.startswith("$"):
                signals.append(name)
    end = signal_of(steps[-1]["to"]["cell"])
    start = signal_of(steps[0]["from"]["cell"])
    return Path(
        start=start,
        end=end,
        through=tuple(name for name in dict.fromkeys(signals) if name not in (start, end)),
        levels=sum(step["type"] == "logic" for step in steps),
        logic=round(delays["logic"], 2),
        routing=round(delays["routing"], 2),
    )
