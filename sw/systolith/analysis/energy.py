"""What a program costs in energy: accesses counted exactly, times published energies. An estimate.

Counts follow from the instructions alone (``tests/analysis/test_energy.py`` counts them on the RTL's memory ports); of
a run on the RTL its counters say what entered the array, the vector unit and the bus. Energies are those of one table:

    M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V.

Left out, as the table has no figure for it: registers and skew of the array, control, clock, wires, leakage, queues,
the host. So the estimate tells programs on the same hardware from each other better than one hardware from another.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from systolith.numerics.approximation import POLYNOMIAL
from systolith.rtl.config import Config
from systolith.rtl.isa import INSTRUCTION_BYTES, Function, Instruction, Memory, Opcode
from systolith.rtl.parameters import PLANES

#: Picojoules of an addition of 32 bits, and of multiplications of 8 and 32 bits.
ADD_32, MULTIPLY_8, MULTIPLY_32 = 0.1, 0.2, 3.1
#: Picojoules of an access of 64 bits to an SRAM (the table's caches), by bytes.
SRAM_64 = ((8 << 10, 10.0), (32 << 10, 20.0), (1 << 20, 100.0))
#: Picojoules of an access of 64 bits to DRAM: the lower end of the table's 1.3 to 2.6 nJ.
DRAM_64 = 1300.0

#: Multiplications and additions for each element, as ``systolith.numerics.integer`` defines the functions: a rounding
#: is an addition, and so is what joins a row's sums.
OPERATIONS = {
    Function.REQUANTIZE: (1, 2),
    Function.GELU: (2, 5),
    Function.EXPONENT: (1, 4),
    Function.CONTEXT: (2, 2),
    Function.RESIDUAL: (3, 6),
    Function.LAYERNORM: (2, 4),
}
#: The same with ``systolith.numerics.polynomial``: squares, and constants of few bits by additions.
_POLYNOMIAL = {Function.GELU: (4, 9), Function.EXPONENT: (2, 9)}
_SUMMED = (Function.EXPONENT, Function.RESIDUAL)
_INVERSE = (Function.CONTEXT, Function.LAYERNORM)


@dataclass(frozen=True, kw_only=True)
class Accesses:
    """What a program does, in numbers of events.

    Attributes
    ----------
    array_rows : activation rows that enter the array; each is ``rows`` x ``cols`` multiplications and additions.
    scratchpad, accumulator, parameter, statistics : rows read and written. Of the parameters a record of 8 bytes for
        each column is read at once, and a byte of each is written; of the statistics a maximum, sum or reciprocal.
    multiplications, additions : of the vector unit's lanes.
    beats : bus beats read and written, the program's among them.
    vector_beats : beats of the vector unit.
    """

    array_rows: int = 0
    scratchpad_reads: int = 0
    scratchpad_writes: int = 0
    accumulator_reads: int = 0
    accumulator_writes: int = 0
    parameter_reads: int = 0
    parameter_writes: int = 0
    statistics_reads: int = 0
    statistics_writes: int = 0
    vector_beats: int = 0
    multiplications: int = 0
    additions: int = 0
    read_beats: int = 0
    write_beats: int = 0


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Estimated picojoules by part: ``vector`` holds the lanes, parameters and row statistics."""

    array: float
    scratchpad: float
    accumulator: float
    vector: float
    dram: float

    @property
    def total(self) -> float:
        return self.array + self.scratchpad + self.accumulator + self.vector + self.dram

    def delay_product(self, cycles: int) -> float:
        """Energy-delay product, picojoules x cycles; times the clock's period it is the usual one."""
        return self.total * cycles


