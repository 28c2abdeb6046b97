"""The token counters: four units that take and give in every cycle in which they may, up to full counters."""

from typing import Any

import cocotb
import numpy as np

from systolith.rtl.interfaces import TOKEN_BITS
from systolith.rtl.tokens import UNITS
from systolith.sim.benches.common import checked, effort, random, reset
from systolith.sim.benches.units.play import play

_MOST = (1 << TOKEN_BITS) - 1


@cocotb.test()
@cocotb.parametrize(give=[0.1, 0.5, 0.9])
async def random_traffic(dut: Any, give: float) -> None:
    """Masks of any units, one's own included; few gives leave the counters empty, many fill them."""
    await reset(dut)
    cycles = effort(50_000)
    rng = random(int(10 * give))
    count = np.zeros((UNITS, UNITS), int)  # giver, taker
    others = ~np.eye(UNITS, dtype=bool)
    masks = rng.integers(0, 1 << UNITS, (cycles, 2, UNITS))
    bit = 1 << np.arange(UNITS)
    asked = (masks[..., None] & bit) != 0
    moves = rng.random((cycles, 2, UNITS)) < np.array([[1.0 - give], [give]])
    expected = np.zeros((cycles, 2, UNITS), int)
    highest = 0
    for cycle in range(cycles):
        wanted, gives = asked[cycle, 0].T & others, asked[cycle, 1] & others  # both giver, taker
        missing = wanted & (count == 0)
        fits = ~(gives & (count == _MOST)).any(axis=1)
        expected[cycle] = bit @ missing, fits
        takes = moves[cycle, 0] & ~missing.any(axis=0)
        puts = moves[cycle, 1] & fits
        moves[cycle] = takes, puts
        count += (gives & puts[:, None]).astype(int) - (wanted & takes)
        highest = max(highest, int(count.max()))
    inputs: dict[str, Any] = {}
    for unit in range(UNITS):
        inputs |= {
            f"units__{unit}__wait": masks[:, 0, unit], f"units__{unit}__take": moves[:, 0, unit],
            f"units__{unit}__give": masks[:, 1, unit], f"units__{unit}__put": moves[:, 1, unit],
        }  # fmt: skip
    response = await play(dut, cycles, inputs)
    for unit in range(UNITS):
        np.testing.assert_array_equal(response.read(f"units__{unit}__missing"), expected[:, 0, unit])
        np.testing.assert_array_equal(response.read(f"units__{unit}__fits"), expected[:, 1, unit])
    assert highest == _MOST or give < 0.9 or cycles < 5000
    checked("tokens", int((asked & moves[..., None] & others).sum()))
