"""Prefetching of scratchpad rows: requests as far ahead as the queue behind them has room."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config
from .interfaces import READ_LATENCY, ScratchpadRead, address_width

#: Rows in waiting below which a prefetch is running dry.
LOW = 4
#: Where a row stands in its tile; travels with the row.
ROW_MARK = data.StructLayout({"first": 1, "last": 1, "transpose": 1})


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
        push = Signal()
        pop = Signal()
        m.d.comb += [
            self.i.ready.eq(level != self.depth),
            self.o.valid.eq(level != 0),
            push.eq(self.i.valid & self.i.ready),
            pop.eq(self.o.valid & self.o.ready),
            write.en.eq(push),
            write.data.eq(self.i.payload),
            self.o.payload.eq(read.data),
        ]
        for moved, port in ((push, write), (pop, read)):
            address = Signal(range(self.depth))
            m.d.comb += port.addr.eq(address)
            with m.If(moved):
                m.d.sync += address.eq(address + 1)
                with m.If(address == self.depth - 1):
                    m.d.sync += address.eq(0)
        with m.If(push & ~pop):
            m.d.sync += level.eq(level + 1)
        with m.Elif(pop & ~push):
            m.d.sync += level.eq(level - 1)
        return m


class RowPrefetch(wiring.Component):
    """Reads the scratchpad rows that are asked for, in order, into a queue that can always take them.

    A command is taken only while a place in the queue is free for its row (a credit, given back when the row
    leaves), so that data, which the scratchpad does not hold back, is never lost. A row can leave 4 cycles
    after its command: one for the request register, ``READ_LATENCY``, and one for the queue.

    Parameters
    ----------
    config : Config
    depth : int, rows
        Rows asked for and not yet taken from ``rows``. From 5 on (the credit's round trip) a row passes every
        cycle; each row more hides one cycle of a busy bank.

    Members
    -------
    command : ``In(stream)`` of ``address`` (in range) and ``mark``.
    port : ``Out(ScratchpadRead(config))``
    rows : ``Out(stream)`` of ``data``, int8 of shape (row_bytes,), and the command's ``mark``.
    hold : ``In(1)``: nothing is asked of the port in this cycle.
    low : ``Out(1)``: fewer than :data:`LOW` rows are there to leave.
    busy : ``Out(1)``: a row was asked for and has not left.
    bank_wait : ``Out(1)``: no row is there, and one would be if its read had not waited for a bank.
    """

    command: Any
    port: Any
    rows: Any
    hold: Signal
    low: Signal
    busy: Signal
    bank_wait: Signal

    def __init__(self, config: Config, *, depth: int) -> None:
        self.depth = depth
        self._command = row_command(config)
        self._row = data.StructLayout({"data": data.ArrayLayout(signed(8), config.row_bytes), "mark": ROW_MARK})
        super().__init__(
            {
                "command": In(stream.Signature(self._command)),
                "port": Out(ScratchpadRead(config)),
                "rows": Out(stream.Signature(self._row)),
                "hold": In(1),
                "low": Out(1),
                "busy": Out(1),
                "bank_wait": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self._row, self.depth)
        request = self.port.request
        requesting = Signal()
        asked = Signal(self._command, reset_less=True)
        granted = Signal()
        m.d.comb += [
            request.valid.eq(requesting & ~self.hold),
            request.payload.eq(asked.address),
            granted.eq(request.ready & ~self.hold),
        ]

        credits = Signal(range(self.depth + 1), init=self.depth)
        taken = Signal()
        freed = Signal()
        m.d.comb += [
            self.command.ready.eq((credits != 0) & (~requesting | granted)),
            taken.eq(self.command.valid & self.command.ready),
            freed.eq(self.rows.valid & self.rows.ready),
        ]
        with m.If(taken & ~freed):
            m.d.sync += credits.eq(credits - 1)
        with m.Elif(freed & ~taken):
            m.d.sync += credits.eq(credits + 1)
        with m.If(taken):
            m.d.sync += [requesting.eq(1), asked.eq(self.command.payload)]
        with m.Elif(granted):
            m.d.sync += requesting.eq(0)

        # Data follows its transfer after a fixed time, so the marks need no queue of their own.
        bits = ROW_MARK.size
        marks = Signal(READ_LATENCY * bits, reset_less=True)
        m.d.sync += marks.eq(Cat(asked.mark, marks))
        m.d.comb += [
            queue.i.valid.eq(self.port.valid),
            queue.i.payload.data.eq(self.port.data),
            queue.i.payload.mark.eq(marks[-bits:]),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.rows))

        # A read that was refused shows at the end of the queue only after the time that its row would have taken.
        refused = Signal(READ_LATENCY + 1)
        m.d.sync += refused.eq(Cat(requesting & ~granted, refused))
        m.d.comb += [
            self.low.eq(queue.level < LOW),
            self.busy.eq(credits != self.depth),
            self.bank_wait.eq(~self.rows.valid & refused[-1]),
        ]
        return m


def row_command(config: Config) -> data.StructLayout:
    """A row to be read: its scratchpad ``address`` and the ``mark`` that travels with it."""
    return data.StructLayout({"address": unsigned(address_width(config.scratchpad_rows)), "mark": ROW_MARK})
