"""Look-up tables and polynomials against the functions that define them, over every argument that matters."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from systolith.rtl.vector.polynomials import PolynomialExponent, PolynomialGelu
from systolith.rtl.vector.tables import ExponentTable, GeluTable


def run(dut, arguments, grid=None):
    """One argument a cycle; the results in the same order."""
    results = []

    async def bench(ctx):
        if grid is not None:
            ctx.set(dut.grid, grid)
        for cycle in range(len(arguments) + dut.latency):
            ctx.set(dut.argument, int(arguments[min(cycle, len(arguments) - 1)]))
            await ctx.tick()
            if cycle + 1 >= dut.latency:
                results.append(ctx.get(dut.result))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return results[: len(arguments)]


@pytest.mark.parametrize("block", [ExponentTable, PolynomialExponent])
def test_exponent_of_every_argument(block):
    arguments = [*range(-2, 1030), -(1 << 19), (1 << 19) - 1]
    np.testing.assert_array_equal(run(block(), arguments), block.model(arguments))


@pytest.mark.parametrize("grid", range(4))
@pytest.mark.parametrize("block", [GeluTable, PolynomialGelu])
def test_gelu_around_every_bin(block, grid):
    edges = np.arange(0, 8192 + 128, 64) >> grid
    arguments = np.concatenate([edges, edges - 1, -edges, [32767, 32768, -32767, -32768, -32769, -(1 << 19)]])
    np.testing.assert_array_equal(run(block(), arguments, grid), block.model(arguments, grid))
