"""The accelerator between peers that know nothing of this design: cocotbext-axi's memory and register master.

They sit on the real ports, drive random back-pressure and check the protocol their own way. Expected results are
the functional device's.
"""

from collections.abc import Sequence
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from systolith.compiler.compile import compile_encoder
from systolith.models.registry import load_model
from systolith.rtl.csr_map import IDENTITY, OFFSETS
from systolith.rtl.interfaces import Regions
from systolith.rtl.isa import INSTRUCTION_BYTES
from systolith.runtime.functional import FunctionalDevice
from systolith.sim.benches.common import checked, configuration, effort, random, reset
from systolith.sim.benches.units.dma import pause
from systolith.verification.programs.random_program import random_program, random_regions

_MEMORY_BYTES = 1 << 20
#: Bytes that lie between the regions and must not change.
_GAP = 256
_TIMEOUT_NS = 10_000_000
_DONE = 2
#: Probability that a channel does not pause in a cycle.
_EAGERNESS = (1.0, 0.7, 0.3)


class _Peers:
    """The accelerator's ports, its memory and its host; ``device`` has the same memories on the chip."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        self._dut, self._rng = dut, rng
        self._ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=_MEMORY_BYTES)
        self._registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self._config = configuration()

    def pause(self, eagerness: float) -> None:
        """Random pauses on every channel of both buses."""
        write, read = self._ram.write_if, self._ram.read_if
        host_write, host_read = self._registers.write_if, self._registers.read_if
        channels = (
            write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel,
            host_write.aw_channel, host_write.w_channel, host_write.b_channel,
            host_read.ar_channel, host_read.r_channel,
        )  # fmt: skip
        pause(channels, self._rng, eagerness)

    async def run(
        self, image: np.ndarray, regions: Sequence[np.ndarray], expected: Sequence[np.ndarray], label: str
    ) -> None:
        """Run a program from the reset state of the registers to the interrupt; every byte of memory is compared."""
        memory = self._rng.integers(0, 256, _MEMORY_BYTES, np.uint8)
        bus = self._config.bus_bytes
        place, places = 0, []
        for content in (image, *regions):
            place += int(self._rng.integers(1, 1 + _GAP // bus)) * bus
            memory[place : place + len(content)] = content
            places.append(place)
            place += -(-len(content) // self._config.row_pitch) * self._config.row_pitch
            place = -(-place // bus) * bus
        assert place <= _MEMORY_BYTES, label
        self._ram.write(0, memory.tobytes())
        await self._write("PROGRAM_BASE_LO", places[0])
        await self._write("PROGRAM_LENGTH", len(image) // INSTRUCTION_BYTES)
        for region in range(Regions.COUNT):
            used = region < len(regions)
            await self._write(f"REGION{region}_BASE_LO", places[1 + region] if used else 0)
            await self._write(f"REGION{region}_SIZE", len(regions[region]) if used else 0)
        await self._write("IRQ_ENABLE", 3)
        await self._write("CONTROL", 1)
        if not self._dut.irq.value:
            await with_timeout(RisingEdge(self._dut.irq), _TIMEOUT_NS, "ns")
        assert await self.read("STATUS") == _DONE, label
        await self._write("IRQ_STATUS", 3)
        assert not self._dut.irq.value
        for base, content in zip(places[1:], expected, strict=True):
            memory[base : base + len(content)] = content
        found = np.frombuffer(self._ram.read(0, _MEMORY_BYTES), np.uint8)
        np.testing.assert_array_equal(found, memory, err_msg=label)

    async def read(self, register: str) -> int:
        return int(await self._registers.read_dword(OFFSETS[register]))

    async def _write(self, register: str, value: int) -> None:
        await self._registers.write_dword(OFFSETS[register], value)


@cocotb.test()
async def random_programs(dut: Any) -> None:
    """One after the other, without reset: what one leaves on the chip is what the next one finds."""
    rng = random(1)
    config = configuration()
    peers = _Peers(dut, rng)
    device = FunctionalDevice(config)
    await reset(dut)
    assert await peers.read("ID") == IDENTITY
    count = instructions = 0
    for count in range(1, effort(30) + 1):
        program = random_program(config, rng, int(rng.integers(1, 41)))
        regions = random_regions(config, program.region_bytes, rng)
        peers.pause(_EAGERNESS[count % len(_EAGERNESS)])
        expected = device.run(program.image, regions).regions
        await peers.run(program.image, regions, expected, f"program {count}")
        instructions += len(program.instructions)
    checked("programs", count)
    checked("instructions", instructions)


@cocotb.test()
@cocotb.parametrize(eagerness=_EAGERNESS)
async def encoder(dut: Any, eagerness: float) -> None:
    """A whole compiled encoder layer, softmax, GELU and LayerNorm included."""
    rng = random(2)
    peers = _Peers(dut, rng)
    config = configuration()
    await reset(dut)
    model = load_model("random", hidden=24, heads=2, ffn=40, layers=1, tokens=7)
    x = model.prepare("")
    program = compile_encoder(model.quantized, config, len(x))
    regions = program.regions(x)
    peers.pause(eagerness)
    expected = FunctionalDevice(config).run(program.image, regions).regions
    await peers.run(program.image, regions, expected, "encoder")
    checked("instructions", len(program.image) // INSTRUCTION_BYTES)
