"""The skip operand of RESIDUAL: int8 lanes read from the scratchpad ahead of their beats."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import READ_LATENCY, ScratchpadRead
from ..isa import LAYOUTS, Opcode
from .arithmetic import delayed
from .beat import position_width
from .sequence import ADDRESS_BITS, BlockLoop, Cursor

#: Reads in flight or waiting for their beat; a read takes about 8 cycles from its slot to the release of the slot.
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
        held = Signal()
        row = Signal(ADDRESS_BITS)
        request = Signal(ADDRESS_BITS)
        position = Signal(position_width(config))
        used = Signal(range(_DEPTH + 1))
        unclaimed = Signal(range(_DEPTH + 1))
        transfer = Signal()
        m.d.comb += [
            loop.start.eq(self.start),
            loop.rows.eq(i.rows),
            loop.blocks.eq(i.blocks),
            source.start.eq(self.start),
            source.address.eq(i.residual_address),
            source.stride.eq(i.residual_stride),
            source.width.eq(config.rows // config.lanes - 1),
            row.eq(source.base + loop.row),
            self.read.request.valid.eq(held & ~self.out_of_range & (used != _DEPTH)),
            self.read.request.payload.eq(request),
            transfer.eq(self.read.request.valid & self.read.request.ready),
            loop.advance.eq(loop.active & (~held | transfer)),
        ]
        source.follow(m, loop)
        with m.If(loop.advance):
            m.d.sync += [
                held.eq(1),
                request.eq(row),
                position.eq(source.position),
                self.out_of_range.eq(row >= config.scratchpad_rows),
            ]
        with m.Elif(transfer):
            m.d.sync += held.eq(0)

        positions = delayed(m, position, READ_LATENCY)
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
            self.available.eq(unclaimed != 0),
        ]
        m.d.sync += [used.eq(used + transfer - self.take), unclaimed.eq(unclaimed + arrived - self.claim)]
        return m
