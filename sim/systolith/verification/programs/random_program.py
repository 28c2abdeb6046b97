"""Random legal programs: every instruction, every field at its edges and inside, tokens beyond the needed ones.

A program is drawn instruction by instruction, each legal by itself and often using what an earlier one left (a VECTOR
the rows of the last MATRIX, a STORE the result of the last VECTOR), so that data and statistics flow. Then
``compiler.hazards.synchronize`` orders it, further tokens are added, and ``compiler.hazards.verify`` accepts it.
"""

import random
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from systolith.compiler.hazards import TOKEN_LIMIT, ProgramError, check_sums, synchronize, verify
from systolith.rtl.config import Config
from systolith.rtl.interfaces import Regions
from systolith.rtl.isa import FIELDS, INSTRUCTION_BYTES, Instruction, Opcode, Unit, assemble
from systolith.rtl.parameters import PLANES, RECORD_DTYPE

from .fields import InstructionMaker

#: Region that holds well-formed parameter records; the others hold anything.
RECORDS = 0
#: Draws of an instruction, or of a program, before giving up: most succeed at once.
_ATTEMPTS = 100
#: Rows of the largest regions.
_REGION_ROWS = 1024
#: Most extra tokens for each instruction of a program.
_EXTRA_TOKENS = 0.5
#: Share of the programs in which one unit gives another all the tokens that it may.
_FLOODED = 0.2


@dataclass(frozen=True)
class RandomProgram:
    """Legal instructions, and the bytes of each DRAM region that they are legal for."""

    instructions: tuple[Instruction, ...]
    region_bytes: tuple[int, ...]

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """uint8 (32 x instructions,); bits that no field names are 0."""
        return assemble(list(self.instructions))


def random_program(config: Config, rng: np.random.Generator, length: int) -> RandomProgram:
    """A program of ``length`` instructions that ``hazards.verify`` accepts for ``config``; all follows from ``rng``.

    Raises
    ------
    ValueError
        If ``length`` is less than 1.
    """
    if length < 1:
        raise ValueError(f"a program has at least 1 instruction, not {length}")
    source = random.Random(int(rng.integers(1 << 63)))
    for _ in range(_ATTEMPTS):
        sizes = random_region_bytes(config, source)
        maker = InstructionMaker(config, source, sizes)
        instructions: list[Instruction] = []
        last_matrix: Instruction | None = None
        while len(instructions) < length:
            instruction = _draw(maker, config, sizes, last_matrix)
            maker.follow(instruction)
            instructions.append(instruction)
            if instruction.opcode == Opcode.MATRIX:
                last_matrix = instruction
        try:
            ordered = synchronize(instructions, config, sizes)
            extended = add_tokens(ordered, source)
            if source.random() < _FLOODED:
                extended = flood(extended, source)
            verify(extended, config, sizes)
        except ProgramError:
            continue  # more tokens outstanding than their counters hold
        return RandomProgram(tuple(extended), sizes)
    raise AssertionError(f"no legal program of {length} instructions in {_ATTEMPTS} attempts")


def _draw(maker: InstructionMaker, config: Config, sizes: tuple[int, ...], previous: Instruction | None) -> Instruction:
    """One instruction, legal by itself and behind the MATRIX before it."""
    for _ in range(_ATTEMPTS):
        instruction = maker.make()
        try:
            verify([instruction], config, sizes)
            if instruction.opcode == Opcode.MATRIX:
                check_sums(0, instruction, previous)
        except ProgramError:
            continue
        return instruction
    raise AssertionError(f"no legal instruction in {_ATTEMPTS} attempts")


def add_tokens(instructions: list[Instruction], source: random.Random) -> list[Instruction]:
    """Add gives and waits that pair with each other, so that all others stay paired as they are, and some gives alone.

    Tokens of one unit for another are taken in the order in which they are given. A pair whose give has as many gives
    before it as its wait has waits before it leaves every other pair alone.
    """
    wait, give = [i.wait for i in instructions], [i.give for i in instructions]
    of_unit = {unit: [n for n, i in enumerate(instructions) if i.unit == unit] for unit in Unit}
    for _ in range(int(source.random() * _EXTRA_TOKENS * len(instructions))):
        giver, taker = source.sample(list(Unit), 2)
        gives = [n for n in of_unit[giver] if give[n] >> taker & 1]
        waits = [n for n in of_unit[taker] if wait[n] >> giver & 1]
        free = [n for n in of_unit[giver] if not give[n] >> taker & 1]
        if not free:
            continue
        at = source.choice(free)
        pair = sum(n < at for n in gives)
        before = waits[pair - 1] if 0 < pair <= len(waits) else -1
        after = waits[pair] if pair < len(waits) else len(instructions)
        takers = [n for n in of_unit[taker] if max(at, before) < n < after]
        if pair > len(waits) or (not takers and pair < len(waits)):
            continue  # given beyond the last wait, or a wait later on would get this token
        give[at] |= 1 << taker
        if takers:
            wait[source.choice(takers)] |= 1 << giver
    return [
        replace(i, values=i.values | {"wait": w, "give": g}) for i, w, g in zip(instructions, wait, give, strict=True)
    ]


