"""The loops of a MATRIX instruction: which rows its weights and its activations are, in order.

Both walks hold every address one bit wider than the 16 of a field and check a tile before its first row is
asked for; strides are added to checked addresses only, so 17 bits never overflow: 2**16 - 1 from a check,
plus 2**16 - 1 from a stride.
"""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .config import Config
from .interfaces import FAULT_BITS, Fault, address_width
from .isa import LAYOUTS, Opcode
from .matrix_fetch import row_command

MATRIX = LAYOUTS[Opcode.MATRIX]
#: An address field and its overflow bit.
ADDRESS_BITS = 17
#: Counts a walk's instructions in flight: each has a tile in a queue or in the array, fewer than 64 there.
IN_FLIGHT_BITS = 8


def tile_layout(config: Config) -> data.StructLayout:
    """What the rows of sums of one tile need: where they go, and how they enter there.

    ``columns`` of the tile, 0 to ``cols``, enter the maximum; ``final`` marks the instruction's last tile.
    The other fields are those of ``AccumulatorAdd``, addresses being those of the tile's first row.
    """
    return data.StructLayout(
        {
            "address": unsigned(address_width(config.accumulator_rows)),
            "stat_address": unsigned(address_width(config.statistics_rows)),
            "columns": range(config.cols + 1),
            "overwrite": 1,
            "track_max": 1,
            "max_first": 1,
            "final": 1,
        }
    )


class _Walk(wiring.Component):
    """What both walks share: an instruction in hand, and faults raised when it is the oldest in flight.

    A walk is ahead of the accumulator, so a bad address is found while earlier instructions still run. The
    walk stops there, and says so only once they have all retired: the fault then belongs to the oldest
    instruction in flight.

    Members
    -------
    instruction : ``In(stream)`` of MATRIX instructions.
    command : ``Out(stream)`` of rows to be read (:func:`row_command`).
    retired : ``In(1)``: an instruction retired.
    halt : ``In(1)``: nothing more is asked for.
    busy : ``Out(1)``: an instruction is in hand, of which not all rows were asked for.
    fault : ``Out``: a ``Fault`` code while the walk cannot go on.
    """

    instruction: Any
    command: Any
    retired: Signal
    halt: Signal
    busy: Signal
    fault: Signal

    def __init__(self, config: Config, members: dict[str, Any]) -> None:
        self.config = config
        super().__init__(
            {
                "instruction": In(stream.Signature(MATRIX)),
                "command": Out(stream.Signature(row_command(config))),
                "retired": In(1),
                "halt": In(1),
                "busy": Out(1),
                "fault": Out(FAULT_BITS),
                **members,
            }
        )

    def _control(
        self, m: Module, step: Signal, *, in_range: Any, ends: Any, sound: Any = 1
    ) -> tuple[Signal, data.View, Signal, Signal]:
        """Take instructions and judge them.

        Drives ``step``: the row in hand is asked for and taken. ``ends`` is true if that is an instruction's last one.
        ``in_range`` is of the tile in hand, ``sound`` of the instruction that is being taken.

        Gives: an instruction is taken; its fields, valid only then; the instruction in hand is legal and nothing stops
        the walk; so it will be in the next cycle.
        """
        word = self.instruction.payload
        active = Signal()
        open_ = Signal()
        open_next = Signal()
        illegal = Signal(reset_less=True)
        unsound = Signal(reset_less=True)
        bad = Signal()
        in_flight = Signal(IN_FLIGHT_BITS)
        start = Signal()
        m.d.sync += open_.eq(open_next)
        m.d.comb += [
            self.busy.eq(active),
            open_next.eq(open_),
            bad.eq((word.rows == 0) | (word.k_tiles == 0) | (word.n_tiles == 0)),
            step.eq(self.command.valid & self.command.ready),
            self.instruction.ready.eq(~active | ends),
            start.eq(self.instruction.valid & self.instruction.ready),
        ]
        with m.If(start):
            m.d.comb += open_next.eq(~bad & sound & ~self.halt)
            m.d.sync += [active.eq(1), illegal.eq(bad), unsound.eq(~Value.cast(sound))]
        with m.Elif(ends):
            m.d.comb += open_next.eq(0)
            m.d.sync += active.eq(0)
        with m.Elif(self.halt):
            m.d.comb += open_next.eq(0)
        with m.If(start & ~self.retired):
            m.d.sync += in_flight.eq(in_flight + 1)
        with m.Elif(self.retired & ~start):
            m.d.sync += in_flight.eq(in_flight - 1)
        with m.If(active & (illegal | unsound | ~in_range) & (in_flight == 1)):
            m.d.comb += self.fault.eq(Mux(illegal, Fault.ILLEGAL_INSTRUCTION, Fault.ADDRESS))
        return start, word, open_, open_next


