"""The reciprocal pipeline against softmax_reciprocal and layernorm_reciprocal."""

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator

from systolith.numerics import integer
from systolith.rtl.config import preset
from systolith.rtl.vector.reciprocal import RowReciprocal

TINY = preset("tiny")


def run(dut: RowReciprocal, softmax: list[bool], total: list[int], squares: list[int], columns: int) -> list[tuple]:
    """One row a cycle; (tag, mean, mantissa, exponent) in the order of arrival."""
    results = []

    async def bench(ctx):
        ctx.set(dut.columns, columns)
        ctx.set(dut.multiplier, integer.mean_multiplier(columns))
        for cycle in range(len(total) + dut.latency):
            ctx.set(dut.valid, cycle < len(total))
            if cycle < len(total):
                ctx.set(dut.softmax, softmax[cycle])
                ctx.set(dut.total, total[cycle])
                ctx.set(dut.squares, squares[cycle])
                ctx.set(dut.tag, cycle)
            await ctx.tick()
            if ctx.get(dut.valid_out):
                assert ctx.get(dut.tag_out) == cycle + 1 - dut.latency
                r = dut.result
                results.append((ctx.get(r.mean), ctx.get(r.mantissa), ctx.get(r.exponent)))

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return results


def rows(columns: int) -> tuple[list[int], list[int]]:
    """Sums and sums of squares that int16 rows can have, and corners that they cannot."""
    rng = np.random.default_rng(columns)
    spread = rng.integers(0, 16, 40)
    s = rng.integers(-(1 << 15), 1 << 15, (40, columns)) >> spread[:, None]
    s[0], s[1], s[2] = 0, 32767, -32768
    s[3] = 0
    s[3, 0] = 1
    total, squares = s.sum(axis=1).tolist(), (s * s).sum(axis=1).tolist()
    return [*total, 0, 0, 5], [*squares, (1 << 44) - 1, 1, 0]


@pytest.mark.parametrize("softmax", [True, False])
def test_alternating_functions_match_their_model(softmax):
    columns = 48
    total, squares = rows(columns)
    sums = [0, 1, 2, 3, 127, 128, (1 << 23) - 1, 1 << 23, (1 << 23) + 1, (1 << 24) - 1, *(1 << n for n in range(24))]
    sums += np.random.default_rng(1).integers(0, 1 << 24, 20).tolist()
    dut = RowReciprocal(dataclasses.replace(TINY, softmax=softmax), tag_width=10)
    modes, totals, squared = [], [], []
    for i in range(max(len(total), len(sums))):
        modes += [softmax, False]
        totals += [sums[i % len(sums)] if softmax else total[-1 - i % len(total)], total[i % len(total)]]
        squared += [0 if softmax else squares[-1 - i % len(total)], squares[i % len(total)]]
    results = run(dut, modes, totals, squared, columns)
    multiplier = integer.mean_multiplier(columns)
    expected = [
        tuple(int(field) for field in RowReciprocal.model(*row, columns, multiplier))
        for row in zip(modes, totals, squared, strict=True)
    ]
    assert results == expected


def test_softmax_alone_is_shorter():
    dut = RowReciprocal(dataclasses.replace(TINY, layernorm=False), tag_width=8)
    sums = [0, 1, 7, 1 << 23, (1 << 24) - 1, 12345]
    results = run(dut, [True] * 6, sums, [0] * 6, 1)
    model = RowReciprocal.model(True, sums, 0, 1, 0)
    assert results == list(zip(*(field.tolist() for field in model), strict=True))
    assert dut.latency == 20
