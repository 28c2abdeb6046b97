"""The integer functions against exact arithmetic in Python integers and against the float functions they stand for."""

import math
from fractions import Fraction

import numpy as np
import pytest

from systolith.numerics import integer, reference

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("shift", [0, 1, 5, 31, 43, 63])
def test_shift_round_is_half_up(shift):
    values = [0, 1, -1, 2**40 - 1, -(2**40), 1 << max(shift - 1, 0) if shift < 42 else 3, -5]
    got = integer.shift_round(values, shift).tolist()
    assert got == [math.floor(Fraction(v, 2**shift) + Fraction(1, 2)) if shift else v for v in values]


@pytest.mark.parametrize("bits", [8, 16, 20, 28])
def test_saturate_clips_to_both_bounds(bits):
    bound = 1 << (bits - 1)
    assert integer.saturate([-bound - 1, -bound, bound - 1, bound], bits).tolist() == [
        -bound, -bound, bound - 1, bound - 1,
    ]  # fmt: skip


def test_matmul_is_exact_at_the_extremes():
    a = np.full((2, 4096), -128, np.int8)
    assert integer.matmul(a, a.T).tolist() == [[4096 * 2**14] * 2] * 2


def test_requantize_scales_each_column():
    acc = RNG.integers(-(2**20), 2**20, (50, 3))
    bias, multiplier = [5, -1000, 0], [1, 40000, 65535]
    want = [
        [max(-128, min(127, ((a + b) * m + 2**22) >> 23)) for a, b, m in zip(row, bias, multiplier, strict=True)]
        for row in acc.tolist()
    ]
    got = integer.requantize(acc, bias, multiplier, 23)
    assert got.dtype == np.int8
    assert got.tolist() == want


def test_operand_of_multiplier_a_saturates_at_28_bits():
    assert integer.scale([2**30, -(2**30)], 1, 8).tolist() == [2**19 - 1, -(2**19)]


@pytest.mark.parametrize("grid", [0, 1, 2])
def test_gelu_follows_the_float_function(grid):
    q = np.arange(-32768, 32768)
    x = q * 2.0 ** (grid - 11)
    # Half a bin of 1/32 times the largest slope of relu(x) - gelu(x), 1/2, and one unit of the grid.
    assert np.abs(integer.gelu_grid(q, grid) * 2.0 ** (grid - 11) - reference.gelu(x)).max() < 2**-7 + 2.0 ** (
        grid - 11
    )


def test_softmax_numerator_halves_every_64_steps():
    scores = -np.arange(0, 640)[None]
    weights = integer.exponent(scores, np.array([0]), 1, 0)[0]
    exact = 127 * 2.0 ** (-np.arange(640) / 64)
    exact[512:] = 0
    assert weights[0] == 127
    assert np.abs(weights - exact).max() <= 0.51


def test_softmax_and_context_follow_the_float_function():
    scores = RNG.integers(-20000, 20000, (20, 300))
    values = RNG.integers(-127, 128, (300, 8))
    step = 6 / 20000
    multiplier, shift = round(step / math.log(2) * 64 * 2**20), 20
    weights = integer.exponent(scores, scores.max(axis=1), multiplier, shift)
    row = integer.softmax_reciprocal(weights.astype(np.int64).sum(axis=1))
    got = integer.context(integer.matmul(weights, values), row, np.full(8, 1 << 10), 22)
    want = reference.softmax(scores * step) @ values
    assert np.abs(got - want).max() <= 1.0


@pytest.mark.parametrize("total", [1, 2, 127, 128, 1000003, 2**24 - 1])
def test_softmax_reciprocal_keeps_16_bits(total):
    row = integer.softmax_reciprocal(np.array([total]))
    got = Fraction(int(row.mantissa[0]), 2**39) * 2 ** int(row.exponent[0])
    assert abs(got * total - 1) < Fraction(1, 2**14)
    assert 2**15 <= row.mantissa[0] < 2**16


def test_square_root_is_the_floor():
    # Every place where the root steps to the next integer, and the last value.
    squares = np.arange(1, 1 << 16, dtype=np.int64) ** 2
    values = [0, *(squares - 1).tolist(), *squares.tolist(), *(squares + 1).tolist(), 2**32 - 1]
    assert integer.square_root(values).tolist() == [math.isqrt(v) for v in values]


@pytest.mark.parametrize("columns", [2, 24, 384, 768])
def test_layernorm_follows_the_float_function(columns):
    s = RNG.integers(-9000, 9000, (30, columns)) + 500
    row = integer.layernorm_reciprocal(s.sum(axis=1), (s * s).sum(axis=1), columns, integer.mean_multiplier(columns))
    ones = np.ones(columns)
    want = reference.layer_norm(s.astype(float), ones, 0 * ones, 0.0) * 32 + 3
    gain = round(32 * columns**0.5 * 2**4)
    got = integer.layernorm(s, row, np.full(columns, gain), np.full(columns, 3 << 18), 18)
    assert np.abs(got - np.clip(want, -128, 127)).max() <= 0.6


def test_equal_columns_normalise_to_the_bias():
    s = np.full((1, 8), 123)
    row = integer.layernorm_reciprocal(s.sum(axis=1), (s * s).sum(axis=1), 8, integer.mean_multiplier(8))
    assert integer.layernorm(s, row, np.full(8, 32767), np.full(8, 7 << 10), 10).tolist() == [[7] * 8]


def test_residual_adds_both_branches_and_saturates_at_16_bits():
    one, zero = np.array([1]), np.array([0])
    assert integer.residual([[100]], zero, one, 0, [[-3]], np.array([8]), 2).tolist() == [[94]]
    assert integer.residual([[2**20]], zero, one, 0, [[127]], np.array([32767]), 0).tolist() == [[32767]]


@pytest.mark.parametrize("value", [-32768, -20000, 20000, 32767])
@pytest.mark.parametrize("columns", [2, 768, 16376])
def test_the_mean_of_equal_columns_is_their_value_to_the_ends_of_16_bits(value, columns):
    """At 16,376 columns the rounded multiplier alone would take the mean of extreme columns past 16 bits."""
    total, squares = np.array([columns * value]), np.array([columns * value**2])
    row = integer.layernorm_reciprocal(total, squares, columns, integer.mean_multiplier(columns))
    assert abs(int(row.mean[0]) - value) <= 16
    assert -32768 <= row.mean[0] <= 32767
