"""The CSR block on AXI4-Lite."""

import dataclasses

import pytest
from amaranth.sim import Simulator

from systolith.rtl.config import PRESETS
from systolith.rtl.csr import Csr
from systolith.rtl.csr_map import COUNTERS, IDENTITY, OFFSETS, REGISTERS, VERSION

CONFIG = PRESETS["tiny"]
OKAY, SLVERR = 0, 2


def simulate(dut, testbench):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


async def write(ctx, bus, offset, value, strobe=15, order="together"):
    """Write and return the response; ``order`` is which of address and data comes first."""
    ctx.set(bus.awaddr, offset)
    ctx.set(bus.wdata, value)
    ctx.set(bus.wstrb, strobe)
    channels = {"together": [("aw", "w")], "address": [("aw",), ("w",)], "data": [("w",), ("aw",)]}[order]
    for group in channels:
        for channel in group:
            assert ctx.get(getattr(bus, channel + "ready"))
            ctx.set(getattr(bus, channel + "valid"), 1)
        await ctx.tick()
        for channel in group:
            ctx.set(getattr(bus, channel + "valid"), 0)
        if len(channels) > 1:
            await ctx.tick()
    while not ctx.get(bus.bvalid):
        await ctx.tick()
    response = ctx.get(bus.bresp)
    await ctx.tick()
    assert ctx.get(bus.bvalid)
    ctx.set(bus.bready, 1)
    await ctx.tick()
    ctx.set(bus.bready, 0)
    assert not ctx.get(bus.bvalid)
    return response


async def read(ctx, bus, offset):
    """Read and return (data, response)."""
    ctx.set(bus.araddr, offset)
    ctx.set(bus.arvalid, 1)
    await ctx.tick().until(bus.arready)
    ctx.set(bus.arvalid, 0)
    while not ctx.get(bus.rvalid):
        await ctx.tick()
    await ctx.tick()
    result = ctx.get(bus.rdata), ctx.get(bus.rresp)
    ctx.set(bus.rready, 1)
    await ctx.tick()
    ctx.set(bus.rready, 0)
    return result


def test_identity_and_configuration():
    dut = Csr(CONFIG)

    async def testbench(ctx):
        for name, value in {
            "ID": IDENTITY,
            "VERSION": VERSION,
            "ARRAY": 4 | 4 << 16,
            "LANES": 4 | 8 << 16,
            "SCRATCHPAD": CONFIG.scratchpad_rows,
            "ACCUMULATOR": CONFIG.accumulator_rows,
            "PARAMETERS": CONFIG.parameter_rows,
            "STATISTICS": CONFIG.statistics_rows,
        }.items():
            assert await read(ctx, dut.bus, OFFSETS[name]) == (value, OKAY), name

    simulate(dut, testbench)


def test_a_read_that_waits_is_not_taken_before_the_last_one_is_answered():
    dut = Csr(CONFIG)
    names = ("ID", "VERSION", "LANES", "SCRATCHPAD")

    async def testbench(ctx):
        bus, taken, answers = dut.bus, 0, []
        ctx.set(bus.arvalid, 1)
        ctx.set(bus.rready, 1)
        while len(answers) < len(names):
            ctx.set(bus.araddr, OFFSETS[names[min(taken, len(names) - 1)]])
            if ctx.get(bus.rvalid):
                answers.append(ctx.get(bus.rdata))
            assert taken - len(answers) in (0, 1)
            taken += ctx.get(bus.arready)
            await ctx.tick()
        assert answers == [IDENTITY, VERSION, 4 | 8 << 16, CONFIG.scratchpad_rows]

    simulate(dut, testbench)


@pytest.mark.parametrize("order", ["together", "address", "data"])
def test_every_writable_register_keeps_its_own_value(order):
    dut = Csr(CONFIG)
    names = [r.name for r in REGISTERS if r.access == "rw"]

    async def testbench(ctx):
        written = {}
        for i, name in enumerate(names):
            value = 0x01010101 * (i + 1)
            assert await write(ctx, dut.bus, OFFSETS[name], value, order=order) == OKAY
            bits = 2 if name == "IRQ_ENABLE" else CONFIG.axi_address_width - 32 if name.endswith("_HI") else 32
            low = CONFIG.bus_bytes if name.endswith("BASE_LO") else 1
            written[name] = value & (1 << bits) - low
        for name, value in written.items():
            assert await read(ctx, dut.bus, OFFSETS[name]) == (value, OKAY), name
        assert ctx.get(dut.program_base) == written["PROGRAM_BASE_LO"] | written["PROGRAM_BASE_HI"] << 32
        assert ctx.get(dut.regions.region[7].size) == written["REGION7_SIZE"]
        assert ctx.get(dut.regions.region[7].base) == written["REGION7_BASE_LO"] | written["REGION7_BASE_HI"] << 32

    simulate(dut, testbench)


