"""Decode and the four in-order queues: from the fetched program to instructions handed to units."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config import Config
from .interfaces import FAULT_BITS, IN_FLIGHT, INDEX_BITS, Fault, UnitControl
from .isa import HEADER, INSTRUCTION_BITS, Unit
from .tokens import UNITS, TokenPort, Tokens

#: An instruction in a queue: its word and its index in the program.
ENTRY = data.StructLayout({"word": unsigned(INSTRUCTION_BITS), "index": unsigned(INDEX_BITS)})


class UnitQueue(wiring.Component):
    """One unit's instructions: queued, waiting for tokens, in flight, giving tokens.

    The head of the queue is handed over in the cycle after its tokens are there, the unit is ready and one of the
    :data:`IN_FLIGHT` slots is free: none of these goes away again. So one instruction passes every two cycles. A slot
    is freed when the instruction has retired and given its tokens, so a token that does not fit delays but is never
    lost, and ``retired`` may pulse in every cycle.

    Parameters
    ----------
    depth : int, instructions
        Depth of the queue; ``Config`` keeps it to 2 to 64.

    Members
    -------
    push : ``In(stream of ENTRY)``; the word is at the head two cycles later.
    control : ``Out(UnitControl)`` to the unit.
    tokens : ``Out(TokenPort)``.
    halt : nothing is handed over while high.
    issued, issued_index : an instruction was handed over in this cycle.
    retired, retired_index : an instruction retired in this cycle.
    pending : something is queued or in flight (not retired).
    busy : something is in flight (not retired).
    queued : an instruction is at the head of the queue.
    waiting : the units for whose tokens it waits.
    oldest : index of the oldest instruction in flight, else of the head of the queue.
    """

    push: Any
    control: Any
    tokens: Any
    halt: Signal
    issued: Signal
    issued_index: Signal
    retired: Signal
    retired_index: Signal
    pending: Signal
    busy: Signal
    queued: Signal
    waiting: Signal
    oldest: Signal

    def __init__(self, *, depth: int) -> None:
        self.depth = depth
        super().__init__({
            "push": In(stream.Signature(ENTRY)),
            "control": Out(UnitControl()),
            "tokens": Out(TokenPort()),
            "halt": In(1),
            "issued": Out(1), "issued_index": Out(INDEX_BITS),
            "retired": Out(1), "retired_index": Out(INDEX_BITS),
            "pending": Out(1), "busy": Out(1), "queued": Out(1), "waiting": Out(UNITS), "oldest": Out(INDEX_BITS),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = SyncFIFOBuffered(width=ENTRY.size, depth=self.depth)
        entry = data.View(ENTRY, queue.r_data)
        header = data.View(HEADER, entry.word[: HEADER.size])

        # Slots from `giving` up to `retiring` have retired, those up to `issuing` are in flight. The top bit
        # of a pointer tells a full ring from an empty one.
        pointer_bits = IN_FLIGHT.bit_length()
        issuing = Signal(pointer_bits)
        retiring = Signal(pointer_bits)
        giving = Signal(pointer_bits)
        giving_next = Signal(pointer_bits)
        # What the instruction at ``giving`` gives: known one cycle ahead.
        give = Signal(UNITS, reset_less=True)
        slot = data.StructLayout({"index": INDEX_BITS, "give": UNITS})
        m.submodules.slots = slots = Memory(shape=slot, depth=IN_FLIGHT, init=[])
        allocate = slots.write_port()
        in_flight = slots.read_port(domain="comb")
        retired = slots.read_port(domain="comb")

        # Whether all slots are in use: known one cycle ahead, as is whether the head goes.
        full = Signal()
        going = Signal()
        # Tokens are owed from before, or by an instruction that retires in this cycle.
        behind = Signal()
        owed = Signal()
        m.d.comb += [
            queue.w_data.eq(self.push.payload),
            queue.w_en.eq(self.push.valid),
            self.push.ready.eq(queue.w_rdy),
            # Handing over.
            self.tokens.wait.eq(header.wait),
            self.control.instruction.payload.eq(entry.word),
            self.control.instruction.valid.eq(going & ~self.halt),
            self.issued.eq(self.control.instruction.valid & self.control.instruction.ready),
            self.issued_index.eq(entry.index),
            self.tokens.take.eq(self.issued),
            queue.r_en.eq(self.issued),
            allocate.en.eq(self.issued),
            allocate.addr.eq(issuing),
            allocate.data.index.eq(entry.index),
            allocate.data.give.eq(header.give),
            # Retiring.
            in_flight.addr.eq(retiring),
            self.retired.eq(self.control.retired),
            self.retired_index.eq(in_flight.data.index),
            # Giving, in the cycle of the retirement if nothing is owed from before.
            giving_next.eq(giving + self.tokens.put),
            retired.addr.eq(giving_next),
            owed.eq(behind | self.retired),
            self.tokens.give.eq(give),
            self.tokens.put.eq(owed & self.tokens.fits),
            # What the controller and the counters see.
            self.busy.eq(issuing != retiring),
            self.pending.eq(self.busy | (queue.level != 0)),
            self.queued.eq(queue.r_rdy),
            self.waiting.eq(Mux(queue.r_rdy, self.tokens.missing, 0)),
            self.oldest.eq(Mux(self.busy, in_flight.data.index, entry.index)),
        ]
        m.d.sync += [
            going.eq(queue.r_rdy & ~full & ~self.tokens.missing.any() & self.control.instruction.ready & ~going),
            issuing.eq(issuing + self.issued),
            retiring.eq(retiring + self.retired),
            giving.eq(giving_next),
            # The slot may be written in this very cycle.
            give.eq(Mux(self.issued & (issuing == giving_next), header.give, retired.data.give)),
        ]
        held = Signal(pointer_bits)
        retired_and_held = Signal(pointer_bits)
        m.d.comb += [held.eq(issuing - giving), retired_and_held.eq(retiring - giving)]
        with m.If(self.retired & ~self.tokens.put):
            m.d.sync += behind.eq(1)
        with m.Elif(self.tokens.put & ~self.retired):
            m.d.sync += behind.eq(retired_and_held != 1)
        with m.If(self.issued & ~self.tokens.put):
            m.d.sync += full.eq(held == IN_FLIGHT - 1)
        with m.Elif(self.tokens.put & ~self.issued):
            m.d.sync += full.eq(0)
        return m


class Dispatch(wiring.Component):
    """Numbers the fetched instructions, checks their headers and queues each for its unit, one a cycle.

    An instruction with an unknown opcode, or that waits for or gives to its own unit, is not dispatched; it
    raises ``fault`` for as long as it stands there. ``next_index`` is then its index.

    Members
    -------
    instructions : ``In(stream of 256-bit words)``, in program order.
    units : ``Out(UnitControl)`` for each ``Unit``.
    halt : nothing is dispatched or handed over while high.
    fault : a ``Fault`` code, or 0.
    dispatched : instructions dispatched since the reset (32 bits); the index of the next is its lower bits.
    oldest : for each unit, index of its oldest instruction in flight, else queued; meaningless if it has none.
    oldest_pending : the smallest of these, or the next index if no unit has any; three cycles late.
    pending : some unit has an instruction queued or in flight.
    busy, queued : for each unit, an instruction in flight; one at the head of its queue.
    waiting : for each unit, the units for whose tokens the latter waits.
    issued, issued_index, retired, retired_index : for each unit, see :class:`UnitQueue`.
    """

    instructions: Any
    units: Any
    halt: Signal
    fault: Signal
    dispatched: Signal
    oldest: Any
    oldest_pending: Signal
    pending: Signal
    busy: Signal
    queued: Signal
    waiting: Any
    issued: Signal
    issued_index: Any
    retired: Signal
    retired_index: Any

    def __init__(self, config: Config) -> None:
        self.config = config
        indices = data.ArrayLayout(INDEX_BITS, UNITS)
        super().__init__({
            "instructions": In(stream.Signature(INSTRUCTION_BITS)),
            "units": Out(UnitControl()).array(UNITS),
            "halt": In(1),
            "fault": Out(FAULT_BITS),
            "dispatched": Out(32),
            "oldest": Out(indices),
            "oldest_pending": Out(INDEX_BITS),
            "pending": Out(1),
            "busy": Out(UNITS), "queued": Out(UNITS),
            "waiting": Out(data.ArrayLayout(UNITS, UNITS)),
            "issued": Out(UNITS), "issued_index": Out(indices),
            "retired": Out(UNITS), "retired_index": Out(indices),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.tokens = tokens = Tokens()
        header = data.View(HEADER, self.instructions.payload[: HEADER.size])
        entry = Signal(ENTRY)
        open_ = Signal()
        legal = Signal()
        accepted = Signal()
        pending = Signal(UNITS)
        m.d.comb += [
            entry.word.eq(self.instructions.payload),
            entry.index.eq(self.dispatched),
            open_.eq(self.instructions.valid & ~self.halt),
            accepted.eq(self.instructions.valid & self.instructions.ready),
            self.pending.eq(pending.any()),
        ]
        for unit in Unit:
            depth = getattr(self.config, f"{unit.name.lower()}_queue")
            queue = UnitQueue(depth=depth)
            m.submodules[f"{unit.name.lower()}_queue"] = queue
            wiring.connect(m, queue.tokens, tokens.units[unit])
            wiring.connect(m, queue.control, wiring.flipped(self.units[unit]))
            m.d.comb += [
                queue.halt.eq(self.halt),
                queue.push.payload.eq(entry),
                self.oldest[unit].eq(queue.oldest),
                pending[unit].eq(queue.pending),
                self.busy[unit].eq(queue.busy),
                self.queued[unit].eq(queue.queued),
                self.waiting[unit].eq(queue.waiting),
                self.issued[unit].eq(queue.issued),
                self.issued_index[unit].eq(queue.issued_index),
                self.retired[unit].eq(queue.retired),
                self.retired_index[unit].eq(queue.retired_index),
            ]
            with m.If(header.opcode == unit + 1):
                m.d.comb += [
                    legal.eq(~(header.wait[unit] | header.give[unit])),
                    queue.push.valid.eq(open_ & legal),
                    self.instructions.ready.eq(queue.push.ready & legal & ~self.halt),
                ]
        with m.If(open_ & ~legal):
            m.d.comb += self.fault.eq(Fault.ILLEGAL_INSTRUCTION)
        with m.If(accepted):
            m.d.sync += self.dispatched.eq(self.dispatched + 1)
        self._find_oldest(m, pending)
        return m

    def _find_oldest(self, m: Module, pending: Signal) -> None:
        """Three registers: the keys (no instruction, index), and two levels of their pairwise minima."""
        keys = []
        for unit in Unit:
            key = Signal(INDEX_BITS + 1, reset_less=True, name=f"key_{unit.name.lower()}")
            m.d.sync += key.eq(Cat(self.oldest[unit], ~pending[unit]))
            keys.append(key)
        pairs: list[Signal] = []
        for low, high in ((keys[0], keys[1]), (keys[2], keys[3])):
            pair = Signal.like(low, name=f"pair_{len(pairs)}", reset_less=True)
            m.d.sync += pair.eq(Mux(low < high, low, high))
            pairs.append(pair)
        smaller = Signal.like(pairs[0])
        m.d.comb += smaller.eq(Mux(pairs[0] < pairs[1], pairs[0], pairs[1]))
        m.d.sync += self.oldest_pending.eq(Mux(smaller[-1], self.dispatched[:INDEX_BITS], smaller[:INDEX_BITS]))
