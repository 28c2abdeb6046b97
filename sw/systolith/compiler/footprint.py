"""Which rows of which memories an instruction reads and writes: what hazards and bounds are made of."""

import math
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Layout, Memory, Opcode
from systolith.rtl.parameters import PLANES


class Space(IntEnum):
    """The address spaces; DRAM region ``r`` is ``DRAM + r``, counted in rows of the row pitch."""

    SCRATCHPAD = 0
    ACCUMULATOR = 1
    PARAMETERS = 2
    STATISTICS = 3
    DRAM = 4


# Tuples, as they are made and hashed for every instruction.
class Span(NamedTuple):
    """Rows ``start + sum(i[d] * strides[d])`` for every index below ``shape``; the last stride is 1."""

    space: int
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def last(self) -> int:
        """The highest row touched."""
        return self.start + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))

    @property
    def size(self) -> int:
        """How many rows the indices name, each as often as they do."""
        return math.prod(self.shape)

    def merged(self) -> "Span":
        """The same rows in the fewest dimensions: runs that touch or overlap are one."""
        shape, strides = [self.shape[-1]], [1]
        for count, stride in zip(self.shape[-2::-1], self.strides[-2::-1], strict=True):
            if len(shape) == 1 and stride <= shape[0]:
                shape[0] += (count - 1) * stride
            elif count > 1:
                shape.insert(0, count)
                strides.insert(0, stride)
        return Span(self.space, self.start, tuple(shape), tuple(strides))

    def view(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The span's elements of a contiguous per-row array, without a copy; shape is the span's, plus the row's."""
        step = rows.strides[0]
        return np.ndarray(
            self.shape + rows.shape[1:],
            rows.dtype,
            rows,
            self.start * step,
            tuple(s * step for s in self.strides) + rows.strides[1:],
        )


class Footprint(NamedTuple):
    """What one instruction reads and writes; ``private`` rows are its unit's own, which orders them itself."""

    reads: tuple[Span, ...]
    writes: tuple[Span, ...]
    private: tuple[Span, ...] = ()


def activation_span(i: Instruction) -> Span:
    return Span(Space.SCRATCHPAD, i.a_address, (i.k_tiles, i.rows), (i.a_stride, 1))


def weight_span(i: Instruction, config: Config) -> Span:
    rows = config.cols if i.transpose else config.rows
    return Span(Space.SCRATCHPAD, i.w_address, (i.n_tiles, i.k_tiles, rows), (i.w_n_stride, i.w_k_stride, 1))


def accumulator_span(i: Instruction) -> Span:
    blocks = i.n_tiles if i.opcode == Opcode.MATRIX else i.blocks
    return Span(Space.ACCUMULATOR, i.acc_address, (blocks, i.rows), (i.acc_stride, 1))


def statistics_span(i: Instruction) -> Span:
    return Span(Space.STATISTICS, i.stat_address, (i.rows,), (1,))


def block_span(address: int, stride: int, elements: int, width: int, rows: int) -> Span:
    """Scratchpad rows of ``elements`` columns cut into blocks of ``width``."""
    return Span(Space.SCRATCHPAD, address, (-(-elements // width), rows), (stride, 1))


def result_span(i: Instruction, config: Config) -> Span:
    width = config.rows if i.layout == Layout.ROWS else config.cols
    return block_span(i.out_address, i.out_stride, i.blocks * config.cols, width, i.rows)


def residual_span(i: Instruction, config: Config) -> Span:
    return block_span(i.residual_address, i.residual_stride, i.blocks * config.cols, config.rows, i.rows)


def dram_span(i: Instruction, config: Config) -> Span:
    pitch = config.row_pitch
    return Span(Space.DRAM + i.region, i.offset // pitch, (i.blocks, i.rows), (i.dram_stride // pitch, 1))


def chip_span(i: Instruction) -> Span:
    space = Space.PARAMETERS if i.memory == Memory.PARAMETERS else Space.SCRATCHPAD
    return Span(space, i.address, (i.blocks, i.rows), (i.stride, 1))


def footprint(i: Instruction, config: Config) -> Footprint:
    """Reads and writes of ``i``."""
    if i.opcode == Opcode.LOAD:
        return Footprint((dram_span(i, config),), (chip_span(i),))
    if i.opcode == Opcode.STORE:
        return Footprint((chip_span(i),), (dram_span(i, config),))
    accumulator = accumulator_span(i)
    if i.opcode == Opcode.MATRIX:
        writes = (accumulator, statistics_span(i)) if i.track_max else (accumulator,)
        return Footprint((activation_span(i), weight_span(i, config)), writes)
    parameters = Span(Space.PARAMETERS, PLANES * i.param_address, (PLANES * i.blocks,), (1,))
    if i.function == Function.EXPONENT:
        return Footprint((accumulator, statistics_span(i)), (result_span(i, config),))
    private = (statistics_span(i),) if i.function in (Function.CONTEXT, Function.RESIDUAL, Function.LAYERNORM) else ()
    if i.function == Function.RESIDUAL:
        return Footprint((accumulator, parameters, residual_span(i, config)), (accumulator,), private)
    return Footprint((accumulator, parameters), (result_span(i, config),), private)


def space_rows(config: Config, region_bytes: tuple[int, ...]) -> dict[int, int]:
    """Rows of every address space, for regions of these sizes."""
    rows = {
        int(Space.SCRATCHPAD): config.scratchpad_rows,
        int(Space.ACCUMULATOR): config.accumulator_rows,
        int(Space.PARAMETERS): PLANES * config.parameter_rows,
        int(Space.STATISTICS): config.statistics_rows,
    }
    rows |= {Space.DRAM + r: size // config.row_pitch for r, size in enumerate(region_bytes)}
    return rows
