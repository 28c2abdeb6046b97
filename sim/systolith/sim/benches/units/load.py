"""LOAD: random transfers from cocotbext-axi's memory, everything stalling, against the functional device."""

from typing import Any

import cocotb
import numpy as np
from cocotbext.axi import AxiRamRead, AxiReadBus

from systolith.rtl.isa import Opcode, assemble
from systolith.runtime.functional import FunctionalDevice
from systolith.sim.benches.common import checked, configuration, effort, random, reset
from systolith.sim.benches.units.dma import MEMORY_BYTES, REGIONS, pause, random_transfer
from systolith.sim.benches.units.streams import Reports, Stalls, give, region_word, serve_writes

#: Instructions between comparisons of the memories, and cycles that they may take.
_PROGRAM = 12
_PATIENCE = 100_000


@cocotb.test()
@cocotb.parametrize(eagerness=[0.3, 0.8, 1.0])
async def random_transfers(dut: Any, eagerness: float) -> None:
    config = configuration()
    rng = random(int(10 * eagerness))
    dut.halt.value = 0
    dut.regions__region.value = region_word(REGIONS)
    ram = AxiRamRead(AxiReadBus.from_prefix(dut, "axi_"), dut.clk, dut.rst, size=MEMORY_BYTES)
    pause((ram.ar_channel, ram.r_channel), rng, eagerness)
    await reset(dut)
    image = rng.integers(0, 256, MEMORY_BYTES, np.uint8)
    ram.write(0, image.tobytes())
    regions = [image[base : base + size] for base, size in REGIONS]
    device = FunctionalDevice(config, seed=int(rng.integers(1 << 31)))
    scratchpad = device.scratchpad.copy()
    parameters = np.zeros((len(device.planes), config.row_bytes), np.int8)
    parameters[:, : config.cols] = device.planes.view(np.int8)
    reports = Reports(dut)
    tasks = [
        cocotb.start_soon(serve_writes(dut, "scratchpad", scratchpad, Stalls(rng, eagerness))),
        cocotb.start_soon(serve_writes(dut, "parameters", parameters, Stalls(rng, eagerness))),
        cocotb.start_soon(reports.watch()),
    ]
    done = rows = 0
    for _ in range(effort(5)):
        program = [random_transfer(config, Opcode.LOAD, rng) for _ in range(_PROGRAM)]
        feeding = cocotb.start_soon(
            give(dut, "control__instruction", [i.encode() for i in program], Stalls(rng, eagerness))
        )
        done += len(program)
        rows += sum(i.rows * i.blocks for i in program)
        await reports.wait(done, _PATIENCE)
        await feeding
        assert not reports.faults, program
        assert dut.idle.value
        device.run(assemble(program), regions)
        listing = "\n".join(map(str, program))
        np.testing.assert_array_equal(scratchpad, device.scratchpad, err_msg=listing)
        found = parameters[:, : config.cols].view(np.uint8)
        np.testing.assert_array_equal(found, device.planes, err_msg=listing)
    for task in tasks:
        task.cancel()
    checked("instructions", done)
    checked("rows", rows)
