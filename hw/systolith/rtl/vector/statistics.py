"""Row sums and reciprocals: what EXPONENT and RESIDUAL leave behind for CONTEXT and LAYERNORM."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from systolith.numerics import integer

from ..config import Config
from ..interfaces import address_width
from .arithmetic import delayed
from .beat import RECIPROCAL, RowTag
from .reciprocal import RowReciprocal

#: int16 values of up to 2**16 columns.
_SUM_BITS = 32


class RowStatistics(wiring.Component):
    """Adds results up by token row, over lanes, lane groups, blocks and instructions, and inverts complete sums.

    Lanes are added in a tree of registers, lane groups in one register (those of a row follow each other), blocks and
    instructions in a memory, which is read two cycles ahead. A row that follows itself after one or two cycles takes
    the sum from the write's register, after three it sees the write through the transparent port: rows may come in any
    order.

    Members
    -------
    valid : ``In(1)``, a beat's results are ``lanes`` (int16), its ``row`` a ``RowTag``.
    columns : ``In(16)``, mean_multiplier : ``In(25)``: of the RESIDUAL instruction in flight.
    stat_row : ``In``; ``reciprocal`` : ``Out``, that row's, one cycle later.
    completed : ``Out(1)``, the reciprocals of an instruction are written, the last in this cycle.
    """

    valid: Signal
    row: Any
    lanes: Any
    columns: Signal
    mean_multiplier: Signal
    stat_row: Signal
    reciprocal: Any
    completed: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "valid": In(1),
                "row": In(RowTag(config)),
                "lanes": In(data.ArrayLayout(signed(16), config.lanes)),
                "columns": In(16),
                "mean_multiplier": In(25),
                "stat_row": In(address_width(config.statistics_rows)),
                "reciprocal": Out(RECIPROCAL),
                "completed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = self.config.statistics_rows
        lanes = [self.lanes[lane] for lane in range(self.config.lanes)]
        values = {"total": (_SUM_BITS, [delayed(m, lane, 1)[1] for lane in lanes])}
        if self.config.layernorm:
            values["squares"] = (integer.SQUARES_BITS, [self._square(m, lane) for lane in lanes])
        trees = {name: self._tree(m, terms) for name, (_, terms) in values.items()}
        depth = self._depth_of(self.config)

        # Ahead of the tree's sums, with them, with the row's sum within its block, and with its sum so far.
        early, group, row, written = delayed(m, self.row, depth + 2)[-4:]
        valids = delayed(m, self.valid & self.row.summed, depth, reset=True)
        row_valid = Signal()
        written_valid = Signal()
        m.d.sync += [row_valid.eq(valids[-1] & group.end), written_valid.eq(row_valid)]

        m.submodules.sums = sums = Memory(
            shape=data.StructLayout({name: bits for name, (bits, _) in values.items()}), depth=rows, init=[]
        )
        write = sums.write_port()
        read = sums.read_port(transparent_for=(write,))
        forward = Signal(reset_less=True)
        forward_stored = Signal(reset_less=True)
        m.d.comb += [
            read.addr.eq(early.stat_row),
            write.addr.eq(written.stat_row),
            write.en.eq(written_valid),
        ]
        m.d.sync += [
            forward.eq(row_valid & (row.stat_row == group.stat_row)),
            forward_stored.eq(row_valid & (row.stat_row == early.stat_row)),
        ]
        completed = {}
        for name, (bits, _) in values.items():
            partial = Signal(bits, reset_less=True, name=f"partial_{name}")
            total = Signal(bits, reset_less=True, name=f"row_{name}")
            stored = Signal(bits, reset_less=True, name=f"stored_{name}")
            before = Signal(bits, name=f"{name}_before")
            m.d.sync += stored.eq(Mux(forward_stored, total, read.data[name]))
            with m.If(~row.sums_start):
                m.d.comb += before.eq(Mux(forward, total, stored))
            with m.If(valids[-1]):
                m.d.sync += partial.eq(trees[name] + Mux(group.start, 0, partial))
            m.d.sync += total.eq(before + partial)
            m.d.comb += write.data[name].eq(total)
            completed[name] = total
        self._invert(m, written_valid, written, completed)
        return m

    @staticmethod
    def _depth_of(config: Config) -> int:
        """Cycles from results to the sum of their lanes: that of the squares, and the tree."""
        return 1 + (config.lanes - 1).bit_length()

    @staticmethod
    def latency_of(config: Config) -> int:
        """Cycles from a row's last results to its reciprocal, and ``completed``: two more for the row's sums."""
        return RowStatistics._depth_of(config) + 2 + RowReciprocal.latency_of(config)

    def _square(self, m: Module, lane: Value) -> Signal:
        """At most (-2**15)**2: 31 bits."""
        square = Signal(31, reset_less=True)
        m.d.sync += square.eq(lane * lane)
        return square

    def _tree(self, m: Module, terms: list[Value]) -> Value:
        """Their sum, one level of two-input additions a cycle."""
        while len(terms) > 1:
            level: list[Value] = []
            for left, right in zip(terms[::2], terms[1::2], strict=False):
                level.append(left + right)
            if len(terms) % 2:
                level.append(terms[-1])
            terms = [delayed(m, term, 1)[1] for term in level]
        return terms[0]

    def _invert(self, m: Module, valid: Signal, tag: Any, sums: dict[str, Signal]) -> None:
        """Complete sums through :class:`RowReciprocal` into the memory of reciprocals."""
        row_bits = len(tag.stat_row)
        m.submodules.invert = invert = RowReciprocal(self.config, tag_width=row_bits + 1)
        m.submodules.reciprocals = reciprocals = Memory(shape=RECIPROCAL, depth=self.config.statistics_rows, init=[])
        write = reciprocals.write_port()
        read = reciprocals.read_port()
        final = invert.tag_out[row_bits]
        m.d.comb += [
            invert.valid.eq(valid & tag.sums_end),
            invert.softmax.eq(tag.softmax),
            invert.total.eq(sums["total"]),
            invert.columns.eq(self.columns),
            invert.multiplier.eq(self.mean_multiplier),
            invert.tag[:row_bits].eq(tag.stat_row),
            invert.tag[row_bits].eq(tag.final),
            write.en.eq(invert.valid_out),
            write.addr.eq(invert.tag_out[:row_bits]),
            write.data.eq(invert.result),
            self.completed.eq(invert.valid_out & final),
            read.addr.eq(self.stat_row),
            self.reciprocal.eq(read.data),
        ]
        if "squares" in sums:
            m.d.comb += invert.squares.eq(sums["squares"])
