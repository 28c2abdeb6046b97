"""The STORE unit: copies runs of rows from the scratchpad to DRAM."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import FAULT_BITS, Fault, Regions, ScratchpadRead, UnitControl
from ..queues import Queue, Relay
from .bursts import BurstCutter, BurstIssuer, longest_burst
from .channels import BURST_INCREMENT, AxiWrite, burst_size
from .load import INSTRUCTIONS_BITS
from .pack import BeatPacker, RowReader
from .runs import RunWalker, span_bits

#: Runs whose addresses may be issued before their rows are read.
RUNS_AHEAD = 4

#: What the next response stands for: the end of an instruction, or a fault in place of a burst.
_EXPECTED = data.StructLayout({"faulty": unsigned(1), "fault": unsigned(FAULT_BITS), "final": unsigned(1)})


class StoreUnit(wiring.Component):
    """Executes STORE instructions, one beat or one row a cycle.

    Addresses are issued as early as the number of bursts in flight allows; data follow when their rows have
    been read, and never precede their address. An instruction retires with its last write response.

    Members
    -------
    control : ``In(UnitControl)``. A fault is reported after the instructions before it have retired.
    regions : ``In(Regions)``; bases are multiples of the bus width in bytes.
    axi : ``Out(AxiWrite)``, to be joined to the top's bus by ``connect_axi``.
    scratchpad : ``Out(ScratchpadRead)``.
    halt : from the next cycle on no burst is issued, and those issued until then are completed with all strobes off,
        but for a beat that is on the bus already.
    idle : nothing is outstanding on the bus and, unless halted or failed, no instruction is in the unit.
    """

    control: wiring.PureInterface
    regions: wiring.PureInterface
    axi: wiring.PureInterface
    scratchpad: wiring.PureInterface
    halt: Signal
    idle: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitControl()),
                "regions": In(Regions(config)),
                "axi": Out(AxiWrite(config)),
                "scratchpad": Out(ScratchpadRead(config)),
                "halt": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.walker = walker = RunWalker(config, memory_rows=(config.scratchpad_rows,))
        m.submodules.cutter = cutter = BurstCutter(config, beats=longest_burst(config), span_bits=span_bits(config))
        m.submodules.runs = runs = Queue(walker.layout, RUNS_AHEAD)
        m.submodules.reader = reader = RowReader(config, layout=walker.layout)
        m.submodules.packer = packer = BeatPacker(config)
        # Both hold at most an entry for each burst in flight, and a fault: never full when one is issued.
        m.submodules.lengths = lengths = Queue(unsigned(8), config.axi_outstanding + 1)
        m.submodules.expected = expected = Queue(_EXPECTED, config.axi_outstanding + 1)

        issuer = BurstIssuer(config, most=config.axi_outstanding)
        m.submodules.issuer = issuer

        failed = Signal()
        # Bursts and beats stop a cycle later: the reason comes from afar, and much depends on them.
        stop = Signal()
        m.d.sync += stop.eq(self.halt | failed)
        # No path leads from the bus to the dispatcher.
        m.submodules.walked = walked = Relay(walker.layout)
        wiring.connect(m, walker.run, walked.i)
        run = walked.o
        faulty = Signal()
        m.d.comb += [
            walker.instruction.valid.eq(self.control.instruction.valid),
            walker.instruction.payload.eq(self.control.instruction.payload),
            self.control.instruction.ready.eq(walker.instruction.ready),
            walker.regions.region.eq(self.regions.region),
            faulty.eq(run.payload.fault != Fault.NONE),
            cutter.run.valid.eq(run.valid & ~faulty & runs.i.ready),
            cutter.run.payload.first.eq(run.payload.first),
            cutter.run.payload.last.eq(run.payload.last),
            cutter.run.payload.final.eq(run.payload.final),
            runs.i.valid.eq(run.valid & ~faulty & cutter.run.ready),
            runs.i.payload.eq(run.payload),
            issuer.allow.eq(~stop),
            issuer.completed.eq(self.axi.bvalid),
            lengths.i.valid.eq(issuer.issued),
            lengths.i.payload.eq(cutter.burst.payload.length),
            packer.drop.eq(stop),
        ]
        wiring.connect(m, cutter.burst, issuer.burst)
        wiring.connect(m, runs.o, reader.run)
        m.submodules.packing = packing = Relay(unsigned(8))
        wiring.connect(m, lengths.o, packing.i)
        wiring.connect(m, packing.o, packer.burst)
        wiring.connect(m, reader.row, packer.row)
        wiring.connect(m, reader.scratchpad, wiring.flipped(self.scratchpad))
        self._drive(m, issuer, packer)

        # A fault found by the walker takes its place behind the bursts of all runs before it.
        fault_turn = Signal()
        entry = expected.i.payload
        m.d.comb += [
            fault_turn.eq(run.valid & faulty & cutter.idle),
            run.ready.eq(Mux(faulty, fault_turn & expected.i.ready, cutter.run.ready & runs.i.ready)),
            expected.i.valid.eq(issuer.issued | fault_turn),
            entry.final.eq(cutter.burst.payload.final),
            entry.faulty.eq(fault_turn),
            entry.fault.eq(Mux(fault_turn, run.payload.fault, Fault.NONE)),
        ]
        self._respond(m, expected, failed)

        instructions = Signal(INSTRUCTIONS_BITS)
        accepted = self.control.instruction.valid & self.control.instruction.ready
        m.d.sync += instructions.eq(instructions + accepted - self.control.retired)
        m.d.comb += self.idle.eq(issuer.quiet & (stop | (instructions == 0)))
        return m

    def _drive(self, m: Module, issuer: BurstIssuer, packer: BeatPacker) -> None:
        """The bus outputs."""
        address, beat = issuer.address, packer.beat
        m.d.comb += [
            self.axi.awvalid.eq(address.valid),
            self.axi.awaddr.eq(address.payload.address),
            self.axi.awlen.eq(address.payload.length),
            self.axi.awsize.eq(burst_size(self.config)),
            self.axi.awburst.eq(BURST_INCREMENT),
            address.ready.eq(self.axi.awready),
            self.axi.wvalid.eq(beat.valid),
            self.axi.wdata.eq(beat.payload.data),
            self.axi.wstrb.eq(beat.payload.strobe),
            self.axi.wlast.eq(beat.payload.last),
            beat.ready.eq(self.axi.wready),
            self.axi.bready.eq(1),
        ]

    def _respond(self, m: Module, expected: Queue, failed: Signal) -> None:
        """Match responses with what was expected: retire, or fail."""
        head = expected.o.payload
        fault_head = Signal()
        answered = Signal()
        m.d.comb += [
            fault_head.eq(expected.o.valid & head.faulty),
            answered.eq(self.axi.bvalid & ~fault_head),
            expected.o.ready.eq(self.axi.bvalid | fault_head),
        ]
        m.d.sync += [
            self.control.retired.eq(answered & head.final & (self.axi.bresp == 0) & ~(self.halt | failed)),
            self.control.fault.eq(Fault.NONE),
        ]
        with m.If(~failed):
            with m.If(fault_head):
                m.d.sync += [failed.eq(1), self.control.fault.eq(head.fault)]
            with m.Elif(answered & (self.axi.bresp != 0)):
                m.d.sync += [failed.eq(1), self.control.fault.eq(Fault.BUS_WRITE)]
