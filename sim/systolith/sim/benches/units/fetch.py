"""Fetch: programs of any length and place from cocotbext-axi's memory, everything stalling."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus

from systolith.rtl.isa import INSTRUCTION_BYTES
from systolith.sim.benches.common import checked, configuration, effort, random, reset
from systolith.sim.benches.units.dma import MEMORY_BYTES, pause
from systolith.sim.benches.units.streams import Stalls, take

#: Cycles that a program may take.
_PATIENCE = 50_000


@cocotb.test()
@cocotb.parametrize(eagerness=[0.3, 0.8, 1.0])
async def programs(dut: Any, eagerness: float) -> None:
    """One after the other: one, around the queue's 64 instructions, up to 200; from any beat of the bus."""
    config = configuration()
    rng = random(int(10 * eagerness))
    dut.halt.value = 0
    dut.start.value = 0
    ram = AxiRamRead(AxiReadBus.from_prefix(dut, "axi_"), dut.clk, dut.rst, size=MEMORY_BYTES)
    pause((ram.ar_channel, ram.r_channel), rng, eagerness)
    await reset(dut)
    image = rng.integers(0, 256, MEMORY_BYTES, np.uint8).tobytes()
    ram.write(0, image)
    found: list[int] = []
    taking = cocotb.start_soon(take(dut, "instruction", found.append, Stalls(rng, eagerness)))
    lengths = [1, 2, 63, 64, 65, *rng.integers(1, 200, effort(20)).tolist()]
    total = 0
    for length in lengths:
        most = (MEMORY_BYTES - length * INSTRUCTION_BYTES) // config.bus_bytes
        base = int(rng.integers(most + 1)) * config.bus_bytes
        dut.base.value, dut.length.value, dut.start.value = base, length, 1
        await RisingEdge(dut.clk)
        dut.base.value, dut.length.value, dut.start.value = 0, 0, 0
        await RisingEdge(dut.clk)
        for _ in range(_PATIENCE):
            await RisingEdge(dut.clk)
            if dut.done.value and dut.idle.value:
                break
        words = [
            int.from_bytes(image[start : start + INSTRUCTION_BYTES], "little")
            for start in range(base, base + length * INSTRUCTION_BYTES, INSTRUCTION_BYTES)
        ]
        assert found == words, f"program of {length} at {base:#x}"
        assert not dut.fault.value
        found.clear()
        total += length
    taking.cancel()
    checked("programs", len(lengths))
    checked("instructions", total)