def test_a_32_bit_address_has_no_upper_half():
    dut = Csr(dataclasses.replace(CONFIG, axi_address_width=32))

    async def testbench(ctx):
        assert await write(ctx, dut.bus, OFFSETS["REGION0_BASE_HI"], 0xFFFFFFFF) == OKAY
        assert await read(ctx, dut.bus, OFFSETS["REGION0_BASE_HI"]) == (0, OKAY)

    simulate(dut, testbench)


def test_strobes_select_bytes():
    dut = Csr(CONFIG)

    async def testbench(ctx):
        await write(ctx, dut.bus, OFFSETS["WATCHDOG"], 0x11223344)
        await write(ctx, dut.bus, OFFSETS["WATCHDOG"], 0xAABBCCDD, strobe=0b0101)
        assert await read(ctx, dut.bus, OFFSETS["WATCHDOG"]) == (0x11BB33DD, OKAY)

    simulate(dut, testbench)


def test_what_does_not_exist_or_cannot_be_written_answers_slverr():
    dut = Csr(CONFIG)

    async def testbench(ctx):
        for offset in (0x04C, 0x10C, 0xFFC):
            assert await read(ctx, dut.bus, offset) == (0, SLVERR)
            assert await write(ctx, dut.bus, offset, 1) == SLVERR
        for register in REGISTERS:
            if register.access == "ro":
                assert await write(ctx, dut.bus, register.offset, 0xFFFFFFFF) == SLVERR, register.name
        assert await read(ctx, dut.bus, OFFSETS["CONTROL"]) == (0, OKAY)
        ctx.set(dut.busy, 1)
        assert await write(ctx, dut.bus, OFFSETS["REGION0_SIZE"], 5) == SLVERR
        assert await write(ctx, dut.bus, OFFSETS["PROGRAM_LENGTH"], 5) == SLVERR
        ctx.set(dut.busy, 0)
        assert await read(ctx, dut.bus, OFFSETS["REGION0_SIZE"]) == (0, OKAY)
        assert await read(ctx, dut.bus, OFFSETS["PROGRAM_LENGTH"]) == (0, OKAY)

    simulate(dut, testbench)


def test_interrupts_are_levels_until_written_with_one():
    dut = Csr(CONFIG)

    async def testbench(ctx):
        ctx.set(dut.completed, 1)
        await ctx.tick()
        ctx.set(dut.completed, 0)
        assert not ctx.get(dut.irq)
        await write(ctx, dut.bus, OFFSETS["IRQ_ENABLE"], 1)
        assert ctx.get(dut.irq)
        ctx.set(dut.faulted, 1)
        await ctx.tick()
        ctx.set(dut.faulted, 0)
        assert await read(ctx, dut.bus, OFFSETS["IRQ_STATUS"]) == (3, OKAY)
        await write(ctx, dut.bus, OFFSETS["IRQ_STATUS"], 1)
        assert await read(ctx, dut.bus, OFFSETS["IRQ_STATUS"]) == (2, OKAY)
        assert not ctx.get(dut.irq)
        await write(ctx, dut.bus, OFFSETS["IRQ_ENABLE"], 2)
        assert ctx.get(dut.irq)

    simulate(dut, testbench)


def test_control_pulses_once_for_each_write():
    dut = Csr(CONFIG)
    seen = []

    async def watch(ctx):
        async for _, _, start, reset in ctx.tick().sample(dut.start, dut.reset):
            if start or reset:
                seen.append((start, reset))

    async def testbench(ctx):
        for value, strobe in ((1, 15), (2, 15), (1, 14), (3, 1)):
            assert await write(ctx, dut.bus, OFFSETS["CONTROL"], value, strobe=strobe) == OKAY

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_process(watch)
    sim.add_testbench(testbench)
    sim.run()
    assert seen == [(1, 0), (0, 1), (1, 1)]


def test_counters_are_wide_and_in_their_registers():
    dut = Csr(CONFIG)

    async def testbench(ctx):
        for i, (name, _) in enumerate(COUNTERS):
            ctx.set(dut.counters[name], (i + 1) << 32 | 100 + i)
        for i, (name, _) in enumerate(COUNTERS):
            assert await read(ctx, dut.bus, OFFSETS[f"{name.upper()}_LO"]) == (100 + i, OKAY)
            assert await read(ctx, dut.bus, OFFSETS[f"{name.upper()}_HI"]) == (i + 1, OKAY)

    simulate(dut, testbench)


def test_a_fault_shows_who_waits_for_whom():
    dut = Csr(CONFIG)

    async def testbench(ctx):
        ctx.set(dut.fault_waiting, 0b0010_0000_0100_0001)
        ctx.set(dut.unanswered, 1)
        assert await read(ctx, dut.bus, OFFSETS["FAULT_WAITING"]) == (0b0010_0000_0100_0001, OKAY)
        assert await read(ctx, dut.bus, OFFSETS["STATUS"]) == (0b1000, OKAY)

    simulate(dut, testbench)
