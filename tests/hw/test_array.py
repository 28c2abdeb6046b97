"""The systolic array against numpy: tile sequences at every legal spacing, from both sides."""

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain
from amaranth.sim import Simulator

from systolith.rtl.array import ELEMENT_MODULE, ProcessingElement, SharedElements, SystolicArray
from systolith.rtl.config import PRESETS

SIZES = [(2, 2), (4, 4), (3, 5), (6, 4), (9, 2)]


@dataclass
class Tile:
    """One weight tile (in memory order) and the activation rows that stream through it."""

    activations: np.ndarray
    weights: np.ndarray
    transpose: bool

    @property
    def expected(self) -> np.ndarray:
        return SystolicArray.model(self.activations, self.weights, self.transpose)


def random_tile(rng: np.random.Generator, size: tuple[int, int], m: int, transpose: bool) -> Tile:
    rows, cols = size
    activations, weights = (
        rng.choice([-128, 127], shape) if rng.random() < 0.2 else rng.integers(-128, 128, shape)
        for shape in ((m, rows), (cols, rows) if transpose else (rows, cols))
    )
    return Tile(activations, weights, transpose)


def schedule(
    rng: np.random.Generator, tiles: list[Tile], gap: float
) -> tuple[dict[int, tuple[np.ndarray, bool]], dict[int, tuple[np.ndarray, bool, bool]], list[int]]:
    """Cycle by cycle, activation rows (with swap) and weight rows (with first, transpose), and each output row's entry.

    Everything enters as early as the array allows, with idle cycles of probability ``gap`` between.
    """

    def later(cycle: int) -> int:
        while rng.random() < gap:
            cycle += 1
        return cycle

    activation_at, weight_at, entries = {}, {}, []
    swap, weight_free, activation_free = 0, 0, 0
    for tile in tiles:
        cycle = max(swap, weight_free)
        for position, row in enumerate(tile.weights[::-1]):
            cycle = later(cycle)
            weight_at[cycle] = (row, position == 0, tile.transpose)
            cycle += 1
        weight_free = cycle
        cycle = max(weight_free, activation_free)
        for position, row in enumerate(tile.activations):
            cycle = later(cycle)
            if position == 0:
                swap = cycle
            activation_at[cycle] = (row, position == 0)
            entries.append(cycle)
            cycle += 1
        activation_free = cycle
    return activation_at, weight_at, entries


def run(size: tuple[int, int], tiles: list[Tile], gap: float = 0.0, seed: int = 0) -> list[int]:
    """Stream ``tiles``, check every row of sums against the model, give the cycles in which rows entered."""
    rng = np.random.default_rng(seed)
    dut = SystolicArray(PRESETS["tiny"].resized(*size))
    activation_at, weight_at, entries = schedule(rng, tiles, gap)
    sums = {}

    async def bench(ctx):
        for cycle in range(max(entries) + dut.latency + 1):
            sums[cycle] = [ctx.get(dut.sums[c]) for c in range(size[1])]
            # Idle cycles carry garbage: only what is marked valid may matter.
            row, swap = activation_at.get(cycle, (rng.integers(-128, 128, size[0]), False))
            weights, first, transpose = weight_at.get(cycle, ([], rng.random() < 0.5, rng.random() < 0.5))
            padded = [int(w) for w in weights] + rng.integers(-128, 128, max(size) - len(weights)).tolist()
            ctx.set(dut.activations, [int(a) for a in row])
            ctx.set(dut.swap, swap)
            ctx.set(dut.weights, padded)
            ctx.set(dut.shift, cycle in weight_at)
            ctx.set(dut.first, first)
            ctx.set(dut.transpose, transpose)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    measured = np.array([sums[entry + dut.latency] for entry in entries])
    np.testing.assert_array_equal(measured, np.concatenate([tile.expected for tile in tiles]))
    return entries


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_mixed_tiles_match_the_model(size, gap):
    rng = np.random.default_rng(size)
    tiles = [random_tile(rng, size, int(rng.integers(1, 9)), bool(rng.integers(2))) for _ in range(30)]
    run(size, tiles, gap)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transpose", [False, True])
def test_tiles_as_long_as_the_load_leave_no_bubble(size, transpose):
    rng = np.random.default_rng(1)
    period = size[1] if transpose else size[0]
    entries = run(size, [random_tile(rng, size, period, transpose) for _ in range(6)])
    assert entries == list(range(entries[0], entries[0] + 6 * period))


@pytest.mark.parametrize("size", SIZES)
def test_one_row_tiles_follow_at_the_load_period_from_alternating_sides(size):
    rng = np.random.default_rng(2)
    entries = run(size, [random_tile(rng, size, 1, bool(i % 2)) for i in range(12)])
    assert [b - a for a, b in pairwise(entries)] == [size[i % 2] for i in range(1, 12)]


def test_shared_elements_have_the_ports_of_a_processing_element():
    config = PRESETS["tiny"].resized(3, 5)
    text = rtlil.convert(SystolicArray(config), name="systolic_array", platform=SharedElements())
    # A PE has nothing to reset.
    element = rtlil.convert(
        ProcessingElement(psum_width=config.psum_width),
        name=ELEMENT_MODULE,
        missing_domain=lambda domain: ClockDomain(domain, reset_less=True),
    )
    cells = re.findall(rf"cell \\{ELEMENT_MODULE} (.*?)end\n", text, re.DOTALL)
    ports = set(re.findall(r"(?:in|out)put \d+\s+(?:signed )?(\S+)", element))
    assert len(cells) == 15
    assert all(set(re.findall(r"connect (\S+)", cell)) == ports for cell in cells)
