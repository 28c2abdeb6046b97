"""The instruction set, defined once: layouts for the decoder, encoder, disassembler and documentation.

An instruction is 256 bits, little-endian, first field at the least significant bit. Memory addresses count
rows of their memory; DRAM offsets count bytes from the base of a region named in the CSRs.
"""

import itertools
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from amaranth.hdl import signed, unsigned
from amaranth.lib import data

INSTRUCTION_BITS = 256
INSTRUCTION_BYTES = INSTRUCTION_BITS // 8


class Unit(IntEnum):
    """The four units that run at the same time; also the bit in a ``wait`` or ``give`` mask."""

    LOAD = 0
    MATRIX = 1
    VECTOR = 2
    STORE = 3


class Opcode(IntEnum):
    """Zero is illegal, so that cleared memory is no program. The unit of opcode ``n`` is ``n - 1``."""

    LOAD = 1
    MATRIX = 2
    VECTOR = 3
    STORE = 4


class Memory(IntEnum):
    """Destination of a LOAD."""

    SCRATCHPAD = 0
    PARAMETERS = 1


class Function(IntEnum):
    """What a VECTOR instruction computes; the arithmetic is in ``systolith.numerics.integer``."""

    REQUANTIZE = 0
    GELU = 1
    EXPONENT = 2
    CONTEXT = 3
    RESIDUAL = 4
    LAYERNORM = 5


class Layout(IntEnum):
    """How a VECTOR result is cut into scratchpad blocks: as activations or as weights."""

    ROWS = 0
    COLS = 1


@dataclass(frozen=True)
class Field:
    """One field: its width in bits and what it means."""

    name: str
    bits: int
    doc: str
    signed: bool = False
    enum: type[IntEnum] | None = None

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - self.signed)) - 1


_HEADER = (
    Field("opcode", 4, "Which unit executes it.", enum=Opcode),
    Field("wait", 4, "Units (bit = unit number) from each of which one token is taken before it starts."),
    Field("give", 4, "Units to each of which one token is given when all of its effects are done."),
)
_TRANSFER = (
    Field("region", 3, "DRAM region: index of a base and limit pair in the CSRs."),
    Field("memory", 1, "Memory on the chip; STORE reads the scratchpad only.", enum=Memory),
    Field("rows", 16, "Rows of each block."),
    Field("blocks", 16, "Number of blocks."),
    Field("address", 16, "First row on the chip. In the parameter memory: 8 x parameter row + byte plane."),
    Field("stride", 16, "Rows between blocks on the chip."),
    Field("offset", 32, "Byte offset of the first row in the region; a multiple of the row pitch."),
    Field("dram_stride", 32, "Bytes between blocks in DRAM; a multiple of the row pitch."),
)

#: The fields of each instruction after the common header, in order from the least significant bit.
FIELDS: dict[Opcode, tuple[Field, ...]] = {
    Opcode.LOAD: _HEADER + _TRANSFER,
    Opcode.MATRIX: (
        *_HEADER,
        Field("rows", 16, "Activation rows streamed through each weight tile."),
        Field("k_tiles", 12, "Weight tiles along the contraction, the inner loop."),
        Field("n_tiles", 12, "Weight tiles along the outputs, the outer loop."),
        Field("a_address", 16, "Scratchpad row of activation row 0 of tile k = 0."),
        Field("a_stride", 16, "Scratchpad rows between activation blocks of consecutive k."),
        Field("w_address", 16, "Scratchpad row of the first weight tile."),
        Field("w_k_stride", 16, "Scratchpad rows between weight tiles of consecutive k."),
        Field("w_n_stride", 16, "Scratchpad rows between weight tiles of consecutive n."),
        Field("acc_address", 16, "Accumulator row of output row 0 of tile n = 0."),
        Field("acc_stride", 16, "Accumulator rows between output blocks of consecutive n."),
        Field("transpose", 1, "Weight tiles are stored transposed: row j holds the weights of column j."),
        Field("accumulate", 1, "Add to the accumulator from the first k on, instead of overwriting it."),
        Field("track_max", 1, "Update the maximum of each output row with the sums of the last k."),
        Field("max_first", 1, "The maxima start anew with tile n = 0 instead of continuing."),
        Field("stat_address", 12, "Maximum row of output row 0."),
        Field("valid", 16, "Columns, counted over all n tiles, that enter the maximum."),
    ),
    Opcode.VECTOR: (
        *_HEADER,
        Field("function", 3, "What is computed.", enum=Function),
        Field("rows", 16, "Token rows of each block, the inner loop."),
        Field("blocks", 12, "Accumulator column blocks, the outer loop."),
        Field("valid", 16, "Columns, counted over all blocks, that count; the others give 0 and enter no sum."),
        Field("acc_address", 16, "Accumulator row of token row 0 of block 0."),
        Field("acc_stride", 16, "Accumulator rows between blocks."),
        Field("out_address", 16, "Scratchpad row of token row 0 of output block 0 (unused by RESIDUAL)."),
        Field("out_stride", 16, "Scratchpad rows between output blocks."),
        Field("layout", 1, "Width of an output block: array rows or array columns.", enum=Layout),
        Field("param_address", 12, "Parameter row of block 0; block n reads the row n later."),
        Field("stat_address", 12, "Maximum, sum and reciprocal row of token row 0."),
        Field("first", 1, "Row sums start anew with block 0."),
        Field("last", 1, "Row sums are complete after the last block: reciprocals are computed and written."),
        Field("shift_a", 6, "Right shift after multiplier A."),
        Field("shift_b", 6, "Right shift after multiplier B."),
        Field("multiplier", 16, "EXPONENT: multiplier A of all columns. RESIDUAL with last: columns of a whole row."),
        Field("offset", 8, "GELU: zero point added to the result.", signed=True),
        Field("grid", 2, "GELU: the input grid is 2**(grid - 11)."),
        Field("residual_address", 16, "RESIDUAL: scratchpad row of token row 0 of residual block 0."),
        Field("residual_stride", 16, "RESIDUAL: scratchpad rows between residual blocks (array rows wide)."),
        Field("mean_multiplier", 25, "RESIDUAL with last: round(2**24 / columns of a whole row)."),
    ),
    Opcode.STORE: _HEADER + _TRANSFER,
}

