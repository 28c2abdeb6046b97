"""Compiled programs, run instruction by instruction, give the integer reference's bits whatever the cut."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from systolith.compiler.compile import OBSERVABLE, compile_encoder
from systolith.compiler.hazards import ProgramError
from systolith.compiler.plan import CapacityError, Shape, plan_layer
from systolith.compiler.program import OBSERVED, OUTPUT, Program
from systolith.models.registry import load_model
from systolith.rtl.config import PRESETS, Config
from systolith.runtime.functional import FunctionalDevice

DEFAULT, TINY = PRESETS["default"], PRESETS["tiny"]
#: Too small for the resident plans: input and context go through DRAM, in blocks of few tokens.
CRAMPED = dataclasses.replace(TINY, scratchpad_bytes=2800, accumulator_bytes=1024, parameter_bytes=512)


def check(config: Config, *, tokens: int, valid: int | None = None, **shape: int) -> None:
    model = load_model("random", tokens=tokens, **shape)
    x = model.prepare()
    program = compile_encoder(model.quantized, config, tokens, valid=valid)
    # The memories start with random contents, so nothing may depend on what was never written.
    result = FunctionalDevice(config, seed=tokens).run(program.image, program.regions(x))
    for index, expected in enumerate(model.quantized.forward(x, valid)):
        got = program.tensors[f"layer{index}"].unpack(result.regions[OUTPUT])
        np.testing.assert_array_equal(got, expected, err_msg=f"layer {index}")


@pytest.mark.parametrize("tokens", [1, 2, 16, 17, 40])
def test_any_length(tokens: int) -> None:
    check(DEFAULT, tokens=tokens, hidden=48, heads=3, ffn=80, layers=2)


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (6, 10), (10, 6), (5, 7), (12, 12), (3, 16), (32, 32)])
def test_any_array_and_shapes_that_fit_none(size: tuple[int, int]) -> None:
    check(DEFAULT.resized(*size), tokens=21, valid=19, hidden=40, heads=2, ffn=77, layers=1)


@pytest.mark.parametrize("valid", [1, 5, 16])
def test_padded_keys_count_for_nothing(valid: int) -> None:
    check(TINY, tokens=18, valid=valid, hidden=24, heads=2, ffn=40, layers=1)


def test_everything_through_dram_when_nothing_is_resident() -> None:
    plan = plan_layer(CRAMPED, Shape(30, 32, 2, 96))
    assert not plan.x_resident
    assert not plan.context_resident
    check(CRAMPED, tokens=30, hidden=32, heads=2, ffn=96, layers=2)


def test_the_fewest_statistics_and_parameter_rows() -> None:
    # Query blocks of 2, 2 and 1 rows in 4 statistics rows; vector groups of 2 parameter rows.
    check(
        dataclasses.replace(TINY, statistics_rows=4, parameter_bytes=64), tokens=5, hidden=16, heads=2, ffn=24, layers=2
    )
    with pytest.raises(CapacityError, match=r"head size 32 .* takes 8 parameter rows; parameter_bytes of 64 holds 2"):
        check(dataclasses.replace(TINY, parameter_bytes=64), tokens=5)


def test_observed_tensors_are_the_references() -> None:
    model = load_model("random", tokens=13, hidden=40, heads=2, ffn=70, layers=2)
    config, x = DEFAULT.resized(6, 10), model.prepare()
    program = compile_encoder(model.quantized, config, 13, observe=True)
    region = FunctionalDevice(config, seed=0).run(program.image, program.regions(x)).regions[OBSERVED]
    for index, layer in enumerate(model.quantized.layers):
        expected: dict[str, np.ndarray] = {}
        x = layer.forward(x, None, expected.__setitem__)
        assert tuple(expected) == OBSERVABLE
        for name, tensor in expected.items():
            np.testing.assert_array_equal(program.tensors[f"layer{index}.{name}"].unpack(region), tensor, err_msg=name)


def test_program_file_round_trip_and_refusals(tmp_path: Path) -> None:
    model = load_model("random", tokens=5, layers=1)
    program = compile_encoder(model.quantized, TINY, 5)
    path = tmp_path / "program.npz"
    program.save(path)
    again = Program.load(path, TINY)
    np.testing.assert_array_equal(again.image, program.image)
    assert again.tensors == program.tensors
    with pytest.raises(ProgramError, match=r"for another configuration: \w+ is \S+ there, \S+ here"):
        Program.load(path, DEFAULT)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ProgramError, match="is truncated or no Systolith program"):
        Program.load(path)


def test_refuses_what_does_not_fit() -> None:
    model = load_model("random", tokens=5, layers=1)
    with pytest.raises(CapacityError, match="does not fit 136 scratchpad rows and 64 accumulator rows of a 4x4 array"):
        compile_encoder(
            model.quantized, dataclasses.replace(TINY, scratchpad_bytes=544, accumulator_bytes=1024), 200
        )  # fmt: skip
    with pytest.raises(CapacityError, match="needs gelu, which this configuration leaves out"):
        compile_encoder(model.quantized, dataclasses.replace(TINY, gelu=False), 5)
    with pytest.raises(ValueError, match="9000 tokens; random takes 1 to 8191"):
        compile_encoder(model.quantized, TINY, 9000)
    with pytest.raises(ValueError, match="6 valid tokens of 5"):
        compile_encoder(model.quantized, TINY, 5, valid=6)


@pytest.mark.parametrize("tokens", [16, 128])
def test_minilm_shape_keeps_the_ring_and_all_macs(tokens: int) -> None:
    shape = Shape(tokens, 384, 12, 1536)
    plan = plan_layer(DEFAULT, shape)
    assert plan.ring_rows >= 3 * plan.chunk_rows
    assert plan.cycles >= (1769472 * tokens + 768 * tokens**2) / 256
