"""The exponent's polynomial, all of its 2**20 arguments."""

from typing import Any

import cocotb

from systolith.rtl.vector.polynomials import PolynomialExponent
from systolith.sim.benches.units.nonlinear import compare_exponent


@cocotb.test()
async def every_argument(dut: Any) -> None:
    await compare_exponent(dut, PolynomialExponent)
