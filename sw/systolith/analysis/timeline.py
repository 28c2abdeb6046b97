"""The timeline of a run on the RTL as a Chrome trace (JSON), which ui.perfetto.dev opens.

Format: Trace Event Format (Google, 2016): ``X`` slices, ``C`` counters and ``M`` names. One cycle is one microsecond
there, the unit of ``ts`` and ``dur``; cycle 0 is the program's first. Slices of one track never overlap: instructions
that a unit has in flight at once lie on as many tracks.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.compiler.program import NO_LAYER, Program
from systolith.rtl.isa import FIELDS, Instruction, Unit, disassemble
from systolith.runtime.device import RunResult
from systolith.sim.activity import CAUSE_BITS, Activity

from .causes import CAUSES
from .profile import RETIRE

#: Processes of the trace, in the order shown.
UNITS, ARRAY, DMA, LEVELS = 1, 2, 3, 4
_PROCESSES = {UNITS: "units", ARRAY: "systolic array", DMA: "DMA", LEVELS: "queues and bandwidth"}
#: Tracks that one unit may take.
_LANES = 64
#: Beats with no more than so many cycles between them are one slice.
_GAP = 4
#: Cycles of a bandwidth sample at the least, and how many samples a run may have.
_SAMPLE, _SAMPLES = 16, 4096
#: DMA directions: track, name, which beats (bits of an interval that must be set, and clear).
_DIRECTIONS = (
    (1, "read data", ("read",), ("read_fetch",)),
    (2, "read program", ("read", "read_fetch"), ()),
    (3, "write data", ("write",), ()),
)

Event = dict[str, Any]


def timeline(program: Program, result: RunResult, stopped: str = "") -> Event:
    """The trace of a run, ready for :func:`json.dumps`.

    Parameters
    ----------
    program : Program
    result : RunResult
        Of this program, with ``events`` and ``activity``.
    stopped : str
        Why the program did not run to its end, if it did not: shown at the cycle in which that was.

    Raises
    ------
    ValueError
        If it has no events or no activity.
    """
    if result.events is None or result.activity is None:
        raise ValueError("a timeline needs the events and the activity of a run on the RTL")
    activity = result.activity
    events = [*_names(), *_unit_slices(program, result.events, activity), *_array_slices(result.events, activity)]
    events += [*_dma_slices(program, activity), *_levels(result.events, activity), *_bandwidth(program, activity)]
    if stopped and activity.last == activity.ended:
        events.append({"ph": "i", "s": "g", "pid": UNITS, "tid": 0, "ts": activity.ended, "name": stopped})
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "time": "1 us is 1 cycle",
            "array": f"{program.config.rows}x{program.config.cols}",
            "cycles": str(result.counters.get("cycles", activity.ended)),
            "window": f"cycles {max(activity.first, 0)} to {activity.last - 1}",
            "whole": "yes" if activity.whole else "no: the rest was more than a trace may hold",
            **({"stopped": stopped} if stopped else {}),
        },
    }


def to_text(trace: Event) -> str:
    """JSON with one event a line."""
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in trace["traceEvents"])
    rest = json.dumps({key: value for key, value in trace.items() if key != "traceEvents"})
    return f'{{"traceEvents":[\n{lines}\n],{rest[1:]}\n'


def array_intervals(activity: Activity, events: npt.NDArray[np.void]) -> list[tuple[str, int, int]]:
    """Cause (a counter of ``causes.CAUSES``), first cycle and end of each interval in the window, in order."""
    mask = np.uint32((1 << len(CAUSE_BITS)) - 1)
    running = activity.bit("run") & (activity.end > max(activity.first, 0)) & (activity.start < activity.last)
    merged: list[tuple[str, int, int]] = []
    for word, start, end in zip(
        (activity.words & mask)[running].tolist(), activity.start[running].tolist(), activity.end[running].tolist(),
        strict=True,
    ):  # fmt: skip
        begin, stop = max(start, activity.first, 0), min(end, activity.last)
        name = CAUSE_BITS[word.bit_length() - 1]
        if merged and merged[-1][0] == name and merged[-1][2] == begin:
            merged[-1] = (name, merged[-1][1], stop)
        else:
            merged.append((name, begin, stop))
    # Without any MATRIX queued it waits for one, but after the last one.
    last = int(events["cycle"][(events["unit"] == Unit.MATRIX) & (events["kind"] != RETIRE)].max(initial=0))
    return [
        ("array_wait_instruction" if name == "array_drain" and start < last else name, start, end)
        for name, start, end in merged
    ]


def _names() -> Iterator[Event]:
    for pid, name in _PROCESSES.items():
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": pid, "tid": 0, "name": "process_sort_index", "args": {"sort_index": pid}}
    yield _thread(ARRAY, 1, "array")
    for track, name, _, _ in _DIRECTIONS:
        yield _thread(DMA, track, name)


def _thread(pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}


def _unit_slices(program: Program, events: npt.NDArray[np.void], activity: Activity) -> Iterator[Event]:
    """One slice for each instruction that was in flight in the window, on its unit's first track that is free."""
    instructions = disassemble(program.image.tobytes())
    labels = _labels(program, instructions)
    free: dict[int, list[int]] = {unit: [] for unit in Unit}  # when each lane is free again
    for index, unit, begin, cycle, retired in _flights(events, activity.ended):
        if cycle < max(activity.first, 0) or begin >= activity.last:
            continue
        lanes = free[unit]
        lane = next((i for i, until in enumerate(lanes) if until <= begin), len(lanes))
        tid = _LANES * unit + lane + 1
        if lane == len(lanes):
            lanes.append(0)
            yield _thread(UNITS, tid, Unit(unit).name if lane == 0 else f"{Unit(unit).name} ({lane + 1})")
        lanes[lane] = cycle
        yield {
            "ph": "X", "pid": UNITS, "tid": tid, "ts": begin, "dur": cycle - begin, "name": labels[index],
            "cat": Unit(unit).name.lower(),
            "args": {"index": index, **({} if retired else {"retired": "never"}), **_fields(instructions[index])},
        }  # fmt: skip


