"""Walking a LOAD or STORE instruction: its blocks, as checked runs of rows."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import FAULT_BITS, Fault, Regions, address_width
from ..isa import INSTRUCTION_BITS, LAYOUTS, Opcode
from .bursts import beat_address_bits

#: Bits of a block's number of rows.
ROWS_BITS = 16


def rows_per_beat(config: Config) -> int:
    """Rows that one beat holds; 1 if a row takes a beat or more."""
    return max(1, config.bus_bytes // config.row_pitch)


def beats_per_row(config: Config) -> int:
    """Beats that one row takes; 1 if a beat holds a row or more."""
    return max(1, config.row_pitch // config.bus_bytes)


def position_bits(config: Config) -> int:
    """Bits of a row's position in its beat; 1, unused, where a beat has one row (Verilog has no empty vectors)."""
    return max(1, (rows_per_beat(config) - 1).bit_length())


def span_bits(config: Config) -> int:
    """A run has fewer than ``2**span_bits`` beats: ``2**16`` rows, the first perhaps inside a beat."""
    return ROWS_BITS + (beats_per_row(config) - 1).bit_length()


def run_layout(config: Config, address_bits: int) -> data.StructLayout:
    """One block of a transfer: ``rows`` consecutive rows here and there.

    ``first`` and ``last`` are the addresses of its beats, ``position`` the place of its first row in the
    first beat, ``address`` its first row on the chip in ``memory``; ``final`` marks the instruction's last
    block. With a ``fault`` there is no transfer, and no run follows.
    """
    return data.StructLayout(
        {
            "fault": unsigned(FAULT_BITS),
            "first": unsigned(beat_address_bits(config)),
            "last": unsigned(beat_address_bits(config)),
            "position": unsigned(position_bits(config)),
            "rows": unsigned(ROWS_BITS),
            "address": unsigned(address_bits),
            "memory": unsigned(1),
            "final": unsigned(1),
        }
    )


