"""Queues between the stages of the design, with all that their neighbours decide on in registers."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Relay(wiring.Component):
    """Two registers between a source and a sink: no path leads through, and one element passes each cycle.

    An element is at ``o`` from the next cycle on. ``i.ready``, ``o.valid`` and ``o.payload`` are registers, so what
    the sink decides reaches the source a cycle later; the element that it sends meanwhile waits in ``spare``.

    Parameters
    ----------
    shape : shape of an element

    Members
    -------
    i : ``In(stream)``
    o : ``Out(stream)``
    """

    i: Any
    o: Any

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        valid = Signal()
        waiting = Signal()
        # The opposite of ``waiting``, which steers a whole element and is slow for that.
        ready = Signal(init=1)
        head = Signal(self.shape, reset_less=True)
        spare = Signal(self.shape, reset_less=True)
        free = Signal()
        m.d.comb += [
            free.eq(~valid | self.o.ready),
            self.i.ready.eq(ready),
            self.o.valid.eq(valid),
            self.o.payload.eq(head),
        ]
        with m.If(~waiting):
            m.d.sync += spare.eq(self.i.payload)
        with m.If(free):
            m.d.sync += [valid.eq(waiting | self.i.valid), waiting.eq(0), ready.eq(1), head.eq(self.i.payload)]
            with m.If(waiting):
                m.d.sync += head.eq(spare)
        with m.Elif(self.i.valid):
            m.d.sync += [waiting.eq(1), ready.eq(0)]
        return m


class Queue(wiring.Component):
    """A first-in first-out queue with its head in plain sight, any depth, no latency beyond the write.

    The head is an asynchronous read, which suits distributed memory: queues here are tens of rows deep.

    Parameters
    ----------
    shape : shape of an element
    depth : int, elements

    Members
    -------
    i : ``In(stream)``; an element is at ``o`` from the next cycle on.
    o : ``Out(stream)``
    level : elements in the queue.
    """

    i: Any
    o: Any
    level: Signal

    def __init__(self, shape: Any, depth: int) -> None:
        self.shape = shape
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.shape, depth=self.depth, init=[])
        write = memory.write_port()
        read = memory.read_port(domain="comb")
        level = self.level
        # Whether the level is 0, or the depth: known one cycle ahead, as much waits for it.
        some = Signal()
        full = Signal()
        push = Signal()
        pop = Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.valid.eq(some),
            push.eq(self.i.valid & self.i.ready),
            pop.eq(self.o.valid & self.o.ready),
            write.en.eq(push),
            write.data.eq(self.i.payload),
            self.o.payload.eq(read.data),
        ]
        for moved, port, name in ((push, write, "produce"), (pop, read, "consume")):
            address = Signal(range(self.depth), name=name)
            m.d.comb += port.addr.eq(address)
            with m.If(moved):
                m.d.sync += address.eq(address + 1)
                with m.If(address == self.depth - 1):
                    m.d.sync += address.eq(0)
        with m.If(push & ~pop):
            m.d.sync += [level.eq(level + 1), some.eq(1), full.eq(level == self.depth - 1)]
        with m.Elif(pop & ~push):
            m.d.sync += [level.eq(level - 1), some.eq(level != 1), full.eq(0)]
        return m
