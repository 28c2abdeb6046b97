"""The accumulator under additions, reads and writes at once; its maxima; what ``retired`` promises."""

import dataclasses
from collections import deque
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from systolith.rtl.accumulator import LOWEST, Accumulator
from systolith.rtl.config import Config
from systolith.rtl.interfaces import READ_LATENCY

SQUARE = Config(
    rows=4, cols=4, lanes=4, scratchpad_bytes=1024, accumulator_bytes=1024, parameter_bytes=256, statistics_rows=16
)
CONFIGS = {
    "4x4": SQUARE,
    "4x6": dataclasses.replace(SQUARE, cols=6, lanes=2, accumulator_bytes=1600, accumulator_banks=2),
    "2x3 in one bank": dataclasses.replace(SQUARE, rows=2, cols=3, lanes=1, accumulator_banks=1),
    "3x2": dataclasses.replace(SQUARE, rows=3, cols=2, lanes=1, accumulator_banks=8),
}


def run(dut: Any, testbench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()


def packed(values: np.ndarray, bits: int) -> int:
    """The word whose fields of ``bits`` bits are ``values``, the first at the least significant bit."""
    return sum((int(v) & ((1 << bits) - 1)) << (bits * i) for i, v in enumerate(values))


def set_add(ctx: Any, dut: Accumulator, data: np.ndarray, **fields: int) -> None:
    """Put one row on ``add``; fields left out are 0."""
    for name in ("address", "overwrite", "track_max", "max_first", "stat_address", "mask", "last"):
        ctx.set(getattr(dut.add, name), int(fields.get(name, 0)))
    ctx.set(dut.add.data.as_value(), packed(data, dut.config.psum_width))
    ctx.set(dut.add.valid, 1)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_random_traffic(config):
    """Tiles of 8 rows, a row a cycle, in the lower half of the rows; reads and writes beside them."""
    rng = np.random.default_rng(config.cols)
    dut = Accumulator(config)
    cols, banks, tile = config.cols, config.accumulator_banks, 8
    half = config.accumulator_rows // 2
    limit = 1 << (config.psum_width - 1)
    memory = np.zeros((config.accumulator_rows, cols), dtype=np.int32)
    maxima = np.zeros(config.statistics_rows, dtype=np.int64)

    async def testbench(ctx):
        adding = deque([None] * 3)
        due = deque([None] * READ_LATENCY)
        read, write = None, None
        reads = writes = held = 0
        for cycle in range(640):
            # Additions reach the memory in their cycle 3. The same tile comes again after 8 cycles.
            landing = adding.popleft()
            if cycle % tile == 0:
                start, stat = (tile * int(rng.integers(rows // tile)) for rows in (half, len(maxima)))
                overwrite, first, track = (bool(rng.integers(2)) for _ in range(3))
            row = start + cycle % tile
            add = rng.random() < 0.9
            if add:
                data = rng.integers(-limit, limit, cols)
                mask = rng.integers(0, 2, cols).astype(bool)
                place = stat + cycle % tile
                set_add(
                    ctx, dut, data, address=row, overwrite=overwrite, track_max=track, max_first=first,
                    stat_address=place, mask=packed(mask, 1),
                )  # fmt: skip
                new = Accumulator.model(memory[row], data, overwrite)
                adding.append((row, new))
                if track:
                    maxima[place] = Accumulator.maximum_model(maxima[place], new, mask, first)
            else:
                ctx.set(dut.add.valid, 0)
                adding.append(None)

            # Reads anywhere, writes to the upper half.
            if read is None and rng.random() < 0.8:
                read = int(rng.integers(config.accumulator_rows))
                ctx.set(dut.read.request.payload, read)
            ctx.set(dut.read.request.valid, read is not None)
            if write is None and rng.random() < 0.8:
                mask, data = rng.integers(0, 2, cols).astype(bool), rng.integers(-(2**31), 2**31, cols)
                write = (half + int(rng.integers(half)), mask, data)
                ctx.set(dut.write.request.payload.address, write[0])
                ctx.set(dut.write.request.payload.mask, packed(mask, 1))
                ctx.set(dut.write.request.payload.data.as_value(), packed(data, 32))
            ctx.set(dut.write.request.valid, write is not None)

            expected = due.popleft()
            assert ctx.get(dut.read.valid) == (expected is not None)
            if expected is not None:
                assert ctx.get(dut.read.data.as_value()) == packed(expected, 32)

            granted = read is not None and not (add and not overwrite and row % banks == read % banks)
            if read is not None:
                assert ctx.get(dut.read.request.ready) == granted
                held += not granted
            due.append(memory[read].copy() if granted else None)
            if granted:
                read, reads = None, reads + 1
            if write is not None:
                granted = not (landing is not None and landing[0] % banks == write[0] % banks)
                assert ctx.get(dut.write.request.ready) == granted
                if granted:
                    memory[write[0], write[1]] = write[2][write[1]]
                    write, writes = None, writes + 1
            if landing is not None:
                memory[landing[0]] = landing[1]
            await ctx.tick()
        assert min(reads, writes, held) > 20

        ctx.set(dut.add.valid, 0)
        await ctx.tick().repeat(dut.latency)
        for place, expected in enumerate(maxima):
            ctx.set(dut.maximum.address, place)
            await ctx.tick()
            assert ctx.get(dut.maximum.data) == expected

    run(dut, testbench)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_retired_row_and_maximum_are_visible(config):
    """A read, and the maximum's address, given in the very cycle of ``retired``."""
    dut = Accumulator(config)
    data = np.arange(config.cols) - 5

    async def testbench(ctx):
        set_add(ctx, dut, data, address=3, overwrite=1, track_max=1, max_first=1, stat_address=2, mask=~0, last=1)
        for _ in range(dut.latency):
            assert not ctx.get(dut.add.retired)
            await ctx.tick()
            ctx.set(dut.add.valid, 0)
        assert ctx.get(dut.add.retired)
        ctx.set(dut.maximum.address, 2)
        ctx.set(dut.read.request.payload, 3)
        ctx.set(dut.read.request.valid, 1)
        await ctx.tick()
        assert not ctx.get(dut.add.retired)
        assert ctx.get(dut.maximum.data) == config.cols - 6
        await ctx.tick()
        assert ctx.get(dut.read.valid)
        assert ctx.get(dut.read.data.as_value()) == packed(data, 32)

    run(dut, testbench)


def test_a_row_every_eight_cycles_accumulates_with_its_maximum():
    dut = Accumulator(SQUARE)
    columns = np.array([3, -1, -2, 1])

    async def testbench(ctx):
        for step in range(5):
            set_add(
                ctx, dut, columns, address=9, overwrite=step == 0, track_max=1, max_first=step == 0, mask=0b0110,
            )  # fmt: skip
            await ctx.tick()
            ctx.set(dut.add.valid, 0)
            await ctx.tick().repeat(7)
        ctx.set(dut.read.request.payload, 9)
        ctx.set(dut.read.request.valid, 1)
        await ctx.tick()
        assert ctx.get(dut.maximum.data) == -1
        await ctx.tick()
        assert [ctx.get(dut.read.data[c]) for c in range(4)] == (5 * columns).tolist()

    run(dut, testbench)


@pytest.mark.parametrize(("first", "expected"), [(True, LOWEST), (False, 7)])
def test_maximum_over_no_columns(first, expected):
    dut = Accumulator(SQUARE)

    async def testbench(ctx):
        row = np.array([7, 0, 0, 0])
        set_add(ctx, dut, row, overwrite=1, track_max=1, max_first=1, mask=~0)
        await ctx.tick()
        set_add(ctx, dut, row, address=1, track_max=0, mask=0)
        await ctx.tick().repeat(7)
        set_add(ctx, dut, 2 * row, address=1, overwrite=1, track_max=1, max_first=first, mask=0)
        await ctx.tick()
        ctx.set(dut.add.valid, 0)
        await ctx.tick().repeat(dut.latency)
        assert ctx.get(dut.maximum.data) == expected
        assert Accumulator.maximum_model(7, 2 * row, np.zeros(4), first) == expected

    run(dut, testbench)


def test_sums_wrap():
    """2**31 - 1 written by the vector unit, plus 1."""
    dut = Accumulator(SQUARE)
    old = np.array([2**31 - 1, -(2**31), 0, -1])

    async def testbench(ctx):
        request = dut.write.request
        ctx.set(request.payload.address, 5)
        ctx.set(request.payload.mask, ~0)
        ctx.set(request.payload.data.as_value(), packed(old, 32))
        ctx.set(request.valid, 1)
        await ctx.tick()
        ctx.set(request.valid, 0)
        set_add(ctx, dut, np.array([1, -1, 0, 1]), address=5)
        await ctx.tick()
        ctx.set(dut.add.valid, 0)
        await ctx.tick().repeat(dut.latency - 1)
        ctx.set(dut.read.request.payload, 5)
        ctx.set(dut.read.request.valid, 1)
        await ctx.tick().repeat(READ_LATENCY)
        sums = [ctx.get(dut.read.data[c]) for c in range(4)]
        assert sums == [-(2**31), 2**31 - 1, 0, 0]
        assert Accumulator.model(old.astype(np.int32), [1, -1, 0, 1], False).tolist() == sums

    run(dut, testbench)