def _flights(events: npt.NDArray[np.void], ended: int) -> Iterator[tuple[int, int, int, int, bool]]:
    """Index, unit, cycles of issue and retirement of each instruction, those last that were in flight to the end."""
    issued: dict[int, tuple[int, int]] = {}
    for cycle, unit, kind, index in events[["cycle", "unit", "kind", "index"]].tolist():
        if kind != RETIRE:
            issued[index] = unit, cycle
        else:
            yield index, *issued.pop(index), cycle, True
    for index, (unit, cycle) in issued.items():
        yield index, unit, cycle, max(ended, cycle + 1), False


def _labels(program: Program, instructions: list[Instruction]) -> list[str]:
    """Layer, operation and which of its unit's blocks: ``0.ffn1 3/8``."""
    count: dict[tuple[int, Unit], int] = {}
    place = []
    for owner, instruction in zip(program.operation_of.tolist(), instructions, strict=True):
        key = (owner, instruction.unit)
        count[key] = count.get(key, 0) + 1
        place.append((key, count[key]))
    labels = []
    for (owner, unit), number in place:
        operation = program.operations[owner]
        layer = "" if operation.layer == NO_LAYER else f"{operation.layer}."
        labels.append(f"{layer}{operation.name} {number}/{count[owner, unit]}")
    return labels


def _fields(instruction: Instruction) -> dict[str, int | str]:
    """Its fields: those that are 0 left out, enumerations and masks of units by name."""
    values: dict[str, int | str] = {}
    for field in FIELDS[instruction.opcode][1:]:
        value = getattr(instruction, field.name)
        if field.name in ("wait", "give"):
            value = "+".join(unit.name for unit in Unit if value >> unit & 1)
        elif field.enum is not None:
            value = field.enum(value).name
        if value not in (0, ""):
            values[field.name] = value
    return values


def _array_slices(events: npt.NDArray[np.void], activity: Activity) -> Iterator[Event]:
    label = dict(CAUSES)
    for name, start, end in array_intervals(activity, events):
        yield {
            "ph": "X", "pid": ARRAY, "tid": 1, "ts": start, "dur": end - start, "name": label[name],
            "cat": "busy" if name == "array_busy" else "stall",
        }  # fmt: skip