def count_accesses(
    instructions: Sequence[Instruction], config: Config, counters: Mapping[str, int] | None = None
) -> Accesses:
    """What a program does, whole rows and beats.

    ``counters`` of a run on the RTL replace what they count: rows into the array, beats of vector unit and bus.
    """
    counts = dict.fromkeys((field.name for field in fields(Accesses)), 0)
    for word in instructions:
        if word.opcode == Opcode.MATRIX:
            _count_matrix(counts, word, config)
        elif word.opcode == Opcode.VECTOR:
            _count_vector(counts, word, config)
        else:
            _count_transfer(counts, word, config)
    counts["read_beats"] += -(-len(instructions) * INSTRUCTION_BYTES // config.bus_bytes)
    if counters is not None:
        counts["array_rows"] = counters["array_busy"]
        counts |= {name: counters[name] for name in ("vector_beats", "read_beats", "write_beats")}
    return Accesses(**counts)


def _count_matrix(counts: dict[str, int], word: Instruction, config: Config) -> None:
    tiles, rows = word.k_tiles * word.n_tiles, word.rows
    counts["array_rows"] += rows * tiles
    counts["scratchpad_reads"] += (rows + (config.cols if word.transpose else config.rows)) * tiles
    # The first tile of a sum overwrites.
    counts["accumulator_reads"] += rows * (word.k_tiles - 1 + word.accumulate) * word.n_tiles
    counts["accumulator_writes"] += rows * tiles
    if word.track_max:
        counts["statistics_reads"] += rows * word.n_tiles
        counts["statistics_writes"] += rows * word.n_tiles


def _count_vector(counts: dict[str, int], word: Instruction, config: Config) -> None:
    function = Function(word.function)
    rows, lanes = word.rows * word.blocks, config.lanes
    beats = rows * (config.cols // lanes)
    operations = OPERATIONS | (_POLYNOMIAL if config.approximation == POLYNOMIAL else {})
    multiplications, additions = operations[function]
    counts["vector_beats"] += beats
    counts["multiplications"] += multiplications * beats * lanes
    counts["additions"] += additions * beats * lanes
    counts["accumulator_reads"] += beats
    if function == Function.RESIDUAL:
        counts["scratchpad_reads"] += beats
        counts["accumulator_writes"] += beats
    else:
        counts["scratchpad_writes"] += beats
    if function == Function.EXPONENT:
        counts["statistics_reads"] += beats
    else:
        counts["parameter_reads"] += beats
    if function in _INVERSE:
        counts["statistics_reads"] += beats
    if function in _SUMMED:
        counts["statistics_reads"] += rows
        counts["statistics_writes"] += rows + word.rows * word.last


def _count_transfer(counts: dict[str, int], word: Instruction, config: Config) -> None:
    rows, bus = word.rows * word.blocks, config.bus_bytes
    offset, size, beats = word.offset, word.rows * config.row_pitch, 0
    for _ in range(word.blocks):
        beats += (offset + size - 1) // bus - offset // bus + 1
        offset += word.dram_stride
    if word.opcode == Opcode.STORE:
        counts["scratchpad_reads"] += rows
        counts["write_beats"] += beats
        return
    counts["parameter_writes" if word.memory == Memory.PARAMETERS else "scratchpad_writes"] += rows
    counts["read_beats"] += beats


def sram_energy(bits: int, size: float) -> float:
    """Picojoules of an access of ``bits`` to an SRAM of ``size`` bytes.

    By the bit; between the table's sizes, and beyond them, along straight lines in the logarithms of both.
    """
    place = 0 if size < SRAM_64[1][0] else 1
    (low, low_energy), (high, high_energy) = SRAM_64[place : place + 2]
    slope = math.log(high_energy / low_energy) / math.log(high / low)
    return bits / 64 * low_energy * math.pow(size / low, slope)


def estimate(accesses: Accesses, config: Config) -> Energy:
    """The energy of ``accesses``; an access to a banked memory is one to a bank of it."""
    scratchpad = sram_energy(8 * config.row_bytes, config.scratchpad_bytes / config.scratchpad_banks)
    accumulator = sram_energy(32 * config.cols, config.accumulator_bytes / config.accumulator_banks)
    plane = sram_energy(8 * config.cols, config.parameter_bytes / PLANES)
    statistics = sram_energy(64, 8 * config.statistics_rows)
    a = accesses
    return Energy(
        array=a.array_rows * config.rows * config.cols * (MULTIPLY_8 + ADD_32),
        scratchpad=(a.scratchpad_reads + a.scratchpad_writes) * scratchpad,
        accumulator=(a.accumulator_reads + a.accumulator_writes) * accumulator
        + a.accumulator_writes * config.cols * ADD_32,
        vector=a.multiplications * MULTIPLY_32
        + a.additions * ADD_32
        + (PLANES * a.parameter_reads + a.parameter_writes) * plane
        + (a.statistics_reads + a.statistics_writes) * statistics,
        dram=(a.read_beats + a.write_beats) * config.axi_data_width / 64 * DRAM_64,
    )
