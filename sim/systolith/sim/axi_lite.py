"""The registers of the accelerator, read and written by name inside a cocotb bench."""

from collections.abc import Mapping
from typing import Any

from cocotb.triggers import RisingEdge

from systolith.rtl.csr_map import COUNTERS, OFFSETS

#: Cycles that the slave may take for one access.
_PATIENCE = 1000
_RESPONSES = ("OKAY", "EXOKAY", "SLVERR", "DECERR")


class BusResponseError(Exception):
    """An access was answered with an error; ``response`` is its code."""

    def __init__(self, what: str, response: int) -> None:
        self.response = response
        super().__init__(f"{what} was answered with {_RESPONSES[response]}")


class Registers:
    """An AXI4-Lite master on ``s_axi_*``: ``await csr.write("CONTROL", 1)``, ``await csr.read("STATUS")``.

    Parameters
    ----------
    dut : the testbench, with clock ``clk`` running.
    """

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        for name in ("awvalid", "wvalid", "arvalid", "bready", "rready", "awaddr", "araddr", "wdata", "wstrb"):
            getattr(dut, f"s_axi_{name}").value = 0

    async def write(self, register: str | int, value: int, strobe: int = 0xF) -> None:
        """Write a register, by name or byte offset; ``BusResponseError`` if not answered with OKAY."""
        dut = self._dut
        dut.s_axi_awaddr.value = _offset(register)
        dut.s_axi_wdata.value = value
        dut.s_axi_wstrb.value = strobe
        dut.s_axi_bready.value = 1
        await self._transfer(f"write of {register}", ("aw", "w"), "b")
        _expect_okay(int(dut.s_axi_bresp.value), f"write of {register}")

    async def read(self, register: str | int) -> int:
        """Read a register, by name or byte offset; ``BusResponseError`` if not answered with OKAY."""
        dut = self._dut
        dut.s_axi_araddr.value = _offset(register)
        dut.s_axi_rready.value = 1
        await self._transfer(f"read of {register}", ("ar",), "r")
        _expect_okay(int(dut.s_axi_rresp.value), f"read of {register}")
        return int(dut.s_axi_rdata.value)

    async def set(self, register: str, value: int) -> None:
        """Make a register that keeps its value hold this one."""
        await self.write(register, value)

    async def prepare(self, registers: Mapping[str, int]) -> None:
        """Set all of them, such as :func:`~systolith.sim.job.program_registers` names."""
        for register, value in registers.items():
            await self.set(register, value)

    async def counters(self) -> dict[str, int]:
        """All counters by name."""
        return {
            name: await self.read(f"{name.upper()}_LO") | await self.read(f"{name.upper()}_HI") << 32
            for name, _ in COUNTERS
        }

    async def _transfer(self, what: str, requests: tuple[str, ...], answer: str) -> None:
        """Drive the request channels until each is taken, then wait for the answer.

        Signals are read as they were just before the clock edge that makes a transfer, so the answer's
        payload can still be read when this returns.
        """
        dut = self._dut
        pending = set(requests)
        for channel in requests:
            getattr(dut, f"s_axi_{channel}valid").value = 1
        for _ in range(_PATIENCE):
            await RisingEdge(dut.clk)
            for channel in [c for c in pending if getattr(dut, f"s_axi_{c}ready").value]:
                getattr(dut, f"s_axi_{channel}valid").value = 0
                pending.discard(channel)
            if getattr(dut, f"s_axi_{answer}valid").value:
                getattr(dut, f"s_axi_{answer}ready").value = 0
                return
        raise TimeoutError(f"{what} was not answered within {_PATIENCE} cycles")


class HeldRegisters(Registers):
    """Sets only what differs from what was set last: programs of a batch have most registers in common."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self._held: dict[str, int] = {}

    async def set(self, register: str, value: int) -> None:
        if self._held.get(register) != value:
            await self.write(register, value)
            self._held[register] = value

    def forget(self, *registers: str) -> None:
        """These hold something else now; all do, after a reset, if none is named."""
        for register in registers or tuple(self._held):
            self._held.pop(register, None)


def _offset(register: str | int) -> int:
    return OFFSETS[register] if isinstance(register, str) else register


def _expect_okay(response: int, what: str) -> None:
    if response:
        raise BusResponseError(what, response)
