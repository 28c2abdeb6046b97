"""The accelerator in numpy: runs a program's binary instruction by instruction, with the same memories.

Before it runs, the program is proved in bounds and free of races and deadlocks (``compiler.hazards.verify``), so
running it in program order gives what any timing of the four units gives.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.compiler.footprint import (
    accumulator_span,
    activation_span,
    chip_span,
    dram_span,
    residual_span,
    weight_span,
)
from systolith.compiler.hazards import verify
from systolith.numerics import integer
from systolith.numerics.approximation import APPROXIMATIONS
from systolith.rtl.chip_state import chip_state
from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Layout, Memory, Opcode, disassemble
from systolith.rtl.parameters import PLANES, Parameters

from .device import Device, RunResult

_FLOAT32_TERMS = 1 << 10
Array = npt.NDArray[Any]


class FunctionalDevice(Device):
    """Device backend ``functional``. Memories keep their contents between runs, as on the chip.

    Parameters
    ----------
    config : Config
    seed : int, optional
        Fill the memories with random values first, so that nothing can depend on their being zero.
    """

    def __init__(self, config: Config, *, seed: int | None = None) -> None:
        self.config = config
        random = np.random.default_rng(seed)
        low, high = (0, 1) if seed is None else (-(2**31), 2**31)
        c = config
        self.scratchpad = random.integers(low, high, (c.scratchpad_rows, c.row_bytes)).astype(np.int8)
        self.accumulator = random.integers(low, high, (c.accumulator_rows, c.cols)).astype(np.int32)
        self.planes = random.integers(low, high, (PLANES * c.parameter_rows, c.cols)).astype(np.uint8)
        self.maximum = random.integers(low, high, c.statistics_rows).astype(np.int32)
        self.total = np.zeros(c.statistics_rows, np.int64)
        self.squares = np.zeros(c.statistics_rows, np.int64)
        self.reciprocal = np.zeros((3, c.statistics_rows), np.int64)

    @property
    def state(self) -> Array:
        """Contents of all memories: a record (shape ()) of ``chip_state``; what the hardware lacks is 0."""
        state = np.zeros((), chip_state(self.config))
        for name, memory in self._memories().items():
            state[name] = memory
        if not self.config.layernorm:
            state["squares"] = 0
        return state

    @state.setter
    def state(self, state: Array) -> None:
        for name, memory in self._memories().items():
            memory[...] = state[name]

    def _memories(self) -> dict[str, Array]:
        """The memories by their names in ``chip_state``."""
        mean, mantissa, exponent = self.reciprocal
        return {
            "scratchpad": self.scratchpad, "accumulator": self.accumulator, "parameters": self.planes,
            "maximum": self.maximum, "total": self.total, "squares": self.squares,
            "mean": mean, "mantissa": mantissa, "exponent": exponent,
        }  # fmt: skip

    def run(self, program: npt.NDArray[np.uint8], regions: Sequence[npt.NDArray[np.uint8]]) -> RunResult:
        """Run a program on DRAM ``regions`` (uint8 arrays, changed in place in the result's copies).

        Raises
        ------
        ProgramError
            If the program is refused; nothing has run then.
        """
        started = time.perf_counter()
        instructions = disassemble(program.tobytes())
        pitch = self.config.row_pitch
        padded = [np.concatenate([r, np.zeros(-len(r) % pitch, np.uint8)]).astype(np.uint8) for r in regions]
        verify(instructions, self.config, tuple(len(r) for r in regions))
        dram: list[Array] = [r.view(np.int8).reshape(-1, pitch) for r in padded]
        steps = {
            Opcode.LOAD: lambda i: self._load(i, dram),
            Opcode.STORE: lambda i: self._store(i, dram),
            Opcode.MATRIX: self._matrix,
            Opcode.VECTOR: self._vector,
        }
        for instruction in instructions:
            steps[instruction.opcode](instruction)
        return RunResult(
            counters={"instructions": len(instructions)},
            regions=[r[: len(original)] for r, original in zip(padded, regions, strict=True)],
            events=None,
            wall_seconds=time.perf_counter() - started,
            simulated=False,
        )

    def _load(self, i: Instruction, dram: list[Array]) -> None:
        source = dram_span(i, self.config).view(dram[i.region])
        if i.memory == Memory.PARAMETERS:
            chip_span(i).view(self.planes)[...] = source[..., : self.config.cols].view(np.uint8)
        else:
            chip_span(i).view(self.scratchpad)[...] = source[..., : self.config.row_bytes]

    def _store(self, i: Instruction, dram: list[Array]) -> None:
        target = dram_span(i, self.config).view(dram[i.region])
        target[...] = 0
        target[..., : self.config.row_bytes] = chip_span(i).view(self.scratchpad)

    def _matrix(self, i: Instruction) -> None:
        rows, cols = self.config.rows, self.config.cols
        a = activation_span(i).view(self.scratchpad)[..., :rows]
        w = weight_span(i, self.config).view(self.scratchpad)
        w = w[..., :rows].transpose(0, 1, 3, 2) if i.transpose else w[..., :cols]
        depth = i.k_tiles * rows
        # Sums of at most 1,024 int8 products are exact in float32.
        kind = np.float32 if depth <= _FLOAT32_TERMS else np.float64
        left: Array = np.ascontiguousarray(a.transpose(1, 0, 2)).reshape(i.rows, depth).astype(kind)
        right: Array = w.transpose(1, 2, 0, 3).astype(kind).reshape(depth, i.n_tiles * cols)
        sums = (left @ right).astype(np.int64).reshape(i.rows, i.n_tiles, cols).transpose(1, 0, 2)
        target = accumulator_span(i).view(self.accumulator)
        if i.accumulate:
            sums = sums + target
        target[...] = sums.astype(np.int32)
        if i.track_max:
            column = np.arange(i.n_tiles * cols).reshape(i.n_tiles, 1, cols)
            entering = np.where(column < i.valid, target, np.int32(-(2**31)))
            rows_slice = slice(i.stat_address, i.stat_address + i.rows)
            highest = entering.max(axis=(0, 2))
            self.maximum[rows_slice] = highest if i.max_first else np.maximum(highest, self.maximum[rows_slice])

    def _parameters(self, i: Instruction) -> tuple[Array, Array, Array]:
        planes = self.planes[PLANES * i.param_address : PLANES * (i.param_address + i.blocks)]
        records = Parameters.model(planes.reshape(i.blocks, PLANES, -1)).ravel()
        return records["bias"], records["multiplier_a"], records["multiplier_b"]

    def _vector(self, i: Instruction) -> None:
        cols = self.config.cols
        width = i.blocks * cols
        accumulator = accumulator_span(i).view(self.accumulator)
        x = accumulator.transpose(1, 0, 2).reshape(i.rows, width)
        valid = np.arange(width) < i.valid
        stat = slice(i.stat_address, i.stat_address + i.rows)
        units = APPROXIMATIONS[self.config.approximation]
        row = integer.Reciprocal(*(r[stat] for r in self.reciprocal))
        if i.function == Function.EXPONENT:
            y = integer.exponent(x, self.maximum[stat], i.multiplier, i.shift_a, units.numerator)
            self._sum(i, np.where(valid, y, 0).astype(np.int64))
            self._write(i, np.where(valid, y, 0).astype(np.int8))
            return
        bias, a, b = self._parameters(i)
        if i.function == Function.REQUANTIZE:
            y = integer.requantize(x, bias, a, i.shift_a)
        elif i.function == Function.GELU:
            y = integer.gelu(x, bias, a, i.shift_a, b, i.shift_b, i.offset, i.grid, units.gelu_grid)
        elif i.function == Function.CONTEXT:
            y = integer.context(x, row, b, i.shift_b)
        elif i.function == Function.LAYERNORM:
            y = integer.layernorm(x, row, b, bias, i.shift_b)
        else:
            skip = residual_span(i, self.config).view(self.scratchpad)[..., : self.config.rows]
            skip = skip.transpose(1, 0, 2).reshape(i.rows, -1)[:, :width]
            s = np.where(valid, integer.residual(x, bias, a, i.shift_a, skip, b, i.shift_b), 0)
            self._sum(i, s)
            accumulator[...] = s.reshape(i.rows, i.blocks, cols).transpose(1, 0, 2)
            return
        self._write(i, np.where(valid, y, 0).astype(np.int8))

    def _sum(self, i: Instruction, values: npt.NDArray[np.int64]) -> None:
        stat = slice(i.stat_address, i.stat_address + i.rows)
        if i.first:
            self.total[stat] = self.squares[stat] = 0
        # As wide as on the chip: sums of more columns than any row has wrap.
        self.total[stat] = (self.total[stat] + values.sum(axis=1)).astype(np.int32)
        self.squares[stat] += (values * values).sum(axis=1)
        self.squares[stat] &= (1 << integer.SQUARES_BITS) - 1
        if not i.last:
            return
        if i.function == Function.EXPONENT:
            row = integer.softmax_reciprocal(self.total[stat] & ((1 << integer.SUM_BITS) - 1))
        else:
            row = integer.layernorm_reciprocal(self.total[stat], self.squares[stat], i.multiplier, i.mean_multiplier)
        self.reciprocal[:, stat] = row

    def _write(self, i: Instruction, y: npt.NDArray[np.int8]) -> None:
        width = self.config.rows if i.layout == Layout.ROWS else self.config.cols
        for block, start in enumerate(range(0, y.shape[1], width)):
            part = y[:, start : start + width]
            address = i.out_address + block * i.out_stride
            self.scratchpad[address : address + i.rows, : part.shape[1]] = part
