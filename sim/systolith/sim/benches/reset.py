"""What every bench does first."""

from typing import Any

from cocotb.triggers import ClockCycles

#: Cycles that the reset is held, and that pass after it.
_HELD, _AFTER = 4, 2


async def reset(dut: Any) -> None:
    """Reset the accelerator. The clock runs by itself."""
    dut.rst.value = 1
    await ClockCycles(dut.clk, _HELD)
    dut.rst.value = 0
    await ClockCycles(dut.clk, _AFTER)