def flood(instructions: list[Instruction], source: random.Random) -> list[Instruction]:
    """Between two units that give each other no tokens, as many as a counter may hold; a share of them is taken."""
    used = {(i.unit, taker) for i in instructions for taker in Unit if i.give >> taker & 1}
    unused = [(a, b) for a in Unit for b in Unit if a != b and (a, b) not in used]
    if not unused:
        return instructions
    giver, taker = source.choice(unused)
    taken, held, flooded = source.choice([0.0, 0.3, 1.0]), 0, []
    for i in instructions:
        values = i.values
        if i.unit == giver and held < TOKEN_LIMIT:
            values = values | {"give": i.give | 1 << taker}
            held += 1
        elif i.unit == taker and held and source.random() < taken:
            values = values | {"wait": i.wait | 1 << giver}
            held -= 1
        flooded.append(replace(i, values=values))
    return flooded


def random_region_bytes(config: Config, source: random.Random) -> tuple[int, ...]:
    """Sizes of all regions: usually some rows and perhaps a part of one, seldom nothing; the first always some."""
    sizes = []
    for region in range(Regions.COUNT):
        rows = source.choice([1, 2, 7, 64, 200, source.randint(1, 400), min(config.scratchpad_rows, _REGION_ROWS)])
        if region == RECORDS:
            rows = 16 * PLANES
        elif source.random() < 0.2:
            rows = 0
        tail = source.randrange(config.row_pitch) if source.random() < 0.3 else 0
        sizes.append(rows * config.row_pitch + tail)
    return tuple(sizes)


def random_regions(
    config: Config, region_bytes: tuple[int, ...], rng: np.random.Generator
) -> list[npt.NDArray[np.uint8]]:
    """Contents of DRAM regions: rows of anything, of extremes and of small values; region 0 holds parameter records."""
    regions = []
    for region, size in enumerate(region_bytes):
        rows = -(-size // config.row_pitch)
        if region == RECORDS:
            values = _record_planes(config, rows, rng)
        else:
            values = rng.integers(-128, 128, (rows, config.row_pitch))
            kind = rng.integers(8, size=(rows, 1))
            small = rng.integers(-3, 4, values.shape)
            extremes = rng.choice([-128, 127, -1, 0], values.shape)
            values = np.where(kind == 0, small, np.where(kind == 1, extremes, values))
            values = np.where(kind == 2, rng.choice([-128, 127, 0, 1], (rows, 1)), values)
        regions.append(values.astype(np.int8).view(np.uint8).ravel()[:size].copy())
    return regions


def _record_planes(config: Config, rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Byte planes of parameter records whose fields have every length from no bits to all of theirs; (rows, pitch)."""
    shape = (-(-rows // PLANES), config.row_pitch)
    records = np.zeros(shape, RECORD_DTYPE)
    for name, bits, sign in (("bias", 31, True), ("multiplier_a", 16, False), ("multiplier_b", 15, True)):
        length = rng.integers(0, bits + 1, shape)
        value = np.minimum(rng.integers(0, 1 << bits, shape) >> (bits - length), (1 << bits) - 1)
        if sign:
            value = np.where(rng.integers(2, size=shape) == 1, ~value, value)
        records[name] = value.astype(RECORD_DTYPE[name])
    planes = records.view(np.uint8).reshape(*shape, PLANES).transpose(0, 2, 1).reshape(-1, config.row_pitch)
    return planes[:rows].astype(np.int64)


def scramble_unused_bits(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The same program with random bits where no field is: these are to be ignored."""
    words = image.reshape(-1, INSTRUCTION_BYTES).copy()
    noise = rng.integers(0, 256, words.shape, np.uint8)
    for word, random_word in zip(words, noise, strict=True):
        used = sum(field.bits for field in FIELDS[Opcode(int(word[0]) & 0xF)])
        whole = int.from_bytes(word.tobytes(), "little") & ((1 << used) - 1)
        whole |= int.from_bytes(random_word.tobytes(), "little") >> used << used
        word[:] = np.frombuffer(whole.to_bytes(INSTRUCTION_BYTES, "little"), np.uint8)
    return words.ravel()
