"""The lanes of each function against the integer arithmetic, functions mixed from beat to beat."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from systolith.numerics.integer import Reciprocal
from systolith.rtl.config import Config, preset
from systolith.rtl.isa import Function
from systolith.rtl.vector.lanes import Lanes

TINY = preset("tiny")
CORNERS = [0, 1, -1, (1 << 27) - 1, 1 << 27, -(1 << 27), -(1 << 27) - 1, (1 << 31) - 1, -(1 << 31)]


def random_beat(rng: np.random.Generator, config: Config, functions: list[Function]) -> dict[str, Any]:
    """Operands of one beat, values of every magnitude and corners among them."""
    cols, lanes = config.cols, config.lanes

    def wide(count: int) -> np.ndarray:
        values = rng.integers(-(1 << 31), 1 << 31, count) >> rng.integers(0, 28, count)
        return np.where(rng.random(count) < 0.2, rng.choice(CORNERS, count), values)

    function = functions[rng.integers(len(functions))]
    softmax = function is Function.CONTEXT
    return {
        "function": function,
        "acc": wide(cols),
        "bias": wide(cols) if rng.random() < 0.8 else np.zeros(cols, np.int64),
        "multiplier_a": rng.choice([0, 1, 32768, 65535, int(rng.integers(65536))], cols),
        "multiplier_b": rng.choice([0, 1, -32768, 32767, int(rng.integers(-32768, 32768))], cols),
        "skip": rng.choice([0, -128, 127, int(rng.integers(-128, 128))], lanes),
        "maximum": int(wide(1)[0]),
        "mean": 0 if softmax else int(rng.integers(-32768, 32768)),
        "mantissa": int(rng.integers(32768, 65536)),
        "exponent": int(rng.integers(24 if softmax else 22)),
        "multiplier": int(rng.integers(65536)),
        "shift_a": int(rng.integers(64)) if rng.random() < 0.3 else int(rng.integers(10, 45)),
        "shift_b": int(rng.integers(64)) if rng.random() < 0.3 else int(rng.integers(5, 30)),
        "offset": int(rng.integers(-128, 128)),
        "grid": int(rng.integers(4)),
        "group": int(rng.integers(cols // lanes)),
        "count": int(rng.integers(lanes + 1)) if rng.random() < 0.3 else lanes,
    }


def expected(config: Config, beat: dict[str, Any]) -> list[int]:
    lanes = slice(beat["group"] * config.lanes, (beat["group"] + 1) * config.lanes)
    columns = {name: beat[name][lanes][None] for name in ("bias", "multiplier_a", "multiplier_b")}
    scalars = {name: beat[name] for name in ("multiplier", "shift_a", "shift_b", "offset", "grid")}
    row = Reciprocal(*(np.array([beat[name]]) for name in ("mean", "mantissa", "exponent")))
    result = Lanes.model(
        beat["function"], beat["acc"][lanes][None], **columns, **scalars,
        skip=beat["skip"][None], maximum=[beat["maximum"]], reciprocal=row,
    )[0]  # fmt: skip
    return np.where(np.arange(config.lanes) < beat["count"], result, 0).tolist()


def run(config: Config, beats: list[dict[str, Any]]) -> list[list[int]]:
    dut = Lanes(config)
    results = []

    async def bench(ctx):
        # A beat is a cycle ahead of its operands.
        for cycle in range(-1, len(beats) + dut.latency - 1):
            ahead = beats[min(cycle + 1, len(beats) - 1)]
            for name in ("function", "group", "count", "multiplier", "shift_a", "shift_b", "offset", "grid"):
                ctx.set(dut.beat[name], int(ahead[name]))
            beat = beats[min(max(cycle, 0), len(beats) - 1)]
            for column in range(config.cols):
                ctx.set(dut.accumulator[column], int(beat["acc"][column]))
                for name in ("bias", "multiplier_a", "multiplier_b"):
                    ctx.set(dut.parameters[column][name], int(beat[name][column]))
            for lane in range(config.lanes):
                ctx.set(dut.skip[lane], int(beat["skip"][lane]))
            ctx.set(dut.maximum, beat["maximum"])
            for name in ("mean", "mantissa", "exponent"):
                ctx.set(dut.reciprocal[name], beat[name])
            await ctx.tick()
            if cycle + 1 >= dut.latency:
                results.append([ctx.get(dut.result[lane]) for lane in range(config.lanes)])

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return results


@pytest.mark.parametrize("function", Function)
def test_function_alone(function):
    rng = np.random.default_rng(function)
    beats = [random_beat(rng, TINY, [function]) for _ in range(150)]
    assert run(TINY, beats) == [expected(TINY, beat) for beat in beats]


def test_functions_mixed_with_lane_groups():
    config = dataclasses.replace(TINY, lanes=2)
    rng = np.random.default_rng(0)
    beats = [random_beat(rng, config, list(Function)) for _ in range(300)]
    assert run(config, beats) == [expected(config, beat) for beat in beats]


@pytest.mark.parametrize(
    ("left_out", "functions"),
    [
        ({"softmax": False, "gelu": False, "layernorm": False}, [Function.REQUANTIZE]),
        ({"softmax": False}, [Function.GELU, Function.RESIDUAL, Function.LAYERNORM]),
        ({"gelu": False, "layernorm": False}, [Function.EXPONENT, Function.CONTEXT]),
    ],
)
def test_without_some_functions(left_out, functions):
    config = dataclasses.replace(TINY, **left_out)
    rng = np.random.default_rng(7)
    beats = [random_beat(rng, config, functions) for _ in range(60)]
    assert run(config, beats) == [expected(config, beat) for beat in beats]


def test_model_names_what_it_needs():
    with pytest.raises(ValueError, match="CONTEXT needs the rows' reciprocals"):
        Lanes.model(Function.CONTEXT, [[0]])
