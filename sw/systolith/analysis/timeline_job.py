"""The first job of docs/integration.md as a picture: what bus and units did, from the RTL.

``python -m systolith.analysis.timeline_job docs/images/first_job.svg``; it needs the extra ``report`` (matplotlib).
"""

import io
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from systolith.files import write_whole
from systolith.rtl.config import preset
from systolith.rtl.isa import Instruction, Opcode, Unit, assemble
from systolith.runtime.device import RunResult
from systolith.runtime.rtl import RtlDevice
from systolith.sim.activity import Activity

from .profile import RETIRE

#: Rows that the job copies, as in docs/integration.md.
ROWS = 37
#: Cycles shown before the program's first and after its last.
_BEFORE, _AFTER = 14, 14
#: The end of what does not change any more.
_STAYS = 1 << 62
#: Rows of the picture: group, label, bits of ``activity`` that must be set, and clear.
_SIGNALS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("host", "register write", ("register_write",), ()),
    ("host", "running", ("run",), ()),
    ("fetch", "read address", ("read_address", "read_address_fetch"), ()),
    ("fetch", "instructions", ("read", "read_fetch"), ()),
    ("LOAD", "in flight", (), ()),
    ("LOAD", "read address", ("read_address",), ("read_address_fetch",)),
    ("LOAD", "data", ("read",), ("read_fetch",)),
    ("STORE", "in flight", (), ()),
    ("STORE", "write address", ("write_address",), ()),
    ("STORE", "data", ("write",), ()),
    ("STORE", "response", ("response",), ()),
    ("host", "interrupt", ("irq",), ()),
)
_COLOURS = {"host": "#444444", "fetch": "#8a5a00", "LOAD": "#1f6fb4", "STORE": "#2e7d32"}

Intervals = list[tuple[int, int]]


def first_job() -> RunResult:
    """The job of docs/integration.md on the tiny configuration: rows from region 0 to region 1."""
    config = preset("tiny")
    transfer = {"rows": ROWS, "blocks": 1}
    program = assemble([
        Instruction(Opcode.LOAD, {**transfer, "give": 1 << Unit.STORE}),
        Instruction(Opcode.STORE, {**transfer, "region": 1, "wait": 1 << Unit.LOAD}),
    ])  # fmt: skip
    source = np.arange(ROWS * config.row_pitch, dtype=np.uint8)
    return RtlDevice(config, activity=True).run(program, [source, np.zeros_like(source)])


def intervals(result: RunResult) -> list[tuple[str, str, Intervals]]:
    """Group, label and the cycles (first, end) in which it was so, of each row of the picture."""
    assert result.activity is not None
    assert result.events is not None
    rows = []
    for group, label, set_, clear in _SIGNALS:
        found = _in_flight(result.events, Unit[group]) if not set_ else _signal(result.activity, set_, clear)
        rows.append((group, label, found))
    return rows


def _in_flight(events: npt.NDArray[np.void], unit: Unit) -> Intervals:
    own = events[events["unit"] == unit]
    issues, retires = own["cycle"][own["kind"] != RETIRE].tolist(), own["cycle"][own["kind"] == RETIRE].tolist()
    return list(zip(issues, retires, strict=True))


def _signal(activity: Activity, set_: tuple[str, ...], clear: tuple[str, ...]) -> Intervals:
    on = np.ones(len(activity.words), bool)
    for name in set_:
        on &= activity.bit(name)
    for name in clear:
        on &= ~activity.bit(name)
    starts, ends = activity.merged(on)
    ends[ends == activity.end[-1]] = _STAYS
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def picture(result: RunResult) -> bytes:
    """The SVG of a run of :func:`first_job`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = intervals(result)
    cycles = result.counters["cycles"]
    low, high = -_BEFORE, cycles + _AFTER
    with rc_context({"font.size": 9, "svg.hashsalt": "systolith", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for place, (group, _, found) in enumerate(rows):
            base = float(-place)
            x, y = [low], [base]
            for start, end in found:
                if end > low and start < high:
                    begin, stop = max(start, low), min(end, high)
                    x += [begin, begin, stop, stop]
                    y += [base, base + 0.7, base + 0.7, base]
            level = y[-1] if x[-1] < high else base
            axes.plot([*x, high], [*y, level], color=_COLOURS[group], linewidth=1.2)
            axes.fill_between(x, y, base, color=_COLOURS[group], alpha=0.25, linewidth=0)
        axes.set_yticks([0.35 - i for i in range(len(rows))], [f"{group}: {label}" for group, label, _ in rows])
        for tick, (group, _, _) in zip(axes.get_yticklabels(), rows, strict=True):
            tick.set_color(_COLOURS[group])
        doorbell = max(start for start, _ in rows[0][2] if start < 0)
        axes.annotate("doorbell", (doorbell + 0.5, 0.75), ha="center", va="bottom", fontsize=8)
        axes.set_xlim(low, high)
        axes.set_ylim(0.7 - len(rows), 1.6)
        axes.set_xlabel("cycle of the program")
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Description": f"{cycles} cycles"})
    return file.getvalue()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m systolith.analysis.timeline_job FILE.svg")
    write_whole(Path(sys.argv[1]), picture(first_job()).decode())


if __name__ == "__main__":
    main()
