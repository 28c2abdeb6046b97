"""The look-up tables of softmax and GELU, one of each in every lane."""

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systolith.numerics import integer

from .arithmetic import delayed, saturated

#: Octaves that leave anything of the softmax numerator.
_OCTAVES = 8
#: Right shift of a table entry in octave 0: entries are 127 * 2**9 at most.
_ENTRY_SHIFT = 9
#: Bits below a GELU bin: 128 bins over 4 * 2**GELU_FRACTION.
_BIN_SHIFT = (4 * 2**integer.GELU_FRACTION // integer.GELU_BINS).bit_length() - 1


class ExponentTable(wiring.Component):
    """``127 * 2**(-t / 64)`` rounded, of the argument clipped to 0 .. 1023.

    Members
    -------
    argument : ``In(signed(20))``.
    result : ``Out(7)``, 0 to 127, :attr:`latency` cycles later.
    """

    latency = 3

    argument: Signal
    result: Signal

    def __init__(self) -> None:
        super().__init__({"argument": In(signed(integer.PRODUCT_BITS)), "result": Out(7)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entries = integer.EXPONENT_TABLE.tolist()
        width = max(entries).bit_length()
        m.submodules.table = table = Memory(shape=unsigned(width), depth=len(entries), init=entries)
        read = table.read_port()

        clipped = Signal(range(integer.EXPONENT_MAX + 1), reset_less=True)
        octave = Signal(clipped.shape().width - integer.EXPONENT_FRACTION, reset_less=True)
        # The half of the largest shift has weight 2**(_ENTRY_SHIFT + 6), so the sum needs one bit more.
        rounded = Signal(width + 1)
        result = Signal.like(self.result, reset_less=True)
        m.d.comb += [
            read.addr.eq(clipped[: integer.EXPONENT_FRACTION]),
            rounded.eq(read.data + (Const(1 << (_ENTRY_SHIFT - 1)) << octave[:3])),
            self.result.eq(result),
        ]
        with m.If(self.argument < 0):
            m.d.sync += clipped.eq(0)
        with m.Elif(self.argument > integer.EXPONENT_MAX):
            m.d.sync += clipped.eq(integer.EXPONENT_MAX)
        with m.Else():
            m.d.sync += clipped.eq(self.argument)
        m.d.sync += [
            octave.eq(clipped[integer.EXPONENT_FRACTION :]),
            result.eq(Mux(octave < _OCTAVES, rounded[_ENTRY_SHIFT:] >> octave[:3], 0)),
        ]
        return m

    @staticmethod
    def model(argument: npt.ArrayLike) -> integer.IntArray:
        """The same in numpy, by the definition: a score of ``-argument`` at multiplier 1, shift 0, maximum 0."""
        scores = -np.asarray(argument).astype(np.int64)
        return integer.exponent(scores[None], [0], 1, 0)[0].astype(np.int64)


class GeluTable(wiring.Component):
    """``gelu_grid`` of the argument saturated to 16 bits: ``relu(q) - table[|q|]`` on the grid ``2**(grid - 11)``.

    Members
    -------
    argument : ``In(signed(20))``.
    grid : ``In(2)``, belonging to ``argument``.
    result : ``Out(signed(16))``, :attr:`latency` cycles later; at least minus the largest table entry.
    """

    latency = 4

    argument: Signal
    grid: Signal
    result: Signal

    def __init__(self) -> None:
        super().__init__({"argument": In(signed(integer.PRODUCT_BITS)), "grid": In(2), "result": Out(signed(16))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entries = integer.GELU_TABLE.tolist()
        m.submodules.table = table = Memory(
            shape=unsigned(max(entries).bit_length()), depth=integer.GELU_BINS, init=entries
        )
        read = table.read_port()

        q = Signal(signed(16), reset_less=True)
        m.d.sync += q.eq(saturated(self.argument, 16))

        magnitude = Signal(15)
        scaled = Signal(15 + 3)
        with m.If(q == -(1 << 15)):
            m.d.comb += magnitude.eq((1 << 15) - 1)
        with m.Else():
            m.d.comb += magnitude.eq(Mux(q < 0, -q, q))
        grids = delayed(m, self.grid, 3)
        m.d.comb += scaled.eq(magnitude << grids[1])
        bin_index = Signal(len(scaled) - _BIN_SHIFT, reset_less=True)
        m.d.sync += bin_index.eq(scaled >> _BIN_SHIFT)
        inside = Signal(reset_less=True)
        rectified = Signal(15)
        m.d.comb += [rectified.eq(Mux(q < 0, 0, q)), read.addr.eq(bin_index)]
        rectified = delayed(m, rectified, 2)[-1]

        result = Signal.like(self.result, reset_less=True)
        correction = Signal.like(read.data)
        m.d.sync += inside.eq(bin_index < integer.GELU_BINS)
        m.d.comb += [correction.eq(Mux(inside, read.data >> grids[3], 0)), self.result.eq(result)]
        m.d.sync += result.eq(rectified - correction)
        return m

    @staticmethod
    def model(argument: npt.ArrayLike, grid: int) -> integer.IntArray:
        """The same in numpy, by the definition."""
        return integer.gelu_grid(integer.saturate(argument, 16), grid)
