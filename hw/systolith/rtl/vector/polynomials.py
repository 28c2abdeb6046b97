"""I-BERT's second-order polynomials of softmax and GELU (arXiv 2101.01321), one of each in every lane.

They take the place of the look-up tables and have their ports. The coefficients, and why they take these forms, are in
``systolith.numerics.polynomial``.
"""

import numpy.typing as npt
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from systolith.numerics import integer, polynomial

from .arithmetic import delayed, multiplied, saturated

_OCTAVES = 8
#: Right shift of a numerator in octave 0, as of the table's entries.
_ENTRY_SHIFT = 9
#: Bits of what is squared.
_EXPONENT_ROOT_BITS = polynomial.EXPONENT_ROOT.bit_length()
_GELU_ROOT_BITS = polynomial.GELU_LIMIT.bit_length()
#: Bits of GELU's product that are multiplied by the factor: |x| (b - |x|)**2 is largest at a third of b.
_GELU_PRODUCT_BITS = (
    4 * polynomial.GELU_LIMIT**3 // 27 >> polynomial.GELU_SQUARE_DROPPED + polynomial.GELU_PRODUCT_DROPPED
).bit_length()


def _times(value: Value, constant: int) -> Value:
    """``value`` times a positive constant of few ones, by shifts and additions: a multiplier would be wasted on it."""
    terms = [value << bit for bit in range(constant.bit_length()) if constant >> bit & 1]
    return sum(terms[1:], terms[0])


def _squared(m: Module, root: Signal, name: str) -> Value:
    """``root**2`` of an unsigned ``root``, two cycles later."""
    positive = Signal(signed(len(root) + 1), name=f"{name}_positive")
    m.d.comb += positive.eq(root)
    return multiplied(m, positive, root, name)[: 2 * len(root)]


class PolynomialExponent(wiring.Component):
    """``127 * 2**(-t / 64)``, of the argument clipped to 0 .. 1023: ``polynomial.numerator``.

    The octave is a shift, so that the polynomial is of the fraction alone.

    Members
    -------
    argument : ``In(signed(20))``.
    result : ``Out(7)``, 0 to 127, :attr:`latency` cycles later.
    """

    latency = 6

    argument: Signal
    result: Signal

    def __init__(self) -> None:
        super().__init__({"argument": In(signed(integer.PRODUCT_BITS)), "result": Out(7)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        clipped = Signal(range(integer.EXPONENT_MAX + 1), reset_less=True)
        above = self.argument > integer.EXPONENT_MAX
        m.d.sync += clipped.eq(Mux(self.argument < 0, 0, Mux(above, integer.EXPONENT_MAX, self.argument)))
        fraction = clipped[: integer.EXPONENT_FRACTION]
        octave = delayed(m, clipped[integer.EXPONENT_FRACTION :], 4)

        root = Signal(_EXPONENT_ROOT_BITS, reset_less=True)
        m.d.sync += root.eq(polynomial.EXPONENT_ROOT - _times(fraction, polynomial.EXPONENT_STEP))
        square = _squared(m, root, "square")
        # What rounds the shift joins the constant term: together they are a function of three bits.
        constant = Signal(range(polynomial.EXPONENT_OFFSET + (1 << (_ENTRY_SHIFT + _OCTAVES - 2)) + 1), reset_less=True)
        rounded = Signal(_ENTRY_SHIFT + _OCTAVES, reset_less=True)
        result = Signal.like(self.result, reset_less=True)
        m.d.sync += [
            constant.eq(polynomial.EXPONENT_OFFSET + (Const(1 << (_ENTRY_SHIFT - 1)) << octave[2][:3])),
            rounded.eq(square[polynomial.EXPONENT_DROPPED :] + constant),
            result.eq(Mux(octave[4] < _OCTAVES, rounded[_ENTRY_SHIFT:] >> octave[4][:3], 0)),
        ]
        m.d.comb += self.result.eq(result)
        return m

    @staticmethod
    def model(argument: npt.ArrayLike) -> integer.IntArray:
        """The same in numpy, by the definition."""
        return polynomial.numerator(argument)


class PolynomialGelu(wiring.Component):
    """GELU of the argument saturated to 16 bits, on the grid ``2**(grid - 11)``: ``polynomial.gelu_grid``.

    ``relu(q) - |q| (1 - erf(|q| / sqrt(2))) / 2``, which is ``|q|`` times a constant times a square.

    Members
    -------
    argument : ``In(signed(20))``.
    grid : ``In(2)``, belonging to ``argument``.
    result : ``Out(signed(16))``, :attr:`latency` cycles later.
    """

    latency = 9

    argument: Signal
    grid: Signal
    result: Signal

    def __init__(self) -> None:
        super().__init__({"argument": In(signed(integer.PRODUCT_BITS)), "grid": In(2), "result": Out(signed(16))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        q = Signal(signed(16), reset_less=True)
        m.d.sync += q.eq(saturated(self.argument, 16))
        grid = delayed(m, self.grid, 1)[1]

        # The magnitude of the least value, -2**15, is one too large: ones in place of its lower bits.
        magnitude = Signal(15)
        negative = q < 0
        m.d.comb += magnitude.eq(Mux(negative, Mux(q[:15].any(), -q, (1 << 15) - 1), q))
        signs = delayed(m, Cat(magnitude, negative), 7)
        scaled = Signal(15 + 3, reset_less=True)
        rest = Signal(signed(len(scaled) + 1))
        root = Signal(_GELU_ROOT_BITS, reset_less=True)
        m.d.comb += rest.eq(polynomial.GELU_LIMIT - scaled)
        m.d.sync += [scaled.eq(magnitude << grid), root.eq(Mux(rest < 0, 0, rest))]
        square = _squared(m, root, "square")[polynomial.GELU_SQUARE_DROPPED :]

        # A magnitude of more bits lies beyond the limit on every grid: the square is 0.
        factor = Signal(signed(_GELU_ROOT_BITS + 1))
        m.d.comb += factor.eq(signs[4][:_GELU_ROOT_BITS])
        product = multiplied(m, factor, square, "product")[polynomial.GELU_PRODUCT_DROPPED :][:_GELU_PRODUCT_BITS]
        correction = Signal(_GELU_PRODUCT_BITS + polynomial.GELU_FACTOR.bit_length(), reset_less=True)
        result = Signal.like(self.result, reset_less=True)
        rectified = Mux(signs[7][-1], 0, signs[7][:15])
        m.d.sync += [
            correction.eq(_times(product, polynomial.GELU_FACTOR) + (1 << (polynomial.GELU_DROPPED - 1))),
            result.eq(rectified - (correction >> polynomial.GELU_DROPPED)),
        ]
        m.d.comb += self.result.eq(result)
        return m

    @staticmethod
    def model(argument: npt.ArrayLike, grid: int) -> integer.IntArray:
        """The same in numpy, by the definition."""
        return polynomial.gelu_grid(integer.saturate(argument, 16), grid)
