"""The trace of a run: it keeps to the format, and says what events and counters say."""

import functools
import json
import tracemalloc
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systolith.analysis.causes import CAUSES
from systolith.analysis.profile import RETIRE
from systolith.analysis.timeline import ARRAY, DMA, LEVELS, UNITS, Timeline, array_intervals
from systolith.compiler.compile import compile_encoder
from systolith.compiler.program import Program
from systolith.models.registry import load_model
from systolith.rtl.config import preset
from systolith.rtl.isa import Unit, disassemble
from systolith.runtime import rtl
from systolith.runtime.device import DeviceFault, RunResult, open_device
from systolith.runtime.session import Outcome, run_encoder
from systolith.sim import activity as recorded
from systolith.sim.activity import Activity
from systolith.sim.dram import BusError, DramSettings

TINY = preset("tiny")


@functools.cache
def run(trace_from: int | None = None, trace_cycles: int | None = None) -> Outcome:
    model = load_model("random", tokens=9, hidden=16, heads=2, ffn=24, layers=1)
    device = open_device(TINY, "rtl", activity=True, trace_from=trace_from, trace_cycles=trace_cycles)
    return run_encoder(model.quantized, model.prepare(), device)


def activity(outcome: Outcome) -> Activity:
    assert outcome.result.activity is not None
    return outcome.result.activity


def events(outcome: Outcome, phase: str, process: int) -> list[dict[str, Any]]:
    return [e for e in Timeline(outcome.program, outcome.result).events() if e["ph"] == phase and e["pid"] == process]


@pytest.mark.parametrize("window", [(None, None), (500, 600), (None, 40), (2400, None), (90_000, 10)])
def test_format(window: tuple[int | None, int | None], tmp_path: Path) -> None:
    outcome = run(*window)
    path = tmp_path / "trace.json"
    count = Timeline(outcome.program, outcome.result).write(path)
    trace = json.loads(path.read_text())
    assert count == len(trace["traceEvents"]) == len(path.read_text().splitlines()) - 2
    assert trace["displayTimeUnit"] == "ns"
    assert trace["otherData"]["time"] == "1 us is 1 cycle"
    named, slices = set(), defaultdict(list)
    for event in trace["traceEvents"]:
        assert {"ph", "pid", "tid", "name", *({"ts"} if event["ph"] != "M" else {"args"})} <= event.keys()
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name", "thread_sort_index")
            named.add((event["pid"], event["tid"]))
        elif event["ph"] == "X":
            assert event["dur"] > 0
            slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        else:
            assert event["ph"] == "C"
            assert all(isinstance(value, int | float) and value >= 0 for value in event["args"].values())
    assert slices.keys() <= named
    for track in slices.values():
        for (_, end), (start, _) in zip(sorted(track), sorted(track)[1:], strict=False):
            assert start >= end


def test_slices_are_the_instructions() -> None:
    outcome = run()
    assert outcome.bit_exact
    assert outcome.result.events is not None
    instructions = disassemble(outcome.program.image.tobytes())
    times: dict[tuple[int, int], int] = {}
    for cycle, _, kind, index in outcome.result.events[["cycle", "unit", "kind", "index"]].tolist():
        times[index, kind] = cycle
    slices = {e["args"]["index"]: e for e in events(outcome, "X", UNITS)}
    assert sorted(slices) == list(range(len(instructions)))
    for index, instruction in enumerate(instructions):
        event = slices[index]
        assert event["ts"] == times[index, 0]
        assert event["ts"] + event["dur"] == times[index, RETIRE]
        assert event["cat"] == instruction.unit.name.lower()
        operation = outcome.program.operations[outcome.program.operation_of[index]]
        assert event["name"].startswith(f"{operation.layer}.{operation.name} ")
        assert event["args"].get("rows", 0) == instruction.rows


def test_causes_add_up_to_the_counters() -> None:
    outcome = run()
    found = dict.fromkeys((name for name, _ in CAUSES), 0)
    for name, start, end in array_intervals(activity(outcome), outcome.result.events):
        found[name] += end - start
    assert found == {name: outcome.result.counters[name] for name, _ in CAUSES}
    label = dict(CAUSES)
    shown = dict.fromkeys(label.values(), 0)
    for event in events(outcome, "X", ARRAY):
        shown[event["name"]] += event["dur"]
    assert shown == {label[name]: cycles for name, cycles in found.items()}


def test_bytes_add_up_to_the_counters() -> None:
    outcome = run()
    moved = {"read": 0, "write": 0}
    for event in events(outcome, "X", DMA):
        moved[event["cat"].split()[0]] += event["args"]["bytes"]
    counters = outcome.result.counters
    assert moved == {kind: counters[f"{kind}_beats"] * TINY.bus_bytes for kind in moved}
    totals = {e["name"]: e["args"]["bytes"] for e in events(outcome, "C", LEVELS) if e["name"].endswith(" bytes")}
    assert totals == {f"{kind} bytes": total for kind, total in moved.items()}


def test_levels_begin_and_end_at_nothing_and_fit_the_queues() -> None:
    outcome = run()
    for unit in Unit:
        levels = [e["args"] for e in events(outcome, "C", LEVELS) if e["name"] == f"{unit.name} instructions"]
        depth = getattr(TINY, f"{unit.name.lower()}_queue")
        assert max(level["queued"] for level in levels) in range(1, depth + 1)
        assert levels[-1] == {"queued": 0, "in flight": 0}


