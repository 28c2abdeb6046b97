"""The row reciprocals: integer square root and divide, at every boundary and over millions of random rows."""

from typing import Any

import cocotb
import numpy as np

from systolith.numerics import integer
from systolith.rtl.vector.beat import RECIPROCAL
from systolith.rtl.vector.reciprocal import RowReciprocal
from systolith.sim.benches.common import checked, configuration, effort, random
from systolith.sim.benches.units.play import play

#: Rows of one play.
_ROWS = 1 << 19
_SUMS = 1 << integer.SUM_BITS
_SQUARES = 1 << integer.SQUARES_BITS


@cocotb.test()
async def divide(dut: Any) -> None:
    """Softmax: every 24-bit sum, hence every normalised divisor; the ends of every octave in a smaller run."""
    if effort(_SUMS) >= _SUMS:
        for first in range(0, _SUMS, _ROWS):
            await _compare(dut, np.ones(_ROWS, bool), total=np.arange(first, first + _ROWS))
        return
    ends = np.array([(1 << bit) + offset for bit in range(integer.SUM_BITS) for offset in range(-2, 3)])
    totals = np.concatenate([[0, _SUMS - 1], ends[(ends >= 0)], random(1).integers(0, _SUMS, effort(_SUMS))])
    await _compare(dut, np.ones(len(totals), bool), total=totals)


@cocotb.test()
async def square_root(dut: Any) -> None:
    """LayerNorm: every 16-bit root's square and its neighbours, at both ends of the 44 bits, and all powers of two."""
    root = np.arange(1 << 16)
    shift = integer.SQUARES_BITS - 32
    ends = 1 << np.arange(integer.SQUARES_BITS)
    exact = np.concatenate([root * root, (root * root) << shift, (root * root) << (shift // 2), ends])
    variances = np.concatenate([exact - 1, exact, exact + 1, [_SQUARES - 1]])
    variances = variances[(variances >= 0) & (variances < _SQUARES)]
    columns = 256
    await _compare(dut, np.zeros(len(variances), bool), squares=variances, columns=columns)


@cocotb.test()
async def square_root_of_random_values(dut: Any) -> None:
    """Values of every length."""
    rng = random(2)
    for count in _plays(effort(1 << 22)):
        squares = rng.integers(0, _SQUARES, count) >> rng.integers(0, integer.SQUARES_BITS, count)
        await _compare(dut, np.zeros(count, bool), squares=squares, columns=1)


@cocotb.test()
async def rows_of_both_functions(dut: Any) -> None:
    """Any sums of any number of columns, softmax and LayerNorm in any order, with pauses between the rows."""
    rng = random(3)
    for columns in (1, 2, 3, 64, 384, 1000, 4095, 1 << 14, (1 << 16) - 1):
        count = effort(1 << 17)
        softmax = rng.random(count) < 0.5
        total = rng.integers(-(1 << 31), 1 << 31, count) >> rng.integers(0, 32, count)
        mean = total // columns
        near = np.clip(mean * total, 0, None) + (rng.integers(0, 1 << 40, count) >> rng.integers(0, 40, count))
        squares = np.where(rng.random(count) < 0.7, near, rng.integers(0, _SQUARES, count))
        # A softmax row's sum has 24 bits.
        total = np.where(softmax, total & (_SUMS - 1), total)
        await _compare(
            dut, softmax, total=total, squares=np.clip(squares, 0, _SQUARES - 1), columns=columns, pauses=0.3
        )


def _plays(count: int) -> list[int]:
    return [min(_ROWS, count - start) for start in range(0, count, _ROWS)]


async def _compare(
    dut: Any,
    softmax: np.ndarray,
    *,
    total: np.ndarray | int = 0,
    squares: np.ndarray | int = 0,
    columns: int = 1,
    pauses: float = 0.0,
) -> None:
    """Rows in consecutive cycles, some of them not valid: results, valid bits and tags against the model."""
    latency = RowReciprocal(configuration(), tag_width=8).latency
    rng = random(4, columns)
    count = len(softmax)
    total, squares = np.broadcast_to(total, count), np.broadcast_to(squares, count)
    valid, tag = rng.random(count) >= pauses, rng.integers(0, 256, count)
    multiplier = integer.mean_multiplier(columns)
    inputs = {"valid": valid, "softmax": softmax, "total": total, "squares": squares, "tag": tag}
    padded = {name: np.append(values, np.zeros(latency, values.dtype)) for name, values in inputs.items()}
    response = await play(dut, count + latency, {**padded, "columns": columns, "multiplier": multiplier})
    assert not response.read("valid_out")[:latency].any()
    np.testing.assert_array_equal(response.read("valid_out")[latency:], valid)
    np.testing.assert_array_equal(response.read("tag_out")[latency:], tag)
    word = response.read("result")[latency:]
    for chosen in (True, False):
        rows = valid & (softmax == chosen)
        model = RowReciprocal.model(chosen, total[rows], squares[rows], columns, multiplier)
        for name in ("mean", "mantissa", "exponent"):
            field = RECIPROCAL[name]
            found = word[rows] >> field.offset & ((1 << field.width) - 1)
            expected = getattr(model, name) & ((1 << field.width) - 1)
            np.testing.assert_array_equal(found, expected, err_msg=f"{name}, {columns} columns, softmax {chosen}")
    checked("rows", int(valid.sum()))
