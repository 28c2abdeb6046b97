"""The way out: results wait here for the scratchpad or the accumulator to take them."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import AccumulatorWrite, RowWrite
from .beat import Placement

#: Beats between issue and write. At full rate a beat holds its slot for 26 cycles: 2 for the accumulator read,
#: the lanes' 21, 2 for the queue, and the write. With polynomials the lanes take 5 more. Two are for the room that is
#: known a cycle late.
_DEPTH = 33


class Output(wiring.Component):
    """Two queues in step: where the beats in flight go, filled at issue, and their results, filled by the lanes.

    The first never holds fewer beats than the second, so a beat for which it has room has room for its result.

    Members
    -------
    room : ``Out(1)``, a beat may be issued.
    issued : ``In(1)``, one is, with this ``placement``.
    valid : ``In(1)``, the result of the oldest beat without one is ``lanes`` (int16).
    result : ``Out(RowWrite)`` to the scratchpad, the low bytes.
    accumulator : ``Out(AccumulatorWrite)``, sign-extended.
    completed : ``Out(1)``, the last beat of an instruction is written in this cycle.
    """

    room: Signal
    issued: Signal
    placement: Any
    valid: Signal
    lanes: Any
    result: Any
    accumulator: Any
    completed: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "room": Out(1),
                "issued": In(1),
                "placement": In(Placement(config)),
                "valid": In(1),
                "lanes": In(data.ArrayLayout(signed(16), config.lanes)),
                "result": Out(RowWrite(config.scratchpad_rows, config.row_bytes)),
                "accumulator": Out(AccumulatorWrite(config)),
                "completed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        # Only RESIDUAL has more than int8 results.
        element = signed(16) if config.layernorm else signed(8)
        results = data.ArrayLayout(element, config.lanes)
        layout = Placement(config)
        m.submodules.placements = placements = SyncFIFOBuffered(width=layout.size, depth=_DEPTH)
        m.submodules.results = queue = SyncFIFOBuffered(width=results.size, depth=_DEPTH)
        placement = data.View(layout, placements.r_data)
        lanes = data.View(results, queue.r_data)
        scratchpad, accumulator = self.result.request, self.accumulator.request
        ready = Signal()
        taken = Signal()
        m.d.comb += [
            placements.w_en.eq(self.issued),
            placements.w_data.eq(self.placement),
            queue.w_en.eq(self.valid),
            queue.w_data.eq(Cat(self.lanes[lane][: element.width] for lane in range(config.lanes))),
            ready.eq(placements.r_rdy & queue.r_rdy),
            scratchpad.valid.eq(ready & ~placement.accumulator),
            scratchpad.payload.address.eq(placement.address),
            scratchpad.payload.mask.eq(self._mask(placement, config.row_bytes)),
            accumulator.valid.eq(ready & placement.accumulator),
            accumulator.payload.address.eq(placement.address),
            accumulator.payload.mask.eq(self._mask(placement, config.cols)),
            taken.eq((scratchpad.valid & scratchpad.ready) | (accumulator.valid & accumulator.ready)),
            placements.r_en.eq(taken),
            queue.r_en.eq(taken),
            self.completed.eq(taken & placement.final),
        ]
        # As of the cycle before, in which a beat may have been issued, as in this one.
        m.d.sync += self.room.eq(placements.level <= _DEPTH - 2)
        # Lanes are at every position; the mask chooses one.
        m.d.comb += [scratchpad.payload.data[b].eq(lanes[b % config.lanes][:8]) for b in range(config.row_bytes)]
        if config.layernorm:
            m.d.comb += [accumulator.payload.data[c].eq(lanes[c % config.lanes]) for c in range(config.cols)]
        return m

    def _mask(self, placement: Any, width: int) -> Cat:
        lanes = self.config.lanes
        return Cat((placement.position == position).replicate(lanes) for position in range(width // lanes))
