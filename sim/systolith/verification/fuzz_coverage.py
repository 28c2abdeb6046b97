"""Which values of each instruction field random programs have used."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from systolith.rtl.isa import FIELDS, Field, Instruction, Opcode

#: Fields of at most so many bits have a bin for each value; wider ones for 0, 1, each length in bits, and the maximum.
_EVERY_VALUE_BITS = 4


class FieldBins(NamedTuple):
    """How many bins of a field were hit, of how many, and which were not."""

    hit: int
    bins: int
    missing: list[str]


class FieldCoverage:
    """Counts instructions by the bin of each of their fields. Bins are strings, ``hits`` maps (opcode, field, bin)."""

    def __init__(self) -> None:
        self.hits: Counter[tuple[Opcode, str, str]] = Counter()

    def add(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            for field in FIELDS[instruction.opcode][1:]:
                self.hits[instruction.opcode, field.name, _bin(field, getattr(instruction, field.name))] += 1

    def table(self) -> dict[str, FieldBins]:
        """Every field, as ``MATRIX rows``; bins that no legal program can hit (``rows`` 0) are among the missing."""
        rows = {}
        for opcode, fields in FIELDS.items():
            for field in fields[1:]:
                bins = _bins(field)
                missing = [name for name in bins if not self.hits[opcode, field.name, name]]
                rows[f"{opcode.name} {field.name}"] = FieldBins(len(bins) - len(missing), len(bins), missing)
        return rows


def _bin(field: Field, value: int) -> str:
    if field.bits <= _EVERY_VALUE_BITS or value in (0, 1, field.low, field.high):
        return str(value)
    return f"{'-' if value < 0 else ''}{abs(value).bit_length()} bits"


def _bins(field: Field) -> list[str]:
    """All bins of a field, in order of their values, legal or not."""
    if field.bits <= _EVERY_VALUE_BITS:
        return [str(value) for value in range(field.low, field.high + 1)]
    values = [field.low, field.high, 0, 1, *(1 << bit for bit in range(1, field.bits - field.signed))]
    values += [(2 << bit) - 2 for bit in range(1, field.bits - field.signed)]
    if field.signed:
        values += [-(1 << bit) for bit in range(field.bits - 1)]
    return list(dict.fromkeys(_bin(field, value) for value in sorted(values)))
