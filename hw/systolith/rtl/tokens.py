"""Tokens: the only thing that orders the units."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from .interfaces import TOKEN_BITS
from .isa import Unit

UNITS = len(Unit)


class TokenPort(Signature):
    """How a unit's queue takes and gives tokens, seen from the queue. Masks have a bit for each ``Unit``.

    Members
    -------
    wait : the units from each of which a token is needed.
    missing : those of them that have none (combinational); a unit that has one keeps it until ``take``.
    take : takes one from each; only while none is missing.
    give : the units to each of which a token is to be given.
    fits : none of their counters is full (combinational); stays so until ``put``.
    put : gives one to each; only while ``fits``.
    """

    def __init__(self) -> None:
        super().__init__({
            "wait": Out(UNITS), "missing": In(UNITS), "take": Out(1),
            "give": Out(UNITS), "fits": In(1), "put": Out(1),
        })  # fmt: skip


class Tokens(wiring.Component):
    """Twelve counters, one for each ordered pair of different units.

    A counter never wraps: a giver whose token would not fit sees ``fits`` low and waits. A token put in one
    cycle can be taken in the next. A unit's own bit in a mask is ignored (the decoder refuses it).

    Members
    -------
    units : ``In(TokenPort)`` for each ``Unit``.
    """

    units: Any

    def __init__(self) -> None:
        super().__init__({"units": In(TokenPort()).array(UNITS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        missing = {unit: Signal(UNITS, name=f"missing_{unit.name.lower()}") for unit in Unit}
        fullness = {unit: Signal(UNITS, name=f"full_{unit.name.lower()}") for unit in Unit}
        for giver in Unit:
            for taker in Unit:
                if giver == taker:
                    continue
                count = Signal(TOKEN_BITS, name=f"{giver.name}_to_{taker.name}".lower())
                # Whether the count is not 0, or at its end: known one cycle ahead, as everything waits for it.
                some = Signal(name=f"{giver.name}_for_{taker.name}".lower())
                full = Signal(name=f"{giver.name}_full_{taker.name}".lower())
                put = Signal(name=f"{giver.name}_puts_{taker.name}".lower())
                take = Signal(name=f"{taker.name}_takes_{giver.name}".lower())
                m.d.comb += [
                    put.eq(self.units[giver].put & self.units[giver].give[taker]),
                    take.eq(self.units[taker].take & self.units[taker].wait[giver]),
                    missing[taker][giver].eq(~some),
                    fullness[giver][taker].eq(full),
                ]
                with m.If(put & ~take):
                    m.d.sync += [count.eq(count + 1), some.eq(1), full.eq(count == (1 << TOKEN_BITS) - 2)]
                with m.If(take & ~put):
                    m.d.sync += [count.eq(count - 1), some.eq(count != 1), full.eq(0)]
        for unit in Unit:
            port = self.units[unit]
            m.d.comb += [
                port.missing.eq(port.wait & missing[unit]),
                port.fits.eq((port.give & fullness[unit]) == 0),
            ]
        return m
