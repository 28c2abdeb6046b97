"""The emulated core: calls and the count of instructions."""

import numpy as np
import pytest

from systolith.host.core import MEMORY_BYTES, Core, instructions_of
from systolith.host.program import HostError, compile_kernels

unicorn = pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


@pytest.fixture(scope="module")
def image():
    return compile_kernels()


def test_compressed_instructions_are_two_bytes():
    # c.nop, nop, c.nop
    assert instructions_of(bytes.fromhex("0100 13000000 0100")) == 3


@pytest.mark.parametrize("columns", [1, 7, 8, 29])
def test_the_count_is_that_of_single_steps(image, columns):
    x = np.random.default_rng(columns).standard_normal((3, columns)).astype(np.float32)
    stepped = Core(image)
    steps = []
    stepped._machine.hook_add(unicorn.UC_HOOK_CODE, lambda machine, address, size, context: steps.append(address))
    assert stepped.call("softmax", x.copy(), *x.shape) == len(steps)
    assert Core(image).call("softmax", x.copy(), *x.shape) == len(steps)


@pytest.mark.parametrize("name", ["softmax", "gelu", "residual", "quantize"])
def test_counts_are_linear_in_rows_and_independent_of_the_data(image, name):
    core = Core(image)

    def count(rows, seed):
        x = np.random.default_rng(seed).normal(0, 10, (rows, 16)).astype(np.float32)
        sizes = {"softmax": (x, rows, 16), "gelu": (x, x.size), "residual": (x, x.copy(), x.size)}
        sizes["quantize"] = (np.empty(x.shape, np.int8), x, 0.5, x.size)
        return core.call(name, *sizes[name])

    assert count(4, 0) == count(4, 1)
    assert count(6, 0) - count(4, 0) == count(4, 0) - count(2, 0) > 0


def test_inputs_that_are_read_only_stay_as_they_are(image):
    skip = np.ones(4, np.float32)
    skip.flags.writeable = False
    x = np.arange(4, dtype=np.float32)
    Core(image).call("residual", x, skip, 4)
    np.testing.assert_array_equal(x, [1, 2, 3, 4])


def test_bad_calls_are_refused(image):
    core = Core(image)
    with pytest.raises(HostError, match="no function 'tanh'; it has dequantize, dequantize_sums, gelu,"):
        core.call("tanh")
    with pytest.raises(HostError, match=f"needs 268,439,552 bytes; the host's memory has {MEMORY_BYTES:,}"):
        core.call("gelu", np.empty(MEMORY_BYTES + 1, np.int8), 1)
    with pytest.raises(HostError, match="residual faults in the emulator"):
        core.call("residual", 0, 0, 1)
