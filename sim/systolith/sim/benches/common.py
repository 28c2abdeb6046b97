"""What benches share: reset, and the configuration of the accelerator that they meet."""

import os
from typing import Any

from cocotb.triggers import ClockCycles

from systolith.rtl.config import Config
from systolith.sim.job import CONFIG_VARIABLE

#: Cycles that the reset is held, and that pass after it.
_HELD, _AFTER = 4, 2


async def reset(dut: Any) -> None:
    """Reset the accelerator. The clock runs by itself, a cycle a nanosecond."""
    dut.rst.value = 1
    await ClockCycles(dut.clk, _HELD)
    dut.rst.value = 0
    await ClockCycles(dut.clk, _AFTER)


def configuration() -> Config:
    return Config.from_toml(os.environ[CONFIG_VARIABLE])
