"""The MATRIX unit: two walks over an instruction's rows, the array, and the edge where both streams meet."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .array import SystolicArray
from .config import Config
from .interfaces import FAULT_BITS, AccumulatorAdd, Fault, ScratchpadRead, UnitControl
from .matrix_fetch import RowPrefetch
from .matrix_walk import MATRIX, ActivationWalk, WeightWalk, tile_layout
from .queues import Queue, Relay

#: Cycles at least between the same row of consecutive tiles: the accumulator reads what it has written.
MIN_TILE_PERIOD = 8
#: Activation rows requested ahead: the 4 of the credit's round trip, and 4 cycles of a busy bank.
ACTIVATION_AHEAD = 8
#: Weight rows asked for beyond a whole tile in waiting, for the same reasons.
WEIGHTS_AHEAD = 8


class MatrixUnit(wiring.Component):
    """Executes MATRIX instructions back to back, without bubbles within or between them.

    Each instruction goes to two walks. The weight walk runs ahead by a tile in the ``next`` registers of the array and
    one in its queue; the activation walk by a few rows. At the edge of the array a weight row enters while
    the ``next`` registers are free, from the cycle on in which their tile is swapped in; the first row of a
    tile enters once its weights are in. Tiles so take ``max(rows, weight rows, MIN_TILE_PERIOD)`` cycles.

    Three bits of each activation row travel beside the array; the rest is known once for each tile and waits
    in a queue until the tile's first row of sums comes out.

    A tile that adds to accumulator rows of the tile before it must start at the same row (as the inner loop does) or
    before it, so that no row comes again within ``MIN_TILE_PERIOD`` cycles; it would miss the sum under way.
    The compiler's verifier refuses other programs.

    Parameters
    ----------
    config : Config

    Members
    -------
    control : ``In(UnitControl())``; faults are raised when their instruction is the oldest in flight.
    activations, weights : ``Out(ScratchpadRead(config))``
    accumulator : ``Out(AccumulatorAdd(config))``
    give_way : ``Out(1)``: a weight read is to go before an activation read of the same bank in this cycle.
    row_streamed : ``Out(1)``: an activation row enters the array.
    weight_wait : ``Out(1)``: an activation row is there, but its weight tile is not.
    bank_wait : ``Out(1)``: no activation row is there, because its read had waited for a bank.
    rows_left : ``Out(1)``: an instruction was taken, of which not all activation rows have entered the array.
    """

    control: Any
    activations: Any
    weights: Any
    accumulator: Any
    give_way: Signal
    row_streamed: Signal
    weight_wait: Signal
    bank_wait: Signal
    rows_left: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        self.array = SystolicArray(config)
        super().__init__(
            {
                "control": In(UnitControl()),
                "activations": Out(ScratchpadRead(config)),
                "weights": Out(ScratchpadRead(config)),
                "accumulator": Out(AccumulatorAdd(config)),
                "give_way": Out(1),
                "row_streamed": Out(1),
                "weight_wait": Out(1),
                "bank_wait": Out(1),
                "rows_left": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.array = self.array
        m.submodules.weight_walk = weight_walk = WeightWalk(config)
        m.submodules.activation_walk = activation_walk = ActivationWalk(config)
        m.submodules.weight_rows = weight_rows = RowPrefetch(config, depth=config.row_bytes + WEIGHTS_AHEAD)
        m.submodules.activation_rows = activation_rows = RowPrefetch(config, depth=ACTIVATION_AHEAD)
        # Tiles under way: one for each activation row ahead, and one for each period of the array's depth.
        tiles_in_array = -(-self.array.latency // MIN_TILE_PERIOD) + 1
        m.submodules.tiles = tiles = Queue(tile_layout(config), ACTIVATION_AHEAD + tiles_in_array)

        self._dispatch(m, weight_walk, activation_walk)
        connect(m, weight_walk.command, weight_rows.command)
        connect(m, activation_walk.command, activation_rows.command)
        connect(m, activation_walk.tiles, tiles.i)
        connect(m, weight_rows.port, flipped(self.weights))
        connect(m, activation_rows.port, flipped(self.activations))
        self._give_way(m, weight_rows)
        m.d.comb += [
            self.bank_wait.eq(activation_rows.bank_wait),
            self.rows_left.eq(activation_walk.instruction.valid | activation_walk.busy | activation_rows.busy),
        ]
        self._edge(m, weight_rows.rows, activation_rows.rows)
        self._collect(m, activation_rows.rows.payload.mark, tiles.o)
        return m

    def _dispatch(self, m: Module, weight_walk: WeightWalk, activation_walk: ActivationWalk) -> None:
        """Hand each instruction to both walks; the first fault of either stops both."""
        instruction = self.control.instruction
        queues = [Relay(MATRIX) for _ in range(2)]
        halt = Signal()
        fault = Signal(FAULT_BITS)
        found = Signal(FAULT_BITS)
        m.submodules.weight_instructions, m.submodules.activation_instructions = queues
        m.d.comb += [
            instruction.ready.eq(queues[0].i.ready & queues[1].i.ready),
            found.eq(Mux(activation_walk.fault != Fault.NONE, activation_walk.fault, weight_walk.fault)),
            self.control.fault.eq(fault),
            self.control.retired.eq(self.accumulator.retired),
        ]
        for queue, walk in zip(queues, (weight_walk, activation_walk), strict=True):
            m.d.comb += [
                queue.i.valid.eq(instruction.valid & instruction.ready),
                queue.i.payload.eq(instruction.payload[: MATRIX.size]),
                walk.retired.eq(self.accumulator.retired),
                walk.halt.eq(halt),
            ]
            connect(m, queue.o, walk.instruction)
        m.d.sync += fault.eq(Mux(halt, Fault.NONE, found))
        with m.If(found != Fault.NONE):
            m.d.sync += halt.eq(1)

    def _give_way(self, m: Module, weight_rows: RowPrefetch) -> None:
        """Hold an activation read back that wants the bank of a weight read while weights run dry.

        Otherwise activations go first, as weights usually have time to catch up. Not so where a tile has as few
        activation rows as weight rows: each weight row lost would hold up a tile, and the array, while it waits,
        brings both streams back to where they meet again. Activations have rows in waiting for this. (Where the array
        has an odd number of rows such tiles may meet anew each time, at the cost of a cycle each.)
        """
        m.d.comb += self.give_way.eq(weight_rows.low)

    def _edge(self, m: Module, weight_rows: Any, activation_rows: Any) -> None:
        """Decide, each cycle, whether a weight row and whether an activation row enters the array."""
        array = self.array
        config = self.config
        loaded = Signal()
        swap = Signal()
        shift = weight_rows.valid & weight_rows.ready
        mark = activation_rows.payload.mark

        # Counts down in step with the rows of a tile, and after its last row with every cycle: row m + the
        # count is then never less than MIN_TILE_PERIOD - 1 even if the rows had gaps between them.
        hold = Signal(range(MIN_TILE_PERIOD))
        holding = Signal()
        inside = Signal()
        m.d.comb += [
            self.row_streamed.eq(activation_rows.valid & (~mark.first | (loaded & ~holding))),
            activation_rows.ready.eq(self.row_streamed),
            swap.eq(self.row_streamed & mark.first),
            self.weight_wait.eq(activation_rows.valid & mark.first & ~loaded),
            weight_rows.ready.eq(~loaded | swap),
            array.activations.eq(Cat(activation_rows.payload.data[r] for r in range(config.rows))),
            array.swap.eq(swap),
            array.weights.eq(weight_rows.payload.data),
            array.shift.eq(shift),
            array.first.eq(weight_rows.payload.mark.first),
            array.transpose.eq(weight_rows.payload.mark.transpose),
        ]
        with m.If(shift & weight_rows.payload.mark.last):
            m.d.sync += loaded.eq(1)
        with m.Elif(swap):
            m.d.sync += loaded.eq(0)
        with m.If(self.row_streamed):
            m.d.sync += inside.eq(~mark.last)
        with m.If(swap):
            m.d.sync += [hold.eq(MIN_TILE_PERIOD - 1), holding.eq(1)]
        with m.Elif(holding & (self.row_streamed | ~inside)):
            m.d.sync += [hold.eq(hold - 1), holding.eq(hold != 1)]

    def _collect(self, m: Module, mark: Any, tiles: Any) -> None:
        """Give each row of sums its address; the marks arrive one cycle before it, the tile with the first."""
        config = self.config
        out = self.accumulator
        length = self.array.latency - 1
        valid_line = Signal(length)
        first_line = Signal(length, reset_less=True)
        last_line = Signal(length, reset_less=True)
        for line, bit in ((valid_line, self.row_streamed), (first_line, mark.first), (last_line, mark.last)):
            m.d.sync += line.eq(Cat(bit, line))

        valid = Signal()
        tile = Signal(tile_layout(config), reset_less=True)
        mask = Signal(config.cols, reset_less=True)
        last = Signal(reset_less=True)
        m.d.sync += valid.eq(valid_line[-1])
        m.d.comb += tiles.ready.eq(valid_line[-1] & first_line[-1])
        with m.If(valid_line[-1]):
            with m.If(first_line[-1]):
                m.d.sync += tile.eq(tiles.payload)
                m.d.sync += mask.eq(Cat(c < tiles.payload.columns for c in range(config.cols)))
                m.d.sync += last.eq(last_line[-1] & tiles.payload.final)
            with m.Else():
                m.d.sync += [
                    tile.address.eq(tile.address + 1),
                    tile.stat_address.eq(tile.stat_address + 1),
                    last.eq(last_line[-1] & tile.final),
                ]
        m.d.comb += [
            out.valid.eq(valid),
            out.address.eq(tile.address),
            out.data.eq(self.array.sums),
            out.overwrite.eq(tile.overwrite),
            out.track_max.eq(tile.track_max),
            out.max_first.eq(tile.max_first),
            out.stat_address.eq(tile.stat_address),
            out.mask.eq(mask),
            out.last.eq(last),
        ]
