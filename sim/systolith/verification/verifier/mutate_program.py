"""Small changes to a program: every way of getting its order or its addresses a little wrong."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from systolith.rtl.config import Config
from systolith.rtl.isa import FIELDS, Instruction, Opcode, Unit

from .interleave_symbols import access

#: Rows of a step that is neither one nor a tile.
_LARGER_STEP = 7

#: Fields that say which rows of which memory an instruction touches, and in which order.
PLACES = (
    "region", "memory", "rows", "blocks", "address", "stride", "offset", "dram_stride", "k_tiles", "n_tiles",
    "a_address", "a_stride", "w_address", "w_k_stride", "w_n_stride", "acc_address", "acc_stride", "transpose",
    "accumulate", "track_max", "max_first", "stat_address", "function", "out_address", "out_stride",
    "layout", "param_address", "first", "last", "residual_address", "residual_stride",
)  # fmt: skip
_BYTES = ("offset", "dram_stride")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Mutant:
    """A changed program: what kind of change, and which."""

    kind: str
    change: str
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class _Token:
    """One bit: instruction ``index`` waits for (``wait``) or gives to (``give``) ``unit``."""

    index: int
    mask: str
    unit: Unit

    def __str__(self) -> str:
        return f"{self.mask} {self.unit.name} of instruction {self.index}"


def _tokens(instructions: Sequence[Instruction]) -> list[_Token]:
    return [
        _Token(index, mask, unit)
        for index, i in enumerate(instructions)
        for mask in ("wait", "give")
        for unit in Unit
        if getattr(i, mask) >> unit & 1
    ]


def _flip(instructions: Sequence[Instruction], *tokens: _Token) -> tuple[Instruction, ...]:
    """With these bits inverted."""
    changed = list(instructions)
    for token in tokens:
        i = changed[token.index]
        changed[token.index] = replace(i, values=i.values | {token.mask: getattr(i, token.mask) ^ 1 << token.unit})
    return tuple(changed)


def pairs_of_tokens(instructions: Sequence[Instruction]) -> list[tuple[_Token, _Token]]:
    """Each token as the give and the wait that it pairs."""
    given: dict[tuple[int, int], list[_Token]] = {}
    pairs = []
    for index, i in enumerate(instructions):
        for unit in Unit:
            if i.wait >> unit & 1 and (queue := given.get((unit, i.unit))):
                pairs.append((queue.pop(0), _Token(index, "wait", unit)))
        for unit in Unit:
            if i.give >> unit & 1:
                given.setdefault((i.unit, unit), []).append(_Token(index, "give", unit))
    return pairs


def dropped_tokens(instructions: Sequence[Instruction], source: random.Random, most_pairs: int) -> Iterator[Mutant]:
    """Each bit of a token dropped; each whole token dropped; bits, and whole tokens, dropped two at a time."""
    bits = _tokens(instructions)
    for bit in bits:
        yield Mutant("token bit dropped", f"no {bit}", _flip(instructions, bit))
    whole = pairs_of_tokens(instructions)
    for give, wait in whole:
        yield Mutant("token dropped", f"no {give}, no {wait}", _flip(instructions, give, wait))
    for a, b in _sample(list(itertools.combinations(bits, 2)), source, most_pairs):
        yield Mutant("two token bits dropped", f"no {a}, no {b}", _flip(instructions, a, b))
    for first, second in _sample(list(itertools.combinations(whole, 2)), source, most_pairs):
        names = ", ".join(f"no {bit}" for bit in (*first, *second))
        yield Mutant("two tokens dropped", names, _flip(instructions, *first, *second))


def moved_tokens(instructions: Sequence[Instruction]) -> Iterator[Mutant]:
    """Each bit moved to the unit's instruction before and after, and to every other unit."""
    of_unit = {unit: [n for n, i in enumerate(instructions) if i.unit == unit] for unit in Unit}
    for bit in _tokens(instructions):
        own = of_unit[instructions[bit.index].unit]
        at = own.index(bit.index)
        for index in own[max(0, at - 1) : at + 2]:
            target = replace(bit, index=index)
            if not getattr(instructions[index], bit.mask) >> bit.unit & 1:
                yield Mutant("token moved", f"{bit} moved to {index}", _flip(instructions, bit, target))
        for unit in Unit:
            if not getattr(instructions[bit.index], bit.mask) >> unit & 1:
                target = replace(bit, unit=unit)
                yield Mutant("token swapped", f"{bit} made {unit.name}", _flip(instructions, bit, target))


def added_tokens(instructions: Sequence[Instruction]) -> Iterator[Mutant]:
    """Each bit that is not there, set."""
    for index, i in enumerate(instructions):
        for mask in ("wait", "give"):
            for unit in Unit:
                if not getattr(i, mask) >> unit & 1:
                    bit = _Token(index, mask, unit)
                    yield Mutant("token bit added", f"also {bit}", _flip(instructions, bit))


def reordered(instructions: Sequence[Instruction]) -> Iterator[Mutant]:
    """Each two neighbours exchanged, tokens and all; each instruction left out; each one twice."""
    for index in range(len(instructions)):
        head, tail = tuple(instructions[:index]), tuple(instructions[index + 1 :])
        this = instructions[index]
        if tail and tail[0] != this:
            change = f"instructions {index} and {index + 1} exchanged"
            yield Mutant("instructions exchanged", change, (*head, tail[0], this, *tail[1:]))
        yield Mutant("instruction left out", f"instruction {index} left out", head + tail)
        yield Mutant("instruction repeated", f"instruction {index} twice", (*head, this, this, *tail))


def moved_places(instructions: Sequence[Instruction], config: Config) -> Iterator[Mutant]:
    """Each address, stride, count and choice changed by one, a few, a tile, and half and twice as much.

    Left out is what changes no row that the instruction uses, like the stride of a single block.
    """
    for index, i in enumerate(instructions):
        for field in FIELDS[i.opcode]:
            if field.name not in PLACES or (i.opcode == Opcode.VECTOR and field.name == "offset"):
                continue
            old = getattr(i, field.name)
            unit = config.row_pitch if field.name in _BYTES else 1
            steps = (unit, _LARGER_STEP * unit, config.rows * unit, config.cols * unit)
            values = {old + sign * step for step in steps for sign in (1, -1)} | {2 * old, old // 2 // unit * unit, 0}
            if field.name in _BYTES:
                values.add(old + 1)
            if field.bits <= 3:
                values = set(range(field.high + 1))
            for value in sorted(values - {old}):
                if field.low <= value <= field.high and not (i.opcode == Opcode.STORE and field.name == "memory"):
                    changed = replace(i, values=i.values | {field.name: value})
                    if value > 0 and access(changed, config) == access(i, config):
                        continue
                    change = f"{field.name} of instruction {index} is {value}, not {old}"
                    mutated = (*instructions[:index], changed, *instructions[index + 1 :])
                    yield Mutant(f"{i.opcode.name} {field.name}", change, mutated)


def mutants(
    instructions: Sequence[Instruction], config: Config, source: random.Random, *, most_pairs: int
) -> Iterator[Mutant]:
    """All of the above; of those that change two tokens, at most ``most_pairs`` of each kind, drawn from ``source``."""
    yield from dropped_tokens(instructions, source, most_pairs)
    yield from moved_tokens(instructions)
    yield from added_tokens(instructions)
    yield from reordered(instructions)
    yield from moved_places(instructions, config)


def _sample(items: list[_Item], source: random.Random, most: int) -> list[_Item]:
    return items if len(items) <= most else source.sample(items, most)
