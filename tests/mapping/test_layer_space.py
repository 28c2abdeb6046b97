"""The mapspace of a layer: the same bits by every mapping of it."""

import dataclasses
import random

import pytest

from systolith.analysis.workloads import EncoderWorkload
from systolith.compiler.mapping import MappingError
from systolith.compiler.plan import Shape, plan_layer
from systolith.mapping.layer_space import LayerSpace
from systolith.rtl.config import preset
from systolith.runtime.device import open_device

TINY = preset("tiny")
SHAPE = Shape(tokens=19, hidden=24, heads=2, ffn=40)


def layer(**values):
    return EncoderWorkload(hidden=24, heads=2, ffn=40, tokens=19, **values)


@pytest.mark.parametrize("config", [TINY, preset("default").resized(6, 10), preset("default").resized(10, 6)])
def test_every_mapping_gives_the_same_bits(config):
    rng = random.Random(config.rows)
    space = LayerSpace(config, SHAPE)
    device = open_device(config, "functional")
    cuts = set()
    for _ in range(8):
        plan = space.plan(space.draw(rng))
        assert layer(plan=plan).run(device).difference is None, plan
        cuts.add(plan.by_keys)
    assert cuts == {True, False}


def test_the_heuristic_is_one_of_all():
    space = LayerSpace(TINY, SHAPE)
    plan = space.heuristic()
    same = dataclasses.replace(plan, cycles=0.0, chunk_rows=0)
    assert any(dataclasses.replace(space.plan(c), chunk_rows=0) == same for c in space.all())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"query_rows": 20}, "query_rows must be from 1 to 19, not 20"),
        ({"chunk_rows": 6}, "chunk_rows must be a multiple of 4 from 4"),
        ({"ring_rows": 10**6}, "ring_rows must be from 4 to 8192, not 1000000"),
        ({"ring_rows": 8192}, "the plan does not fit: scratchpad"),
        ({"value_places": 3}, "value_places must be from 1 to 2, not 3"),
        ({"key_rows": 4, "held_blocks": 0}, "held_blocks must be from 1 to 19, not 0"),
    ],
)
def test_plans_of_no_such_layer_are_refused(change, sentence):
    plan = dataclasses.replace(plan_layer(TINY, SHAPE), **change)
    with pytest.raises(MappingError, match=sentence):
        layer(plan=plan).run(open_device(TINY, "functional"))
