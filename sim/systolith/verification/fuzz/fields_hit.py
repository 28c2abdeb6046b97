"""Which values of each instruction field programs have used, of those that are legal where they ran."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from systolith.compiler.footprint import (
    Span,
    accumulator_span,
    activation_span,
    chip_span,
    dram_span,
    residual_span,
    result_span,
    statistics_span,
    weight_span,
)
from systolith.rtl.config import Config
from systolith.rtl.isa import FIELDS, Field, Function, Instruction, Layout, Memory, Opcode
from systolith.rtl.parameters import PLANES
from systolith.rtl.vector.arithmetic import supported

#: Fields of at most so many bits have a bin for each value; wider ones for 0, 1, each length in bits, and both ends.
_EVERY_VALUE_BITS = 4
#: The bin of an address whose last row is the memory's last.
LAST_ROW = "last row"

#: Address fields on the chip and in DRAM, and the rows that they lead to; None where the instruction has none.
_SPANS: dict[tuple[Opcode, str], Callable[[Instruction, Config], Span | None]] = {
    **{(opcode, "address"): lambda i, c: chip_span(i) for opcode in (Opcode.LOAD, Opcode.STORE)},
    **{(opcode, "offset"): dram_span for opcode in (Opcode.LOAD, Opcode.STORE)},
    **{(opcode, "acc_address"): lambda i, c: accumulator_span(i) for opcode in (Opcode.MATRIX, Opcode.VECTOR)},
    (Opcode.MATRIX, "a_address"): lambda i, c: activation_span(i),
    (Opcode.MATRIX, "w_address"): weight_span,
    (Opcode.MATRIX, "stat_address"): lambda i, c: statistics_span(i) if i.track_max else None,
    (Opcode.VECTOR, "stat_address"): lambda i, c: statistics_span(i) if i.function >= Function.EXPONENT else None,
    (Opcode.VECTOR, "out_address"): lambda i, c: result_span(i, c) if i.function != Function.RESIDUAL else None,
    (Opcode.VECTOR, "residual_address"): lambda i, c: residual_span(i, c) if i.function == Function.RESIDUAL else None,
}


class FieldBins(NamedTuple):
    """How many bins of a field were hit, of how many, and which were not."""

    hit: int
    bins: int
    missing: list[str]


class FieldCoverage:
    """Counts instructions by the bin of each of their fields; ``hits`` maps (opcode, field, bin)."""

    def __init__(self) -> None:
        self.hits: Counter[tuple[Opcode, str, str]] = Counter()
        self._legal: dict[tuple[Opcode, str], dict[str, None]] = {}
        self._configs: set[Config] = set()

    def add(self, instructions: Iterable[Instruction], config: Config, rows: dict[int, int]) -> None:
        """Count legal ``instructions`` for memories of ``rows`` (``footprint.space_rows``)."""
        self._add_bins(config)
        for i in instructions:
            for field in FIELDS[i.opcode][1:]:
                self.hits[i.opcode, field.name, _bin(field, getattr(i, field.name))] += 1
            for (opcode, name), span_of in _SPANS.items():
                if opcode == i.opcode and (span := span_of(i, config)) and span.last == rows[span.space] - 1:
                    self.hits[opcode, name, LAST_ROW] += 1

    def _add_bins(self, config: Config) -> None:
        """Have the bins of what is legal for ``config`` counted as well."""
        if config in self._configs:
            return
        self._configs.add(config)
        for opcode, fields in FIELDS.items():
            for field in fields[1:]:
                legal = _legal(opcode, field, config)
                bins = self._legal.setdefault((opcode, field.name), {})
                bins |= {name: None for name, low, high in _bins(field) if _meets(legal, low, high)}
        for opcode, name in _SPANS:
            self._legal[opcode, name][LAST_ROW] = None

    def table(self) -> dict[str, FieldBins]:
        """Every field, as ``MATRIX rows``, of the accelerators seen so far."""
        rows = {}
        for (opcode, name), bins in self._legal.items():
            missing = [b for b in bins if not self.hits[opcode, name, b]]
            rows[f"{opcode.name} {name}"] = FieldBins(len(bins) - len(missing), len(bins), missing)
        return rows


def _bin(field: Field, value: int) -> str:
    if field.bits <= _EVERY_VALUE_BITS or value in (0, 1, field.low, field.high):
        return str(value)
    return f"{'-' if value < 0 else ''}{abs(value).bit_length()} bits"


def _bins(field: Field) -> list[tuple[str, int, int]]:
    """Name, lowest and highest value of each bin."""
    if field.bits <= _EVERY_VALUE_BITS:
        return [(str(value), value, value) for value in range(field.low, field.high + 1)]
    ends = [field.low, *(-(1 << bit) for bit in reversed(range(field.bits - 1)) if field.signed), 0, 1]
    starts = [*dict.fromkeys([*ends, *(1 << bit for bit in range(1, field.bits - field.signed)), field.high])]
    bins: dict[str, tuple[int, int]] = {}
    for value in starts:
        name = _bin(field, value)
        bins[name] = (value, value) if not name.endswith("bits") else _lengths(field, value)
    return [(name, low, high) for name, (low, high) in bins.items()]


def _lengths(field: Field, value: int) -> tuple[int, int]:
    """The values of the sign and length in bits of ``value``, without the ends of the field's range."""
    least = 1 << (abs(value).bit_length() - 1)
    most = 2 * least - 1
    if value < 0:
        return max(-most, field.low + 1), -least
    return max(least, 2), min(most, field.high - 1)


def _meets(legal: Sequence[int], low: int, high: int) -> bool:
    if isinstance(legal, range) and len(legal):
        first = max(low, legal.start)
        first += -(first - legal.start) % legal.step
        return first <= min(high, legal[-1])
    return any(low <= value <= high for value in legal)


def _legal(opcode: Opcode, field: Field, c: Config) -> Sequence[int]:
    """Values that some legal instruction for ``c`` may have; offsets as far as a region reaches at most."""
    chip = max(c.scratchpad_rows, PLANES * c.parameter_rows) if opcode == Opcode.LOAD else c.scratchpad_rows
    transfer = opcode in (Opcode.LOAD, Opcode.STORE)
    rows = {Opcode.MATRIX: min(chip, c.accumulator_rows), Opcode.VECTOR: min(chip, c.accumulator_rows)}
    counts = {"rows": rows.get(opcode, chip), "blocks": chip, "k_tiles": field.high, "n_tiles": c.accumulator_rows}
    if opcode == Opcode.VECTOR:
        counts["blocks"] = min(c.accumulator_rows, c.scratchpad_rows) if c.softmax else c.parameter_rows
    places = {"address": chip, "a_address": c.scratchpad_rows, "w_address": c.scratchpad_rows}
    places["acc_address"] = c.accumulator_rows
    if field.name in ("wait", "give"):
        return [value for value in range(16) if not value >> (opcode - 1) & 1]
    if field.name in counts:
        return range(1, min(counts[field.name], field.high) + 1)
    if field.name in places:
        return range(places[field.name])
    if field.name in ("offset", "dram_stride") and transfer:
        return range(0, field.high + 1, c.row_pitch)
    if field.name == "function":
        return sorted(supported(c))
    if field.enum is not None:
        return [0] if opcode == Opcode.STORE else [*Memory] if field.enum is Memory else [*Layout]
    return range(field.low, field.high + 1)
