"""Dispatch: numbering, header checks, per-unit order, tokens, and retirements that are never lost."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from systolith.rtl.config import PRESETS
from systolith.rtl.dispatch import Dispatch, UnitQueue
from systolith.rtl.interfaces import IN_FLIGHT, Fault
from systolith.rtl.isa import Instruction, Opcode, Unit

CONFIG = PRESETS["tiny"]


def simulate(testbench, dut):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


def word(unit, wait=0, give=0, rows=0):
    return Instruction(Opcode(unit + 1), {"wait": wait, "give": give, "rows": rows}).encode()


async def feed(ctx, dut, program):
    for instruction in program:
        ctx.set(dut.instructions.payload, instruction)
        ctx.set(dut.instructions.valid, 1)
        await ctx.tick().until(dut.instructions.ready)
    ctx.set(dut.instructions.valid, 0)


def test_an_instruction_reaches_its_idle_unit_in_three_cycles():
    dut = Dispatch(CONFIG)

    async def testbench(ctx):
        ctx.set(dut.units[Unit.VECTOR].instruction.ready, 1)
        await feed(ctx, dut, [word(Unit.VECTOR, rows=7)])
        for _ in range(2):
            assert not ctx.get(dut.issued)
            await ctx.tick()
        assert ctx.get(dut.issued) == 1 << Unit.VECTOR
        assert ctx.get(dut.units[Unit.VECTOR].instruction.payload) == word(Unit.VECTOR, rows=7)

    simulate(testbench, dut)


@pytest.mark.parametrize(
    "bad",
    [0, 5, 15, word(Unit.LOAD, wait=1), word(Unit.MATRIX, give=1 << Unit.MATRIX), word(Unit.STORE, wait=15)],
)
def test_an_illegal_header_stops_dispatch_with_its_index(bad):
    dut = Dispatch(CONFIG)

    async def testbench(ctx):
        await feed(ctx, dut, [word(Unit.LOAD), word(Unit.STORE), word(Unit.LOAD)])
        ctx.set(dut.instructions.payload, bad)
        ctx.set(dut.instructions.valid, 1)
        for _ in range(3):
            assert ctx.get(dut.fault) == Fault.ILLEGAL_INSTRUCTION
            assert ctx.get(dut.dispatched) == 3
            assert not ctx.get(dut.instructions.ready)
            await ctx.tick()
        ctx.set(dut.halt, 1)
        assert ctx.get(dut.fault) == Fault.NONE

    simulate(testbench, dut)


def test_halt_hands_nothing_over():
    dut = Dispatch(CONFIG)

    async def testbench(ctx):
        await feed(ctx, dut, [word(Unit.LOAD), word(Unit.LOAD)])
        await ctx.tick().repeat(3)
        ctx.set(dut.halt, 1)
        assert not ctx.get(dut.units[Unit.LOAD].instruction.valid)
        ctx.set(dut.instructions.payload, word(Unit.LOAD))
        ctx.set(dut.instructions.valid, 1)
        assert not ctx.get(dut.instructions.ready)

    simulate(testbench, dut)


def test_retirements_in_every_cycle_are_kept_while_tokens_do_not_fit():
    dut = UnitQueue(depth=4)

    async def testbench(ctx):
        control = dut.control
        ctx.set(control.instruction.ready, 1)
        issued = index = 0
        for _ in range(2 * IN_FLIGHT + 12):
            ctx.set(dut.push.payload, {"word": word(Unit.LOAD, give=2 + 2 * (index % 2)), "index": index})
            ctx.set(dut.push.valid, index < IN_FLIGHT + 3)
            index += ctx.get(dut.push.valid & dut.push.ready)
            issued += ctx.get(dut.issued)
            await ctx.tick()
        assert index == IN_FLIGHT + 3
        assert issued == IN_FLIGHT
        ctx.set(control.retired, 1)
        for index in range(IN_FLIGHT):
            assert ctx.get(dut.retired_index) == index
            await ctx.tick()
        ctx.set(control.retired, 0)
        assert not ctx.get(dut.busy)
        assert not ctx.get(control.instruction.valid)
        ctx.set(dut.tokens.fits, 1)
        for index in range(IN_FLIGHT):
            assert ctx.get(dut.tokens.put)
            assert ctx.get(dut.tokens.give) == 2 + 2 * (index % 2)
            await ctx.tick()
        assert not ctx.get(dut.tokens.put)

    simulate(testbench, dut)


def random_program(rng, length):
    """Legal, free of deadlock: an instruction waits only for tokens that earlier instructions give."""
    available = {(giver, taker): 0 for giver in Unit for taker in Unit}
    program = []
    for _ in range(length):
        unit = rng.choice(list(Unit))
        wait = sum(1 << g for g in Unit if g != unit and available[g, unit] and rng.random() < 0.6)
        give = sum(1 << t for t in Unit if t != unit and rng.random() < 0.4)
        for other in Unit:
            available[other, unit] -= wait >> other & 1
            available[unit, other] += give >> other & 1
        program.append((unit, wait, give))
    return program


@pytest.mark.parametrize("seed", range(3))
def test_random_programs_obey_order_and_tokens(seed):
    rng = random.Random(seed)
    program = random_program(rng, 80)
    dut = Dispatch(CONFIG)
    tokens = {(giver, taker): 0 for giver in Unit for taker in Unit}
    expected = {unit: deque(i for i, (u, _, _) in enumerate(program) if u == unit) for unit in Unit}
    in_flight = {unit: deque() for unit in Unit}

    async def testbench(ctx):
        position, retired = 0, 0
        for cycle in range(3000):
            feeding = position < len(program) and rng.random() < 0.8
            ctx.set(dut.instructions.valid, feeding)
            if feeding:
                unit, wait, give = program[position]
                ctx.set(dut.instructions.payload, word(unit, wait, give, rows=position))
            retiring = []
            for unit in Unit:
                ctx.set(dut.units[unit].instruction.ready, rng.random() < 0.5)
                done = bool(in_flight[unit]) and rng.random() < 0.2
                ctx.set(dut.units[unit].retired, done)
                if done:
                    retiring.append(unit)
            position += feeding and ctx.get(dut.instructions.ready)
            for unit in Unit:
                if ctx.get(dut.issued) >> unit & 1:
                    index = ctx.get(dut.issued_index[unit])
                    assert index == expected[unit].popleft()
                    assert ctx.get(dut.units[unit].instruction.payload) == word(*program[index], rows=index)
                    for giver in Unit:
                        if program[index][1] >> giver & 1:
                            tokens[giver, unit] -= 1
                            assert tokens[giver, unit] >= 0, f"cycle {cycle}: no token from {giver.name}"
                    in_flight[unit].append(index)
            for unit in retiring:
                index = in_flight[unit].popleft()
                assert ctx.get(dut.retired) >> unit & 1
                assert ctx.get(dut.retired_index[unit]) == index
                for taker in Unit:
                    tokens[unit, taker] += program[index][2] >> taker & 1
                retired += 1
            await ctx.tick()
            assert ctx.get(dut.busy) == sum(1 << u for u in Unit if in_flight[u])
            if retired == len(program):
                break
        assert retired == len(program)
        assert ctx.get(dut.dispatched) == len(program)
        assert not ctx.get(dut.pending)

    simulate(testbench, dut)


def test_oldest_pending_is_the_smallest_index_of_all_units():
    dut = Dispatch(CONFIG)

    async def testbench(ctx):
        await feed(ctx, dut, [word(u) for u in (Unit.STORE, Unit.MATRIX, Unit.LOAD, Unit.MATRIX)])
        ctx.set(dut.units[Unit.STORE].instruction.ready, 1)
        await ctx.tick().repeat(5)
        assert ctx.get(dut.oldest_pending) == 0
        ctx.set(dut.units[Unit.STORE].retired, 1)
        await ctx.tick()
        ctx.set(dut.units[Unit.STORE].retired, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.oldest_pending) == 1
        for unit in (Unit.LOAD, Unit.MATRIX):
            ctx.set(dut.units[unit].instruction.ready, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.busy) == 1 << Unit.LOAD | 1 << Unit.MATRIX
        ctx.set(dut.units[Unit.LOAD].retired, 1)
        ctx.set(dut.units[Unit.MATRIX].retired, 1)
        await ctx.tick()
        ctx.set(dut.units[Unit.LOAD].retired, 0)
        await ctx.tick()
        ctx.set(dut.units[Unit.MATRIX].retired, 0)
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.pending)
        assert ctx.get(dut.oldest_pending) == 4

    simulate(testbench, dut)
