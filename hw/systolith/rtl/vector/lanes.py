"""The lanes: what the vector unit computes of each element."""

from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Array, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from systolith.numerics import integer
from systolith.numerics.approximation import APPROXIMATIONS, DEFAULT, LOOK_UP, POLYNOMIAL

from ..config import Config
from ..interfaces import PARAMETER_RECORD
from ..isa import Function
from .arithmetic import delayed, half, multiplied, one_of, saturated
from .beat import RECIPROCAL, Beat
from .polynomials import PolynomialExponent, PolynomialGelu
from .tables import ExponentTable, GeluTable

#: acc + bias and maximum - acc of int32 values.
_SUM_BITS = 33
#: Signed operand times uint16: |product| < 2**(27 + 16).
_PRODUCT_A_BITS = integer.OPERAND_BITS + 16
#: Larger shifts round every product A to 0, as this one does: |product| < 2**(shift - 1).
_SHIFT_A_LIMIT = _PRODUCT_A_BITS
#: z times int16.
_PRODUCT_B_BITS = integer.PRODUCT_BITS + 16
#: The same bound for product B plus an int32 bias: 2**34 + 2**31 < 2**(36 - 1).
_SHIFT_B_LIMIT = _PRODUCT_B_BITS

#: Bits of a shift by less than a byte.
_BYTE = 3

_CARRIED = data.StructLayout({"bias": signed(32), "multiplier_b": signed(16), "skip": signed(8)})
#: Cycles from the operands to their result, and those of EXPONENT and GELU in between, with tables.
_LATENCY, _EXPONENT_LATENCY, _GELU_LATENCY = 21, 3, 4
#: EXPONENT's and GELU's unit of each approximation.
_UNITS: dict[str, tuple[type[ExponentTable | PolynomialExponent], type[GeluTable | PolynomialGelu]]] = {
    LOOK_UP: (ExponentTable, GeluTable),
    POLYNOMIAL: (PolynomialExponent, PolynomialGelu),
}
_CONTROL = ("function", "count", "shift_b", "offset", "grid")


