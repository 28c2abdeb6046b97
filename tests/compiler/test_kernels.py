"""Single products and bare attention on the functional device, bit for bit, on arrays of any shape."""

import numpy as np
import pytest

from systolith.analysis.workloads import AttentionWorkload, GemmWorkload
from systolith.compiler.gemm import compile_gemm
from systolith.compiler.hazards import ProgramError
from systolith.compiler.kernels import regions_of
from systolith.compiler.plan import CapacityError
from systolith.models.quantized import Projection
from systolith.rtl.config import Config, preset
from systolith.runtime.device import open_device

SIZES = [(4, 4), (16, 16), (6, 10), (10, 6), (5, 7)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (19, 40, 33), (130, 17, 50)])
def test_products_match_the_reference(size, shape):
    rows, depth, columns = shape
    device = open_device(preset("default").resized(*size), "functional")
    assert GemmWorkload(rows=rows, depth=depth, columns=columns).run(device).difference is None


def test_an_input_that_does_not_fit_is_loaded_in_pieces():
    config = Config(rows=4, cols=4, lanes=4, scratchpad_bytes=4096, accumulator_bytes=4096, parameter_bytes=1024)
    assert GemmWorkload(rows=50, depth=300, columns=30).run(open_device(config, "functional")).difference is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 6, 21), (2, 48, 77)])
def test_attention_matches_the_reference(size, shape):
    heads, columns, tokens = shape
    device = open_device(preset("default").resized(*size), "functional")
    assert AttentionWorkload(heads=heads, size=columns, tokens=tokens).run(device).difference is None


def test_attention_that_does_not_fit_is_refused_in_a_sentence():
    device = open_device(preset("tiny"), "functional")
    with pytest.raises(CapacityError, match="one row's scores and context of two blocks take"):
        AttentionWorkload(heads=1, size=4, tokens=4000).run(device)


def test_inputs_of_another_shape_are_refused():
    projection = Projection(
        weight=np.ones((8, 4), np.int8), bias=np.zeros(4, np.int32), multiplier=np.ones(4, np.uint16), shift=1
    )
    program = compile_gemm(preset("tiny"), projection, 3)
    with pytest.raises(ProgramError, match=r"input of shape \(3, 7\); the program takes \(3, 8\)"):
        regions_of(program, {"input": np.zeros((3, 7), np.int8)})
