"""The accelerator between peers that know nothing of this design: cocotbext-axi's memory and register master.

They sit on the real ports, drive random back-pressure and check the protocol their own way.
"""

import itertools
import random
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from systolith.rtl.csr_map import IDENTITY, OFFSETS
from systolith.rtl.isa import Instruction, Opcode, Unit, assemble
from systolith.sim.benches.common import configuration, reset

_PROGRAM, _SOURCE, _TARGET = 0x0000, 0x4000, 0x8000
#: Scratchpad rows that are copied; not a whole number of bursts.
_ROWS = 37
_TIMEOUT_NS = 100_000


def _pauses(seed: int) -> itertools.cycle:
    """A pattern of pauses, one cycle in three."""
    return itertools.cycle(random.Random(seed).choices([True, False, False], k=997))


@cocotb.test()
@cocotb.parametrize(paused=[False, True])
async def copies_through_the_scratchpad(dut: Any, paused: bool) -> None:
    """LOAD from region 0, STORE to region 1: every byte arrives, and none beyond."""
    config = configuration()
    ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=1 << 16)
    registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
    if paused:
        channels = (
            ram.write_if.aw_channel, ram.write_if.w_channel, ram.write_if.b_channel,
            ram.read_if.ar_channel, ram.read_if.r_channel,
        )  # fmt: skip
        for seed, channel in enumerate(channels):
            channel.set_pause_generator(_pauses(seed))
    await reset(dut)
    size = _ROWS * config.row_pitch
    data = random.Random(1).randbytes(size)
    ram.write(_SOURCE, data)
    ram.write(_TARGET, b"\xee" * (size + 64))
    transfer = {"rows": _ROWS, "blocks": 1, "address": 3}
    program = assemble([
        Instruction(Opcode.LOAD, {**transfer, "region": 0, "give": 1 << Unit.STORE}),
        Instruction(Opcode.STORE, {**transfer, "region": 1, "wait": 1 << Unit.LOAD}),
    ])  # fmt: skip
    ram.write(_PROGRAM, program.tobytes())

    async def write(name: str, value: int) -> None:
        await registers.write_dword(OFFSETS[name], value)

    assert await registers.read_dword(OFFSETS["ID"]) == IDENTITY
    await write("PROGRAM_BASE_LO", _PROGRAM)
    await write("PROGRAM_LENGTH", 2)
    for region, base in enumerate((_SOURCE, _TARGET)):
        await write(f"REGION{region}_BASE_LO", base)
        await write(f"REGION{region}_SIZE", size)
    await write("IRQ_ENABLE", 3)
    await write("CONTROL", 1)
    await with_timeout(RisingEdge(dut.irq), _TIMEOUT_NS, "ns")
    assert await registers.read_dword(OFFSETS["STATUS"]) == 2
    expected = b"".join(data[start : start + config.row_bytes] for start in range(0, size, config.row_pitch))
    written = ram.read(_TARGET, size)
    found = b"".join(written[start : start + config.row_bytes] for start in range(0, size, config.row_pitch))
    assert found == expected
    assert ram.read(_TARGET + size, 64) == b"\xee" * 64
