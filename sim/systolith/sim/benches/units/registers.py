"""The register file behind cocotbext-axi's AXI4-Lite master, with random pauses, against a dictionary."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from systolith.rtl.counters import VALUES
from systolith.rtl.csr_map import ADDRESS_BITS, COUNTERS, IDENTITY, REGISTERS, VERSION, Register
from systolith.rtl.interfaces import FAULT_BITS, INDEX_BITS, WAITING_BITS, Regions
from systolith.sim.benches.common import checked, configuration, effort, random, reset
from systolith.sim.benches.units.dma import pause

_OKAY, _SLVERR = 0, 2
_BY_OFFSET = {register.offset: register for register in REGISTERS}
#: Inputs that STATUS shows, from bit 0 on.
_STATUS = ("busy", "done", "fault", "unanswered")


@cocotb.test()
@cocotb.parametrize(eagerness=[1.0, 0.5])
async def random_accesses(dut: Any, eagerness: float) -> None:
    """Reads and writes of 1 to 4 bytes anywhere in the address space, between events; every answer and output."""
    rng = random(int(10 * eagerness))
    for name in (*_STATUS, "completed", "faulted", "fault_code", "fault_index", "fault_waiting"):
        getattr(dut, name).value = 0
    dut.counters.value = 0
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst)
    write, read = master.write_if, master.read_if
    channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
    pause(channels, rng, eagerness)
    await reset(dut)
    model = _Model(dut, rng)
    counting = cocotb.start_soon(model.count_pulses())
    count = effort(4000)
    for _ in range(count):
        action = rng.random()
        if action < 0.2:
            await model.event()
        offset = 4 * int(rng.integers(1 << ADDRESS_BITS - 2))
        if action < 0.9:
            offset = int(rng.choice(list(_BY_OFFSET)))
        if rng.random() < 0.5:
            first = int(rng.integers(4))
            octets = rng.bytes(int(rng.integers(1, 5 - first)))
            answer = await master.write(offset + first, octets)
            assert int(answer.resp) == model.write(offset, first, octets), f"write of {offset + first:#x}"
        else:
            answer = await master.read(offset, 4)
            expected, response = model.read(offset)
            assert int(answer.resp) == response, f"read of {offset:#x}"
            assert int.from_bytes(answer.data, "little") == expected or response, f"read of {offset:#x}"
        await model.compare_outputs()
    counting.cancel()
    checked("accesses", count)


class _Model:
    """What each register holds, by name, and the inputs that the block sees."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        self._dut, self._rng = dut, rng
        self._config = config = configuration()
        self.inputs = dict.fromkeys((*_STATUS, "fault_code", "fault_index", "fault_waiting", "counters"), 0)
        self._stored = {register.name: 0 for register in REGISTERS if register.access == "rw"}
        self._irq_status = 0
        self._expected_pulses, self._pulses = [0, 0], [0, 0]
        self._constants = {
            "ID": IDENTITY, "VERSION": VERSION, "CONTROL": 0,
            "ARRAY": config.rows | config.cols << 16, "LANES": config.lanes | config.bus_bytes << 16,
            "SCRATCHPAD": config.scratchpad_rows, "ACCUMULATOR": config.accumulator_rows,
            "PARAMETERS": config.parameter_rows, "STATISTICS": config.statistics_rows,
        }  # fmt: skip

    async def event(self) -> None:
        """Other inputs, and perhaps the pulse of an end."""
        rng, dut = self._rng, self._dut
        widths = {**dict.fromkeys(_STATUS, 1), "fault_code": FAULT_BITS, "fault_index": INDEX_BITS,
                  "fault_waiting": WAITING_BITS, "counters": VALUES.size}  # fmt: skip
        for name, width in widths.items():
            self.inputs[name] = int.from_bytes(rng.bytes(-(-width // 8)), "little") & ((1 << width) - 1)
            getattr(dut, name).value = self.inputs[name]
        pulses = int(rng.integers(4))
        dut.completed.value, dut.faulted.value = pulses & 1, pulses >> 1
        await RisingEdge(dut.clk)
        dut.completed.value, dut.faulted.value = 0, 0
        self._irq_status |= pulses

    def write(self, offset: int, first: int, octets: bytes) -> int:
        """The response to a write of bytes from ``offset + first`` on."""
        register = _BY_OFFSET.get(offset)
        if register is None or register.access == "ro":
            return _SLVERR
        mask = int.from_bytes(bytes([255] * len(octets)), "little") << 8 * first
        word = int.from_bytes(octets, "little") << 8 * first
        if register.name == "CONTROL":
            for bit in range(2):
                self._expected_pulses[bit] += word >> bit & 1
        elif register.name == "IRQ_STATUS":
            self._irq_status &= ~word
        elif self.inputs["busy"] and register.name.startswith(("PROGRAM_", "REGION")):
            return _SLVERR
        else:
            old = self._stored[register.name]
            self._stored[register.name] = (old & ~mask | word) & self._bits(register)
        return _OKAY

    def _bits(self, register: Register) -> int:
        """The bits of a register that hold what is written."""
        if register.name.endswith("BASE_LO"):
            return 0xFFFFFFFF & -self._config.bus_bytes
        if register.name.endswith("BASE_HI"):
            return (1 << self._config.axi_address_width - 32) - 1
        return 3 if register.name == "IRQ_ENABLE" else 0xFFFFFFFF

    def read(self, offset: int) -> tuple[int, int]:
        """Value and response."""
        register = _BY_OFFSET.get(offset)
        if register is None:
            return 0, _SLVERR
        name = register.name
        if name == "STATUS":
            return sum(self.inputs[bit] << i for i, bit in enumerate(_STATUS)), _OKAY
        if name == "IRQ_STATUS":
            return self._irq_status, _OKAY
        if name.lower() in self.inputs:
            return self.inputs[name.lower()], _OKAY
        counters = {f"{n.upper()}_{half}": 64 * i + 32 * high
                    for i, (n, _) in enumerate(COUNTERS) for high, half in enumerate(("LO", "HI"))}  # fmt: skip
        if name in counters:
            return self.inputs["counters"] >> counters[name] & 0xFFFFFFFF, _OKAY
        return {**self._constants, **self._stored}[name], _OKAY

    async def count_pulses(self) -> None:
        while True:
            await RisingEdge(self._dut.clk)
            self._pulses[0] += int(self._dut.start.value)
            self._pulses[1] += int(self._dut.reset.value)

    async def compare_outputs(self) -> None:
        dut, stored = self._dut, self._stored
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        assert bool(dut.irq.value) == bool(self._irq_status & stored["IRQ_ENABLE"])
        assert self._pulses == self._expected_pulses
        assert int(dut.program_base.value) == stored["PROGRAM_BASE_LO"] | stored["PROGRAM_BASE_HI"] << 32
        assert int(dut.program_length.value) == stored["PROGRAM_LENGTH"]
        assert int(dut.watchdog.value) == stored["WATCHDOG"]
        word = int(dut.regions__region.value)
        bits = self._config.axi_address_width
        for region in range(Regions.COUNT):
            here = word >> region * (bits + 32) & ((1 << bits + 32) - 1)
            base = stored[f"REGION{region}_BASE_LO"] | stored[f"REGION{region}_BASE_HI"] << 32
            assert here == base | stored[f"REGION{region}_SIZE"] << bits