class RunWalker(wiring.Component):
    """Turn LOAD or STORE instructions into checked runs, one a cycle, without pause between instructions.

    Three stages with a register each: block counters; sums (begin and end in DRAM, end on the chip);
    comparisons. A block is checked whole before any part of it is transferred:

    - no rows or blocks, an offset or used stride that is no multiple of the row pitch, or a memory that the
      unit does not reach: ``ILLEGAL_INSTRUCTION``;
    - rows beyond the end of the memory on the chip: ``ADDRESS``;
    - rows beyond the end of the region: ``REGION``.

    After a run with a fault the walker stops until it is reset.

    Parameters
    ----------
    memory_rows : tuple of int
        Rows of each memory that the unit reaches, in the order of :class:`~systolith.rtl.isa.Memory`.

    Members
    -------
    instruction : stream of 256-bit words.
    regions : bases (multiples of the bus width in bytes) and sizes of the DRAM regions.
    run : stream of :func:`run_layout`.
    """

    instruction: stream.Interface
    regions: wiring.PureInterface
    run: stream.Interface

    def __init__(self, config: Config, *, memory_rows: tuple[int, ...]) -> None:
        self.config = config
        self.memory_rows = memory_rows
        self.layout = run_layout(config, address_width(max(memory_rows)))
        super().__init__(
            {
                "instruction": In(stream.Signature(INSTRUCTION_BITS)),
                "regions": In(Regions(config)),
                "run": Out(stream.Signature(self.layout)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        pitch_bits = (config.row_pitch - 1).bit_length()
        bus_bits = (config.bus_bytes - 1).bit_length()
        layout = LAYOUTS[Opcode.LOAD]
        fields = data.View(layout, self.instruction.payload[: layout.size])
        region = self.regions.region[fields.region]
        limit_bits = max(self.memory_rows).bit_length()

        stopped = Signal()
        advance = Signal()
        m.d.comb += advance.eq(~self.run.valid | self.run.ready)

        # What all blocks of an instruction share travels with each of them, as the next instruction may
        # enter while the last blocks of this one are still being checked.
        shared = data.StructLayout(
            {
                "base": unsigned(config.axi_address_width),
                "size": unsigned(32),
                "limit": unsigned(limit_bits),
                "rows": unsigned(ROWS_BITS),
                "last_row": unsigned(ROWS_BITS),
                "memory": unsigned(1),
                "illegal": unsigned(1),
            }
        )
        active = Signal()
        walked = Signal(shared, reset_less=True)
        # The offset before a block is checked exceeds 32 bits by at most one stride, the row likewise 16.
        offset = Signal(33, reset_less=True)
        address = Signal(17, reset_less=True)
        blocks = Signal(16, reset_less=True)
        dram_stride = Signal(32, reset_less=True)
        stride = Signal(16, reset_less=True)
        # Whether this block is the last: known one block ahead.
        final = Signal(reset_less=True)

        misplaced = (fields.offset[:pitch_bits] != 0) | ((fields.blocks > 1) & (fields.dram_stride[:pitch_bits] != 0))
        out_of_reach = fields.memory if len(self.memory_rows) == 1 else 0
        limit = Mux(fields.memory, self.memory_rows[-1], self.memory_rows[0])
        m.d.comb += [
            self.instruction.ready.eq(~stopped & (~active | (advance & final))),
        ]
        with m.If(advance):
            m.d.sync += [
                offset.eq(offset + dram_stride),
                address.eq(address + stride),
                blocks.eq(blocks - 1),
                final.eq(blocks == 2),
            ]
            with m.If(final):
                m.d.sync += active.eq(0)
        with m.If(self.instruction.valid & self.instruction.ready):
            m.d.sync += [
                active.eq(1),
                walked.base.eq(region.base),
                walked.size.eq(region.size),
                walked.limit.eq(limit),
                walked.rows.eq(fields.rows),
                walked.last_row.eq(fields.rows - 1),
                walked.memory.eq(fields.memory),
                walked.illegal.eq((fields.rows == 0) | (fields.blocks == 0) | misplaced | out_of_reach),
                offset.eq(fields.offset),
                address.eq(fields.address),
                blocks.eq(fields.blocks),
                final.eq(fields.blocks <= 1),
                dram_stride.eq(fields.dram_stride),
                stride.eq(fields.stride),
            ]

        summed_valid = Signal()
        summed = Signal(shared, reset_less=True)
        summed_final = Signal(reset_less=True)
        summed_address = Signal(17, reset_less=True)
        begin = Signal(config.axi_address_width, reset_less=True)
        end_offset = Signal(34, reset_less=True)
        end_row = Signal(18, reset_less=True)
        with m.If(advance):
            m.d.sync += [
                summed_valid.eq(active & ~stopped),
                summed.eq(walked),
                summed_final.eq(final),
                summed_address.eq(address),
                begin.eq(walked.base + offset),
                end_offset.eq(offset + (walked.rows << pitch_bits)),
                end_row.eq(address + walked.rows),
            ]

        fault = Signal(FAULT_BITS)
        last_byte = Signal(config.axi_address_width)
        m.d.comb += last_byte.eq(begin + Cat(Const(config.row_pitch - 1, pitch_bits), summed.last_row))
        with m.If(summed.illegal):
            m.d.comb += fault.eq(Fault.ILLEGAL_INSTRUCTION)
        with m.Elif(end_row > summed.limit):
            m.d.comb += fault.eq(Fault.ADDRESS)
        with m.Elif(end_offset > summed.size):
            m.d.comb += fault.eq(Fault.REGION)

        valid = Signal()
        run = Signal(self.layout, reset_less=True)
        # The run has a fault: nothing follows it.
        faulty = Signal(reset_less=True)
        m.d.comb += [self.run.valid.eq(valid), self.run.payload.eq(run)]
        with m.If(valid & faulty):
            m.d.sync += stopped.eq(1)
        with m.If(advance):
            m.d.sync += [
                valid.eq(summed_valid & ~stopped & ~(valid & faulty)),
                faulty.eq(fault != Fault.NONE),
                run.fault.eq(fault),
                run.first.eq(begin[bus_bits:]),
                run.last.eq(last_byte[bus_bits:]),
                run.position.eq(begin[pitch_bits:bus_bits] if bus_bits > pitch_bits else 0),
                run.rows.eq(summed.rows),
                run.address.eq(summed_address),
                run.memory.eq(summed.memory),
                run.final.eq(summed_final),
            ]
        return m
