"""The units of EXPONENT and GELU, look-ups or polynomials, over all of their arguments."""

from typing import Any

import numpy as np

from systolith.rtl.vector.polynomials import PolynomialExponent, PolynomialGelu
from systolith.rtl.vector.tables import ExponentTable, GeluTable
from systolith.sim.benches.common import checked
from systolith.sim.benches.units.play import play

#: All 2**20 of them.
ARGUMENTS = np.arange(-(1 << 19), 1 << 19)


async def compare_exponent(dut: Any, block: type[ExponentTable | PolynomialExponent]) -> None:
    """``block`` with every argument against its model."""
    padded = np.append(ARGUMENTS, np.zeros(block.latency, np.int64))
    response = await play(dut, len(padded), {"argument": padded})
    found = response.read("result")[block.latency :]
    np.testing.assert_array_equal(found, block.model(ARGUMENTS))
    checked("arguments", len(found))


async def compare_gelu(
    dut: Any, block: type[GeluTable | PolynomialGelu], arguments: np.ndarray, grids: np.ndarray
) -> None:
    """``block`` with one argument and grid a cycle against its model."""
    pad = np.zeros(block.latency, np.int64)
    inputs = {"argument": np.append(arguments, pad), "grid": np.append(grids, pad)}
    response = await play(dut, len(inputs["grid"]), inputs)
    found = response.read("result", 16, signed=True)[block.latency :, 0]
    for grid in range(4):
        here = grids == grid
        np.testing.assert_array_equal(found[here], block.model(arguments[here], grid), err_msg=f"grid {grid}")
    checked("arguments", len(found))


async def compare_gelu_in_any_order(
    dut: Any, block: type[GeluTable | PolynomialGelu], random: np.random.Generator
) -> None:
    """Another grid in every cycle: each belongs to its argument."""
    count = 1 << 16
    await compare_gelu(dut, block, random.integers(-(1 << 15), 1 << 15, count), random.integers(0, 4, count))
