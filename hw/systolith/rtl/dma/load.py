"""The LOAD unit: copies runs of rows from DRAM into the scratchpad or the parameter memory."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import FAULT_BITS, Fault, Regions, RowWrite, UnitControl
from ..isa import Memory
from ..queues import Queue, Relay
from .bursts import BurstCutter, BurstIssuer, longest_burst
from .channels import ReadChannel
from .runs import RunWalker, beats_per_row, rows_per_beat, span_bits

#: Bits of the number of instructions inside a DMA unit: each has a run in flight, and no more than
#: ``axi_outstanding`` (at most 64) and a few runs are.
INSTRUCTIONS_BITS = 8


class RowPlacer(wiring.Component):
    """Take the rows of runs out of beats and write them: one beat or one row a cycle, whichever is the slower.

    Parameters
    ----------
    layout : StructLayout
        Of a run, see :func:`~systolith.rtl.dma.runs.run_layout`.

    Members
    -------
    run : stream of runs, in the order in which their beats arrive.
    beat : stream of ``data`` and ``resp``.
    drop : beats are taken and forgotten.
    scratchpad, parameters : ``Out(RowWrite)``, one for each ``Memory``.
    retired : one pulse after the last row of an instruction has been written.
    failed : high from the first failure on; from then on all beats are dropped.
    fault : its code, for one cycle, after everything before it has retired.
    """

    run: stream.Interface
    beat: stream.Interface
    drop: Signal
    scratchpad: wiring.PureInterface
    parameters: wiring.PureInterface
    retired: Signal
    failed: Signal
    fault: Signal

    def __init__(self, config: Config, *, layout: data.StructLayout) -> None:
        self.config = config
        self.layout = layout
        super().__init__(
            {
                "run": In(stream.Signature(layout)),
                "beat": In(
                    stream.Signature(data.StructLayout({"data": unsigned(config.axi_data_width), "resp": unsigned(2)}))
                ),
                "drop": In(1),
                "scratchpad": Out(RowWrite(config.scratchpad_rows, config.row_bytes)),
                "parameters": Out(RowWrite(8 * config.parameter_rows, config.row_bytes)),
                "retired": Out(1),
                "failed": Out(1),
                "fault": Out(FAULT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy = Signal()
        run = Signal(self.layout, reset_less=True)

        # What follows from the run's fields, known one row ahead.
        open_ = Signal()
        last_row = Signal(reset_less=True)

        # The row being written, and one behind it: no path leads from the scratchpad's arbiter to the run.
        m.submodules.writes = writes = Relay(
            data.StructLayout(
                {
                    "address": run.address.shape(),
                    "memory": unsigned(1),
                    "final": unsigned(1),
                    "row": unsigned(8 * self.config.row_bytes),
                }
            )
        )
        writing = writes.o.payload
        for write, chosen in ((self.scratchpad, Memory.SCRATCHPAD), (self.parameters, Memory.PARAMETERS)):
            m.d.comb += [
                write.request.valid.eq(writes.o.valid & (writing.memory == chosen)),
                write.request.payload.address.eq(writing.address),
                write.request.payload.mask.eq(~0),
                write.request.payload.data.eq(writing.row),
            ]
        m.d.comb += writes.o.ready.eq(
            Mux(writing.memory == Memory.SCRATCHPAD, self.scratchpad.request.ready, self.parameters.request.ready)
        )
        m.d.sync += self.retired.eq(writes.o.valid & writes.o.ready & writing.final)

        dropping = Signal()
        take = Signal()
        row_done = Signal()
        beat_done = Signal()
        run_done = Signal()
        next_row = Signal(8 * self.config.row_bytes)
        error = Signal()
        failed = Signal()
        failure = Signal(FAULT_BITS)
        reported = Signal()
        m.d.comb += [
            error.eq(self.beat.payload.resp != 0),
            dropping.eq(self.drop | self.failed),
            take.eq(self.beat.valid & open_ & writes.i.ready & ~dropping),
            run_done.eq(take & row_done & last_row),
            self.beat.ready.eq(dropping | (take & beat_done)),
            self.run.ready.eq(~busy | run_done),
        ]
        self._unpack(m, run, last_row, take, next_row, row_done, beat_done)

        m.d.comb += [
            writes.i.valid.eq(take & row_done & ~error),
            writes.i.payload.address.eq(run.address),
            writes.i.payload.memory.eq(run.memory),
            writes.i.payload.final.eq(run.final & last_row),
            writes.i.payload.row.eq(next_row),
        ]
        with m.If(take & row_done):
            m.d.sync += [
                run.rows.eq(run.rows - 1),
                last_row.eq(run.rows == 2),
                run.address.eq(run.address + 1),
                run.position.eq(run.position + 1),
            ]
        with m.If(self.run.ready):
            m.d.sync += [
                busy.eq(self.run.valid),
                open_.eq(self.run.valid & (self.run.payload.fault == Fault.NONE)),
                run.eq(self.run.payload),
                last_row.eq(self.run.payload.rows == 1),
            ]

        m.d.comb += self.failed.eq(failed)
        m.d.sync += self.fault.eq(0)
        with m.If(~failed):
            with m.If(take & error):
                m.d.sync += [failed.eq(1), failure.eq(Fault.BUS_READ)]
            with m.Elif(busy & ~open_):
                m.d.sync += [failed.eq(1), failure.eq(run.fault)]
        with m.Elif(~writes.o.valid & ~reported):
            m.d.sync += [self.fault.eq(failure), reported.eq(1)]
        return m

    def _unpack(
        self,
        m: Module,
        run: data.View,
        last_row: Signal,
        take: Signal,
        next_row: Signal,
        row_done: Signal,
        beat_done: Signal,
    ) -> None:
        """Which row the present beat gives or completes, and whether it holds more."""
        beat = self.beat.payload.data
        rows, beats = rows_per_beat(self.config), beats_per_row(self.config)
        m.d.comb += [next_row.eq(beat), row_done.eq(1), beat_done.eq(1)]
        if beats > 1:
            part = Signal(range(beats))
            earlier = Signal((beats - 1) * len(beat), reset_less=True)
            with m.If(take):
                m.d.sync += [part.eq(part + 1), earlier.eq(Cat(earlier, beat)[len(beat) :])]
            m.d.comb += [next_row.eq(Cat(earlier, beat)), row_done.eq(part == beats - 1)]
        elif rows > 1:
            m.d.comb += [
                next_row.eq(beat.word_select(run.position, 8 * self.config.row_pitch)),
                beat_done.eq((run.position == rows - 1) | last_row),
            ]


class LoadUnit(wiring.Component):
    """Executes LOAD instructions, one beat or one row a cycle, whatever the latency of the memory.

    Addresses are issued ahead of the data: while rows of one instruction still arrive, bursts of the next ones
    are already under way, up to ``axi_outstanding``. Whole beats are read, so the bytes of a beat that lie
    outside the region may be read too, but never reach the chip.

    Members
    -------
    control : ``In(UnitControl)``. A fault is reported after the instructions before it have retired.
    regions : ``In(Regions)``; bases are multiples of the bus width in bytes.
    bus : ``Out(ReadChannel)``.
    scratchpad, parameters : ``Out(RowWrite)``.
    halt : from the next cycle on no burst is issued and data are dropped. Bursts issued until then still go out, and
        rows taken out of data until then are still written.
    idle : nothing is outstanding on the bus and, unless halted or failed, no instruction is in the unit.
    """

    control: wiring.PureInterface
    regions: wiring.PureInterface
    bus: wiring.PureInterface
    scratchpad: wiring.PureInterface
    parameters: wiring.PureInterface
    halt: Signal
    idle: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitControl()),
                "regions": In(Regions(config)),
                "bus": Out(ReadChannel(config)),
                "scratchpad": Out(RowWrite(config.scratchpad_rows, config.row_bytes)),
                "parameters": Out(RowWrite(8 * config.parameter_rows, config.row_bytes)),
                "halt": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.walker = walker = RunWalker(
            config, memory_rows=(config.scratchpad_rows, 8 * config.parameter_rows)
        )
        m.submodules.cutter = cutter = BurstCutter(config, beats=longest_burst(config), span_bits=span_bits(config))
        m.submodules.issuer = issuer = BurstIssuer(config, most=config.axi_outstanding)
        m.submodules.placer = placer = RowPlacer(config, layout=walker.layout)
        # A run enters when the cutter takes it, so each burst on the bus has its run in here or in the placer.
        m.submodules.runs = runs = Queue(walker.layout, config.axi_outstanding + 1)
        # No path leads from the scratchpad's arbiter to the bus, nor from the bus to the dispatcher.
        m.submodules.beats = beats = Relay(placer.beat.payload.shape())
        m.submodules.walked = walked = Relay(walker.layout)

        # Bursts and rows stop a cycle later: the reason comes from afar, and much depends on them.
        stop = Signal()
        drop = Signal()
        m.d.sync += [stop.eq(self.halt | placer.failed), drop.eq(self.halt)]
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
            run.ready.eq(runs.i.ready & (cutter.run.ready | faulty)),
            runs.i.valid.eq(run.valid & (cutter.run.ready | faulty)),
            runs.i.payload.eq(run.payload),
            placer.drop.eq(drop),
            beats.i.valid.eq(self.bus.r.valid),
            beats.i.payload.data.eq(self.bus.r.payload.data),
            beats.i.payload.resp.eq(self.bus.r.payload.resp),
            self.bus.r.ready.eq(beats.i.ready),
            issuer.allow.eq(~stop),
            issuer.completed.eq(self.bus.r.valid & self.bus.r.ready & self.bus.r.payload.last),
            self.control.retired.eq(placer.retired),
            self.control.fault.eq(placer.fault),
        ]
        m.submodules.placing = placing = Relay(walker.layout)
        wiring.connect(m, runs.o, placing.i)
        wiring.connect(m, placing.o, placer.run)
        wiring.connect(m, beats.o, placer.beat)
        wiring.connect(m, cutter.burst, issuer.burst)
        wiring.connect(m, issuer.address, wiring.flipped(self.bus.ar))
        wiring.connect(m, placer.scratchpad, wiring.flipped(self.scratchpad))
        wiring.connect(m, placer.parameters, wiring.flipped(self.parameters))

        instructions = Signal(INSTRUCTIONS_BITS)
        accepted = self.control.instruction.valid & self.control.instruction.ready
        m.d.sync += instructions.eq(instructions + accepted - placer.retired)
        m.d.comb += self.idle.eq(issuer.quiet & (stop | (instructions == 0)))
        return m
