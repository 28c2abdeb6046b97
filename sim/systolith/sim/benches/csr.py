"""The registers, over AXI4-Lite: identity, what they say of the configuration, storage and refusals."""

from collections.abc import Coroutine
from typing import Any

import cocotb

from systolith.rtl.csr_map import ADDRESS_BITS, IDENTITY, REGISTERS, VERSION
from systolith.sim.axi_lite import BusResponseError, Registers
from systolith.sim.benches.common import configuration, reset

_SLVERR = 2


@cocotb.test()
async def identity_and_configuration(dut: Any) -> None:
    config = configuration()
    csr = Registers(dut)
    await reset(dut)
    expected = {
        "ID": IDENTITY,
        "VERSION": VERSION,
        "CONTROL": 0,
        "STATUS": 0,
        "ARRAY": config.rows | config.cols << 16,
        "LANES": config.lanes | config.bus_bytes << 16,
        "SCRATCHPAD": config.scratchpad_rows,
        "ACCUMULATOR": config.accumulator_rows,
        "PARAMETERS": config.parameter_rows,
        "STATISTICS": config.statistics_rows,
    }
    assert {name: await csr.read(name) for name in expected} == expected
    assert not any((await csr.counters()).values())


@cocotb.test()
async def stored_registers_obey_strobes(dut: Any) -> None:
    """Base addresses have no bits below the bus width."""
    csr = Registers(dut)
    bus_bytes = configuration().bus_bytes
    await reset(dut)
    for register in REGISTERS:
        if register.access != "rw" or register.name.endswith("_HI") or register.name == "IRQ_ENABLE":
            continue
        await csr.write(register.name, 0x11223344)
        await csr.write(register.name, 0xAABBCCDD, strobe=0b0101)
        kept = -bus_bytes if register.name.endswith("BASE_LO") else -1
        assert await csr.read(register.name) == 0x11BB33DD & kept, register.name


@cocotb.test()
async def refusals(dut: Any) -> None:
    """Writes to read-only registers, and addresses without a register, answer SLVERR."""
    csr = Registers(dut)
    await reset(dut)
    known = {register.offset for register in REGISTERS}
    unknown = [offset for offset in range(0, 1 << ADDRESS_BITS, 4) if offset not in known]
    for offset in (unknown[0], unknown[-1]):
        assert await _response(csr.read(offset)) == _SLVERR
        assert await _response(csr.write(offset, 0)) == _SLVERR
    assert await _response(csr.write("ID", 0)) == _SLVERR
    assert await csr.read("ID") == IDENTITY


async def _response(access: Coroutine[Any, Any, int | None]) -> int:
    """The response code of an access."""
    try:
        await access
    except BusResponseError as error:
        return error.response
    return 0
