"""From runs of scratchpad rows to beats of write data."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import READ_LATENCY, ScratchpadRead
from ..queues import Queue, Relay
from .runs import beats_per_row, position_bits, rows_per_beat

#: Rows asked for and not yet packed: a row is asked for, one cycle later requested, READ_LATENCY cycles later in the
#: queue, one cycle later packed, and one cycle later its place is free again; twice that rides out short bank
#: conflicts.
ROWS_AHEAD = 2 * (READ_LATENCY + 3)


def packed_row_layout(config: Config) -> data.StructLayout:
    """A row on its way into beats: its ``position`` in the beat, and whether the beat ``ends`` with it."""
    return data.StructLayout(
        {
            "row": unsigned(8 * config.row_bytes),
            "position": unsigned(position_bits(config)),
            "ends": unsigned(1),
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
        self.rows_per_beat = rows_per_beat(config)
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
        m.submodules.rows = rows = Queue(self.row_layout, ROWS_AHEAD)
        busy = Signal()
        run = Signal(self.layout, reset_less=True)
        mark = data.StructLayout({name: self.row_layout[name].shape for name in ("position", "ends")})
        m.submodules.asked = asked = Relay(data.StructLayout({"address": run.address.shape(), "mark": mark}))
        room = Signal(range(ROWS_AHEAD + 1), init=ROWS_AHEAD)
        # Whether there is room, and whether the row is the run's last: known one row ahead.
        open_ = Signal(init=1)
        last_row = Signal(reset_less=True)
        taken = Signal()
        freed = Signal()
        m.d.comb += [
            asked.i.valid.eq(busy & open_),
            asked.i.payload.address.eq(run.address),
            asked.i.payload.mark.position.eq(run.position),
            asked.i.payload.mark.ends.eq((run.position == self.rows_per_beat - 1) | last_row),
            taken.eq(asked.i.valid & asked.i.ready),
            freed.eq(self.row.valid & self.row.ready),
            self.run.ready.eq(~busy | (taken & last_row)),
            self.scratchpad.request.valid.eq(asked.o.valid),
            self.scratchpad.request.payload.eq(asked.o.payload.address),
            asked.o.ready.eq(self.scratchpad.request.ready),
        ]
        with m.If(taken & ~freed):
            m.d.sync += [room.eq(room - 1), open_.eq(room != 1)]
        with m.Elif(freed & ~taken):
            m.d.sync += [room.eq(room + 1), open_.eq(1)]
        with m.If(taken):
            m.d.sync += [
                run.address.eq(run.address + 1),
                run.position.eq(run.position + 1),
                run.rows.eq(run.rows - 1),
                last_row.eq(run.rows == 2),
            ]
        with m.If(self.run.ready):
            m.d.sync += [
                busy.eq(self.run.valid),
                run.eq(self.run.payload),
                last_row.eq(self.run.payload.rows == 1),
            ]

        # The mark travels beside the read.
        marks = [asked.o.payload.mark]
        for stage in range(READ_LATENCY):
            arriving = Signal(mark, name=f"arriving_{stage}", reset_less=True)
            m.d.sync += arriving.eq(marks[-1])
            marks.append(arriving)
        m.d.comb += [
            rows.i.valid.eq(self.scratchpad.valid),
            rows.i.payload.row.eq(self.scratchpad.data),
            rows.i.payload.position.eq(marks[-1].position),
            rows.i.payload.ends.eq(marks[-1].ends),
        ]
        wiring.connect(m, rows.o, wiring.flipped(self.row))
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
        # The burst in hand: beats left besides this one, and whether there are none, known one beat ahead.
        active = Signal()
        left = Signal(8, reset_less=True)
        last = Signal(reset_less=True)
        free = Signal()
        complete = Signal()
        load = Signal()
        packed = Signal(self.beat_layout)
        m.d.comb += [
            self.beat.valid.eq(valid),
            self.beat.payload.eq(beat),
            free.eq((~valid | self.beat.ready) & active),
            load.eq(free & (complete | self.drop)),
            packed.last.eq(last),
            self.burst.ready.eq(~active | (load & last)),
        ]
        self._pack(m, packed, free, complete)
        with m.If(self.beat.ready):
            m.d.sync += valid.eq(0)
        with m.If(load):
            m.d.sync += [valid.eq(1), beat.eq(packed), left.eq(left - 1), last.eq(left == 1)]
            with m.If(self.drop):
                m.d.sync += beat.strobe.eq(0)
        with m.If(self.burst.ready):
            m.d.sync += [active.eq(self.burst.valid), left.eq(self.burst.payload), last.eq(self.burst.payload == 0)]
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
            gathered = Signal(8 * bus, reset_less=True)
            present = Signal(rows)
            merged = Signal(rows)
            m.d.comb += [
                complete.eq(self.row.valid & row.ends),
                self.row.ready.eq(free | ~row.ends),
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
                with m.If(row.ends):
                    m.d.sync += present.eq(0)
