"""Exact cycles of benchmark cases in a file: what changed since it was written, cause by cause."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .bench import Result, timing_name

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


def changes(path: Path, measured: Cycles) -> list[str]:
    """A sentence for each case whose cycles are not those of the file, or that only one of the two has.

    Raises
    ------
    ValueError
        If the file does not hold what :func:`to_text` writes.
    """
    try:
        known: Cycles = json.loads(path.read_text(encoding="utf-8"))
        expected = {name: (int(entry["cycles"]), dict(entry["causes"])) for name, entry in known.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no cycles of cases: {error}") from error
    lines = [f"{name}: no longer run" for name in expected if name not in measured]
    for name, entry in measured.items():
        if name not in expected:
            lines.append(f"{name}: new, {entry['cycles']:,} cycles")
            continue
        cycles, parts = expected[name]
        moved = {label: count - parts.get(label, 0) for label, count in entry["causes"].items()}
        if cycles != entry["cycles"] or any(moved.values()):
            blame = ", ".join(f"{label} {delta:+,}" for label, delta in moved.items() if delta)
            lines.append(f"{name}: {cycles:,} → {entry['cycles']:,} ({entry['cycles'] - cycles:+,} cycles: {blame})")
    return lines
