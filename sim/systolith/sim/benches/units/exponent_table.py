"""The exponent's table, all of its 2**20 arguments."""

from typing import Any

import cocotb

from systolith.rtl.vector.tables import ExponentTable
from systolith.sim.benches.units.nonlinear import compare_exponent


@cocotb.test()
async def every_argument(dut: Any) -> None:
    await compare_exponent(dut, ExponentTable)
