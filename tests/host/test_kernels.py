"""Each kernel against its definition in float64."""

import numpy as np
import pytest

from systolith.host import kernels
from systolith.host.kernels import Host
from systolith.host.program import HostError
from systolith.numerics import reference

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_softmax_of_rows_of_any_range(draw):
    x = draw.normal(0, 30, (9, 21)).astype(np.float32)
    x[0], x[1, 1:] = -1e4, -1e4
    host = Host()
    wanted = reference.softmax(x.astype(np.float64))
    np.testing.assert_allclose(host.softmax(x), wanted, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(host.softmax(x[:1]), 1 / 21, rtol=1e-6)


def test_gelu_everywhere():
    x = np.linspace(-9, 9, 1001, dtype=np.float32)
    np.testing.assert_allclose(Host().gelu(x), reference.gelu(x.astype(np.float64)), atol=2e-6)


def test_residual_and_layernorm(draw):
    x, skip = draw.normal(3, 2, (2, 5, 33)).astype(np.float32)
    gamma, beta = draw.standard_normal((2, 33)).astype(np.float32)
    host = Host()
    total = host.residual(x, skip)
    np.testing.assert_array_equal(total, x + skip)
    wanted = reference.layer_norm(total.astype(np.float64), gamma, beta, 1e-12)
    np.testing.assert_allclose(host.layernorm(total, gamma, beta, 1e-12), wanted, atol=5e-6)


def test_integers_and_back():
    host = Host()
    x = np.array([-1e9, -128.6, -2.5, -1.5, -0.4, 0.5, 1.5, 126.4, 1e9], np.float32)
    q = host.quantize(x, 1.0)
    np.testing.assert_array_equal(q, [-128, -128, -2, -2, 0, 0, 2, 126, 127])
    np.testing.assert_array_equal(host.dequantize(q, 0.5), q * 0.5)
    sums = np.array([[100, -200, 1 << 24], [3, 5, -(1 << 30)]], np.int32)
    scale, bias = np.array([0.5, 0.25, 2.0], np.float32), np.array([1, -1, 0], np.float32)
    np.testing.assert_array_equal(host.dequantize_sums(sums, scale, bias), sums * scale + bias)
    np.testing.assert_array_equal(host.requantize_sums(sums, scale, bias), [[51, -51, 127], [2, 0, -128]])


def test_instructions_are_counted_by_stage_and_operation():
    host = Host()
    x = np.ones((2, 8), np.float32)
    host.stage = "ffn1"
    host.gelu(x)
    once = host.instructions["ffn1", "GELU"]
    host.gelu(x)
    host.stage = "ffn2"
    host.residual(x, x)
    assert host.instructions["ffn1", "GELU"] == 2 * once > 0
    assert set(host.instructions) == {("ffn1", "GELU"), ("ffn2", "residual")}


def test_a_kernel_that_computes_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(kernels.reference, "gelu", lambda x: x)
    with pytest.raises(HostError, match=r"gelu is 0.159 of the largest value away from numpy's; at most 5e-06"):
        Host().gelu(np.ones(4, np.float32))
    with pytest.raises(HostError, match=r"quantize: 100.000% of the int8 values differ from numpy's, by up to 2"):
        Host()._next_to("quantize", np.full(3, 2, np.int8), np.zeros(3, np.float32))
