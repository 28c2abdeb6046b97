"""The closed form stays near the cycle model, and its accesses near those of the instructions."""

import numpy as np
import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.compiler.gemm import product_instructions
from systolith.compiler.mapping import ProductShape
from systolith.mapping.closed_form import ClosedForm
from systolith.mapping.product_space import ProductSpace, even_sizes
from systolith.mapping.score import predicted
from systolith.rtl.config import preset


@pytest.mark.parametrize("shape", [(100, 64, 256), (48, 200, 96)])
@pytest.mark.parametrize("latency", [30, 100])
def test_the_closed_form_is_near_the_model(shape, latency):
    tokens, inputs, outputs = shape
    config, timing = preset("default"), MemoryTiming(latency)
    space = ProductSpace(config, ProductShape(tokens=tokens, inputs=inputs, outputs=outputs))
    drawn = space.draw(25, np.random.default_rng(1))
    closed = ClosedForm(space.tiles, timing).score(drawn)
    scores = [predicted(product_instructions(config, space.shape, drawn[i]), config, timing) for i in range(25)]
    cycles = closed.cycles / [score.cycles for score in scores] - 1
    energy = closed.energy / [score.energy for score in scores] - 1
    assert np.abs(cycles).mean() < 0.06
    assert np.abs(cycles).max() < 0.35
    assert np.abs(energy).max() < 0.02


def test_all_are_all_that_fit():
    space = ProductSpace(preset("tiny"), ProductShape(tokens=6, inputs=9, outputs=10))
    everything = [some[i] for some in space.all() for i in range(len(some))]
    assert 0 < len(everything) <= space.candidates
    assert len(set(everything)) == len(everything)
    drawn = space.draw(500, np.random.default_rng(0))
    assert {drawn[i] for i in range(500)} <= set(everything)


def test_even_sizes_cut_into_different_numbers():
    assert even_sizes(10) == [1, 2, 3, 4, 5, 10]
