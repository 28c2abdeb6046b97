"""Attention cut by keys: sequences longer than the memories hold give the bits of whole rows."""

import dataclasses
import itertools

import numpy as np
import pytest

from systolith.compiler.compile import OBSERVABLE, compile_encoder
from systolith.compiler.keyblocks import fitting
from systolith.compiler.plan import CapacityError, Geometry, Plan, Shape, combine, plan_layer, row_costs
from systolith.compiler.program import OBSERVED, OUTPUT
from systolith.models.registry import Model, load_model
from systolith.rtl.config import PRESETS, Config
from systolith.rtl.isa import Function, Opcode, disassemble
from systolith.runtime.device import open_device
from systolith.runtime.functional import FunctionalDevice
from systolith.runtime.session import run_encoder

DEFAULT, TINY = PRESETS["default"], PRESETS["tiny"]
MODEL = {"hidden": 16, "heads": 2, "ffn": 24}
#: Keys and values go through DRAM; they stay on the chip, and only the scores do not fit.
SPILLED = dataclasses.replace(TINY, scratchpad_bytes=1600, accumulator_bytes=512, parameter_bytes=512)
RESIDENT = dataclasses.replace(TINY, scratchpad_bytes=9000, accumulator_bytes=512)


def plan_of(config: Config, tokens: int, *, hidden: int, heads: int, ffn: int) -> Plan:
    return plan_layer(config, Shape(tokens, hidden, heads, ffn))


def check(config: Config, model: Model, tokens: int, valid: int | None) -> None:
    x = model.prepare()
    program = compile_encoder(model.quantized, config, tokens, valid=valid)
    result = FunctionalDevice(config, seed=tokens).run(program.image, program.regions(x))
    for index, expected in enumerate(model.quantized.forward(x, valid)):
        got = program.tensors[f"layer{index}"].unpack(result.regions[OUTPUT])
        np.testing.assert_array_equal(got, expected, err_msg=f"layer {index}")


@pytest.mark.parametrize(("config", "resident"), [(SPILLED, False), (RESIDENT, True)])
@pytest.mark.parametrize(("tokens", "valid"), [(60, None), (90, 89), (100, 33), (77, 1)])
def test_several_key_blocks(config: Config, resident: bool, tokens: int, valid: int | None) -> None:
    plan = plan_of(config, tokens, **MODEL)
    assert plan.by_keys
    assert plan.kv_resident == resident
    assert 0 < plan.held_blocks * plan.key_rows < tokens
    check(config, load_model("random", tokens=tokens, layers=2, **MODEL), tokens, valid)


@pytest.mark.parametrize("size", [(6, 10), (10, 6), (5, 7), (12, 12)])
@pytest.mark.parametrize("tokens", [70, 77])
def test_arrays_that_divide_nothing(size: tuple[int, int], tokens: int) -> None:
    config = dataclasses.replace(DEFAULT.resized(*size), scratchpad_bytes=6000, accumulator_bytes=6000)
    shape = {"hidden": 40, "heads": 2, "ffn": 48}
    plan = plan_of(config, tokens, **shape)
    assert plan.by_keys
    assert plan.key_rows % np.lcm(*size) == 0
    check(config, load_model("random", tokens=tokens, layers=1, **shape), tokens, tokens - 9)


