"""Exact cycles of benchmark cases in a file: what changed since it was written, cause by cause."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from systolith.files import FileError, read_json, shown

from .bench import Result, timing_name

#: Most bytes of the file, and most cycles that a counter holds.
_FILE_BYTES, _MOST_CYCLES = 1 << 22, 1 << 64

#: Cycles and causes of each case, by its name and memory timing.
Cycles = dict[str, dict[str, Any]]


def cycles_of(results: Iterable[Result]) -> Cycles:
    """What the file holds of these results."""
    return {
        f"{r.case.suite}: {r.case.name}, latency {timing_name(r.timing)}": {"cycles": r.cycles, "causes": r.causes}
        for r in results
    }


def to_text(cycles: Cycles) -> str:
    """The file's text."""
    return json.dumps(cycles, indent=1) + "\n"


def read_cycles(path: Path) -> Cycles:
    """What :func:`to_text` wrote to a file.

    Raises
    ------
    FileError
        If the file cannot be read, is larger than 4 MiB or holds anything else.
    """
    known = read_json(path, _FILE_BYTES)
    for name, entry in known.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("causes"), dict):
            raise FileError(f"{path} holds no cycles of cases: {shown(name)} is {shown(entry)}")
        for label, count in [("cycles", entry.get("cycles")), *entry["causes"].items()]:
            if type(count) is not int or not 0 <= count < _MOST_CYCLES:
                raise FileError(
                    f"{path} holds no cycles of cases: {shown(label)} of {shown(name)} must be "
                    f"0 to {_MOST_CYCLES - 1}, not {shown(count)}"
                )
    return known


def changes(known: Cycles, measured: Cycles) -> list[str]:
    """A sentence for each case whose cycles are not the known ones, or that only one of the two has."""
    lines = [f"{name}: no longer run" for name in known if name not in measured]
    for name, entry in measured.items():
        if name not in known:
            lines.append(f"{name}: new, {entry['cycles']:,} cycles")
            continue
        cycles, parts = known[name]["cycles"], known[name]["causes"]
        moved = {label: count - parts.get(label, 0) for label, count in entry["causes"].items()}
        if cycles != entry["cycles"] or any(moved.values()):
            blame = ", ".join(f"{label} {delta:+,}" for label, delta in moved.items() if delta)
            lines.append(f"{name}: {cycles:,} → {entry['cycles']:,} ({entry['cycles'] - cycles:+,} cycles: {blame})")
    return lines
