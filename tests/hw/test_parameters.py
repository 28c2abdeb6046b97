"""The parameter memory against its model."""

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator

from systolith.rtl.config import Config
from systolith.rtl.parameters import PLANES, Parameters

SQUARE = Config(
    rows=4, cols=4, lanes=4, scratchpad_bytes=1024, accumulator_bytes=1024, parameter_bytes=256, statistics_rows=16
)
CONFIGS = {
    "4x4": SQUARE,
    "6x4": dataclasses.replace(SQUARE, rows=6, lanes=2),
    "2x3": dataclasses.replace(SQUARE, rows=2, cols=3, lanes=1),
}


def test_model_is_little_endian():
    planes = np.arange(16, dtype=np.uint8).reshape(8, 2)
    records = Parameters.model(planes)
    assert records["bias"].tolist() == [0x06040200, 0x07050301]
    assert records["multiplier_a"].tolist() == [0x0A08, 0x0B09]
    assert records["multiplier_b"].tolist() == [0x0E0C, 0x0F0D]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_random_loads_and_reads(config):
    rng = np.random.default_rng(config.cols)
    rows, cols, width = config.parameter_rows, config.cols, config.row_bytes
    dut = Parameters(config)
    memory = np.zeros((rows, PLANES, cols), dtype=np.uint8)

    async def testbench(ctx):
        request = dut.load.request
        expected = None
        for cycle in range(400):
            if expected is not None:
                for column, record in enumerate(expected):
                    assert {name: ctx.get(dut.read.data[column][name]) for name in record.dtype.names} == {
                        name: int(record[name]) for name in record.dtype.names
                    }
            row, plane = int(rng.integers(rows)), int(rng.integers(PLANES))
            mask, data = rng.integers(0, 2, width).astype(bool), rng.integers(0, 256, width, dtype=np.uint8)
            mask |= cycle % 2 == 0
            load = bool(rng.integers(4))
            ctx.set(request.valid, load)
            ctx.set(request.payload.address, PLANES * row + plane)
            ctx.set(request.payload.mask, int.from_bytes(np.packbits(mask, bitorder="little"), "little"))
            ctx.set(request.payload.data.as_value(), int.from_bytes(data.tobytes(), "little"))
            assert ctx.get(request.ready) == 1

            address = row if cycle % 3 == 0 else int(rng.integers(rows))
            ctx.set(dut.read.address, address)
            expected = Parameters.model(memory[address].copy())
            if load:
                memory[row, plane, mask[:cols]] = data[:cols][mask[:cols]]
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
