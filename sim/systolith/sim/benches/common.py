"""What benches share: reset, the configuration that they meet, their seed and size, and what they have checked."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from cocotb.triggers import ClockCycles

from systolith.rtl.config import Config
from systolith.sim.job import CONFIG_VARIABLE

#: Environment variables: what random stimulus follows from, and how much of it (1.0 is the full amount).
SEED_VARIABLE = "SYSTOLITH_SEED"
EFFORT_VARIABLE = "SYSTOLITH_EFFORT"
#: File in the simulation's directory with a line ``{"what": ..., "number": ...}`` for each call of :func:`checked`.
CHECKED = "checked.jsonl"
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


def random(*more: int) -> np.random.Generator:
    """Random numbers of this run's seed; different ones for each test that gives other integers."""
    return np.random.default_rng([int(os.environ[SEED_VARIABLE]), *more])


def effort(full: int) -> int:
    """This run's share of an amount of random stimulus; at least 1."""
    return max(1, round(full * float(os.environ[EFFORT_VARIABLE])))


def checked(what: str, number: int) -> None:
    """Report that ``number`` of ``what`` (values, transfers, instructions) were compared with the model."""
    with Path(CHECKED).open("a") as file:
        file.write(json.dumps({"what": what, "number": int(number)}) + "\n")
