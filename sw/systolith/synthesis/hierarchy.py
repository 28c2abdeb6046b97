"""Area by unit of the design, from the statistics that Yosys counts of each module."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from systolith.rtl.verilog import TOP

from .targets import SynthesisError, Target

#: Where each unit lies in the hierarchy; the longest path that a module's name begins with is its unit's.
UNITS = {
    "core.matrix.array": "array",
    "core.matrix": "MATRIX walks and queues",
    "core.scratchpad": "scratchpad",
    "core.accumulator": "accumulator",
    "core.parameters": "parameter memory",
    "core.vector": "VECTOR issue, queues, output",
    "core.vector.lanes": "VECTOR lanes",
    "core.vector.lanes.exponent": "softmax units",
    "core.vector.lanes.gelu": "GELU units",
    "core.vector.statistics": "row statistics",
    "core.vector.statistics.invert": "row reciprocals",
    "core.vector.skip": "residual reader",
    "core.load": "LOAD DMA",
    "core.store": "STORE DMA",
    "core.arbiter": "read arbiter",
    "core.fetch": "instruction fetch",
    "core.dispatch": "dispatch",
    "csr": "registers",
    "counters": "counters",
    "controller": "run control",
    "core": "core glue",
    "": "top",
}


@dataclass(frozen=True, kw_only=True)
class Area:
    """What a unit takes: its name, and a number for each of the target's columns."""

    unit: str
    resources: Mapping[str, float]


def unit_of(module: str, top: str = TOP) -> str:
    """The unit that a module of the hierarchy belongs to; for a module that several share, empty."""
    if module != top and not module.startswith(f"{top}."):
        return ""
    # Amaranth appends $ and a number to a name that it has used before.
    path = re.sub(r"\$\d+", "", module)[len(top) + 1 :]
    fitting = [prefix for prefix in UNITS if path == prefix or path.startswith((f"{prefix}.", f"{prefix}_"))]
    return UNITS[max([*fitting, ""], key=len)]


def areas(statistics: Mapping[str, Any], target: Target, top: str = TOP) -> list[Area]:
    """The area of each unit, in the order of :data:`UNITS`; units of no area are left out.

    Parameters
    ----------
    statistics : mapping
        What ``stat -json`` writes for a design with its hierarchy.
    target : Target
        Says what the cells count as.

    Raises
    ------
    SynthesisError
        If the statistics are not of a design with this top module.
    """
    modules = {name.removeprefix("\\"): module for name, module in statistics.get("modules", {}).items()}
    if top not in modules:
        raise SynthesisError(f"the statistics hold no module {top}")
    found: dict[str, Counter[str]] = {name: Counter() for name in UNITS.values()}

    def add(name: str, unit: str) -> None:
        module = modules[name]
        unit = unit_of(name, top) or unit
        if module.get("num_memory_bits"):
            found[unit]["memory_bits"] += module["num_memory_bits"]
        for cell, count in module["num_cells_by_type"].items():
            if cell in modules:
                for _ in range(count):
                    add(cell, unit)
            else:
                for resource, number in target.resources(cell).items():
                    found[unit][resource] += number * count

    add(top, UNITS[""])
    return [
        Area(unit=unit, resources={name: counts[name] for name in target.columns})
        for unit, counts in found.items()
        if any(counts[name] for name in target.columns)
    ]


def total(rows: Sequence[Area], target: Target) -> dict[str, float]:
    """The sum over all units, for each column of the target."""
    return {name: sum(row.resources[name] for row in rows) for name in target.columns}
