"""Lines that simulations do not reach, and why: each must be explained, and each explanation must have its line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .points import LINES, Point, Reached

#: Lines of Verilog that are shown before and behind one: what its generated names stand for is in their company.
_BEFORE, _BEHIND = 3, 1


@dataclass(frozen=True)
class Explanation:
    """Why lines are not reached: those of a source whose description a regular expression finds."""

    source: str
    pattern: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.pattern}"


@dataclass
class Holes:
    """Descriptions of lines not reached with the reason, of those that nothing explains, and explanations of none."""

    explained: dict[str, str] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


def described(hole: Point, verilog: Sequence[str]) -> str:
    """``MODULE KIND: LINES BEFORE >> LINE << LINE BEHIND``, with single spaces; without the lines if there are none."""
    number, _, kind = hole.what.partition(" ")
    at = int(number) - 1
    parts = verilog[max(0, at - _BEFORE) : at], verilog[at : at + 1], verilog[at + 1 : at + 1 + _BEHIND]
    before, line, behind = (" ".join(" ".join(part).split()) for part in parts)
    return f"{hole.module} {kind}: {before} >> {line} << {behind}"


def sort_holes(
    table: Mapping[str, dict[str, Reached]], verilog: Sequence[str], explanations: Sequence[Explanation]
) -> Holes:
    """Find the explanation of each line that was not reached; ``verilog`` are the lines that were counted."""
    holes, used = Holes(), set()
    for source, row in sorted(table.items()):
        for hole in row[LINES].holes:
            text = described(hole, verilog)
            found = next((e for e in explanations if e.source == source and re.search(e.pattern, text)), None)
            if found is None:
                holes.unexplained.append(f"{source}, line {hole.what.partition(' ')[0]}: {text}")
            else:
                holes.explained[f"{hole.module}: {hole.what}"] = found.reason
                used.add(found)
    holes.stale = [str(explanation) for explanation in explanations if explanation not in used]
    return holes
