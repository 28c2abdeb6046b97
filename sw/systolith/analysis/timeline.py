"""The timeline of a run on the RTL as a Chrome trace (JSON), which ui.perfetto.dev opens.

Format: Trace Event Format (Google, 2016): ``X`` slices, ``C`` counters and ``M`` names. One cycle is one microsecond
there, the unit of ``ts`` and ``dur``; cycle 0 is the program's first. Slices of one track never overlap: instructions
that a unit has in flight at once lie on as many tracks.

A long run has more events than fit the memory as Python objects, so each is made when it is written, from arrays.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.compiler.program import NO_LAYER, Program
from systolith.files import write_lines
from systolith.rtl.isa import FIELDS, INSTRUCTION_BYTES, Instruction, Unit, disassemble
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
#: Elements of an array that are Python objects at a time.
_PART = 1024
#: DMA directions: track, name, which beats (bits of an interval that must be set, and clear).
_DIRECTIONS = (
    (1, "read data", ("read",), ("read_fetch",)),
    (2, "read program", ("read", "read_fetch"), ()),
    (3, "write data", ("write",), ()),
)

Event = dict[str, Any]


class Timeline:
    """The trace of a run.

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

    def __init__(self, program: Program, result: RunResult, stopped: str = "") -> None:
        if result.events is None or result.activity is None:
            raise ValueError("a timeline needs the events and the activity of a run on the RTL")
        self._program, self._counters, self._stopped = program, result.counters, stopped
        self._recorded, self._activity = result.events, result.activity

    def about(self) -> dict[str, str]:
        """What the trace says of itself."""
        activity = self._activity
        return {
            "time": "1 us is 1 cycle",
            "array": f"{self._program.config.rows}x{self._program.config.cols}",
            "cycles": str(self._counters.get("cycles", activity.ended)),
            "window": f"cycles {max(activity.first, 0)} to {activity.last - 1}",
            "whole": "yes" if activity.whole else "no: the rest was more than a trace may hold",
            **({"stopped": self._stopped} if self._stopped else {}),
        }

    def events(self) -> Iterator[Event]:
        """The events, one by one; the name of a track comes before what is on it."""
        program, recorded, activity = self._program, self._recorded, self._activity
        yield from _names()
        yield from _unit_slices(program, recorded, activity)
        yield from _array_slices(recorded, activity)
        yield from _dma_slices(program, activity)
        yield from _levels(recorded, activity)
        yield from _bandwidth(program, activity)
        if self._stopped and activity.last == activity.ended:
            yield {"ph": "i", "s": "g", "pid": UNITS, "tid": 0, "ts": activity.ended, "name": self._stopped}

    def lines(self) -> Iterator[str]:
        """The lines of the JSON: one for each event between the first and the last."""
        encode = json.JSONEncoder(separators=(",", ":")).encode
        events = self.events()
        line = encode(next(events))
        yield '{"traceEvents":['
        for event in events:
            yield f"{line},"
            line = encode(event)
        yield line
        yield "]," + json.dumps({"displayTimeUnit": "ns", "otherData": self.about()})[1:]

    def write(self, path: str | Path) -> int:
        """Write the trace, which appears whole or not at all; the number of its events."""
        return write_lines(path, self.lines()) - 2


def array_intervals(activity: Activity, events: npt.NDArray[np.void]) -> Iterator[tuple[str, int, int]]:
    """Cause (a counter of ``causes.CAUSES``), first cycle and end of each interval in the window, in order."""
    # Without any MATRIX queued the array waits for one, but after the last one.
    last = int(events["cycle"][(events["unit"] == Unit.MATRIX) & (events["kind"] != RETIRE)].max(initial=0))
    name, begin, stop = "", 0, 0
    for cause, start, end in _causes(activity):
        if cause == name and start == stop:
            stop = end
            continue
        if stop > begin:
            yield _split_drain(name, begin, last), begin, stop
        name, begin, stop = cause, start, end
    if stop > begin:
        yield _split_drain(name, begin, last), begin, stop


def _split_drain(name: str, start: int, last: int) -> str:
    return "array_wait_instruction" if name == "array_drain" and start < last else name


def _causes(activity: Activity) -> Iterator[tuple[str, int, int]]:
    """Cause, first cycle and end of each interval of the record, cut at the window."""
    mask = (1 << len(CAUSE_BITS)) - 1
    low = max(activity.first, 0)
    for part in _parts(activity):
        shown = _running(part)
        starts, ends = np.maximum(part.start[shown], low), np.minimum(part.end[shown], activity.last)
        for word, start, end in _rows(part.words[shown], starts, ends):
            yield CAUSE_BITS[(word & mask).bit_length() - 1], start, end


def _running(activity: Activity) -> npt.NDArray[np.bool_]:
    """Which intervals are of the program and in the window."""
    return activity.bit("run") & (activity.end > max(activity.first, 0)) & (activity.start < activity.last)


