"""The float reference against the standard library and plain loops."""

import math

import numpy as np
import pytest

from systolith.numerics import reference

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-7), (np.float32, 5e-7)])
def test_erf(dtype, bound):
    x = np.linspace(-6, 6, 4001).astype(dtype)
    got = reference.erf(x)
    assert got.dtype == dtype
    assert np.abs(got - [math.erf(v) for v in x.tolist()]).max() < bound


def test_gelu_keeps_its_input():
    x = np.array([-1.0, 0.0, 2.0])
    assert reference.gelu(x) == pytest.approx([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in (-1, 0, 2)], abs=1e-6)
    assert x.tolist() == [-1, 0, 2]


def test_layer_norm():
    x = RNG.standard_normal((3, 10))
    got = reference.layer_norm(x, np.full(10, 2.0), np.ones(10), 1e-12)
    assert got.mean(axis=1) == pytest.approx([1, 1, 1])
    assert got.std(axis=1) == pytest.approx([2, 2, 2])


def test_attention_is_a_weighted_mean_in_each_head():
    q, k, v = RNG.standard_normal((3, 5, 6))
    got = reference.attention(q, k, v, heads=2)
    for head in (slice(0, 3), slice(3, 6)):
        for row in range(5):
            weights = [math.exp(float(q[row, head] @ k[key, head]) / math.sqrt(3)) for key in range(5)]
            want = sum(w * v[key, head] for key, w in enumerate(weights)) / sum(weights)
            assert got[row, head] == pytest.approx(want)


def test_layer_norm_adds_epsilon_to_the_variance():
    got = reference.layer_norm(np.array([[3.0, 1.0]]), np.ones(2), np.zeros(2), 3.0)
    np.testing.assert_allclose(got, [[0.5, -0.5]])
