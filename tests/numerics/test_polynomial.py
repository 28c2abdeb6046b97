"""I-BERT's integer functions against exact ones, within the errors that its paper states."""

import numpy as np
import pytest

from systolith.numerics import integer, polynomial, reference


@pytest.mark.parametrize("scale", [2.0**-10, 2.0**-13])
def test_exponential_is_within_the_papers_error(scale):
    q = -np.arange(round(12 / scale))
    got, unit = polynomial.exponential(q, scale)
    # Section 3.5: 1.9e-3 for the polynomial, plus what the scale rounds.
    assert np.abs(got * unit - np.exp(q * scale)).max() < 1.9e-3 + 2 * scale
    assert got.dtype == np.int64
    assert got.min() >= 0


def test_gelu_is_within_the_papers_error():
    scale = 2.0**-11
    q = np.arange(-4 * 2048, 4 * 2048 + 1)
    got, unit = polynomial.gelu(q, scale)
    error = np.abs(got * unit - reference.gelu(q * scale))
    # Table 1: 0.018 at most, 0.0082 in the mean square, over -4 to 4.
    assert 0.015 < error.max() < 0.0185
    assert np.sqrt(np.mean(error**2)) < 0.0085


def test_softmax_adds_up_but_for_rounding_down():
    scores = np.random.default_rng(0).normal(0, 2, (7, 33))
    got, unit = polynomial.softmax(np.rint(scores * 4096).astype(np.int64), 2.0**-12)
    assert unit == 2.0**-8
    assert np.abs(got * unit - reference.softmax(scores)).max() < 2.0**-8 + 2e-3
    assert np.all(got.sum(axis=1) <= 256)


@pytest.mark.parametrize("deviation", [40, 8000])
def test_normalize_has_mean_0_and_deviation_1(deviation):
    q = np.rint(np.random.default_rng(1).normal(100, deviation, (5, 768))).astype(np.int64)
    got, unit = polynomial.normalize(q)
    wanted = reference.layer_norm(q.astype(np.float64), np.ones(768), np.zeros(768), 0.0)
    np.testing.assert_allclose(got * unit, wanted, atol=2 / deviation)
    assert polynomial.normalize(np.zeros((1, 4), np.int64))[0].tolist() == [[0, 0, 0, 0]]


def test_numerator_is_the_papers_polynomial():
    """1.9e-3 of 127 and what rounding to whole numerators takes, whatever the octave."""
    t = np.arange(-3, 1100)
    got = polynomial.numerator(t)
    exact = np.where(t < 512, 127 * 2.0 ** (-np.maximum(t, 0) / 64), 0)
    assert np.abs(got - exact * 1.0032).max() < 0.5 + 127 * 2.1e-3
    assert (got[0], got.max(), got.min()) == (127, 127, 0)
    # The table's are the nearest; a polynomial with a wrong term would be further away somewhere.
    assert np.abs(got - integer.numerator(t)).max() == 1


@pytest.mark.parametrize("grid", [0, 1, 2])
def test_gelu_of_the_lanes_is_the_papers_polynomial(grid):
    q = np.arange(-32768, 32768)
    x = q * 2.0 ** (grid - 11)
    a, b, c = polynomial.ERROR_FUNCTION
    erf = np.sign(x) * (a * (np.minimum(np.abs(x) / np.sqrt(2), -b) + b) ** 2 + c)
    # Half a unit for the rounding, and what the shifts and the factor of 37 / 2**9 drop.
    assert np.abs(polynomial.gelu_grid(q, grid) - x / 2 * (1 + erf) * 2.0 ** (11 - grid)).max() < 0.7
