"""The skip operand of RESIDUAL: int8 lanes read from the scratchpad ahead of their beats."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import READ_LATENCY, ScratchpadRead, address_width
from ..isa import LAYOUTS, Opcode
from ..queues import Relay
from .arithmetic import delayed
from .beat import position_width
from .sequence import ADDRESS_BITS, BlockLoop, Cursor

#: Reads asked for or waiting for their beat; one takes about 9 cycles from its slot to the release of the slot.
_DEPTH = 16


class SkipReader(wiring.Component):
    """Walks the residual operand of one RESIDUAL instruction in the order of its beats.

    Members
    -------
    start : ``In(1)``, begins ``instruction``, which stays until it has retired.
    read : ``Out(ScratchpadRead)``.
    available : ``Out(1)``, an operand has arrived that is not claimed yet.
    claim : ``In(1)``, claims it for the beat being issued.
    take : ``In(1)``, at least two cycles after a claim: removes the oldest, which is ``lanes``.
    out_of_range : ``Out(1)``, the operand addresses a row that does not exist; nothing is read any more.
    """

    start: Signal
    instruction: Any
    read: Any
    available: Signal
    claim: Signal
    take: Signal
    lanes: Any
    out_of_range: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "instruction": In(LAYOUTS[Opcode.VECTOR]),
                "read": Out(ScratchpadRead(config)),
                "available": Out(1),
                "claim": In(1),
                "take": In(1),
                "lanes": Out(data.ArrayLayout(signed(8), config.lanes)),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.loop = loop = BlockLoop(groups=config.cols // config.lanes)
        m.submodules.source = source = Cursor(config)
        m.submodules.queue = queue = SyncFIFOBuffered(width=8 * config.lanes, depth=_DEPTH)
        i = self.instruction
        # No path leads from the scratchpad's arbiter to the loop.
        m.submodules.asked = asked = Relay(
            data.StructLayout(
                {
                    "address": unsigned(address_width(config.scratchpad_rows)),
                    "position": unsigned(position_width(config)),
                    "bad": unsigned(1),
                }
            )
        )
        row = Signal(ADDRESS_BITS)
        used = Signal(range(_DEPTH + 1))
        unclaimed = Signal(range(_DEPTH + 1))
        # Whether there is room: known one cycle ahead.
        room = Signal(init=1)
        m.d.comb += [
            loop.start.eq(self.start),
            loop.rows.eq(i.rows),
            loop.blocks.eq(i.blocks),
            source.start.eq(self.start),
            source.address.eq(i.residual_address),
            source.stride.eq(i.residual_stride),
            source.width.eq(config.rows // config.lanes - 1),
            row.eq(source.base + loop.row),
            asked.i.valid.eq(loop.active & room),
            asked.i.payload.address.eq(row),
            asked.i.payload.position.eq(source.position),
            asked.i.payload.bad.eq(row >= config.scratchpad_rows),
            loop.advance.eq(asked.i.valid & asked.i.ready),
            self.out_of_range.eq(asked.o.valid & asked.o.payload.bad),
            self.read.request.valid.eq(asked.o.valid & ~asked.o.payload.bad),
            self.read.request.payload.eq(asked.o.payload.address),
            asked.o.ready.eq(self.read.request.ready & ~asked.o.payload.bad),
        ]
        source.follow(m, loop)

        positions = delayed(m, asked.o.payload.position, READ_LATENCY)
        groups = [
            Cat(self.read.data[first + lane] for lane in range(config.lanes))
            for first in range(0, config.rows, config.lanes)
        ]
        arrived = self.read.valid
        m.d.comb += [
            queue.w_data.eq(Array(groups)[positions[-1]]),
            queue.w_en.eq(arrived),
            queue.r_en.eq(self.take),
            self.lanes.as_value().eq(queue.r_data),
        ]
        with m.If(loop.advance & ~self.take):
            m.d.sync += [used.eq(used + 1), room.eq(used != _DEPTH - 1)]
        with m.Elif(self.take & ~loop.advance):
            m.d.sync += [used.eq(used - 1), room.eq(1)]
        with m.If(arrived & ~self.claim):
            m.d.sync += [unclaimed.eq(unclaimed + 1), self.available.eq(1)]
        with m.Elif(self.claim & ~arrived):
            m.d.sync += [unclaimed.eq(unclaimed - 1), self.available.eq(unclaimed != 1)]
        return m
