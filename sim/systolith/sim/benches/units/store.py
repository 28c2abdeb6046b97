"""STORE: random transfers to cocotbext-axi's memory, everything stalling, against the functional device."""

from typing import Any

import cocotb
import numpy as np
from cocotbext.axi import AxiRamWrite, AxiWriteBus

from systolith.rtl.isa import Opcode, assemble
from systolith.runtime.functional import FunctionalDevice
from systolith.sim.benches.common import checked, configuration, effort, random, reset
from systolith.sim.benches.units.dma import MEMORY_BYTES, REGIONS, pause, random_transfer
from systolith.sim.benches.units.streams import Reports, Stalls, give, region_word, serve_reads

#: Instructions between comparisons of the memories, and cycles that they may take.
_PROGRAM = 12
_PATIENCE = 100_000


@cocotb.test()
@cocotb.parametrize(eagerness=[0.3, 0.8, 1.0])
async def random_transfers(dut: Any, eagerness: float) -> None:
    """Every byte of the memory, those between and beyond the regions too."""
    config = configuration()
    rng = random(int(10 * eagerness))
    dut.halt.value = 0
    dut.regions__region.value = region_word(REGIONS)
    ram = AxiRamWrite(AxiWriteBus.from_prefix(dut, "axi_"), dut.clk, dut.rst, size=MEMORY_BYTES)
    pause((ram.aw_channel, ram.w_channel, ram.b_channel), rng, eagerness)
    await reset(dut)
    expected = rng.integers(0, 256, MEMORY_BYTES, np.uint8)
    ram.write(0, expected.tobytes())
    device = FunctionalDevice(config, seed=int(rng.integers(1 << 31)))
    reports = Reports(dut)
    tasks = [
        cocotb.start_soon(serve_reads(dut, "scratchpad", device.scratchpad, Stalls(rng, eagerness))),
        cocotb.start_soon(reports.watch()),
    ]
    done = rows = 0
    for _ in range(effort(5)):
        program = [random_transfer(config, Opcode.STORE, rng) for _ in range(_PROGRAM)]
        feeding = cocotb.start_soon(
            give(dut, "control__instruction", [i.encode() for i in program], Stalls(rng, eagerness))
        )
        done += len(program)
        rows += sum(i.rows * i.blocks for i in program)
        await reports.wait(done, _PATIENCE)
        await feeding
        assert not reports.faults, program
        assert dut.idle.value
        places = [slice(base, base + size) for base, size in REGIONS]
        written = device.run(assemble(program), [expected[place] for place in places]).regions
        for place, region in zip(places, written, strict=True):
            expected[place] = region
        found = np.frombuffer(ram.read(0, MEMORY_BYTES), np.uint8)
        np.testing.assert_array_equal(found, expected, err_msg="\n".join(map(str, program)))
    for task in tasks:
        task.cancel()
    checked("instructions", done)
    checked("rows", rows)
