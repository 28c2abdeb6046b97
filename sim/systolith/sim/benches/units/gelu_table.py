"""GELU's table, all of its 2**20 arguments on each of the four grids."""

from typing import Any

import cocotb
import numpy as np

from systolith.rtl.vector.tables import GeluTable
from systolith.sim.benches.common import checked, random
from systolith.sim.benches.units.play import play

_ARGUMENTS = np.arange(-(1 << 19), 1 << 19)


@cocotb.test()
@cocotb.parametrize(grid=[0, 1, 2, 3])
async def every_argument(dut: Any, grid: int) -> None:
    await _compare(dut, _ARGUMENTS, np.full_like(_ARGUMENTS, grid))


@cocotb.test()
async def grids_in_any_order(dut: Any) -> None:
    """Another grid in every cycle: each belongs to its argument."""
    rng = random()
    count = 1 << 16
    await _compare(dut, rng.integers(-(1 << 15), 1 << 15, count), rng.integers(0, 4, count))


async def _compare(dut: Any, arguments: np.ndarray, grids: np.ndarray) -> None:
    pad = np.zeros(GeluTable.latency, np.int64)
    inputs = {"argument": np.append(arguments, pad), "grid": np.append(grids, pad)}
    response = await play(dut, len(inputs["grid"]), inputs)
    found = response.read("result", 16, signed=True)[GeluTable.latency :, 0]
    for grid in range(4):
        here = grids == grid
        np.testing.assert_array_equal(found[here], GeluTable.model(arguments[here], grid), err_msg=f"grid {grid}")
    checked("arguments", len(found))
