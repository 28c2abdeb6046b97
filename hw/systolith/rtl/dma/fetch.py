"""Instruction fetch: the program, read ahead into a queue."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import FAULT_BITS, Fault
from ..isa import INSTRUCTION_BITS, INSTRUCTION_BYTES
from .bursts import BurstCutter, BurstIssuer, longest_burst
from .channels import ReadChannel

#: Instructions read ahead.
QUEUE = 64
#: Bursts that the queue has room for at least.
BURSTS = 4


class Fetch(wiring.Component):
    """Read a program and deliver its instructions in order, one every two cycles at most if the bus holds no more.

    Room for a burst is set aside before it is issued, so its data are always taken at once and never hold up
    those of the LOAD unit.

    Members
    -------
    start : begins the program at ``base`` (a multiple of the bus width in bytes) of ``length`` instructions, not 0,
        which are read in this cycle. Only when ``done`` and ``idle``, or after a reset.
    bus : ``Out(ReadChannel)``.
    instruction : stream of 256-bit words.
    done : nothing remains to be delivered; falls in the cycle after ``start``.
    halt : nothing more is delivered, and from the next cycle on no burst is issued; those issued until then still go
        out.
    idle : nothing is outstanding on the bus and, unless halted or failed, the program has been delivered.
    fault : ``Fault.BUS_FETCH`` for one cycle in place of an instruction that could not be read, after all
        instructions before it have been delivered. Nothing follows.
    """

    start: Signal
    base: Signal
    length: Signal
    bus: wiring.PureInterface
    instruction: stream.Interface
    done: Signal
    halt: Signal
    idle: Signal
    fault: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "base": In(config.axi_address_width),
                "length": In(32),
                "bus": Out(ReadChannel(config)),
                "instruction": Out(stream.Signature(INSTRUCTION_BITS)),
                "done": Out(1),
                "halt": In(1),
                "idle": Out(1),
                "fault": Out(FAULT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        # An entry of the queue is an instruction or, if that is wider, a beat of several.
        entry_bytes = max(INSTRUCTION_BYTES, config.bus_bytes)
        beats_per_entry = entry_bytes // config.bus_bytes
        depth = QUEUE * INSTRUCTION_BYTES // entry_bytes
        capacity = depth * beats_per_entry
        burst = longest_burst(config, QUEUE * INSTRUCTION_BYTES // BURSTS)

        failed = Signal()
        # Bursts stop a cycle later: the reason comes from afar.
        stop = Signal()
        m.d.sync += stop.eq(self.halt | failed)

        m.submodules.cutter = cutter = BurstCutter(config, beats=burst, span_bits=config.axi_address_width)
        self._launch(m, cutter)

        # Beats on the bus, in the assembler and in the queue never exceed its capacity.
        room = Signal(range(capacity + 1), init=capacity)
        # Whether there is for a burst: known one cycle ahead.
        roomy = Signal(init=1)
        freed = Signal()
        issuer = BurstIssuer(config, most=capacity)
        m.submodules.issuer = issuer
        m.d.comb += [
            issuer.allow.eq(~stop & roomy),
            issuer.completed.eq(self.bus.r.valid & self.bus.r.payload.last),
            self.bus.r.ready.eq(1),
        ]
        # A burst takes the room of the longest one; a shorter one gives the rest back a cycle later, an entry two.
        left = Signal()
        rest = Signal(range(burst + beats_per_entry + 1))
        total = Signal.like(room, init=0)
        m.d.comb += total.eq(room + rest)
        m.d.sync += [
            rest.eq(Mux(issuer.issued, burst - 1 - cutter.burst.payload.length, 0) + Mux(left, beats_per_entry, 0)),
            left.eq(freed),
            room.eq(total - Mux(issuer.issued, burst, 0)),
            roomy.eq(Mux(issuer.issued, total >= 2 * burst, total >= burst)),
        ]
        wiring.connect(m, cutter.burst, issuer.burst)
        wiring.connect(m, issuer.address, wiring.flipped(self.bus.ar))

        m.submodules.queue = queue = SyncFIFOBuffered(width=8 * entry_bytes + 1, depth=depth)
        self._assemble(m, queue, beats_per_entry)
        self._deliver(m, queue, entry_bytes // INSTRUCTION_BYTES, failed, freed)
        m.d.comb += self.idle.eq(issuer.quiet & (stop | self.done))
        return m

    def _launch(self, m: Module, cutter: BurstCutter) -> None:
        """From base and length to the run of beats that holds the program."""
        bus_bits = (self.config.bus_bytes - 1).bit_length()
        launch = Signal()
        base = Signal.like(self.base, reset_less=True)
        last_instruction = Signal(32, reset_less=True)
        last_byte = Signal.like(self.base)
        m.d.comb += [
            last_byte.eq(base + Cat(Const(INSTRUCTION_BYTES - 1, 5), last_instruction)),
            cutter.run.valid.eq(launch),
            cutter.run.payload.first.eq(base[bus_bits:]),
            cutter.run.payload.last.eq(last_byte[bus_bits:]),
        ]
        m.d.sync += launch.eq(self.start)
        with m.If(self.start):
            m.d.sync += [base.eq(self.base), last_instruction.eq(self.length - 1)]

    def _assemble(self, m: Module, queue: SyncFIFOBuffered, beats: int) -> None:
        """Join ``beats`` beats to one entry: its bytes, and above them whether one was read in error."""
        r = self.bus.r
        error = Signal()
        m.d.comb += error.eq(r.payload.resp != 0)
        if beats == 1:
            m.d.comb += [queue.w_en.eq(r.valid), queue.w_data.eq(Cat(r.payload.data, error))]
            return
        width = self.config.axi_data_width
        part = Signal(range(beats))
        spoilt = Signal()
        earlier = Signal((beats - 1) * width, reset_less=True)
        m.d.comb += [
            queue.w_en.eq(r.valid & (part == beats - 1)),
            queue.w_data.eq(Cat(earlier, r.payload.data, error | spoilt)),
        ]
        with m.If(r.valid):
            m.d.sync += [
                part.eq(part + 1),
                spoilt.eq((error | spoilt) & (part != beats - 1)),
                earlier.eq(Cat(earlier, r.payload.data)[width:]),
            ]

    def _deliver(self, m: Module, queue: SyncFIFOBuffered, words: int, failed: Signal, freed: Signal) -> None:
        """Hand out the ``words`` instructions of each entry, fewer at the program's end."""
        remaining = Signal(32, reset_less=True)
        pending = Signal()
        # Whether one is left: known one instruction ahead.
        last = Signal()
        # One bit at least: a signal of none would be the Verilog wire [-1:0].
        word = Signal(max(1, (words - 1).bit_length()))
        # The queue's memory is slow to answer, and much depends on an instruction: it is registered once more.
        ready = Signal()
        entry = Signal.like(queue.r_data, reset_less=True)
        # It is there and may be handed out, or was read in error.
        sound = Signal()
        faulty = Signal()
        delivered = Signal()
        # It is taken from the queue once the one before has gone: no path leads from the dispatcher to the memory.
        m.d.comb += [ready.eq(sound | faulty), queue.r_en.eq(~ready)]
        with m.If(~ready):
            error = queue.r_data[-1]
            m.d.sync += [
                entry.eq(queue.r_data),
                sound.eq(queue.r_rdy & ~error),
                faulty.eq(queue.r_rdy & error),
            ]
        with m.Elif(freed):
            m.d.sync += sound.eq(0)
        m.d.comb += [
            self.done.eq(~pending),
            self.instruction.valid.eq(sound & ~self.halt),
            self.instruction.payload.eq(entry.word_select(word, INSTRUCTION_BITS) if words > 1 else entry),
            delivered.eq(self.instruction.valid & self.instruction.ready),
            freed.eq(delivered & ((word == words - 1) | last)),
        ]
        with m.If(self.start):
            m.d.sync += [pending.eq(1), remaining.eq(self.length), last.eq(self.length == 1)]
        with m.Elif(delivered):
            m.d.sync += [remaining.eq(remaining - 1), last.eq(remaining == 2), word.eq(Mux(freed, 0, word + 1))]
            with m.If(last):
                m.d.sync += pending.eq(0)
        m.d.sync += self.fault.eq(0)
        with m.If(faulty & ~failed & ~self.halt):
            m.d.sync += [failed.eq(1), self.fault.eq(Fault.BUS_FETCH)]
