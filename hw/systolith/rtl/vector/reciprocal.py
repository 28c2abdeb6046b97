"""Row reciprocals: the divide of softmax and the inverse square root of LayerNorm, one row a cycle."""

from typing import Any

import numpy.typing as npt
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from systolith.numerics import integer

from ..config import Config
from .arithmetic import delayed, multiplied, saturated
from .beat import RECIPROCAL

#: Bits of ``mean_multiplier``; the product with the 32-bit row sum is made in two halves.
_MULTIPLIER_BITS = 25
_LOW_BITS = 13
#: Fraction bits of the product of the sum and ``mean_multiplier``.
_MEAN_SHIFT = 24
_ROOT_BITS = 16
_RADICAND_BITS = 2 * _ROOT_BITS
_MANTISSA_BITS = 16
#: Cycles from the sums to the mean, to the sum of squared deviations, and of the normalisation.
_MEAN_CYCLES = 5
_DEVIATION_CYCLES = 11
_NORMALISE_CYCLES = 4


class RowReciprocal(wiring.Component):
    """``softmax_reciprocal`` and ``layernorm_reciprocal`` of rows that may follow each other every cycle.

    LayerNorm: mean and summed squared deviations (11 cycles); both: normalisation (4); LayerNorm: square root, one bit
    a cycle (16); both: restoring division, one bit a cycle (16). With both functions, a softmax row rides through the
    steps that it does not need. A division starts at the remainder 2**23 = 2**39 >> 16: the 16 quotient bits are then
    all ones both for the divisor 2**23, whose quotient 2**16 is clipped so, and for 0.

    Parameters
    ----------
    config : Config
        Which of the two functions exist.
    tag_width : int, bits
        Width of what goes along with a row.

    Members
    -------
    valid, softmax : ``In(1)``. ``softmax`` chooses the function.
    total : ``In(signed(32))``, the row's sum; softmax takes 24 bits of it.
    squares : ``In(44)``, sum of squares. LayerNorm only.
    columns : ``In(16)``, multiplier : ``In(25)``: constant for LayerNorm rows in flight.
    tag, tag_out : ``In``, ``Out(tag_width)``.
    valid_out : ``Out(1)``, :attr:`latency` cycles after ``valid``.
    result : ``Out(RECIPROCAL)``.
    """

    valid: Signal
    softmax: Signal
    total: Signal
    squares: Signal
    columns: Signal
    multiplier: Signal
    tag: Signal
    valid_out: Signal
    tag_out: Signal
    result: Any

    def __init__(self, config: Config, *, tag_width: int) -> None:
        self.config = config
        super().__init__(
            {
                "valid": In(1),
                "softmax": In(1),
                "total": In(signed(32)),
                "squares": In(integer.SQUARES_BITS),
                "columns": In(16),
                "multiplier": In(_MULTIPLIER_BITS),
                "tag": In(tag_width),
                "valid_out": Out(1),
                "tag_out": Out(tag_width),
                "result": Out(RECIPROCAL),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a row to its reciprocal."""
        return self.latency_of(self.config)

    @staticmethod
    def latency_of(config: Config) -> int:
        """:attr:`latency`, without a divider."""
        return (_DEVIATION_CYCLES + _ROOT_BITS) * config.layernorm + _NORMALISE_CYCLES + _MANTISSA_BITS

    @property
    def _first(self) -> int:
        """Cycle in which the value to normalise is there."""
        return _DEVIATION_CYCLES * self.config.layernorm

    def elaborate(self, platform: object) -> Module:
        m = Module()
        softmax = self._modes(m)
        m.d.comb += [
            self.valid_out.eq(delayed(m, self.valid, self.latency, reset=True)[-1]),
            self.tag_out.eq(delayed(m, self.tag, self.latency)[-1]),
        ]
        # A softmax sum stands at the top of the value, so that both functions count the same leading zeros.
        value = Signal(integer.SQUARES_BITS)
        total = Signal(integer.SUM_BITS)
        m.d.comb += total.eq(self.total)
        cycle = self._first
        low = integer.SQUARES_BITS - integer.SUM_BITS
        m.d.comb += value[low:].eq(delayed(m, total, cycle)[-1])
        if self.config.layernorm:
            mean, deviations = self._deviations(m)
            with m.If(~softmax[cycle]):
                m.d.comb += value.eq(deviations)
            mean = delayed(m, mean, self.latency - _MEAN_CYCLES)[-1]
            m.d.comb += self.result.mean.eq(Mux(softmax[-1], 0, mean))

        normalised, exponent = self._normalise(m, value, softmax[cycle:])
        cycle += _NORMALISE_CYCLES
        m.d.comb += self.result.exponent.eq(delayed(m, exponent, self.latency - cycle)[-1])
        divisor = Signal(integer.SUM_BITS)
        if self.config.layernorm:
            normalised, root = self._square_root(m, normalised, softmax[cycle:])
            cycle += _ROOT_BITS
            with m.If(~softmax[cycle]):
                m.d.comb += divisor.eq(root << (integer.SUM_BITS - _ROOT_BITS))
            with m.Else():
                m.d.comb += divisor.eq(normalised[-integer.SUM_BITS :])
        else:
            m.d.comb += divisor.eq(normalised[-integer.SUM_BITS :])
        m.d.comb += self.result.mantissa.eq(self._divide(m, divisor))
        return m

    def _modes(self, m: Module) -> list[Value]:
        """Whether the row in each cycle's stage is one of softmax."""
        if self.config.softmax and self.config.layernorm:
            return delayed(m, self.softmax, self.latency)
        return [Const(self.config.softmax, 1)] * (self.latency + 1)

    def _deviations(self, m: Module) -> tuple[Signal, Signal]:
        """The mean, in cycle 5, and ``squares - mean * (2 * total - columns * mean)`` clipped, in cycle 11.

        Widths follow from 16-bit means and at most 2**16 - 1 columns: ``columns * mean`` has 32 bits, the bracket 34,
        its product with the mean 50, the difference 51.
        """
        low = multiplied(m, self.total, self.multiplier[:_LOW_BITS], "low")
        high = multiplied(m, self.total, self.multiplier[_LOW_BITS:], "high")
        product = Signal(signed(32 + _MULTIPLIER_BITS), reset_less=True)
        rounded = Signal(signed(32 + _MULTIPLIER_BITS + 1 - _MEAN_SHIFT), reset_less=True)
        mean = Signal(signed(16), reset_less=True)
        weighted = Signal(signed(32), reset_less=True)
        bracket = Signal(signed(34), reset_less=True)
        difference = Signal(signed(51), reset_less=True)
        clipped = Signal(integer.SQUARES_BITS, reset_less=True)
        total = delayed(m, self.total, _MEAN_CYCLES + 1)[-1]
        squares = delayed(m, self.squares, _DEVIATION_CYCLES - 2)[-1]
        correction = multiplied(m, bracket, delayed(m, mean, 2)[-1], "correction")
        m.d.sync += [
            product.eq(low + (high << _LOW_BITS)),
            rounded.eq((product + (1 << (_MEAN_SHIFT - 1))) >> _MEAN_SHIFT),
            mean.eq(saturated(rounded, 16)),
            weighted.eq(mean * self.columns),
            bracket.eq((total << 1) - weighted),
            difference.eq(squares - correction),
        ]
        with m.If(difference < 0):
            m.d.sync += clipped.eq(0)
        with m.Elif(difference[integer.SQUARES_BITS :].any()):
            m.d.sync += clipped.eq(~0)
        with m.Else():
            m.d.sync += clipped.eq(difference)
        return mean, clipped

    def _normalise(self, m: Module, value: Signal, softmax: list[Value]) -> tuple[Signal, Signal]:
        """Shift leading zeros out, by bytes and then by halving steps: the upper 32 bits, and the exponent. 4 cycles.

        LayerNorm shifts by an even amount, twice its exponent. A value of 0 has the exponent 0.
        """
        middle = Signal(integer.SQUARES_BITS, reset_less=True)
        coarse = Signal(3, reset_less=True)
        normalised = Signal(_RADICAND_BITS, reset_less=True)
        exponent = Signal(RECIPROCAL["exponent"].width, reset_less=True)
        # Whole bytes first, counted at once: halving steps would wait for each other over too many gates.
        whole = delayed(m, value, 1)[1]
        shifts = [
            Signal(integer.SQUARES_BITS, name=f"shifted_{count}") for count in range(integer.SQUARES_BITS // 8 + 1)
        ]
        m.d.sync += [middle.eq(shifts[-1]), coarse.eq(len(shifts) - 1)]
        for count, shifted in reversed(list(enumerate(shifts))):
            leading = Signal(name=f"leading_{count}", reset_less=True)
            m.d.comb += shifted.eq(whole << 8 * count)
            m.d.sync += leading.eq((value << 8 * count)[: len(value)][-8:].any())
            with m.If(leading):
                m.d.sync += [middle.eq(shifted), coarse.eq(count)]
        even, lead = self._shift_out(m, middle, (4, 2), Const(0))
        fine = Signal.like(middle)
        count = Signal(5, reset_less=True)
        m.d.sync += [fine.eq(even), count.eq(Cat(lead, coarse))]
        shifted, odd = self._shift_out(m, fine, (1,), softmax[3])
        m.d.sync += [
            normalised.eq(shifted[-_RADICAND_BITS:]),
            exponent.eq(Mux(softmax[3], Cat(odd, count), count)),
        ]
        with m.If(~shifted[-2:].any()):
            m.d.sync += exponent.eq(0)
        return normalised, exponent

    @staticmethod
    def _shift_out(m: Module, value: Value, steps: tuple[int, ...], odd: Value) -> tuple[Value, Value]:
        """``value`` shifted left by each step whose bits at the top are all 0, and which steps were taken."""
        taken = []
        for step in steps:
            zeros = Signal(name=f"shift_{step}")
            shifted = Signal(len(value), name=f"shifted_{step}")
            allowed = odd if step == 1 else Const(1)
            m.d.comb += [zeros.eq(~value[-step:].any() & allowed), shifted.eq(Mux(zeros, value << step, value))]
            taken.append(zeros)
            value = shifted
        return value, Cat(reversed(taken))

    @staticmethod
    def _square_root(m: Module, radicand: Signal, softmax: list[Value]) -> tuple[Value, Value]:
        """The digit-by-digit square root, and ``radicand`` again for softmax rows, 16 cycles later.

        With k bits of root the remainder is at most twice the root: it fits k + 1 bits, and 16 before the last step.
        """
        remainder: Value = Const(0, _ROOT_BITS)
        root: Value = Const(0, _ROOT_BITS)
        for step in range(_ROOT_BITS):
            brought = Signal(_ROOT_BITS + 2, name=f"brought_{step}")
            difference = Signal(signed(_ROOT_BITS + 3), name=f"difference_{step}")
            rest = Signal(_ROOT_BITS, reset_less=True, name=f"root_remainder_{step}")
            next_root = Signal(_ROOT_BITS, reset_less=True, name=f"root_{step}")
            next_radicand = Signal(_RADICAND_BITS, reset_less=True, name=f"radicand_{step}")
            m.d.comb += [
                brought.eq(Cat(radicand[-2:], remainder)),
                difference.eq(brought - Cat(Const(1, 2), root)),
            ]
            m.d.sync += [
                rest.eq(Mux(difference < 0, brought, difference)),
                next_root.eq(Cat(difference >= 0, root)),
                next_radicand.eq(Mux(softmax[step], radicand, radicand << 2)),
            ]
            remainder, root, radicand = rest, next_root, next_radicand
        return radicand, root

    @staticmethod
    def _divide(m: Module, divisor: Value) -> Value:
        """``integer.divide``: 16 quotient bits of 2**39 by a normalised divisor (or 0), 16 cycles later."""
        remainder: Value = Const(1 << (integer.SUM_BITS - 1), integer.SUM_BITS)
        quotient: Value = Const(0, _MANTISSA_BITS)
        for step in range(_MANTISSA_BITS):
            difference = Signal(signed(integer.SUM_BITS + 2), name=f"quotient_difference_{step}")
            rest = Signal(integer.SUM_BITS, reset_less=True, name=f"quotient_remainder_{step}")
            next_quotient = Signal(_MANTISSA_BITS, reset_less=True, name=f"quotient_{step}")
            next_divisor = Signal(integer.SUM_BITS, reset_less=True, name=f"divisor_{step}")
            m.d.comb += difference.eq((remainder << 1) - divisor)
            m.d.sync += [
                rest.eq(Mux(difference < 0, remainder << 1, difference)),
                next_quotient.eq(Cat(difference >= 0, quotient)),
                next_divisor.eq(divisor),
            ]
            remainder, quotient, divisor = rest, next_quotient, next_divisor
        return quotient

    @staticmethod
    def model(
        softmax: bool, total: npt.ArrayLike, squares: npt.ArrayLike, columns: int, multiplier: int
    ) -> integer.Reciprocal:
        """The function of ``systolith.numerics.integer``, of any number of rows."""
        if softmax:
            return integer.softmax_reciprocal(total)
        return integer.layernorm_reciprocal(total, squares, columns, multiplier)