def test_a_window_shows_the_same_as_the_whole() -> None:
    whole, part = run(), run(500, 600)
    assert (activity(part).first, activity(part).last) == (500, 1100)
    cut = [
        (name, max(start, 500), min(end, 1100))
        for name, start, end in array_intervals(activity(whole), whole.result.events)
        if end > 500 and start < 1100
    ]
    assert list(array_intervals(activity(part), part.result.events)) == cut
    assert len(activity(part).start) < len(activity(whole).start)
    inside = [e for e in events(whole, "X", UNITS) if e["ts"] + e["dur"] >= 500 and e["ts"] < 1100]
    assert [e["name"] for e in events(part, "X", UNITS)] == [e["name"] for e in inside]
    for unit in Unit:
        name = f"{unit.name} instructions"
        expected = [e for e in events(whole, "C", LEVELS) if e["name"] == name and 500 <= e["ts"] < 1100]
        assert [e for e in events(part, "C", LEVELS) if e["name"] == name] == expected


def test_a_longer_trace_takes_little_more_memory(tmp_path: Path) -> None:
    """Of the run many times over; what was recorded itself is not counted."""
    outcome, times = run(), 20
    once = activity(outcome)
    shifts = np.arange(times) * (once.end[-1] - once.start[0])
    result = replace(
        outcome.result,
        activity=replace(
            once,
            start=np.add.outer(shifts, once.start).ravel(),
            end=np.add.outer(shifts, once.end).ravel(),
            words=np.tile(once.words, times),
            last=once.last + int(shifts[-1]),
            ended=once.ended + int(shifts[-1]),
        ),
    )
    peaks, counts = [], []
    for recorded_once in (outcome.result, result):
        trace = Timeline(outcome.program, recorded_once)
        tracemalloc.start()
        try:
            counts.append(trace.write(tmp_path / "trace.json"))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert counts[1] > 10 * counts[0]
    assert peaks[1] - peaks[0] < 100 * (counts[1] - counts[0])


def test_a_run_without_activity_has_no_timeline() -> None:
    model = load_model("random", tokens=9, hidden=16, heads=2, ffn=24, layers=1)
    outcome = run_encoder(model.quantized, model.prepare(), open_device(TINY, "functional"))
    with pytest.raises(ValueError, match="a timeline needs the events and the activity of a run on the RTL"):
        Timeline(outcome.program, outcome.result)


def test_more_changes_than_allowed_end_the_trace_early(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run()
    for module in (rtl, recorded):
        monkeypatch.setattr(module, "MOST_CHANGES", 300)
    part = run.__wrapped__()
    assert not activity(part).whole
    last = activity(part).last
    assert 0 < last < whole.result.counters["cycles"]
    trace = Timeline(part.program, part.result)
    assert trace.about()["whole"] == "no: the rest was more than a trace may hold"
    assert max(e["ts"] for e in trace.events() if e["ph"] != "M") <= last
    cut = [(n, s, min(e, last)) for n, s, e in array_intervals(activity(whole), whole.result.events) if s < last]
    assert list(array_intervals(activity(part), part.result.events)) == cut


@functools.cache
def stopped(trace_cycles: int | None = None) -> tuple[Program, RunResult, str]:
    """A program whose last weights cannot be read, and what the fault leaves of it."""
    model = load_model("random", tokens=9, hidden=16, heads=2, ffn=24, layers=1)
    x = model.prepare()
    program = compile_encoder(model.quantized, TINY, len(x))
    device = rtl.RtlDevice(TINY, activity=True, trace_cycles=trace_cycles)
    end = device.dram_base + len(program.constants)
    device.memory = DramSettings(error=BusError(low=end - 64, high=end))
    with pytest.raises(DeviceFault, match="BUS_READ") as caught:
        device.run(program.image, program.regions(x))
    assert caught.value.result is not None
    return program, caught.value.result, str(caught.value)


def test_a_fault_leaves_the_timeline_to_its_cycle() -> None:
    program, result, fault = stopped()
    cycles = result.counters["cycles"]
    assert result.activity is not None
    assert result.activity.ended == result.activity.last == cycles
    trace = Timeline(program, result, fault)
    assert trace.about()["stopped"] == fault
    (instant,) = [e for e in trace.events() if e["ph"] == "i"]
    assert (instant["ts"], instant["name"]) == (cycles, fault)
    slices = [e for e in trace.events() if e["ph"] == "X" and e["pid"] == UNITS]
    waiting = [e for e in slices if e["args"].get("retired") == "never"]
    assert "load" in {e["cat"] for e in waiting}
    assert {e["ts"] + e["dur"] for e in waiting} == {cycles}
    assert result.events is not None
    assert len(slices) - len(waiting) == (result.events["kind"] == RETIRE).sum() > 0
    tracks = defaultdict(list)
    for event in slices:
        tracks[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for track in tracks.values():
        assert all(start >= end for (_, end), (start, _) in zip(sorted(track), sorted(track)[1:], strict=False))
    array = [e["dur"] for e in trace.events() if e["ph"] == "X" and e["pid"] == ARRAY]
    assert sum(array) == cycles


def test_a_window_before_the_fault_does_not_show_it() -> None:
    program, result, fault = stopped(50)
    trace = Timeline(program, result, fault)
    assert not [e for e in trace.events() if e["ph"] == "i"]
    assert trace.about()["stopped"] == fault
