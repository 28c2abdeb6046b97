"""The vector unit's lanes: each function over its whole input grid or random operands, in any order."""

from typing import Any

import cocotb
import numpy as np

from systolith.numerics import integer
from systolith.rtl.isa import Function
from systolith.rtl.vector.beat import RECIPROCAL, Beat
from systolith.rtl.vector.lanes import Lanes
from systolith.sim.benches.common import checked, configuration, effort, random
from systolith.sim.benches.units.play import play, struct

#: Values of one play.
_VALUES = 1 << 18
#: Largest exponents of a row's reciprocal.
_EXPONENTS = {Function.CONTEXT: integer.SUM_BITS, Function.LAYERNORM: integer.SQUARES_BITS // 2 - 1}


def _any(rng: np.random.Generator, shape: tuple[int, ...], width: int) -> np.ndarray:
    """Signed integers of every length up to ``width`` bits, and the ends of their range now and then."""
    low, high = -(1 << (width - 1)), 1 << (width - 1)
    values = rng.integers(low, high, shape) >> rng.integers(0, width, shape)
    ends = rng.choice([low, low + 1, -1, 0, 1, high - 2, high - 1], shape)
    return np.where(rng.random(shape) < 0.05, ends, values)


class _Beats:
    """Beats with random operands, of the functions given one for each beat; tests overwrite what they choose."""

    def __init__(self, functions: np.ndarray, rng: np.random.Generator) -> None:
        self.config = configuration()
        self.functions = functions
        self.count = len(functions)
        n, lanes = self.count, self.config.lanes
        self.fields = {
            "group": rng.integers(0, self.config.cols // lanes, n), "count": rng.integers(1, lanes + 1, n),
            "multiplier": rng.integers(0, 1 << 16, n), "shift_a": rng.integers(0, 44, n),
            "shift_b": rng.integers(0, 37, n), "offset": rng.integers(-128, 128, n), "grid": rng.integers(0, 4, n),
        }  # fmt: skip
        for name in ("shift_a", "shift_b"):
            self.fields[name] = np.where(rng.random(n) < 0.1, rng.integers(0, 64, n), self.fields[name])
        self.acc = _any(rng, (n, lanes), 32)
        self.bias = _any(rng, (n, lanes), 32)
        self.multiplier_a = rng.integers(0, 1 << 16, (n, lanes)) >> rng.integers(0, 16, (n, lanes))
        self.multiplier_b = _any(rng, (n, lanes), 16)
        self.skip = rng.integers(-128, 128, (n, lanes))
        self.maximum = _any(rng, (n,), 32)
        largest = np.vectorize(lambda f: _EXPONENTS.get(Function(f), integer.SUM_BITS))(functions)
        self.reciprocal = integer.Reciprocal(
            _any(rng, (n,), 16), rng.integers(0, 1 << 16, n), rng.integers(0, largest + 1)
        )
        self._elsewhere = rng

    def _whole_rows(self, values: np.ndarray, width: int) -> np.ndarray:
        """The lanes' elements at their group of a row, others random: (n, cols)."""
        lanes, cols = self.config.lanes, self.config.cols
        rows = self._elsewhere.integers(0, 1 << min(width, 62), (self.count, cols))
        columns = self.fields["group"][:, None] * lanes + np.arange(lanes)
        np.put_along_axis(rows, columns, values, axis=1)
        return rows

    async def compare(self, dut: Any) -> None:
        latency = Lanes.latency_of(self.config)
        record = (self.bias & 0xFFFFFFFF) | self.multiplier_a << 32 | (self.multiplier_b & 0xFFFF) << 48
        row = {name: getattr(self.reciprocal, name) for name in ("mean", "mantissa", "exponent")}
        inputs = {
            "beat": struct(Beat(self.config), self.count, {"function": self.functions, **self.fields}),
            "accumulator": self._whole_rows(self.acc, 32),
            "parameters": self._whole_rows(record, 64),
            "skip": self.skip,
            "maximum": self.maximum,
            "reciprocal": struct(RECIPROCAL, self.count, row),
        }
        # A beat is a cycle ahead of its operands.
        padded = {name: _padded(value, int(name != "beat"), latency) for name, value in inputs.items()}
        response = await play(dut, 1 + self.count + latency, padded)
        found = response.read("result", 16, signed=True)[1 + latency :]
        shown = np.arange(self.config.lanes) < self.fields["count"][:, None]
        for function in Function:
            here = self.functions == function
            if here.any():
                expected = np.where(shown[here], self._model(function, here), 0)
                np.testing.assert_array_equal(found[here], expected, err_msg=function.name)
                checked(f"{function.name} values", shown[here].sum())

    def _model(self, function: Function, here: np.ndarray) -> np.ndarray:
        scalars = {name: self.fields[name][here][:, None] for name in ("shift_a", "shift_b", "offset", "grid")}
        return Lanes.model(
            function, self.acc[here], approximation=self.config.approximation, bias=self.bias[here],
            multiplier_a=self.multiplier_a[here], multiplier_b=self.multiplier_b[here], skip=self.skip[here],
            maximum=self.maximum[here], reciprocal=integer.Reciprocal(*(part[here] for part in self.reciprocal)),
            multiplier=self.fields["multiplier"][here][:, None], **scalars,
        )  # fmt: skip


def _padded(value: Any, before: int, cycles: int) -> Any:
    """``value`` after zeros for some cycles and before those that make it ``1 + cycles`` cycles longer."""
    if isinstance(value, np.ndarray):
        return np.pad(value, [(before, 1 + cycles - before), *[(0, 0)] * (value.ndim - 1)])
    value.word = _padded(value.word, before, cycles)
    return value


def _plays(values: int) -> list[int]:
    """Beats of each play."""
    lanes = configuration().lanes
    return [-(-min(_VALUES, values - start) // lanes) for start in range(0, values, _VALUES)]


@cocotb.test()
@cocotb.parametrize(function=[function.name for function in Function])
async def random_operands(dut: Any, function: str) -> None:
    """One function at a time: operands, multipliers and shifts of every size."""
    rng = random(1, Function[function])
    for beats in _plays(effort(1 << 20)):
        await _Beats(np.full(beats, Function[function]), rng).compare(dut)


@cocotb.test()
async def functions_in_any_order(dut: Any) -> None:
    """Another function in every cycle."""
    rng = random(2)
    for beats in _plays(effort(1 << 20)):
        await _Beats(rng.integers(0, len(Function), beats), rng).compare(dut)


@cocotb.test()
@cocotb.parametrize(grid=[0, 1, 2, 3])
async def gelu_over_its_input_grid(dut: Any, grid: int) -> None:
    """Every int16 that multiplier A can leave, under several output scales; lanes in turn."""
    lanes = configuration().lanes
    q = np.arange(-(1 << 15), 1 << 15).reshape(-1, lanes)
    rng = random(3, grid)
    for shift_b in (0, 3, 8, 15):
        beats = _Beats(np.full(len(q), Function.GELU), rng)
        beats.fields |= {name: np.full(len(q), value) for name, value in
                         {"shift_a": 0, "shift_b": shift_b, "grid": grid, "count": lanes}.items()}  # fmt: skip
        beats.bias = rng.integers(-(1 << 20), 1 << 20, q.shape)
        beats.acc = q - beats.bias
        beats.multiplier_a[:] = 1
        beats.multiplier_b[:] = 1 if shift_b == 0 else rng.integers(-(2**shift_b), 2**shift_b, q.shape)
        await beats.compare(dut)


@cocotb.test()
async def exponent_over_its_range(dut: Any) -> None:
    """Every argument below, within and beyond the ten bits, in every lane, from any maximum."""
    lanes = configuration().lanes
    arguments = np.repeat(np.arange(-1100, 2100), lanes)
    rng = random(4)
    beats = _Beats(np.full(len(arguments) // lanes, Function.EXPONENT), rng)
    for name, value in {"shift_a": 0, "multiplier": 1, "count": lanes}.items():
        beats.fields[name][:] = value
    beats.maximum = rng.integers(-(1 << 30), 1 << 30, beats.count)
    beats.acc = beats.maximum[:, None] - arguments.reshape(-1, lanes)
    await beats.compare(dut)
