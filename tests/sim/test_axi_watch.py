"""The bus at the accelerator's bare ports is watched: ``mover.sv`` breaks rules before cocotbext-axi's memory."""

import os
import sys
from pathlib import Path

import pytest

from systolith.rtl.config import preset
from systolith.sim.build import build
from systolith.sim.launch import launch
from systolith.sim.testbench import MemoryPort

from .conftest import MOVER

_BENCH = """
import cocotb
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiRam
from systolith.sim.axi_lite import Registers
from systolith.sim.benches.common import reset

@cocotb.test()
async def copy(dut):
    ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=1 << 16)
    ram.write(0x1000, bytes(range(256)))
    csr = Registers(dut)
    await reset(dut)
    await csr.write("PROGRAM_BASE_LO", 0x1000)
    await csr.write("PROGRAM_LENGTH", 8)
    await csr.write("REGION0_BASE_LO", 0x8000)
    await csr.write("CONTROL", 1)
    await with_timeout(RisingEdge(dut.irq), 5000, "ns")
    await ClockCycles(dut.clk, 2)
    assert ram.read(0x8000, 256) == bytes(range(256))

@cocotb.test()
async def reset_amid(dut):
    AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=1 << 16)
    csr = Registers(dut)
    await reset(dut)
    await csr.write("PROGRAM_LENGTH", 1024)
    await csr.write("CONTROL", 1)
    await ClockCycles(dut.clk, 2)
    assert dut.m_axi_arvalid.value and dut.m_axi_wvalid.value
    await reset(dut)
"""


@pytest.mark.parametrize(
    ("breach", "says"),
    [
        (0, None),
        (2, "AW identifier is not 0"),
        (4, "AR address is not aligned to the bus"),
        (7, "AR burst is not incrementing"),
        (11, "W wlast is not on the last beat"),
        (13, "an interrupt before the last response"),
        (14, "AR is valid in reset"),
        (16, "W is valid in reset"),
    ],
)
def test_a_breach_ends_the_simulation(breach: int, says: str | None, tmp_path: Path) -> None:
    simulator = build(preset("tiny"), verilog=MOVER, memory=MemoryPort.PORTS)
    (tmp_path / "mover_copy.py").write_text(_BENCH)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    plusargs = [f"+breach={breach}"]
    with launch(simulator, "mover_copy", directory=tmp_path, plusargs=plusargs, env=env) as simulation:
        assert simulation.wait(60)
    log = (tmp_path / "simulation.log").read_text()
    results = tmp_path / "results.xml"
    failed = not results.exists() or "<failure" in results.read_text()
    assert failed == (says is not None), log
    if says is not None:
        assert "the accelerator broke the AXI protocol" in log
        assert says in log