def _beats(activity: Activity, set_: tuple[str, ...], clear: tuple[str, ...]) -> tuple[Any, Any]:
    """First cycles and ends of the intervals with a beat in each cycle, within the window."""
    on = activity.bit("run") & (activity.end > max(activity.first, 0)) & (activity.start < activity.last)
    for name in set_:
        on = on & activity.bit(name)
    for name in clear:
        on = on & ~activity.bit(name)
    return activity.merged(on)


def _dma_slices(program: Program, activity: Activity) -> Iterator[Event]:
    width = program.config.bus_bytes
    for track, name, set_, clear in _DIRECTIONS:
        starts, ends = _beats(activity, set_, clear)
        if len(starts) == 0:
            continue
        first = np.flatnonzero(np.concatenate(([True], starts[1:] - ends[:-1] > _GAP)))
        beats = np.add.reduceat(ends - starts, first)
        last = np.concatenate((first[1:], [len(starts)])) - 1
        for begin, end, count in zip(starts[first].tolist(), ends[last].tolist(), beats.tolist(), strict=True):
            yield {
                "ph": "X", "pid": DMA, "tid": track, "ts": begin, "dur": end - begin, "name": f"{count * width} bytes",
                "cat": name, "args": {"beats": count, "bytes": count * width},
            }  # fmt: skip


def _levels(events: npt.NDArray[np.void], activity: Activity) -> Iterator[Event]:
    """For each unit, after each change, how many instructions are queued and how many in flight."""
    for unit in Unit:
        starts, ends = activity.intervals(f"queue_{unit.name.lower()}")
        pushes = np.concatenate([np.arange(s, e) for s, e in zip(starts, ends, strict=True)] or [np.zeros(0, np.int64)])
        own = events[events["unit"] == unit]
        cycles = own["cycle"].astype(np.int64)
        issues, retires = cycles[own["kind"] != RETIRE], cycles[own["kind"] == RETIRE]
        changes = np.unique(np.concatenate((pushes, issues, retires)))
        changes = changes[(changes >= max(activity.first, 0)) & (changes < activity.last)]
        queued, issued, retired = (np.searchsorted(np.sort(x), changes, "right") for x in (pushes, issues, retires))
        for cycle, waiting, flying in zip(
            changes.tolist(), (queued - issued).tolist(), (issued - retired).tolist(), strict=True
        ):
            yield {
                "ph": "C", "pid": LEVELS, "tid": 0, "ts": cycle, "name": f"{unit.name} instructions",
                "args": {"queued": waiting, "in flight": flying},
            }  # fmt: skip


def _bandwidth(program: Program, activity: Activity) -> Iterator[Event]:
    """Bytes a cycle of each direction over samples of equal length, and the bytes moved so far in the window."""
    begin, end = max(activity.first, 0), activity.last
    length = max(_SAMPLE, -(-(end - begin) // _SAMPLES))
    edges = np.minimum(np.arange(begin, end + length, length), end)
    for direction, bits in (("read", ("read",)), ("write", ("write",))):
        starts, ends = _beats(activity, bits, ())
        # Beats before each edge: those of whole intervals, and the part of the one that it cuts.
        before = np.concatenate(([0], np.cumsum(ends - starts)))
        at = np.searchsorted(starts, edges, "right")
        cut = np.where(at > 0, np.maximum(ends[at - 1] - edges, 0), 0) if len(starts) else 0
        total = (before[at] - cut) * program.config.bus_bytes
        for i in range(len(edges) - 1):
            cycles = int(edges[i + 1] - edges[i])
            if cycles:
                rate = int(total[i + 1] - total[i]) / cycles
                yield _counter(f"{direction} bandwidth", int(edges[i]), "bytes/cycle", round(rate, 3))
                yield _counter(f"{direction} bytes", int(edges[i + 1]), "bytes", int(total[i + 1]))
        yield _counter(f"{direction} bandwidth", end, "bytes/cycle", 0)


def _counter(name: str, cycle: int, series: str, value: float) -> Event:
    return {"ph": "C", "pid": LEVELS, "tid": 0, "ts": cycle, "name": name, "args": {series: value}}