#: What every instruction starts with.
HEADER = data.StructLayout({f.name: unsigned(f.bits) for f in _HEADER})
LAYOUTS: dict[Opcode, data.StructLayout] = {
    opcode: data.StructLayout({f.name: signed(f.bits) if f.signed else unsigned(f.bits) for f in fields})
    for opcode, fields in FIELDS.items()
}
for _opcode, _layout in LAYOUTS.items():
    if _layout.size > INSTRUCTION_BITS:
        raise AssertionError(f"{_opcode.name} takes {_layout.size} of {INSTRUCTION_BITS} bits")


#: Fields that an instruction leaves out are 0.
_ZEROS = {opcode: dict.fromkeys((f.name for f in fields), 0) for opcode, fields in FIELDS.items()}


def _places(fields: tuple[Field, ...]) -> dict[str, tuple[int, int, int]]:
    """Lowest and highest value and the position of each field but the opcode.

    ``high - low`` is the mask of its bits, signed or not.
    """
    ends = itertools.accumulate(f.bits for f in fields)
    return {f.name: (f.low, f.high, end - f.bits) for f, end in zip(fields, ends, strict=True) if f.name != "opcode"}


_PLACES = {opcode: _places(fields) for opcode, fields in FIELDS.items()}


class InstructionError(ValueError):
    """A field out of range or a word that is no instruction; the message names the field, value and bound."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: an opcode and the values of its fields (fields left out are 0)."""

    opcode: Opcode
    values: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Fields are plain attributes: programs are read field by field, millions of times.
        self.__dict__.update(_ZEROS[self.opcode] | self.values | {"opcode": self.opcode})

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...

    @property
    def unit(self) -> Unit:
        return Unit(self.opcode - 1)

    def encode(self) -> int:
        """The 256-bit word; ``InstructionError`` for a value that does not fit, or of no field (the opcode is none)."""
        places = _PLACES[self.opcode]
        if not self.values.keys() <= places.keys():
            raise InstructionError(f"{self.opcode.name} has no field {sorted(self.values.keys() - places.keys())[0]!r}")
        word = int(self.opcode)
        for name, value in self.values.items():
            low, high, position = places[name]
            if not low <= value <= high:
                raise InstructionError(f"{self.opcode.name} {name} must be {low} to {high}, not {value}")
            word |= (int(value) & (high - low)) << position
        return word

    @classmethod
    def decode(cls, word: int) -> "Instruction":
        """The instruction of a 256-bit word; ``InstructionError`` if the opcode is illegal."""
        number = word & 0xF
        try:
            opcode = Opcode(number)
        except ValueError:
            raise InstructionError(f"illegal opcode {number}") from None
        values: dict[str, int] = {}
        for name, (low, high, position) in _PLACES[opcode].items():
            value = word >> position & (high - low)
            values[name] = value if value <= high else value - (high - low + 1)
        return cls(opcode, values)

    def __str__(self) -> str:
        """One line of assembly: units in tokens by name, enumerations by name, zero fields left out."""
        parts = []
        for f in FIELDS[self.opcode][1:]:
            value: Any = getattr(self, f.name)
            if f.name in ("wait", "give"):
                value = "+".join(unit.name.lower() for unit in Unit if value >> unit & 1)
            elif f.enum is not None and value in iter(f.enum):
                value = f.enum(value).name.lower()
            if value not in (0, ""):
                parts.append(f"{f.name}={value}")
        return f"{self.opcode.name.lower():7}" + " ".join(parts)


def assemble(instructions: list[Instruction]) -> np.ndarray:
    """The program's bytes: uint8 of shape (32 x instructions,)."""
    image = b"".join(i.encode().to_bytes(INSTRUCTION_BYTES, "little") for i in instructions)
    return np.frombuffer(image, dtype=np.uint8)


def disassemble(image: bytes) -> list[Instruction]:
    """The instructions of a program's bytes; ``InstructionError`` names the index of a bad one."""
    if len(image) % INSTRUCTION_BYTES:
        raise InstructionError(f"program of {len(image)} bytes is no multiple of {INSTRUCTION_BYTES}")
    instructions = []
    for start in range(0, len(image), INSTRUCTION_BYTES):
        try:
            word = int.from_bytes(image[start : start + INSTRUCTION_BYTES], "little")
            instructions.append(Instruction.decode(word))
        except InstructionError as error:
            raise InstructionError(f"instruction {start // INSTRUCTION_BYTES}: {error}") from error
    return instructions
