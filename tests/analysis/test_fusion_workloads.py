"""Stages of a layer, fused and through DRAM: bit-exact on the functional device for odd sizes and arrays."""

from dataclasses import replace

import pytest

from systolith.analysis.bounds import attention_work
from systolith.analysis.fusion_workloads import (
    AddNormWorkload,
    AttentionLayerWorkload,
    ScoresWorkload,
    SoftmaxWorkload,
    SpilledProductWorkload,
)
from systolith.compiler.plan import CapacityError, Geometry, Shape
from systolith.rtl.config import preset
from systolith.runtime.device import open_device

SIZES = [(4, 4), (6, 10), (10, 6), (16, 16)]


def attention_stages(heads, size, tokens, rows, keys):
    shape = {"heads": heads, "size": size, "tokens": tokens, "rows": rows, "keys": keys}
    yield ScoresWorkload(**shape)
    for spilled in (False, True):
        for context in (False, True):
            yield SoftmaxWorkload(**shape, spilled=spilled, context=context)


@pytest.mark.parametrize("array", SIZES)
@pytest.mark.parametrize("shape", [(2, 6, 19, 7, 1), (1, 10, 77, 40, 2)])
def test_attention_matches_the_reference_of_each_schedule(array, shape):
    heads, size, tokens, rows, granules = shape
    config = preset("default").resized(*array)
    keys = granules * Geometry(Shape(tokens, heads * size, heads, 1), *array).key_granule
    device = open_device(config, "functional", seed=1)
    for stage in attention_stages(heads, size, tokens, rows, keys):
        assert stage.run(device).difference is None, stage


def test_scores_that_the_accumulator_cannot_hold_are_made_or_fetched_twice():
    config = replace(preset("tiny"), accumulator_bytes=4096)
    device = open_device(config, "functional", seed=1)
    for stage in list(attention_stages(1, 8, 50, 16, 8))[1:]:
        measured = stage.run(device)
        assert measured.difference is None, stage
        # 4 blocks of queries meet 7 of keys; of these, the accumulator holds the last few.
        products = [i for i in measured.program.operation_of if measured.program.operations[i].name == "scores"]
        assert len(products) > 4 * 7


@pytest.mark.parametrize("array", SIZES)
@pytest.mark.parametrize("ffn2", [False, True])
def test_add_norm_matches_the_reference_of_each_schedule(array, ffn2):
    device = open_device(preset("default").resized(*array), "functional", seed=1)
    shape = {"hidden": 50, "ffn": 91, "tokens": 37, "ffn2": ffn2}
    assert SpilledProductWorkload(**shape).run(device).difference is None
    for rows in (5, 37):
        for spilled in (False, True):
            assert AddNormWorkload(**shape, rows=rows, spilled=spilled).run(device).difference is None


@pytest.mark.parametrize("array", SIZES)
def test_whole_attention_matches_the_reference(array):
    measured = AttentionLayerWorkload(hidden=50, heads=2, tokens=37).run(
        open_device(preset("default").resized(*array), "functional", seed=1)
    )
    assert measured.difference is None
    work = AttentionLayerWorkload(hidden=50, heads=2, tokens=37).work
    assert measured.program.macs == work.macs == 37 * 50 * (4 * 50 + 2 * 37)


def test_an_input_larger_than_the_scratchpad_comes_in_pieces():
    config = replace(preset("tiny"), scratchpad_bytes=6144)
    workload = AddNormWorkload(hidden=24, ffn=200, tokens=30, ffn2=True, rows=10, spilled=False)
    measured = workload.run(open_device(config, "functional", seed=1))
    assert measured.difference is None


@pytest.mark.parametrize("spilled", [False, True])
def test_rounding_to_int8_in_between_changes_little_and_something(spilled):
    workload = AddNormWorkload(hidden=48, ffn=96, tokens=40, ffn2=False, rows=8, spilled=spilled)
    fused = replace(workload, spilled=False).tensors(preset("tiny"))[1]
    away = abs(workload.tensors(preset("tiny"))[1].astype(int) - fused)
    assert (0 < away.mean() < 0.3) == spilled
    assert away.max() <= 2


def test_the_stages_of_attention_do_its_work():
    config_free = attention_work(2, 8, 40)
    scores, numerators, context, spilled_numerators, spilled_context = (
        stage.work for stage in attention_stages(2, 8, 40, 8, 8)
    )
    assert context == config_free
    assert scores.macs == numerators.macs == spilled_context.macs == context.macs // 2
    assert spilled_numerators.macs == 0
    assert spilled_context.read_bytes - context.read_bytes == 2 * 40 * 40 - 2 * 40 * 16


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (ScoresWorkload(heads=1, size=8, tokens=4000, rows=8, keys=3997), "4000 keys and 8 queries take 16"),
        (SoftmaxWorkload(heads=1, size=8, tokens=4000, rows=8, keys=4000, spilled=True, context=True), "4000 keys"),
        (AddNormWorkload(hidden=48, ffn=48, tokens=200, ffn2=False, rows=129, spilled=False), "129 whole rows of 48"),
        (
            AddNormWorkload(hidden=512, ffn=48, tokens=20, ffn2=False, rows=8, spilled=True),
            "8 rows of input and output do not fit",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(stage, message):
    with pytest.raises(CapacityError, match=message):
        stage.compile(replace(preset("tiny"), scratchpad_bytes=16384))


def test_stages_run_on_the_hardware():
    device = open_device(preset("tiny"), "rtl", trace=False)
    stages = [
        *attention_stages(2, 6, 21, 8, 8),
        AddNormWorkload(hidden=24, ffn=40, tokens=19, ffn2=True, rows=7, spilled=False),
        AddNormWorkload(hidden=24, ffn=40, tokens=19, ffn2=True, rows=7, spilled=True),
        AttentionLayerWorkload(hidden=24, heads=2, tokens=19),
    ]
    for stage in stages:
        measured = stage.run(device)
        assert measured.difference is None, stage
        assert measured.result.counters["write_beats"] * 8 >= stage.work.written_bytes