def _parts(activity: Activity) -> Iterator[Activity]:
    """The record in short parts."""
    for begin in range(0, len(activity.words), _PART):
        part = slice(begin, begin + _PART)
        yield replace(activity, start=activity.start[part], end=activity.end[part], words=activity.words[part])


def _rows(*columns: npt.NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of arrays (n,) as Python numbers, which take four times the memory: part by part."""
    for begin in range(0, len(columns[0]), _PART):
        yield from zip(*(column[begin : begin + _PART].tolist() for column in columns), strict=True)


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
    numbers, count = _numbers(program)
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
        owner = int(program.operation_of[index])
        yield {
            "ph": "X", "pid": UNITS, "tid": tid, "ts": begin, "dur": cycle - begin,
            "name": f"{_operation(program, owner)} {numbers[index]}/{count[owner, Unit(unit)]}",
            "cat": Unit(unit).name.lower(),
            "args": {
                "index": index, **({} if retired else {"retired": "never"}), **_fields(_instruction(program, index)),
            },
        }  # fmt: skip


def _flights(events: npt.NDArray[np.void], ended: int) -> Iterator[tuple[int, int, int, int, bool]]:
    """Index, unit, cycles of issue and retirement of each instruction, those last that were in flight to the end."""
    issued: dict[int, tuple[int, int]] = {}
    for cycle, unit, kind, index in _rows(*(events[name] for name in ("cycle", "unit", "kind", "index"))):
        if kind != RETIRE:
            issued[index] = unit, cycle
        else:
            yield index, *issued.pop(index), cycle, True
    for index, (unit, cycle) in issued.items():
        yield index, unit, cycle, max(ended, cycle + 1), False


def _instruction(program: Program, index: int) -> Instruction:
    """One instruction of a program; all of them at once would be 2 KiB each."""
    start = index * INSTRUCTION_BYTES
    return disassemble(program.image[start : start + INSTRUCTION_BYTES].tobytes())[0]


def _numbers(program: Program) -> tuple[npt.NDArray[np.int32], dict[tuple[int, Unit], int]]:
    """Of each instruction its number among its unit's in its operation, from 1; how many there are of each."""
    numbers = np.zeros(len(program.operation_of), np.int32)
    count: dict[tuple[int, Unit], int] = {}
    for index, (owner,) in enumerate(_rows(program.operation_of)):
        key = (owner, _instruction(program, index).unit)
        numbers[index] = count[key] = count.get(key, 0) + 1
    return numbers, count


def _operation(program: Program, index: int) -> str:
    """Layer and name of an operation: ``0.ffn1``."""
    operation = program.operations[index]
    return operation.name if operation.layer == NO_LAYER else f"{operation.layer}.{operation.name}"


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
    parts = []
    for part in _parts(activity):
        on = _running(part)
        for name in set_:
            on &= part.bit(name)
        for name in clear:
            on &= ~part.bit(name)
        parts.append(on)
    return activity.merged(np.concatenate(parts))


def _dma_slices(program: Program, activity: Activity) -> Iterator[Event]:
    width = program.config.bus_bytes
    for track, name, set_, clear in _DIRECTIONS:
        starts, ends = _beats(activity, set_, clear)
        if len(starts) == 0:
            continue
        first = np.flatnonzero(np.concatenate(([True], starts[1:] - ends[:-1] > _GAP)))
        beats = np.add.reduceat(ends - starts, first)
        last = np.concatenate((first[1:], [len(starts)])) - 1
        for begin, end, count in _rows(starts[first], ends[last], beats):
            yield {
                "ph": "X", "pid": DMA, "tid": track, "ts": begin, "dur": end - begin, "name": f"{count * width} bytes",
                "cat": name, "args": {"beats": count, "bytes": count * width},
            }  # fmt: skip


def _levels(events: npt.NDArray[np.void], activity: Activity) -> Iterator[Event]:
    """For each unit, after each change, how many instructions are queued and how many in flight."""
    for unit in Unit:
        starts, ends = activity.intervals(f"queue_{unit.name.lower()}")
        lengths = ends - starts
        pushes = np.repeat(ends - np.cumsum(lengths), lengths) + np.arange(lengths.sum())  # every cycle of each
        own = events[events["unit"] == unit]
        cycles = own["cycle"].astype(np.int64)
        issues, retires = cycles[own["kind"] != RETIRE], cycles[own["kind"] == RETIRE]
        changes = np.unique(np.concatenate((pushes, issues, retires)))
        changes = changes[(changes >= max(activity.first, 0)) & (changes < activity.last)]
        queued, issued, retired = (np.searchsorted(np.sort(x), changes, "right") for x in (pushes, issues, retires))
        for cycle, waiting, flying in _rows(changes, queued - issued, issued - retired):
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
