"""From runs of scratchpad rows to beats of write data."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import READ_LATENCY, ScratchpadRead
from .runs import beats_per_row, position_bits, rows_per_beat

#: Rows requested and not yet packed: a row is requested, READ_LATENCY cycles later in the queue, one cycle
#: later packed, and one cycle later its place is free again; twice that rides out short bank conflicts.
ROWS_AHEAD = 2 * (READ_LATENCY + 2)


def packed_row_layout(config: Config) -> data.StructLayout:
    """A row on its way into beats: its ``position`` in the beat, and whether the run ends with it."""
    return data.StructLayout(
        {
            "row": unsigned(8 * config.row_bytes),
            "position": unsigned(position_bits(config)),
            "run_end": unsigned(1),
        }
    )


class RowReader(wiring.Component):
    """Read the rows of runs from the scratchpad, a row a cycle, never more than there is room for.

    Members
    -------
    run : stream of runs (``layout``, see :func:`~systolith.rtl.dma.runs.run_layout`).
    scratchpad : ``Out(ScratchpadRead)``.
    row : stream of :func:`packed_row_layout`.
    """

    run: stream.Interface
    scratchpad: wiring.PureInterface
    row: stream.Interface

    def __init__(self, config: Config, *, layout: data.StructLayout) -> None:
        self.layout = layout
        self.row_layout = packed_row_layout(config)
        super().__init__(
            {
                "run": In(stream.Signature(layout)),
                "scratchpad": Out(ScratchpadRead(config)),
                "row": Out(stream.Signature(self.row_layout)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = SyncFIFO(width=self.row_layout.size, depth=ROWS_AHEAD)
        busy = Signal()
        run = Signal(self.layout, reset_less=True)
        room = Signal(range(ROWS_AHEAD + 1), init=ROWS_AHEAD)
        request = self.scratchpad.request
        requested = Signal()
        taken = Signal()
        run_end = Signal()
        m.d.comb += [
            request.valid.eq(busy & (room != 0)),
            request.payload.eq(run.address),
            requested.eq(request.valid & request.ready),
            taken.eq(self.row.valid & self.row.ready),
            run_end.eq(run.rows == 1),
            self.run.ready.eq(~busy | (requested & run_end)),
        ]
        m.d.sync += room.eq(room + taken - requested)
        with m.If(requested):
            m.d.sync += [
                run.address.eq(run.address + 1),
                run.position.eq(run.position + 1),
                run.rows.eq(run.rows - 1),
            ]
        with m.If(self.run.ready):
            m.d.sync += [busy.eq(self.run.valid), run.eq(self.run.payload)]

        # Position and end of run travel beside the read.
        arriving = Cat(run.position, run_end)
        for stage in range(READ_LATENCY):
            delayed = Signal(len(arriving), name=f"arriving_{stage}", reset_less=True)
            m.d.sync += delayed.eq(arriving)
            arriving = delayed
        m.d.comb += [
            rows.w_en.eq(self.scratchpad.valid),
            rows.w_data.eq(Cat(self.scratchpad.data, arriving)),
            self.row.valid.eq(rows.r_rdy),
            self.row.payload.eq(rows.r_data),
            rows.r_en.eq(self.row.ready),
        ]
        return m


class BeatPacker(wiring.Component):
    """Pack rows into the beats of write bursts: one beat or one row a cycle, whichever is the slower.

    A row fills its pitch: the bytes above it are written as zeros. A beat that holds more rows than a run has
    there is strobed row by row. Where the pitch is wider than the bus a row is sent in several beats.

    Members
    -------
    row : stream of :func:`packed_row_layout`.
    burst : stream of lengths in beats less one, of the bursts whose address has been issued.
    drop : beats are completed with all strobes off, without waiting for rows.
    beat : stream of ``data``, ``strobe`` (a bit for each byte) and ``last`` of a burst; ``drop`` does not change
        a beat that is waiting.
    """

    row: stream.Interface
    burst: stream.Interface
    drop: Signal
    beat: stream.Interface

    def __init__(self, config: Config) -> None:
        self.config = config
        self.beat_layout = data.StructLayout(
            {
                "data": unsigned(config.axi_data_width),
                "strobe": unsigned(config.bus_bytes),
                "last": unsigned(1),
            }
        )
        super().__init__(
            {
                "row": In(stream.Signature(packed_row_layout(config))),
                "burst": In(stream.Signature(8)),
                "drop": In(1),
                "beat": Out(stream.Signature(self.beat_layout)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        valid = Signal()
        beat = Signal(self.beat_layout, reset_less=True)
        index = Signal(8)
        free = Signal()
        complete = Signal()
        load = Signal()
        packed = Signal(self.beat_layout)
        m.d.comb += [
            self.beat.valid.eq(valid),
            self.beat.payload.eq(beat),
            free.eq((~valid | self.beat.ready) & self.burst.valid),
            load.eq(free & (complete | self.drop)),
            packed.last.eq(index == self.burst.payload),
            self.burst.ready.eq(load & packed.last),
        ]
        self._pack(m, packed, free, complete)
        with m.If(self.beat.ready):
            m.d.sync += valid.eq(0)
        with m.If(load):
            m.d.sync += [valid.eq(1), beat.eq(packed), index.eq(index + 1)]
            with m.If(packed.last):
                m.d.sync += index.eq(0)
            with m.If(self.drop):
                m.d.sync += beat.strobe.eq(0)
        return m

    def _pack(self, m: Module, packed: data.View, free: Signal, complete: Signal) -> None:
        """The beat that the present row completes, if it does; takes the row when it is used up."""
        config = self.config
        row = self.row.payload
        pitch, bus = config.row_pitch, config.bus_bytes
        rows, beats = rows_per_beat(config), beats_per_row(config)
        if beats > 1:
            part = Signal(range(beats))
            m.d.comb += [
                packed.data.eq(row.row.word_select(part, 8 * bus)),
                packed.strobe.eq(~0),
                complete.eq(self.row.valid),
                self.row.ready.eq(free & (part == beats - 1)),
            ]
            with m.If(free & self.row.valid):
                m.d.sync += part.eq(part + 1)
        elif rows == 1:
            m.d.comb += [
                packed.data.eq(row.row),
                packed.strobe.eq(~0),
                complete.eq(self.row.valid),
                self.row.ready.eq(free),
            ]
        else:
            ends = Signal()
            gathered = Signal(8 * bus, reset_less=True)
            present = Signal(rows)
            merged = Signal(rows)
            m.d.comb += [
                ends.eq((row.position == rows - 1) | row.run_end),
                complete.eq(self.row.valid & ends),
                self.row.ready.eq(free | ~ends),
                merged.eq(present | (1 << row.position)),
            ]
            m.d.comb += packed.strobe.eq(Cat(bit.replicate(pitch) for bit in merged))
            for position in range(rows):
                place = slice(8 * pitch * position, 8 * pitch * (position + 1))
                with m.If(row.position == position):
                    m.d.comb += packed.data[place].eq(row.row)
                with m.Else():
                    m.d.comb += packed.data[place].eq(gathered[place])
            with m.If(self.row.valid & self.row.ready):
                m.d.sync += [gathered.eq(packed.data), present.eq(merged)]
                with m.If(ends):
                    m.d.sync += present.eq(0)