def test_scores_that_the_accumulator_holds_are_made_once_and_padding_never() -> None:
    tokens, valid = 90, 50
    model = load_model("random", tokens=tokens, layers=1, **MODEL)
    plan = plan_of(SPILLED, tokens, **MODEL)
    program = compile_encoder(model.quantized, SPILLED, tokens, valid=valid)
    instructions = disassemble(program.image.tobytes())
    tasks = 2 * -(-tokens // plan.query_rows)
    blocks = -(-valid // plan.key_rows)
    scores = [i for i in instructions if i.opcode == Opcode.MATRIX and i.transpose]
    exponents = [i for i in instructions if i.opcode == Opcode.VECTOR and i.function == Function.EXPONENT]
    assert sum(i.track_max for i in scores) == len(exponents) == tasks * blocks
    assert len(scores) == tasks * (2 * blocks - plan.held_blocks)
    assert (
        sum(i.max_first for i in scores) == sum(i.first for i in exponents) == sum(i.last for i in exponents) == tasks
    )


def test_observed_tensors_are_the_references() -> None:
    model = load_model("random", tokens=60, layers=1, **MODEL)
    x = model.prepare()
    program = compile_encoder(model.quantized, SPILLED, 60, observe=True)
    region = FunctionalDevice(SPILLED, seed=0).run(program.image, program.regions(x)).regions[OBSERVED]
    expected: dict[str, np.ndarray] = {}
    model.quantized.layers[0].forward(x, None, expected.__setitem__)
    for name in OBSERVABLE:
        np.testing.assert_array_equal(program.tensors[f"layer0.{name}"].unpack(region), expected[name], err_msg=name)


@pytest.mark.parametrize("config", [SPILLED, pytest.param(RESIDENT, marks=pytest.mark.slow)])
def test_rtl_equals_the_reference(config: Config) -> None:
    model = load_model("random", tokens=60, layers=1, **MODEL)
    outcome = run_encoder(model.quantized, model.prepare(), open_device(config, "rtl"), valid=47)
    assert outcome.difference is None


@pytest.mark.parametrize("tokens", [16, 128])
def test_whole_rows_where_they_fit(tokens: int) -> None:
    assert not plan_of(DEFAULT, tokens, hidden=384, heads=12, ffn=1536).by_keys
    assert not plan_of(DEFAULT, tokens, hidden=768, heads=12, ffn=3072).by_keys


def test_cut_by_keys_where_whole_rows_leave_no_ring() -> None:
    """BERT-Base at 512 tokens: whole rows of scores fit for sixteen queries, with next to no room for weights."""
    plan = plan_of(DEFAULT, 512, hidden=768, heads=12, ffn=3072)
    assert plan.by_keys
    assert plan.held_blocks * plan.key_rows == 512, "no scores are made twice"


@pytest.mark.parametrize(
    ("scratchpad_kib", "accumulator_kib", "shape", "fit"),
    [
        (128, 64, Shape(2048, 64, 1, 256), 1),
        (128, 64, Shape(1024, 192, 3, 384), 1),
        (512, 32, Shape(1024, 64, 2, 256), 4),
    ],
)
def test_no_cut_that_was_left_out_is_estimated_to_be_better(
    scratchpad_kib: int, accumulator_kib: int, shape: Shape, fit: int
) -> None:
    config = dataclasses.replace(
        DEFAULT, scratchpad_bytes=scratchpad_kib * 1024, accumulator_bytes=accumulator_kib * 1024
    )
    plan, geometry = plan_layer(config, shape), Geometry(shape, config.rows, config.cols)
    assert plan.by_keys
    best = []
    for resident in itertools.product((True, False), repeat=2):
        every = fitting(config, geometry, *resident)
        best.append(combine(config, every, row_costs(config, geometry, *resident), *resident))
    fitted = [one.cycles for one in best if one is not None]
    assert len(fitted) == fit
    assert plan.cycles <= 1.001 * min(fitted)


def test_2048_tokens_on_the_default_array() -> None:
    shape = Shape(2048, 128, 4, 256)
    plan = plan_layer(DEFAULT, shape)
    assert plan.by_keys
    products = 2048 * (4 * 128**2 + 2 * 128 * 256) + 2 * 2048**2 * 128
    assert products / 256 < plan.cycles < 1.15 * products / 256


def test_refuses_memories_without_room_for_two_key_blocks() -> None:
    config = dataclasses.replace(TINY, scratchpad_bytes=700, accumulator_bytes=512)
    with pytest.raises(
        CapacityError, match="two blocks of keys and values of one head take at least 96 scratchpad rows"
    ):
        plan_layer(config, Shape(100, 48, 2, 24))