class Lanes(wiring.Component):
    """All lanes of one beat, a rigid pipeline: every beat takes :attr:`latency` cycles, nothing ever stalls.

    Operand and saturation (cycles 1 to 3), multiplier A, rounding shift and saturation to 20 bits (4 to 9), tables
    (10 to 13), multiplier B, bias and rounding shift (14 to 19), last addition, saturation and mask (20, 21). What
    follows units of more cycles is so much later: cycles are counted as with tables.
    Functions that skip a step pass beside it, so that beats of different functions follow each other freely.

    Parameters
    ----------
    config : Config
        ``lanes``, ``cols``, which functions exist and by which approximation.

    Members
    -------
    beat : ``In(Beat(config))``, one cycle ahead of its operands, so that what it decides on is registered.
    accumulator, parameters : ``In``, whole rows; the lane group ``beat.group`` is used.
    skip : ``In``, the residual's int8 elements of the lanes. RESIDUAL only.
    maximum, reciprocal : ``In``, of the token row.
    result : ``Out``, int16 lanes :attr:`latency` cycles later. All functions but RESIDUAL give int8 values.
    """

    beat: Any
    accumulator: Any
    parameters: Any
    skip: Any
    maximum: Signal
    reciprocal: Any
    result: Any

    def __init__(self, config: Config) -> None:
        self.config = config
        self._exponent, self._gelu = _UNITS[config.approximation]
        #: By how many cycles the units are later than tables.
        self._more = self.latency - _LATENCY
        super().__init__(
            {
                "beat": In(Beat(config)),
                "accumulator": In(data.ArrayLayout(signed(32), config.cols)),
                "parameters": In(data.ArrayLayout(PARAMETER_RECORD, config.cols)),
                "skip": In(data.ArrayLayout(signed(8), config.lanes)),
                "maximum": In(signed(32)),
                "reciprocal": In(RECIPROCAL),
                "result": Out(data.ArrayLayout(signed(16), config.lanes)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the operands to their result."""
        return self.latency_of(self.config)

    @staticmethod
    def latency_of(config: Config) -> int:
        """:attr:`latency`, without lanes."""
        exponent, gelu = _UNITS[config.approximation]
        return _LATENCY + max(0, exponent.latency - _EXPONENT_LATENCY, gelu.latency - _GELU_LATENCY)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat = delayed(m, self.beat, 1)[1]
        row = self._row(m, beat)
        layout = self.beat.shape()
        control = Signal(data.StructLayout({name: layout[name].shape for name in _CONTROL}))
        m.d.comb += [control[name].eq(beat[name]) for name in _CONTROL]
        controls = delayed(m, control, self.latency - 1)
        shifts = self._shifts(m, beat, controls)
        for lane in range(self.config.lanes):
            record = Signal(PARAMETER_RECORD, name=f"record_{lane}")
            selected = Signal(signed(32), name=f"selected_{lane}")
            m.d.comb += [
                record.eq(self._select(self.parameters, beat.group, lane)),
                selected.eq(self._select(self.accumulator, beat.group, lane)),
            ]
            z = self._scale(m, lane, selected, record, row, shifts)
            self._finish(m, lane, z, self._carry(m, lane, record), controls, shifts)
        return m

    def _is(self, function: Value, *choices: Function) -> Value:
        return one_of(function, set(choices), self.config)

    def _row(self, m: Module, beat: Any) -> dict[str, Value]:
        """What all lanes share in cycle 0: the row's addend and multiplier, and when to use them."""
        function = self.beat.function
        exponent, layernorm, used, carry = (
            Signal(reset_less=True, name=name) for name in ("is_exponent", "is_layernorm", "row_used", "row_carry")
        )
        addend = Signal(signed(32))
        multiplier = Signal(16)
        m.d.sync += [
            exponent.eq(self._is(function, Function.EXPONENT)),
            layernorm.eq(self._is(function, Function.LAYERNORM)),
            used.eq(self._is(function, Function.EXPONENT, Function.CONTEXT, Function.LAYERNORM)),
            # Subtraction is the addition of the complement and a carry.
            carry.eq(exponent | layernorm),
        ]
        with m.If(exponent):
            m.d.comb += [addend.eq(self.maximum), multiplier.eq(beat.multiplier)]
        with m.Else():
            m.d.comb += multiplier.eq(self.reciprocal.mantissa)
            with m.If(layernorm):
                m.d.comb += addend.eq(~self.reciprocal.mean)
        return {"addend": addend, "multiplier": multiplier, "used": used, "complement": exponent, "carry": carry}

    def _shifts(self, m: Module, beat: Any, controls: list[Any]) -> dict[str, Value]:
        """Both shifts, clipped to what matters, and their halves, each in the cycle of its use.

        A shift goes by bytes and then by the bits that are left, a cycle each.
        """
        function, exponent = beat.function, self.reciprocal.exponent
        # The exponent comes late from its memory: it is registered before it is subtracted.
        base = Signal(6, reset_less=True)
        less = Signal(6, reset_less=True)
        shift_a = Signal(6, reset_less=True)
        m.d.sync += [base.eq(beat.shift_a), less.eq(0), shift_a.eq(base - less)]
        for shifted, constant in (
            (Function.CONTEXT, integer.CONTEXT_SHIFT),
            (Function.LAYERNORM, integer.LAYERNORM_SHIFT),
        ):
            with m.If(self._is(function, shifted)):
                m.d.sync += [base.eq(constant), less.eq(exponent)]
        clipped_a = Signal(6)
        clipped_b = Signal(6)
        shift_b = controls[12 + self._more].shift_b
        half_a = Signal(_SHIFT_A_LIMIT, reset_less=True)
        half_b = Signal(_SHIFT_B_LIMIT, reset_less=True)
        m.d.comb += [
            clipped_a.eq(Mux(shift_a > _SHIFT_A_LIMIT, _SHIFT_A_LIMIT, shift_a)),
            clipped_b.eq(Mux(shift_b > _SHIFT_B_LIMIT, _SHIFT_B_LIMIT, shift_b)),
        ]
        line_a = delayed(m, clipped_a, 5)
        line_b = delayed(m, clipped_b, 6)
        m.d.sync += [half_a.eq(half(line_a[2], _SHIFT_A_LIMIT)), half_b.eq(half(line_b[2], _SHIFT_B_LIMIT))]
        return {
            "bytes_a": line_a[4][_BYTE:],
            "bits_a": line_a[5][:_BYTE],
            "half_a": half_a,
            "bytes_b": line_b[5][_BYTE:],
            "bits_b": line_b[6][:_BYTE],
            "half_b": half_b,
        }

    def _select(self, row: Any, group: Value, lane: int) -> Any:
        """The lane's element of a whole row: that of the beat's lane group."""
        groups = self.config.cols // self.config.lanes
        if groups == 1:
            return row[lane]
        return Array(row[number * self.config.lanes + lane] for number in range(groups))[group]

    def _scale(
        self, m: Module, lane: int, selected: Signal, record: Any, row: dict[str, Value], shifts: dict[str, Value]
    ) -> Signal:
        """Cycles 1 to 9, ``integer.scale``: 20 bits."""
        acc = Signal(signed(32), reset_less=True, name=f"acc_{lane}")
        addend = Signal(signed(32), reset_less=True, name=f"addend_{lane}")
        multiplier = Signal(16, reset_less=True, name=f"multiplier_a_{lane}")
        wide = Signal(signed(_SUM_BITS), reset_less=True, name=f"sum_{lane}")
        operand = Signal(signed(integer.OPERAND_BITS), reset_less=True, name=f"operand_a_{lane}")
        rounded = Signal(signed(_PRODUCT_A_BITS + 1), reset_less=True, name=f"rounded_a_{lane}")
        coarse = Signal(signed(_PRODUCT_A_BITS + 1), reset_less=True, name=f"coarse_a_{lane}")
        shifted = Signal(signed(_PRODUCT_A_BITS + 1), reset_less=True, name=f"shifted_a_{lane}")
        z = Signal(signed(integer.PRODUCT_BITS), reset_less=True, name=f"z_{lane}")
        product = multiplied(m, operand, delayed(m, multiplier, 2)[2], f"product_a_{lane}")
        m.d.sync += [
            acc.eq(Mux(row["complement"], ~selected, selected)),
            addend.eq(Mux(row["used"], row["addend"], record.bias)),
            multiplier.eq(Mux(row["used"], row["multiplier"], record.multiplier_a)),
            wide.eq(acc + addend + row["carry"]),
            operand.eq(saturated(wide, integer.OPERAND_BITS)),
            rounded.eq(product + shifts["half_a"]),
            coarse.eq(rounded >> (shifts["bytes_a"] << _BYTE)),
            shifted.eq(coarse >> shifts["bits_a"]),
            z.eq(saturated(shifted, integer.PRODUCT_BITS)),
        ]
        return z

    def _carry(self, m: Module, lane: int, record: Any) -> list[Any]:
        """Operands of the second half, kept until cycle 15; element k is for use in cycle k + :attr:`_more`."""
        carried = Signal(_CARRIED, name=f"carried_{lane}")
        m.d.comb += [carried.bias.eq(record.bias), carried.multiplier_b.eq(record.multiplier_b)]
        if self.config.layernorm:
            m.d.comb += carried.skip.eq(self.skip[lane])
        return delayed(m, carried, 15 + self._more)[self._more :]

    def _finish(
        self, m: Module, lane: int, z: Signal, carried: list[Any], controls: list[Any], shifts: dict[str, Value]
    ) -> None:
        """Cycles 10 to 21: tables, multiplier B, the last addition, saturation and mask."""
        grid, controls = controls[9].grid, controls[self._more :]
        z_line = delayed(m, z, 4 + self._more)[self._more :]
        z12, z13 = z_line[3], z_line[4]
        # What joins after multiplier B, from cycle 13 on.
        main = Signal(signed(integer.PRODUCT_BITS), reset_less=True, name=f"main_{lane}")
        m.d.sync += main.eq(z12)
        if self.config.softmax:
            m.submodules[f"exponent_{lane}"] = exponent = self._exponent()
            m.d.comb += exponent.argument.eq(z)
            numerator = delayed(m, exponent.result, _EXPONENT_LATENCY + self._more - exponent.latency)[-1]
            with m.If(self._is(controls[12].function, Function.EXPONENT)):
                m.d.sync += main.eq(numerator)

        operand = Signal(signed(integer.PRODUCT_BITS), reset_less=True, name=f"operand_b_{lane}")
        m.d.sync += operand.eq(z13)
        if self.config.layernorm:
            with m.If(self._is(controls[13].function, Function.RESIDUAL)):
                m.d.sync += operand.eq(carried[13].skip)
        if self.config.gelu:
            m.submodules[f"gelu_{lane}"] = gelu = self._gelu()
            m.d.comb += [gelu.argument.eq(z), gelu.grid.eq(grid)]
            activated = delayed(m, gelu.result, _GELU_LATENCY + self._more - gelu.latency)[-1]
            with m.If(self._is(controls[13].function, Function.GELU)):
                m.d.sync += operand.eq(activated)

        product = multiplied(m, operand, carried[14].multiplier_b, f"product_b_{lane}")
        added = Signal(signed(_PRODUCT_B_BITS + 1), reset_less=True, name=f"added_b_{lane}")
        rounded = Signal(signed(_PRODUCT_B_BITS + 1), reset_less=True, name=f"rounded_b_{lane}")
        coarse = Signal(signed(_PRODUCT_B_BITS + 1), reset_less=True, name=f"coarse_b_{lane}")
        shifted = Signal(signed(_PRODUCT_B_BITS + 1), reset_less=True, name=f"shifted_b_{lane}")
        joined = Signal(signed(integer.PRODUCT_BITS), reset_less=True, name=f"joined_{lane}")
        total = Signal(signed(_PRODUCT_B_BITS + 2), reset_less=True, name=f"total_{lane}")
        result = Signal(signed(16), reset_less=True, name=f"result_{lane}")
        late = [c.function for c in controls]
        bias = Mux(self._is(late[15], Function.LAYERNORM), carried[15].bias, 0)
        bypass = self._is(late[18], Function.REQUANTIZE, Function.EXPONENT)
        main_18 = delayed(m, main, 5)[5]
        m.d.sync += [
            added.eq(bias + shifts["half_b"]),
            rounded.eq(product + added),
            coarse.eq(rounded >> (shifts["bytes_b"] << _BYTE)),
            shifted.eq(Mux(bypass, 0, coarse >> shifts["bits_b"])),
            joined.eq(Mux(bypass | self._is(late[18], Function.RESIDUAL), main_18, 0)),
        ]
        with m.If(self._is(late[18], Function.GELU)):
            m.d.sync += joined.eq(controls[18].offset)
        with m.If(lane >= controls[20].count):
            m.d.sync += result.eq(0)
        with m.Elif(self._is(late[20], Function.RESIDUAL)):
            m.d.sync += result.eq(saturated(total, 16))
        with m.Else():
            m.d.sync += result.eq(saturated(total, 8))
        m.d.sync += total.eq(shifted + joined)
        m.d.comb += self.result[lane].eq(result)

    @staticmethod
    def model(
        function: Function,
        acc: npt.ArrayLike,
        *,
        approximation: str = DEFAULT,
        bias: npt.ArrayLike = 0,
        multiplier_a: npt.ArrayLike = 0,
        multiplier_b: npt.ArrayLike = 0,
        skip: npt.ArrayLike = 0,
        maximum: npt.ArrayLike = 0,
        reciprocal: integer.Reciprocal | None = None,
        multiplier: int = 0,
        shift_a: int = 0,
        shift_b: int = 0,
        offset: int = 0,
        grid: int = 0,
    ) -> integer.IntArray:
        """The function of ``systolith.numerics.integer`` that the instruction names, of ``acc`` (rows, columns)."""
        acc = np.asarray(acc)
        units = APPROXIMATIONS[approximation]
        result: npt.ArrayLike
        if function is Function.REQUANTIZE:
            result = integer.requantize(acc, bias, multiplier_a, shift_a)
        elif function is Function.GELU:
            result = integer.gelu(
                acc, bias, multiplier_a, shift_a, multiplier_b, shift_b, offset, grid, units.gelu_grid
            )
        elif function is Function.EXPONENT:
            result = integer.exponent(acc, maximum, multiplier, shift_a, units.numerator)
        elif function is Function.RESIDUAL:
            result = integer.residual(acc, bias, multiplier_a, shift_a, skip, multiplier_b, shift_b)
        elif reciprocal is None:
            raise ValueError(f"{function.name} needs the rows' reciprocals")
        elif function is Function.CONTEXT:
            result = integer.context(acc, reciprocal, multiplier_b, shift_b)
        else:
            result = integer.layernorm(acc, reciprocal, multiplier_b, bias, shift_b)
        return np.asarray(result).astype(np.int64)
