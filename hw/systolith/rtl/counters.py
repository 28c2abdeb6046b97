"""The performance counters: one 64-bit adder for each entry of ``csr_map.COUNTERS``."""

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .csr_map import COUNTERS
from .tokens import UNITS

#: Bits of the per-cycle increment of ``instructions``: up to one retirement for each unit.
_INCREMENT_BITS = UNITS.bit_length()

#: The counter that has no event: what it gets was counted as the other one before.
_WAIT, _DRAIN = "array_wait_instruction", "array_drain"

#: The increment of each counter in this cycle.
EVENTS = data.StructLayout(
    {name: unsigned(_INCREMENT_BITS if name == "instructions" else 1) for name, _ in COUNTERS if name != _WAIT}
)
#: The value of each counter.
VALUES = data.StructLayout({name: unsigned(64) for name, _ in COUNTERS})


class Counters(wiring.Component):
    """Adds ``events`` to ``values`` while ``enable``; a value is up to date :attr:`latency` cycles later.

    Whether the array waits for another instruction or has had its last one is only known afterwards. So cycles without
    one count as ``array_drain``, and with the next instruction all of them move to ``array_wait_instruction``.

    Members
    -------
    clear : all counters become 0.
    enable : events of this cycle count.
    events : ``In(EVENTS)``.
    values : ``Out(VALUES)``.
    """

    #: Cycles from an event to the value that includes it.
    latency = 3

    clear: Signal
    enable: Signal
    events: Any
    values: Any

    def __init__(self) -> None:
        super().__init__({"clear": In(1), "enable": In(1), "events": In(EVENTS), "values": Out(VALUES)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Events come from anywhere in the core, and the adders are long: a register on either side of the enable.
        events = Signal(EVENTS)
        enable = Signal()
        m.d.sync += [events.eq(self.events), enable.eq(self.enable)]
        for name in EVENTS.members:
            increment = Signal(EVENTS[name].shape, name=f"{name}_increment")
            m.d.sync += increment.eq(0)
            with m.If(enable):
                m.d.sync += increment.eq(events[name])
            with m.If(self.clear):
                m.d.sync += self.values[name].eq(0)
            with m.Else():
                m.d.sync += self.values[name].eq(self.values[name] + increment)
        wait, drain = self.values[_WAIT], self.values[_DRAIN]
        drained = Signal()
        resumed = Signal()
        m.d.sync += resumed.eq(0)
        with m.If(enable):
            m.d.sync += [drained.eq(events[_DRAIN]), resumed.eq(drained & ~events[_DRAIN])]
        with m.If(self.clear):
            m.d.sync += [wait.eq(0), drained.eq(0)]
        with m.Elif(resumed):
            m.d.sync += [wait.eq(wait + drain), drain.eq(0)]
        return m
