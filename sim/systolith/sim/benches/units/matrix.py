"""The MATRIX unit: random instructions back to back, its reads granted at random, against the functional device."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from systolith.compiler.hazards import ProgramError, verify
from systolith.rtl.accumulator import Accumulator
from systolith.rtl.config import Config
from systolith.rtl.isa import Instruction, Opcode, assemble
from systolith.runtime.functional import FunctionalDevice
from systolith.sim.benches.common import checked, configuration, effort, random, reset
from systolith.sim.benches.units.streams import Reports, Stalls, give, serve_reads

#: Instructions between comparisons of the memories.
_PROGRAM = 10
#: Cycles that a row may take at most, with every peer stalling.
_PATIENCE = 200
#: Cycles from a row of sums until it has been added, and counts as retired.
_LATENCY = 8


@cocotb.test()
@cocotb.parametrize(eagerness=[0.3, 0.8, 1.0])
async def random_instructions(dut: Any, eagerness: float) -> None:
    config = configuration()
    rng = random(int(10 * eagerness))
    await reset(dut)
    device = FunctionalDevice(config, seed=int(rng.integers(1 << 31)))
    adder = _Adder(dut, device)
    reports = Reports(dut)
    tasks = [
        cocotb.start_soon(peer)
        for peer in (
            serve_reads(dut, "activations", device.scratchpad, Stalls(rng, eagerness)),
            serve_reads(dut, "weights", device.scratchpad, Stalls(rng, eagerness)),
            adder.serve(),
            reports.watch(),
        )
    ]
    done = rows = 0
    for _ in range(effort(15)):
        program = _program(config, rng)
        feeding = cocotb.start_soon(
            give(dut, "control__instruction", [i.encode() for i in program], Stalls(rng, eagerness))
        )
        done += len(program)
        streamed = sum(i.rows * i.k_tiles * i.n_tiles for i in program)
        tiles = sum(i.k_tiles * i.n_tiles for i in program)
        await reports.wait(done, _PATIENCE * (streamed + tiles * config.row_bytes))
        await feeding
        assert not reports.faults, program
        device.run(assemble(program), [])
        listing = "\n".join(map(str, program))
        np.testing.assert_array_equal(adder.accumulator, device.accumulator, err_msg=listing)
        np.testing.assert_array_equal(adder.maximum, device.maximum, err_msg=listing)
        rows += streamed
    for task in tasks:
        task.cancel()
    checked("instructions", done)
    checked("rows streamed", rows)


class _Adder:
    """The accumulator's end of the unit: adds each row of sums at once, and says so :data:`_LATENCY` cycles later."""

    def __init__(self, dut: Any, device: FunctionalDevice) -> None:
        self._dut, self._config = dut, device.config
        self.accumulator, self.maximum = device.accumulator.copy(), device.maximum.copy()

    async def serve(self) -> None:
        dut = self._dut
        retired = deque([False] * _LATENCY)
        while True:
            dut.accumulator__retired.value = retired.popleft()
            await RisingEdge(dut.clk)
            valid = bool(dut.accumulator__valid.value)
            retired.append(valid and bool(dut.accumulator__last.value))
            if valid:
                self._add()

    def _add(self) -> None:
        dut, config = self._dut, self._config
        word, width = int(dut.accumulator__data.value), config.psum_width
        sums = np.array([word >> width * column & ((1 << width) - 1) for column in range(config.cols)])
        sums -= (sums >> width - 1) << width
        address = int(dut.accumulator__address.value)
        new = Accumulator.model(self.accumulator[address], sums, bool(dut.accumulator__overwrite.value))
        self.accumulator[address] = new
        if dut.accumulator__track_max.value:
            place, mask = int(dut.accumulator__stat_address.value), int(dut.accumulator__mask.value)
            chosen = [bool(mask >> column & 1) for column in range(config.cols)]
            first = bool(dut.accumulator__max_first.value)
            self.maximum[place] = Accumulator.maximum_model(int(self.maximum[place]), new, chosen, first)


def _program(config: Config, rng: np.random.Generator) -> list[Instruction]:
    """Instructions that may follow each other without a pause."""
    program: list[Instruction] = []
    while len(program) < _PROGRAM:
        instruction = _instruction(config, rng)
        try:
            verify([*program, instruction], config, ())
        except ProgramError:
            continue  # adds to rows that the one before it has not added yet
        program.append(instruction)
    return program


def _instruction(config: Config, rng: np.random.Generator) -> Instruction:
    rows = int(rng.integers(1, 25))
    k_tiles, n_tiles = (int(n) for n in rng.integers(1, 4, 2))
    transpose = int(rng.integers(2))
    weight_rows = config.cols if transpose else config.rows
    values = {"rows": rows, "k_tiles": k_tiles, "n_tiles": n_tiles, "transpose": transpose}
    a_stride = int(rng.integers(0, 40))
    values["a_stride"] = a_stride
    values["a_address"] = int(rng.integers(config.scratchpad_rows - rows - (k_tiles - 1) * a_stride + 1))
    w_k_stride, w_n_stride = (int(s) for s in rng.integers(0, 40, 2))
    reach = weight_rows + (k_tiles - 1) * w_k_stride + (n_tiles - 1) * w_n_stride
    values |= {"w_k_stride": w_k_stride, "w_n_stride": w_n_stride}
    values["w_address"] = int(rng.integers(config.scratchpad_rows - reach + 1))
    values["acc_stride"] = acc_stride = int(rng.integers(rows, 40))
    values["acc_address"] = int(rng.integers(config.accumulator_rows - rows - (n_tiles - 1) * acc_stride + 1))
    values |= {name: int(rng.integers(2)) for name in ("accumulate", "track_max", "max_first")}
    values["stat_address"] = int(rng.integers(config.statistics_rows - rows + 1))
    values["valid"] = int(rng.integers(1, n_tiles * config.cols + 3))
    return Instruction(Opcode.MATRIX, values)
