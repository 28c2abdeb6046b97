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
        for name, _ in COUNTERS:
            assert ctx.get(dut.values[name]) == (20 if name == "instructions" else 5)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        for name, _ in COUNTERS:
            assert ctx.get(dut.values[name]) == 0

    simulate(dut, testbench)
