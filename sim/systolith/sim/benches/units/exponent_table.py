"""The exponent's table, all of its 2**20 arguments."""

from typing import Any

import cocotb
import numpy as np

from systolith.rtl.vector.tables import ExponentTable
from systolith.sim.benches.common import checked
from systolith.sim.benches.units.play import play

_ARGUMENTS = np.arange(-(1 << 19), 1 << 19)


@cocotb.test()
async def every_argument(dut: Any) -> None:
    padded = np.append(_ARGUMENTS, np.zeros(ExponentTable.latency, np.int64))
    response = await play(dut, len(padded), {"argument": padded})
    found = response.read("result")[ExponentTable.latency :]
    np.testing.assert_array_equal(found, ExponentTable.model(_ARGUMENTS))
    checked("arguments", len(found))
