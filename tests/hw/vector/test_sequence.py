"""The loop over rows and blocks against Python's, and every bit of its counts."""

import pytest
from amaranth.sim import Simulator

from systolith.rtl.vector.sequence import BlockLoop


def run(dut, testbench):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


async def start(ctx, dut, rows, blocks):
    ctx.set(dut.rows, rows)
    ctx.set(dut.blocks, blocks)
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)


@pytest.mark.parametrize(("rows", "blocks", "groups"), [(1, 1, 1), (3, 2, 1), (1, 4, 3), (2, 1, 4), (5, 3, 2)])
def test_walks_like_three_loops(rows, blocks, groups):
    dut = BlockLoop(groups=groups)

    async def testbench(ctx):
        assert not ctx.get(dut.active)
        for _ in range(2):
            await start(ctx, dut, rows, blocks)
            for block in range(blocks):
                for row in range(rows):
                    for group in range(groups):
                        assert ctx.get(dut.active)
                        assert (ctx.get(dut.row), ctx.get(dut.group)) == (row, group)
                        row_end = group == groups - 1
                        block_end = row_end and row == rows - 1
                        assert ctx.get(dut.row_start) == (group == 0)
                        assert ctx.get(dut.row_end) == row_end
                        assert ctx.get(dut.block_end) == block_end
                        assert ctx.get(dut.first_block) == (block == 0)
                        assert ctx.get(dut.last_block) == (block == blocks - 1)
                        assert ctx.get(dut.final) == (block_end and block == blocks - 1)
                        ctx.set(dut.advance, 1)
                        await ctx.tick()
                        ctx.set(dut.advance, 0)
            assert not ctx.get(dut.active)

    run(dut, testbench)


def test_every_bit_of_the_counts_counts():
    dut = BlockLoop(groups=1)

    async def testbench(ctx):
        for bit in range(1, 16):
            await start(ctx, dut, 1 + (1 << bit), 1)
            assert not ctx.get(dut.block_end)
        for bit in range(1, 12):
            await start(ctx, dut, 1, 1 + (1 << bit))
            assert ctx.get(dut.block_end)
            assert not ctx.get(dut.final)

    run(dut, testbench)
