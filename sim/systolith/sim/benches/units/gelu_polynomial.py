"""GELU's polynomial, all of its 2**20 arguments on each of the four grids."""

from typing import Any

import cocotb
import numpy as np

from systolith.rtl.vector.polynomials import PolynomialGelu
from systolith.sim.benches.common import random
from systolith.sim.benches.units.nonlinear import ARGUMENTS, compare_gelu, compare_gelu_in_any_order


@cocotb.test()
@cocotb.parametrize(grid=[0, 1, 2, 3])
async def every_argument(dut: Any, grid: int) -> None:
    await compare_gelu(dut, PolynomialGelu, ARGUMENTS, np.full_like(ARGUMENTS, grid))


@cocotb.test()
async def grids_in_any_order(dut: Any) -> None:
    await compare_gelu_in_any_order(dut, PolynomialGelu, random())
