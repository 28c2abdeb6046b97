"""The order of beats: loops over blocks, token rows and lane groups, and where each beat lies in memory."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from .beat import position_width

#: Bits of a row address before it is checked: base and stride have 16, and a base beyond the memory is a fault
#: before it is stepped again; then the token row, of 16 bits, is added.
ADDRESS_BITS = 18


class BlockLoop(wiring.Component):
    """For each block, for each token row, for each of ``groups`` lane groups: one beat, the current one.

    Members
    -------
    start : ``In(1)``, begins ``blocks`` (12 bits) by ``rows`` (16 bits), neither of them 0.
    advance : ``In(1)``, goes on to the next beat.
    active : ``Out(1)``, there is a current beat.
    row, group : ``Out``, its token row and lane group.
    row_start, row_end, block_end, final : ``Out(1)``, it is the first of a row, the last of a row, block, all.
    first_block, last_block : ``Out(1)``, its block is the first, the last.
    """

    start: Signal
    rows: Signal
    blocks: Signal
    advance: Signal
    active: Signal
    row: Signal
    group: Signal
    row_start: Signal
    row_end: Signal
    block_end: Signal
    final: Signal
    first_block: Signal
    last_block: Signal

    def __init__(self, *, groups: int) -> None:
        self.groups = groups
        super().__init__({
            "start": In(1), "rows": In(16), "blocks": In(12), "advance": In(1),
            "active": Out(1), "row": Out(16), "group": Out(max(1, (groups - 1).bit_length())),
            "row_start": Out(1), "row_end": Out(1), "block_end": Out(1), "final": Out(1),
            "first_block": Out(1), "last_block": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Whether row and block are the last: known one beat ahead, as everything waits for it.
        last_row = Signal()
        only_row = Signal()
        row_before_last = Signal(16)
        blocks_left = Signal(12)
        m.d.comb += [
            self.row_start.eq(self.group == 0),
            self.row_end.eq(self.group == self.groups - 1),
            self.block_end.eq(self.row_end & last_row),
            self.final.eq(self.block_end & self.last_block),
        ]
        with m.If(self.start):
            m.d.sync += [
                self.active.eq(1),
                self.first_block.eq(1),
                self.last_block.eq(self.blocks == 1),
                blocks_left.eq(self.blocks),
                self.row.eq(0),
                last_row.eq(self.rows == 1),
                only_row.eq(self.rows == 1),
                row_before_last.eq(self.rows - 2),
                self.group.eq(0),
            ]
        with m.Elif(self.advance):
            m.d.sync += self.group.eq(Mux(self.row_end, 0, self.group + 1))
            with m.If(self.row_end):
                m.d.sync += [
                    self.row.eq(Mux(last_row, 0, self.row + 1)),
                    last_row.eq(Mux(last_row, only_row, self.row == row_before_last)),
                ]
            with m.If(self.block_end):
                m.d.sync += [
                    self.first_block.eq(0),
                    self.last_block.eq(blocks_left == 2),
                    blocks_left.eq(blocks_left - 1),
                ]
            with m.If(self.final):
                m.d.sync += self.active.eq(0)
        return m


class Cursor(wiring.Component):
    """Follows element e = n*cols + g*lanes of a row through blocks of a given width: block and position in it.

    Members
    -------
    start : ``In(1)``, begins at ``address`` with ``stride`` rows from block to block.
    width : ``In``, last position of a block: its width in lane groups, less 1. Constant while in use.
    advance, row_end, block_end : ``In(1)``, as those of :class:`BlockLoop`.
    base : ``Out(18)``, memory row of token row 0 of the current beat's block.
    position : ``Out``, lane group within that block.
    """

    start: Signal
    address: Signal
    stride: Signal
    width: Signal
    advance: Signal
    row_end: Signal
    block_end: Signal
    base: Signal
    position: Signal

    def __init__(self, config: Config) -> None:
        position = position_width(config)
        super().__init__({
            "start": In(1), "address": In(16), "stride": In(16), "width": In(position),
            "advance": In(1), "row_end": In(1), "block_end": In(1),
            "base": Out(ADDRESS_BITS), "position": Out(position),
        })  # fmt: skip

    def follow(self, m: Module, loop: BlockLoop) -> None:
        """Move with ``loop``."""
        m.d.comb += [
            self.advance.eq(loop.advance),
            self.row_end.eq(loop.row_end),
            self.block_end.eq(loop.block_end),
        ]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Where the rows of the accumulator block begin; blocks of another width do not begin there.
        row_base = Signal.like(self.base)
        row_position = Signal.like(self.position)
        next_base = Signal.like(self.base)
        next_position = Signal.like(self.position)
        with m.If(self.position == self.width):
            m.d.comb += next_base.eq(self.base + self.stride)
        with m.Else():
            m.d.comb += [next_base.eq(self.base), next_position.eq(self.position + 1)]
        with m.If(self.start):
            m.d.sync += [
                self.base.eq(self.address),
                self.position.eq(0),
                row_base.eq(self.address),
                row_position.eq(0),
            ]
        with m.Elif(self.advance):
            with m.If(self.row_end & ~self.block_end):
                m.d.sync += [self.base.eq(row_base), self.position.eq(row_position)]
            with m.Else():
                m.d.sync += [self.base.eq(next_base), self.position.eq(next_position)]
            with m.If(self.block_end):
                m.d.sync += [row_base.eq(next_base), row_position.eq(next_position)]
        return m