class WeightWalk(_Walk):
    """Weight rows: for each n, for each k, the tile's memory rows, last one first.

    Row i of tile (k, n) is ``w_address + n*w_n_stride + k*w_k_stride + i``, i from ``rows`` - 1 down to 0,
    or with ``transpose`` from ``cols`` - 1 (the array's rows and columns).
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config, {})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        address = Signal(ADDRESS_BITS, reset_less=True)
        #: Addresses of the last memory rows: of this tile, and of tile k = 0 of this n.
        tile_top = Signal(ADDRESS_BITS, reset_less=True)
        n_top = Signal(ADDRESS_BITS, reset_less=True)
        rows_left = Signal(range(config.row_bytes), reset_less=True)
        k_left = Signal(12, reset_less=True)
        n_left = Signal(12, reset_less=True)
        k_tiles = Signal(12, reset_less=True)
        k_stride = Signal(16, reset_less=True)
        n_stride = Signal(16, reset_less=True)
        transpose = Signal(reset_less=True)
        first = Signal(reset_less=True)

        # Whether these are the last: known one row ahead, as everything waits for it.
        last_row = Signal(reset_less=True)
        last_k = Signal(reset_less=True)
        last_n = Signal(reset_less=True)
        only_k = Signal(reset_less=True)
        # The row in hand is the instruction's last and may be asked for.
        ending = Signal()
        # Judged as it is computed: rows further down the tile lie below its last one. The tiles that may follow are
        # judged a cycle before, as a tile has two rows at least.
        in_range = Signal(reset_less=True)
        in_range_next = Signal()
        next_k_fits = Signal(reset_less=True)
        next_n_fits = Signal(reset_less=True)
        step = Signal()
        start, word, _, open_next = self._control(m, step, in_range=in_range, ends=ending & self.command.ready)
        # The row in hand may be asked for: known one cycle ahead.
        allowed = Signal()
        m.d.sync += [in_range.eq(in_range_next), allowed.eq(open_next & in_range_next)]
        m.d.comb += [
            in_range_next.eq(in_range),
            self.command.valid.eq(allowed),
            self.command.payload.address.eq(address),
            self.command.payload.mark.first.eq(first),
            self.command.payload.mark.last.eq(last_row),
            self.command.payload.mark.transpose.eq(transpose),
        ]

        next_k = Signal(ADDRESS_BITS)
        next_n = Signal(ADDRESS_BITS)
        top = Signal(ADDRESS_BITS)
        m.d.comb += [
            next_k.eq(tile_top + k_stride),
            next_n.eq(n_top + n_stride),
            top.eq(word.w_address + Mux(word.transpose, config.cols - 1, config.rows - 1)),
        ]
        m.d.sync += [
            next_k_fits.eq(next_k < config.scratchpad_rows),
            next_n_fits.eq(next_n < config.scratchpad_rows),
        ]
        with m.If(start):
            m.d.comb += in_range_next.eq(top < config.scratchpad_rows)
            m.d.sync += [
                first.eq(1),
                address.eq(top),
                tile_top.eq(top),
                n_top.eq(top),
                rows_left.eq(Mux(word.transpose, config.cols - 1, config.rows - 1)),
                last_row.eq(0),
                ending.eq(0),
                k_left.eq(word.k_tiles),
                last_k.eq(word.k_tiles == 1),
                only_k.eq(word.k_tiles == 1),
                n_left.eq(word.n_tiles),
                last_n.eq(word.n_tiles == 1),
                k_tiles.eq(word.k_tiles),
                k_stride.eq(word.w_k_stride),
                n_stride.eq(word.w_n_stride),
                transpose.eq(word.transpose),
            ]
        with m.Elif(step):
            m.d.sync += first.eq(last_row)
            with m.If(~last_row):
                m.d.sync += [address.eq(address - 1), rows_left.eq(rows_left - 1), last_row.eq(rows_left == 1)]
                m.d.sync += ending.eq((rows_left == 1) & last_k & last_n)
            with m.Else():
                m.d.sync += [rows_left.eq(Mux(transpose, config.cols - 1, config.rows - 1)), last_row.eq(0)]
                m.d.sync += ending.eq(0)
                with m.If(~last_k):
                    m.d.sync += [k_left.eq(k_left - 1), last_k.eq(k_left == 2)]
                    m.d.sync += [address.eq(next_k), tile_top.eq(next_k)]
                    m.d.comb += in_range_next.eq(next_k_fits)
                with m.Else():
                    m.d.sync += [k_left.eq(k_tiles), last_k.eq(only_k)]
                    m.d.sync += [n_left.eq(n_left - 1), last_n.eq(n_left == 2)]
                    m.d.sync += [address.eq(next_n), tile_top.eq(next_n), n_top.eq(next_n)]
                    m.d.comb += in_range_next.eq(next_n_fits)
        with m.If(self.halt):
            m.d.sync += ending.eq(0)
        return m


class ActivationWalk(_Walk):
    """Activation rows: for each n, for each k, rows ``a_address + k*a_stride + m``, m = 0 .. rows-1.

    Before the first row of a tile its :func:`tile_layout` goes out on ``tiles``; both are taken at once.

    Members
    -------
    tiles : ``Out(stream)`` of :func:`tile_layout`. Its ``valid`` depends on ``command.ready``, and
        ``command.valid`` on ``tiles.ready``: neither consumer may look at ``valid`` to be ready.
    """

    tiles: Any

    def __init__(self, config: Config) -> None:
        super().__init__(config, {"tiles": Out(stream.Signature(tile_layout(config)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        held = Signal(MATRIX, reset_less=True)
        address = Signal(ADDRESS_BITS, reset_less=True)
        #: First row and end (one past the last row) of this tile's activations and sums.
        a_base = Signal(ADDRESS_BITS, reset_less=True)
        a_end = Signal(ADDRESS_BITS, reset_less=True)
        a_end_of_k0 = Signal(ADDRESS_BITS, reset_less=True)
        acc_base = Signal(ADDRESS_BITS, reset_less=True)
        acc_end = Signal(ADDRESS_BITS, reset_less=True)
        #: Whether these ends, and that of the maxima, are in range: judged as they are computed.
        fits = Signal(reset_less=True)
        a_fits_in_k0 = Signal(reset_less=True)
        acc_fits = Signal(reset_less=True)
        stat_fits = Signal()
        rows_left = Signal(16, reset_less=True)
        k_left = Signal(12, reset_less=True)
        n_left = Signal(12, reset_less=True)
        valid_left = Signal(16, reset_less=True)
        first = Signal(reset_less=True)
        first_k = Signal(reset_less=True)
        first_n = Signal(reset_less=True)

        # Whether these are the last, and the only ones: known one row ahead, as everything waits for it.
        last_row = Signal(reset_less=True)
        only_row = Signal(reset_less=True)
        last_k = Signal(reset_less=True)
        only_k = Signal(reset_less=True)
        last_n = Signal(reset_less=True)
        last = Signal(reset_less=True)
        step = Signal()
        start, word, open_, _ = self._control(m, step, in_range=fits, ends=step & last, sound=stat_fits)
        tile = self.tiles.payload
        allowed = Signal()
        whole = Signal()
        m.d.comb += [
            allowed.eq(open_ & fits),
            self.command.valid.eq(allowed & (~first | self.tiles.ready)),
            self.command.payload.address.eq(address),
            self.command.payload.mark.first.eq(first),
            self.command.payload.mark.last.eq(last_row),
            self.tiles.valid.eq(allowed & first & self.command.ready),
            tile.address.eq(acc_base),
            tile.stat_address.eq(held.stat_address),
            whole.eq(valid_left >= config.cols),
            tile.columns.eq(Mux(whole, config.cols, valid_left)),
            tile.overwrite.eq(first_k & ~held.accumulate),
            tile.track_max.eq(last_k & held.track_max),
            tile.max_first.eq(first_n & held.max_first),
            tile.final.eq(last_k & last_n),
        ]

        next_a = Signal(ADDRESS_BITS)
        first_a_end = Signal(ADDRESS_BITS)
        next_a_end = Signal(ADDRESS_BITS)
        first_acc_end = Signal(ADDRESS_BITS)
        next_acc_end = Signal(ADDRESS_BITS)
        stat_end = Signal(ADDRESS_BITS)
        m.d.comb += [
            next_a.eq(a_base + held.a_stride),
            first_a_end.eq(word.a_address + word.rows),
            next_a_end.eq(a_end + held.a_stride),
            first_acc_end.eq(word.acc_address + word.rows),
            next_acc_end.eq(acc_end + held.acc_stride),
            stat_end.eq(word.stat_address + word.rows),
            stat_fits.eq(~word.track_max | (stat_end <= config.statistics_rows)),
        ]
        with m.If(start):
            m.d.sync += [
                held.eq(word),
                first.eq(1),
                first_k.eq(1),
                first_n.eq(1),
                address.eq(word.a_address),
                a_base.eq(word.a_address),
                a_end.eq(first_a_end),
                fits.eq((first_a_end <= config.scratchpad_rows) & (first_acc_end <= config.accumulator_rows)),
                a_end_of_k0.eq(first_a_end),
                a_fits_in_k0.eq(first_a_end <= config.scratchpad_rows),
                acc_base.eq(word.acc_address),
                acc_end.eq(first_acc_end),
                acc_fits.eq(first_acc_end <= config.accumulator_rows),
                rows_left.eq(word.rows),
                last_row.eq(word.rows == 1),
                only_row.eq(word.rows == 1),
                last.eq((word.rows == 1) & (word.k_tiles == 1) & (word.n_tiles == 1)),
                k_left.eq(word.k_tiles),
                last_k.eq(word.k_tiles == 1),
                only_k.eq(word.k_tiles == 1),
                n_left.eq(word.n_tiles),
                last_n.eq(word.n_tiles == 1),
                valid_left.eq(word.valid),
            ]
        with m.Elif(step):
            m.d.sync += first.eq(last_row)
            with m.If(~last_row):
                m.d.sync += [address.eq(address + 1), rows_left.eq(rows_left - 1), last_row.eq(rows_left == 2)]
                m.d.sync += last.eq((rows_left == 2) & last_k & last_n)
            with m.Else():
                m.d.sync += [rows_left.eq(held.rows), last_row.eq(only_row), first_k.eq(last_k)]
                with m.If(~last_k):
                    m.d.sync += [
                        k_left.eq(k_left - 1),
                        last_k.eq(k_left == 2),
                        last.eq(only_row & (k_left == 2) & last_n),
                        address.eq(next_a),
                        a_base.eq(next_a),
                        a_end.eq(next_a_end),
                        fits.eq((next_a_end <= config.scratchpad_rows) & acc_fits),
                    ]
                with m.Else():
                    m.d.sync += [
                        k_left.eq(held.k_tiles),
                        last_k.eq(only_k),
                        n_left.eq(n_left - 1),
                        last_n.eq(n_left == 2),
                        last.eq(only_row & only_k & (n_left == 2)),
                        first_n.eq(0),
                        address.eq(held.a_address),
                        a_base.eq(held.a_address),
                        a_end.eq(a_end_of_k0),
                        fits.eq(a_fits_in_k0 & (next_acc_end <= config.accumulator_rows)),
                        acc_base.eq(acc_base + held.acc_stride),
                        acc_end.eq(next_acc_end),
                        acc_fits.eq(next_acc_end <= config.accumulator_rows),
                        valid_left.eq(Mux(whole, valid_left - config.cols, 0)),
                    ]
        return m
