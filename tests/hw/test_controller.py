"""The run state: start, end, faults, watchdog, and a bus that does not become quiet."""

import pytest
from amaranth.sim import Simulator

from systolith.rtl.controller import Controller
from systolith.rtl.interfaces import Fault


def simulate(dut, testbench):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


async def pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


async def launch(ctx, dut, length=3, watchdog=0):
    ctx.set(dut.length, length)
    ctx.set(dut.watchdog, watchdog)
    ctx.set(dut.idle, 1)
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)
    assert ctx.get(dut.busy)
    assert ctx.get(dut.core_reset)
    await ctx.tick()
    assert not ctx.get(dut.core_reset)
    assert ctx.get(dut.clear)
    assert ctx.get(dut.launch) == (length != 0)
    await ctx.tick()


async def stopped(ctx, dut, limit=40):
    """Cycles until the controller is no longer busy; whether it reset the core on the way."""
    reset = False
    for _ in range(limit):
        reset |= bool(ctx.get(dut.core_reset))
        if not ctx.get(dut.busy):
            return reset
        await ctx.tick()
    raise AssertionError(f"still busy after {limit} cycles")


def test_a_program_of_no_instructions_is_done_at_once():
    dut = Controller(sources=2)

    async def testbench(ctx):
        await launch(ctx, dut, length=0)
        assert not ctx.get(dut.busy)
        assert ctx.get(dut.done)

    simulate(dut, testbench)


def test_a_program_is_done_when_finished_and_start_is_ignored_until_then():
    dut = Controller(sources=2)

    async def testbench(ctx):
        await launch(ctx, dut)
        ctx.set(dut.start, 1)
        await ctx.tick()
        assert not ctx.get(dut.core_reset)
        ctx.set(dut.start, 0)
        assert ctx.get(dut.running)
        ctx.set(dut.finished, 1)
        assert ctx.get(dut.completed)
        await ctx.tick()
        assert (ctx.get(dut.busy), ctx.get(dut.done), ctx.get(dut.fault)) == (0, 1, 0)
        await launch(ctx, dut)
        assert not ctx.get(dut.done)

    simulate(dut, testbench)


def test_the_first_fault_is_reported_once_the_bus_is_quiet():
    dut = Controller(sources=3)

    async def testbench(ctx):
        await launch(ctx, dut)
        ctx.set(dut.idle, 0)
        ctx.set(dut.faults[2], {"code": Fault.BUS_FETCH, "index": 9})
        ctx.set(dut.faults[1], {"code": Fault.BUS_READ, "index": 4})
        await ctx.tick()
        ctx.set(dut.faults[1], {"code": 0, "index": 0})
        ctx.set(dut.faults[0], {"code": Fault.ADDRESS, "index": 1})
        for _ in range(20):
            assert ctx.get(dut.halt)
            assert not ctx.get(dut.core_reset)
            assert not ctx.get(dut.fault)
            await ctx.tick()
        ctx.set(dut.idle, 1)
        assert await stopped(ctx, dut)
        assert (ctx.get(dut.fault), ctx.get(dut.done), ctx.get(dut.halt)) == (1, 0, 0)
        assert (ctx.get(dut.fault_code), ctx.get(dut.fault_index)) == (Fault.BUS_READ, 4)
        await pulse(ctx, dut.reset)
        assert await stopped(ctx, dut)
        assert (ctx.get(dut.fault), ctx.get(dut.fault_code), ctx.get(dut.fault_index)) == (0, 0, 0)

    simulate(dut, testbench)


def test_the_watchdog_counts_cycles_without_a_retirement():
    dut = Controller(sources=1)

    async def testbench(ctx):
        await launch(ctx, dut, watchdog=10)
        ctx.set(dut.oldest, 7)
        for _ in range(3):
            await ctx.tick().repeat(8)
            await pulse(ctx, dut.retired)
        assert not ctx.get(dut.halt)
        ctx.set(dut.waiting, 0b0010_0000)
        await ctx.tick().repeat(11)
        ctx.set(dut.waiting, 0)
        assert ctx.get(dut.halt)
        assert await stopped(ctx, dut)
        assert ctx.get(dut.fault_waiting) == 0b0010_0000
        assert (ctx.get(dut.fault_code), ctx.get(dut.fault_index)) == (Fault.WATCHDOG, 7)

    simulate(dut, testbench)


@pytest.mark.parametrize("watchdog", [10, 0])
def test_a_bus_that_never_answers_is_given_up_without_a_core_reset(watchdog):
    dut = Controller(sources=1)

    async def testbench(ctx):
        await launch(ctx, dut, watchdog=watchdog)
        ctx.set(dut.idle, 0)
        ctx.set(dut.faults[0], {"code": Fault.BUS_READ, "index": 2})
        await ctx.tick().repeat(9)
        assert ctx.get(dut.busy)
        if not watchdog:
            await pulse(ctx, dut.reset)
        assert not await stopped(ctx, dut)
        for _ in range(3):
            assert (ctx.get(dut.fault), ctx.get(dut.halt), ctx.get(dut.unanswered)) == (1, 1, 1)
            await ctx.tick()
        ctx.set(dut.idle, 1)
        assert not ctx.get(dut.unanswered)
        await launch(ctx, dut)
        assert not ctx.get(dut.halt)

    simulate(dut, testbench)


def test_reset_stops_a_running_program_without_a_report():
    dut = Controller(sources=1)

    async def testbench(ctx):
        await launch(ctx, dut)
        await pulse(ctx, dut.reset)
        assert ctx.get(dut.halt)
        assert await stopped(ctx, dut)
        assert (ctx.get(dut.done), ctx.get(dut.fault)) == (0, 0)

    simulate(dut, testbench)


@pytest.mark.parametrize("watchdog", [1, 2, 10, 33])
def test_the_watchdog_expires_exactly_then_whether_anything_has_retired_or_not(watchdog):
    dut = Controller(sources=1)

    async def cycles_to_halt(ctx):
        cycles = 0
        while not ctx.get(dut.halt):
            await ctx.tick()
            cycles += 1
        return cycles

    async def testbench(ctx):
        await launch(ctx, dut, watchdog=watchdog)
        from_launch = await cycles_to_halt(ctx)
        await stopped(ctx, dut)
        await launch(ctx, dut, watchdog=watchdog)
        await pulse(ctx, dut.retired)
        assert await cycles_to_halt(ctx) == from_launch == watchdog + 1

    simulate(dut, testbench)
