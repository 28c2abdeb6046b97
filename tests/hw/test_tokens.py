"""Token counters: taken only when all are there, held back when full, never lost."""

import random

from amaranth.sim import Simulator

from systolith.rtl.isa import Unit
from systolith.rtl.tokens import TOKEN_BITS, Tokens

CAPACITY = (1 << TOKEN_BITS) - 1


def run(dut, testbench):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


def test_waits_for_a_token_from_each_named_unit():
    dut = Tokens()

    async def testbench(ctx):
        load, matrix, vector = (dut.units[unit] for unit in (Unit.LOAD, Unit.MATRIX, Unit.VECTOR))
        ctx.set(matrix.wait, 1 << Unit.LOAD | 1 << Unit.VECTOR)
        for giver in (load, vector):
            assert ctx.get(matrix.missing) & 1 << (Unit.LOAD if giver is load else Unit.VECTOR)
            ctx.set(giver.give, 1 << Unit.MATRIX)
            ctx.set(giver.put, 1)
            await ctx.tick()
            ctx.set(giver.put, 0)
        assert ctx.get(matrix.missing) == 0
        ctx.set(matrix.take, 1)
        await ctx.tick()
        ctx.set(matrix.take, 0)
        assert ctx.get(matrix.missing) == 1 << Unit.LOAD | 1 << Unit.VECTOR
        ctx.set(matrix.wait, 0)
        assert ctx.get(matrix.missing) == 0

    run(dut, testbench)


def test_a_full_counter_refuses_another_token():
    dut = Tokens()

    async def testbench(ctx):
        load, store = dut.units[Unit.LOAD], dut.units[Unit.STORE]
        ctx.set(load.give, 1 << Unit.STORE)
        ctx.set(load.put, 1)
        for _ in range(CAPACITY):
            assert ctx.get(load.fits)
            await ctx.tick()
        ctx.set(load.put, 0)
        assert not ctx.get(load.fits)
        ctx.set(load.give, 1 << Unit.MATRIX)
        assert ctx.get(load.fits)
        ctx.set(load.give, 1 << Unit.STORE | 1 << Unit.MATRIX)
        ctx.set(store.wait, 1 << Unit.LOAD)
        for _ in range(CAPACITY):
            assert ctx.get(store.missing) == 0
            ctx.set(store.take, 1)
            await ctx.tick()
            assert ctx.get(load.fits)
        assert ctx.get(store.missing) == 1 << Unit.LOAD

    run(dut, testbench)


def test_counts_like_twelve_integers():
    dut = Tokens()
    rng = random.Random(1)

    async def testbench(ctx):
        counts = {(giver, taker): 0 for giver in Unit for taker in Unit if giver != taker}
        for _ in range(400):
            changes = []
            for unit in Unit:
                port = dut.units[unit]
                wait, give = (rng.randrange(16) & ~(1 << unit) for _ in range(2))
                ctx.set(port.wait, wait)
                ctx.set(port.give, give)
                missing = sum(1 << giver for giver in Unit if wait >> giver & 1 and not counts[giver, unit])
                assert ctx.get(port.missing) == missing
                take, put = not missing and rng.random() < 0.7, rng.random() < 0.5
                ctx.set(port.take, take)
                ctx.set(port.put, put)
                changes += [((giver, unit), -1) for giver in Unit if take and wait >> giver & 1]
                changes += [((unit, taker), 1) for taker in Unit if put and give >> taker & 1]
            for pair, change in changes:
                counts[pair] += change
            await ctx.tick()

    run(dut, testbench)
