"""Prefetching of scratchpad rows: requests as far ahead as the queue behind them has room."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import Config
from .interfaces import READ_LATENCY, ScratchpadRead, address_width
from .queues import Queue, Relay

#: Rows in waiting below which a prefetch is running dry.
LOW = 4
#: Where a row stands in its tile; travels with the row.
ROW_MARK = data.StructLayout({"first": 1, "last": 1, "transpose": 1})


class RowPrefetch(wiring.Component):
    """Reads the scratchpad rows that are asked for, in order, into a queue that can always take them.

    A row is requested only while a place in the queue is free for it (a credit, given back when the row leaves), so
    that data, which the scratchpad does not hold back, is never lost. A row can leave 4 cycles after its command: one
    for the request register, ``READ_LATENCY``, and one for the queue.

    Parameters
    ----------
    config : Config
    depth : int, rows
        Rows requested and not yet taken from ``rows``. From 4 on (the credit's round trip) a row passes every
        cycle; each row more hides one cycle of a busy bank.

    Members
    -------
    command : ``In(stream)`` of ``address`` (in range) and ``mark``.
    port : ``Out(ScratchpadRead(config))``
    rows : ``Out(stream)`` of ``data``, int8 of shape (row_bytes,), and the command's ``mark``.
    low : ``Out(1)``: fewer than :data:`LOW` rows were there to leave in the cycle before.
    busy : ``Out(1)``: a row was asked for and has not left.
    bank_wait : ``Out(1)``: no row is there, and one would be if its read had not waited for a bank.
    """

    command: Any
    port: Any
    rows: Any
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
                "low": Out(1),
                "busy": Out(1),
                "bank_wait": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self._row, self.depth)
        m.submodules.asked = asked = Relay(self._command)
        wiring.connect(m, wiring.flipped(self.command), asked.i)
        credits = Signal(range(self.depth + 1), init=self.depth)
        # Whether there is one: known one cycle ahead.
        credit = Signal(init=1)
        request = self.port.request
        taken = Signal()
        freed = Signal()
        m.d.comb += [
            request.valid.eq(asked.o.valid & credit),
            request.payload.eq(asked.o.payload.address),
            asked.o.ready.eq(request.ready & credit),
            taken.eq(request.valid & request.ready),
            freed.eq(self.rows.valid & self.rows.ready),
        ]
        with m.If(taken & ~freed):
            m.d.sync += [credits.eq(credits - 1), credit.eq(credits != 1)]
        with m.Elif(freed & ~taken):
            m.d.sync += [credits.eq(credits + 1), credit.eq(1)]

        # Data follows its transfer after a fixed time, so the marks need no queue of their own.
        bits = ROW_MARK.size
        marks = Signal(READ_LATENCY * bits, reset_less=True)
        m.d.sync += marks.eq(Cat(asked.o.payload.mark, marks))
        m.d.comb += [
            queue.i.valid.eq(self.port.valid),
            queue.i.payload.data.eq(self.port.data),
            queue.i.payload.mark.eq(marks[-bits:]),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.rows))

        # A read that was refused shows at the end of the queue only after the time that its row would have taken.
        refused = Signal(READ_LATENCY + 1)
        m.d.sync += refused.eq(Cat(request.valid & ~request.ready, refused))
        # It decides on this cycle's requests, so it is that of the cycle before.
        m.d.sync += self.low.eq(queue.level < LOW)
        m.d.comb += [
            self.busy.eq(asked.o.valid | (credits != self.depth)),
            self.bank_wait.eq(~self.rows.valid & refused[-1]),
        ]
        return m


def row_command(config: Config) -> data.StructLayout:
    """A row to be read: its scratchpad ``address`` and the ``mark`` that travels with it."""
    return data.StructLayout({"address": unsigned(address_width(config.scratchpad_rows)), "mark": ROW_MARK})
