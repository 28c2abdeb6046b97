"""The issue stage: one accumulator read, and the description of one beat, a cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import address_width
from ..isa import LAYOUTS, Function, Layout, Opcode
from ..queues import Relay
from .arithmetic import one_of
from .beat import Beat, Placement
from .sequence import ADDRESS_BITS, BlockLoop, Cursor


class Issue(wiring.Component):
    """Walks one instruction and reads the accumulator for each beat, in order.

    A beat is issued when its accumulator read is granted. From then on nothing holds it up: the results of all
    beats in flight have room (``room``), and a RESIDUAL's skip operand has already arrived (``skip_ready``).

    Members
    -------
    start : ``In(1)``, begins ``instruction``, which stays until :attr:`active` falls.
    active : ``Out(1)``, beats remain to be prepared.
    request : ``Out(stream)`` of accumulator rows.
    skip_ready, room : ``In(1)``.
    issued : ``Out(1)``, with ``beat`` and ``placement`` of the issued beat.
    out_of_range : ``Out(1)``, the beat held addresses a row that does not exist; nothing is issued any more.
    """

    start: Signal
    instruction: Any
    active: Signal
    request: Any
    skip_ready: Signal
    room: Signal
    issued: Signal
    beat: Any
    placement: Any
    out_of_range: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "instruction": In(LAYOUTS[Opcode.VECTOR]),
                "active": Out(1),
                "request": Out(stream.Signature(address_width(config.accumulator_rows))),
                "skip_ready": In(1),
                "room": In(1),
                "issued": Out(1),
                "beat": Out(Beat(config)),
                "placement": Out(Placement(config)),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        groups = config.cols // config.lanes
        m.submodules.loop = loop = BlockLoop(groups=groups)
        m.submodules.source = source = Cursor(config)
        m.submodules.destination = destination = Cursor(config)
        i = self.instruction
        residual = i.function == Function.RESIDUAL
        rows_wide = i.layout == Layout.ROWS
        m.d.comb += [
            loop.start.eq(self.start),
            loop.rows.eq(i.rows),
            loop.blocks.eq(i.blocks),
            source.start.eq(self.start),
            source.address.eq(i.acc_address),
            source.stride.eq(i.acc_stride),
            source.width.eq(groups - 1),
            destination.start.eq(self.start),
            destination.address.eq(i.out_address),
            destination.stride.eq(i.out_stride),
            destination.width.eq(Mux(rows_wide, config.rows // config.lanes, groups) - 1),
        ]
        source.follow(m, loop)
        destination.follow(m, loop)

        # The beat to issue and one behind it: no path leads from the accumulator's arbiter to the loop.
        m.submodules.prepared = prepared = Relay(
            data.StructLayout(
                {
                    "request": unsigned(ADDRESS_BITS),
                    # Two bits, so that not all that is checked meets in one.
                    "bad": unsigned(2),
                    "beat": Beat(config),
                    "placement": Placement(config),
                }
            )
        )
        held = prepared.o.payload
        bad = Signal(2)
        m.d.comb += [
            # A beat behind the one to issue may be the one that is out of range, so nothing starts before it is seen.
            self.active.eq(loop.active | ~prepared.i.ready),
            self.out_of_range.eq(prepared.o.valid & held.bad.any()),
            # Only a RESIDUAL goes to the accumulator.
            self.request.valid.eq(
                prepared.o.valid & ~held.bad.any() & self.room & (self.skip_ready | ~held.placement.accumulator)
            ),
            self.request.payload.eq(held.request),
            self.issued.eq(self.request.valid & self.request.ready),
            prepared.o.ready.eq(self.issued),
            prepared.i.valid.eq(loop.active),
            loop.advance.eq(loop.active & prepared.i.ready),
            self.beat.eq(held.beat),
            self.placement.eq(held.placement),
        ]

        acc_row, out_row, stat_row = (Signal(ADDRESS_BITS, name=f"{name}_row") for name in ("acc", "out", "stat"))
        parameter_row = Signal(13)
        count = self._count(m, loop)
        uses_statistics = {Function.EXPONENT, Function.CONTEXT, Function.RESIDUAL, Function.LAYERNORM}
        m.d.comb += [
            acc_row.eq(source.base + loop.row),
            out_row.eq(destination.base + loop.row),
            stat_row.eq(i.stat_address + loop.row),
            bad[0].eq((acc_row >= config.accumulator_rows) | (~residual & (out_row >= config.scratchpad_rows))),
            bad[1].eq(
                (one_of(i.function, uses_statistics, config) & (stat_row >= config.statistics_rows))
                | ((i.function != Function.EXPONENT) & (parameter_row >= config.parameter_rows))
            ),
        ]
        with m.If(self.start):
            m.d.sync += parameter_row.eq(i.param_address)
        with m.Elif(loop.advance & loop.block_end):
            m.d.sync += parameter_row.eq(parameter_row + 1)

        entering = prepared.i.payload
        beat, placement = entering.beat, entering.placement
        m.d.comb += [
            beat[name].eq(i[name]) for name in ("function", "multiplier", "shift_a", "shift_b", "offset", "grid")
        ]
        m.d.comb += [
            entering.request.eq(acc_row),
            entering.bad.eq(bad),
            beat.group.eq(loop.group),
            beat.count.eq(count),
            beat.parameter_row.eq(parameter_row),
            beat.row.stat_row.eq(stat_row),
            beat.row.summed.eq(one_of(i.function, {Function.EXPONENT, Function.RESIDUAL}, config)),
            beat.row.softmax.eq(i.function == Function.EXPONENT),
            beat.row.start.eq(loop.row_start),
            beat.row.end.eq(loop.row_end),
            beat.row.sums_start.eq(i.first & loop.first_block),
            beat.row.sums_end.eq(i.last & loop.last_block),
            beat.row.final.eq(loop.final),
            placement.address.eq(Mux(residual, acc_row, out_row)),
            placement.position.eq(Mux(residual, loop.group, destination.position)),
            placement.accumulator.eq(residual),
            placement.final.eq(loop.final),
        ]
        return m

    def _count(self, m: Module, loop: BlockLoop) -> Signal:
        """Valid lanes of the loop's current beat: those whose column is less than ``valid``."""
        lanes = self.config.lanes
        left = Signal(16)
        row_left = Signal(16)
        next_left = Signal(16)
        count = Signal(range(lanes + 1))
        m.d.comb += [
            next_left.eq(Mux(left > lanes, left - lanes, 0)),
            count.eq(Mux(left > lanes, lanes, left)),
        ]
        with m.If(self.start):
            m.d.sync += [left.eq(self.instruction.valid), row_left.eq(self.instruction.valid)]
        with m.Elif(loop.advance):
            m.d.sync += left.eq(Mux(loop.row_end & ~loop.block_end, row_left, next_left))
            with m.If(loop.block_end):
                m.d.sync += row_left.eq(next_left)
        return count
