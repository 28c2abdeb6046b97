"""The counters: enabled events only, and a clean start."""

from amaranth.sim import Simulator

from systolith.rtl.counters import EVENTS, Counters
from systolith.rtl.csr_map import COUNTERS


def simulate(dut, testbench):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


def test_counters_count_enabled_events_and_clear():
    dut = Counters()

    async def testbench(ctx):
        ctx.set(dut.events, dict.fromkeys(EVENTS.members, 1) | {"instructions": 4})
        await ctx.tick().repeat(3)
        ctx.set(dut.enable, 1)
        await ctx.tick().repeat(5)
        ctx.set(dut.enable, 0)
        await ctx.tick().repeat(Counters.latency)
        for name in EVENTS.members:
            assert ctx.get(dut.values[name]) == (20 if name == "instructions" else 5)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        for name, _ in COUNTERS:
            assert ctx.get(dut.values[name]) == 0

    simulate(dut, testbench)


def test_cycles_without_an_instruction_are_waits_once_another_one_comes():
    dut = Counters()
    present = [0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0]

    async def run(ctx, present):
        ctx.set(dut.enable, 1)
        for value in present:
            ctx.set(dut.events, {"array_drain": 1 - value, "array_busy": value})
            await ctx.tick()
        ctx.set(dut.enable, 0)
        ctx.set(dut.events, {"array_drain": 0})
        await ctx.tick().repeat(Counters.latency)
        return [ctx.get(dut.values[f"array_{cause}"]) for cause in ("busy", "wait_instruction", "drain")]

    async def testbench(ctx):
        for end in range(len(present) + 1):
            last = max((i for i in range(end) if present[i]), default=-1)
            busy = sum(present[:end])
            assert await run(ctx, present[:end]) == [busy, last + 1 - busy, end - 1 - last]
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)

    simulate(dut, testbench)
