"""Saturation, rounding and delay lines: the few idioms that every datapath of the vector unit is made of."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed

from ..config import Config
from ..isa import Function

#: Bits of an unsigned factor: the multipliers of common FPGAs take signed ones of 18.
_FACTOR_BITS = 17


def supported(config: Config) -> frozenset[Function]:
    """The functions that a vector unit of ``config`` executes; the others are illegal instructions."""
    functions = {Function.REQUANTIZE}
    if config.gelu:
        functions |= {Function.GELU}
    if config.softmax:
        functions |= {Function.EXPONENT, Function.CONTEXT}
    if config.layernorm:
        functions |= {Function.RESIDUAL, Function.LAYERNORM}
    return frozenset(functions)


def one_of(function: Value, choices: set[Function], config: Config) -> Value:
    """Whether ``function`` is one of ``choices``; those that ``config`` leaves out cost no logic."""
    return Cat(function == choice for choice in sorted(choices & supported(config))).any()


def saturated(value: Signal, bits: int) -> Value:
    """Signed ``value`` clipped to ``bits`` bits."""
    if len(value) <= bits:
        return value
    sign = value[-1]
    excess = value[bits - 1 :]
    fits = excess.all() | ~excess.any()
    return Mux(fits, value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()


def half(shift: Value, limit: int) -> Value:
    """``2**shift >> 1`` for shifts up to ``limit``: what rounds a right shift half up. ``limit`` bits, unsigned."""
    return (1 << shift)[1 : limit + 1]


def multiplied(m: Module, value: Signal, factor: Value, name: str) -> Signal:
    """Signed ``value`` times ``factor``, two cycles later.

    ``value`` is cut where a multiplier of an FPGA ends; the partial products are registered before they are added.
    """
    shape = factor.shape()
    width = len(value) + shape.width
    total = Signal(signed(width), reset_less=True, name=name)
    partial = []
    for low in range(0, len(value), _FACTOR_BITS):
        part = value[low : low + _FACTOR_BITS]
        last = low + _FACTOR_BITS >= len(value)
        term = Signal(signed(len(part) + 1 + shape.width), reset_less=True, name=f"{name}_{low}")
        m.d.sync += term.eq((part.as_signed() if last else part) * factor)
        partial.append(term << low)
    m.d.sync += total.eq(sum(partial[1:], partial[0]))
    return total


def delayed(m: Module, value: Any, cycles: int, *, reset: bool = False) -> list[Any]:
    """``[value, value one cycle ago, ...]``, ``cycles`` registers long; ``reset`` keeps their reset (valid bits)."""
    line = [value]
    for _ in range(cycles):
        register = Signal(value.shape(), reset_less=not reset)
        m.d.sync += register.eq(line[-1])
        line.append(register)
    return line
