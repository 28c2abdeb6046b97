"""Order between the four units: what must wait for what, the tokens that say so, and the proof that they do."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.rtl.interfaces import IN_FLIGHT, TOKEN_BITS, Regions
from systolith.rtl.isa import FIELDS, Function, Instruction, Memory, Opcode, Unit
from systolith.rtl.vector.arithmetic import supported

from .footprint import Footprint, Span, accumulator_span, footprint, space_rows, statistics_span

Clock = tuple[int, ...]
#: Plain values: an enumeration is slow to iterate and to measure, and programs have millions of instructions.
_UNITS = tuple(Unit)
_UNIT_COUNT = len(_UNITS)
_NEVER: Clock = (-1,) * _UNIT_COUNT
#: Most tokens of one unit for another that may be outstanding (given, not taken) at any place in a program.
#:
#: A unit whose token does not fit its counter stops. As long as no counter would overflow in program order, the
#: oldest instruction that has not retired and given its tokens can always go on: all those before it have taken and
#: given theirs, and a unit that is ahead has only taken more, so the counters that it gives to hold no more than in
#: program order. With one token more, the unit that it stops may be what the taker of all the others waits for.
TOKEN_LIMIT = (1 << TOKEN_BITS) - 1
#: The fields of each opcode that count something, and those that name something with the numbers that are names.
_POSITIVE = {
    opcode: [f.name for f in fields if f.name in ("rows", "blocks", "k_tiles", "n_tiles")]
    for opcode, fields in FIELDS.items()
}
_ENUMERATIONS = {
    opcode: [(f.name, frozenset(map(int, f.enum))) for f in fields if f.name != "opcode" and f.enum is not None]
    for opcode, fields in FIELDS.items()
}
#: Spans of which a tracker remembers where their rows are.
_KEPT_SPANS = 1 << 14
#: Rows that the instructions of a program read and write together, at most: what can be looked at in a minute.
_MOST_ROWS = 1 << 34
#: What is known of the rows of a span: (2 x units, rows...), the axes of the rows, and how many rows they are.
_Look = tuple[npt.NDArray[np.int32], tuple[int, ...], int]


class ProgramError(ValueError):
    """A program that could race, deadlock or leave its memories; the message names the instruction."""


def unfinished(config: Config, unit: Unit) -> int:
    """Most instructions of ``unit`` that are dispatched and not retired: its queue and those in flight."""
    queues = (config.load_queue, config.matrix_queue, config.vector_queue, config.store_queue)
    return queues[unit] + IN_FLIGHT


class HazardTracker:
    """The last instruction of each unit that wrote and read each row, in program order.

    Raises
    ------
    ProgramError
        If the instructions visited touch more rows than a program that is meant to run.
    """

    def __init__(self, config: Config, region_bytes: tuple[int, ...]) -> None:
        self._visited = 0
        rows = space_rows(config, region_bytes)
        #: The units that have written and read each space.
        self._writers: dict[int, set[Unit]] = {space: set() for space in rows}
        self._readers: dict[int, set[Unit]] = {space: set() for space in rows}
        self._look = _looks(rows)

    def visit(self, index: int, unit: Unit, used: Footprint) -> list[int]:
        """For each unit, the latest earlier instruction that ``used`` conflicts with, or -1; then record it."""
        needed = [-1] * _UNIT_COUNT
        for writes, spans in ((False, used.reads), (True, used.writes)):
            for span in spans:
                rows, axes, size = self._look(span)
                self._visited += size
                if self._visited > _MOST_ROWS:
                    raise ProgramError(f"instruction {index}: the program touches more than {_MOST_ROWS} rows")
                writers, readers = self._writers[span.space], self._readers[span.space]
                others = writers | readers if writes else writers
                if len(others) > (unit in others):
                    latest = np.maximum.reduce(rows if writes else rows[:_UNIT_COUNT], axis=axes).tolist()
                    for other in others:
                        needed[other] = max(needed[other], *latest[other::_UNIT_COUNT])
                (writers if writes else readers).add(unit)
                rows[unit if writes else unit + _UNIT_COUNT] = index
        # What it has just read and written itself is no conflict, nor what its unit did before.
        needed[unit] = -1
        return needed


def _looks(space_sizes: dict[int, int]) -> Callable[[Span], _Look]:
    """A function that gives the rows of a span: no method, so that the arrays go when the tracker does."""
    # For each space the last write of each unit to each row, then the last read.
    last = {space: np.full((2 * _UNIT_COUNT, rows), -1, np.int32) for space, rows in space_sizes.items()}

    # Buffers on the chip are used again and again.
    @lru_cache(_KEPT_SPANS)
    def look(span: Span) -> _Look:
        merged, rows = span.merged(), last[span.space]
        whole = Span(span.space, span.start, (len(rows), *merged.shape), (rows.shape[1], *merged.strides))
        return whole.view(rows.reshape(-1)), tuple(range(1, 1 + len(merged.shape))), merged.size

    return look


def synchronize(
    instructions: Sequence[Instruction], config: Config, region_bytes: tuple[int, ...]
) -> list[Instruction]:
    """Add few tokens that order every conflict as the program does.

    A unit that waits for instruction i of another also knows all that i had waited for, so a wait is
    added only for what is not yet known. A wait for an old instruction is moved to the newest one that must have
    retired anyway when the waiting one is dispatched; that costs no time, spares the next waits, and keeps tokens
    from piling up where memory is reused late.

    Raises
    ------
    ProgramError
        If more tokens would be outstanding than :data:`TOKEN_LIMIT`.
    """
    tracker = HazardTracker(config, region_bytes)
    known = {unit: list(_NEVER) for unit in Unit}
    clocks: list[Clock] = []
    wait, give = [0] * len(instructions), [0] * len(instructions)
    of_unit: dict[Unit, list[int]] = {unit: [] for unit in Unit}
    for index, instruction in enumerate(instructions):
        unit = instruction.unit
        needed = tracker.visit(index, unit, footprint(instruction, config))
        clock = known[unit]
        # The latest instruction first: what it waited for may make the other waits needless.
        unknown = [other for other in _UNITS if needed[other] > clock[other]]
        for other in sorted(unknown, key=lambda u: -needed[u]):
            if needed[other] > clock[other]:
                giver = needed[other]
                if len(of_unit[other]) > unfinished(config, other):
                    giver = max(giver, of_unit[other][-unfinished(config, other) - 1])
                wait[index] |= 1 << other
                give[giver] |= 1 << unit
                clock[other] = giver
                for third, seen in enumerate(clocks[giver]):
                    clock[third] = max(clock[third], seen)
        clocks.append(tuple(clock))
        of_unit[unit].append(index)
    synchronized = [
        Instruction(i.opcode, i.values | {"wait": w, "give": g})
        for i, w, g in zip(instructions, wait, give, strict=True)
    ]
    _check_outstanding(synchronized)
    return synchronized


def _check_outstanding(instructions: Sequence[Instruction]) -> None:
    """Refuse a program with more tokens given and not yet taken than :data:`TOKEN_LIMIT`."""
    outstanding = {(a, b): 0 for a in Unit for b in Unit}
    for index, i in enumerate(instructions):
        wait, give, unit = i.wait, i.give, i.unit
        for other in _UNITS if wait | give else ():
            if wait >> other & 1:
                outstanding[other, unit] -= 1
            if give >> other & 1:
                outstanding[unit, other] += 1
                if outstanding[unit, other] > TOKEN_LIMIT:
                    raise ProgramError(
                        f"{_named(index, i)}: more than {TOKEN_LIMIT} tokens for {other.name} are outstanding"
                    )


def check_fields(index: int, i: Instruction, config: Config) -> None:
    """Counts are positive, enumerations known, functions built in: what the decoder and units refuse."""
    for name in _POSITIVE[i.opcode]:
        if getattr(i, name) < 1:
            raise ProgramError(f"{_named(index, i)}: {name} must be at least 1, not 0")
    for name, known in _ENUMERATIONS[i.opcode]:
        if getattr(i, name) not in known:
            raise ProgramError(f"{_named(index, i)}: no {name} {getattr(i, name)}")
    if i.opcode == Opcode.STORE and i.memory != Memory.SCRATCHPAD:
        raise ProgramError(f"{_named(index, i)}: only the scratchpad can be stored")
    if i.opcode == Opcode.VECTOR and Function(i.function) not in supported(config):
        name = Function(i.function).name
        raise ProgramError(f"{_named(index, i)}: this configuration leaves out function {name}")


def check_sums(index: int, i: Instruction, previous: Instruction | None) -> None:
    """A MATRIX that adds to rows of ``previous``, the last MATRIX before it, adds to each of them late enough.

    Tiles follow each other so that a row comes again no sooner than its sum is written, as long as the next tile
    starts at the same row or before it; starting inside the last tile it would miss sums under way. Maxima are
    updated in the same way. (The tiles of one instruction never overlap but where they start at the same row.)
    """
    if previous is None:
        return
    goes_on = i.track_max and previous.track_max and not i.max_first
    for name, reads, span in (("sums", i.accumulate, accumulator_span), ("maxima", goes_on, statistics_span)):
        here, before = span(i), span(previous)
        last_tile = before.last - (previous.rows - 1)
        if reads and last_tile < here.start <= before.last:
            raise ProgramError(
                f"{_named(index, i)} adds to {name} from row {here.start} on, inside the last tile of the "
                f"MATRIX before it (rows {last_tile} to {before.last}): these may still be under way"
            )


def verify(instructions: Sequence[Instruction], config: Config, region_bytes: tuple[int, ...]) -> None:
    """Prove that a program stays in bounds, cannot deadlock and orders every conflict.

    Raises
    ------
    ProgramError
        If it does not; the sentence names the instruction, and the row or the other instruction.
    """
    if len(region_bytes) > Regions.COUNT:
        raise ProgramError(f"{len(region_bytes)} regions; the accelerator has {Regions.COUNT}")
    rows = space_rows(config, region_bytes)
    tracker = HazardTracker(config, region_bytes)
    channels: dict[tuple[int, int], deque[int]] = {(a, b): deque() for a in Unit for b in Unit}
    known = {unit: list(_NEVER) for unit in Unit}
    clocks: list[Clock] = []
    _check_outstanding(instructions)
    last_matrix: Instruction | None = None
    for index, i in enumerate(instructions):
        check_fields(index, i, config)
        unit = i.unit
        if (i.wait | i.give) >> unit & 1:
            raise ProgramError(f"{_named(index, i)} waits for or gives to its own unit")
        if i.opcode in (Opcode.LOAD, Opcode.STORE) and (i.offset | i.dram_stride) % config.row_pitch:
            raise ProgramError(
                f"{_named(index, i)}: DRAM offset and stride must be multiples of {config.row_pitch} bytes"
            )
        used = footprint(i, config)
        for span in used.reads + used.writes + used.private:
            if span.last >= rows.get(span.space, 0):
                raise ProgramError(
                    f"{_named(index, i)} reaches row {span.last} of a memory ({_space_name(span.space)}) "
                    f"of {rows.get(span.space, 0)} rows"
                )
        for span in used.writes:
            if _overlaps_itself(span):
                raise ProgramError(
                    f"{_named(index, i)} writes blocks of {span.shape[-1]} rows only {span.strides[0]} apart: "
                    "they overlap"
                )
        if i.opcode == Opcode.MATRIX:
            check_sums(index, i, last_matrix)
            last_matrix = i
        clock = known[unit]
        for other in _UNITS:
            if i.wait >> other & 1:
                if not channels[other, unit]:
                    raise ProgramError(
                        f"{_named(index, i)} waits for {other.name}, but no earlier instruction gives it a token"
                    )
                giver = channels[other, unit].popleft()
                clock[other] = max(clock[other], giver)
                for third, seen in enumerate(clocks[giver]):
                    clock[third] = max(clock[third], seen)
        needed = tracker.visit(index, unit, used)
        for other in _UNITS:
            if other != unit and needed[other] > clock[other]:
                raise ProgramError(
                    f"{_named(index, i)} races with instruction {needed[other]} ({other.name}): no token orders them"
                )
            if i.give >> other & 1:
                channels[unit, other].append(index)
        clocks.append(tuple(clock))


def _overlaps_itself(span: Span) -> bool:
    return len(span.shape) > 1 and span.shape[0] > 1 and span.strides[0] < span.shape[-1]


def _named(index: int, i: Instruction) -> str:
    return f"instruction {index} ({i.opcode.name})"


def _space_name(space: int) -> str:
    return ("scratchpad", "accumulator", "parameters", "statistics")[space] if space < 4 else f"region {space - 4}"
