"""The contents of all memories on the chip as one record: what fuzzing compares, and begins with."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .config import Config
from .parameters import PLANES


def chip_state(config: Config) -> np.dtype[Any]:
    """The record's type: scratchpad and accumulator rows, parameter planes, and what there is for each token row."""
    rows = (config.statistics_rows,)
    return np.dtype(
        [
            ("scratchpad", "i1", (config.scratchpad_rows, config.row_bytes)),
            ("accumulator", "<i4", (config.accumulator_rows, config.cols)),
            ("parameters", "u1", (PLANES * config.parameter_rows, config.cols)),
            ("maximum", "<i4", rows),
            ("total", "<i4", rows),
            ("squares", "<u8", rows),
            ("mean", "<i2", rows),
            ("mantissa", "<u2", rows),
            ("exponent", "u1", rows),
        ]
    )


def random_state(config: Config, seed: int) -> npt.NDArray[Any]:
    """A state (shape ()) in which all memories hold random values, sums and reciprocals such as rows leave them.

    Sums are those of up to 2**14 columns; what the configuration does not have is 0.
    """
    rng = np.random.default_rng(seed)
    state = np.zeros((), chip_state(config))
    for name in ("scratchpad", "accumulator", "parameters", "maximum"):
        kind = state[name].dtype
        bounds = np.iinfo(kind)
        length = rng.integers(1, bounds.bits + 1, state[name].shape)
        state[name][...] = rng.integers(bounds.min, bounds.max, state[name].shape, kind, endpoint=True) >> (
            bounds.bits - length
        ).astype(kind)
    if config.softmax or config.layernorm:
        state["total"] = rng.integers(-(1 << 29), 1 << 29, config.statistics_rows)
        state["mantissa"] = rng.integers(1 << 15, 1 << 16, config.statistics_rows)
        state["exponent"] = rng.integers(0, 23, config.statistics_rows)
    if config.layernorm:
        state["squares"] = rng.integers(0, 1 << 44, config.statistics_rows)
        state["mean"] = rng.integers(-(1 << 15), 1 << 15, config.statistics_rows)
    return state
