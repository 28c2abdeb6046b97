"""Queues deliver everything once and in order, and neither overflow nor underflow.

One entry is followed. The solver chooses which: any entry pushed at any time. Of it only the place in the queue is
kept, the number of entries ahead when it entered; with each entry that leaves it moves up, and when none is ahead the
next to leave must be it. As the choice is free, that is the whole specification of a queue: nothing lost, doubled,
reordered.
"""

from functools import partial
from typing import Any

from amaranth.hdl import Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.fifo import SyncFIFOBuffered

from systolith.rtl.dispatch import UnitQueue
from systolith.rtl.interfaces import IN_FLIGHT, INDEX_BITS
from systolith.rtl.isa import HEADER
from systolith.rtl.queues import Queue, Relay
from systolith.rtl.tokens import UNITS

from .harness import Harness, Proof

#: Bits of an entry. No queue looks into its entries, so a narrow one stands for all widths.
_WIDTH = 4


def follow(h: Harness, *, push: Any, entry: Any, pop: Any, popped: Any, level: Any, name: str) -> tuple[Signal, ...]:
    """Follow one entry of the solver's choice through a queue that holds ``level`` entries.

    Returns (followed, ahead, value): whether it is inside, how many entries are ahead of it, and what it is.
    """
    chosen = h.free(1, f"{name}_chosen")
    followed = Signal(name=f"{name}_followed")
    ahead = Signal.like(level, name=f"{name}_ahead")
    value = Signal.like(entry, name=f"{name}_value")
    leaves = followed & pop & (ahead == 0)
    with h.m.If(followed & pop):
        h.m.d.sync += ahead.eq(ahead - 1)
    with h.m.If(leaves):
        h.m.d.sync += followed.eq(0)
    with h.m.If(~followed & push & chosen):
        h.m.d.sync += [followed.eq(1), ahead.eq(level - pop), value.eq(entry)]
    h.always(~leaves | (popped == value), f"{name}: not what was put in, or not in order")
    h.always(~followed | (ahead < level), f"{name}: an entry lost")
    h.cover(leaves)
    return followed, ahead, value


def wrapped(h: Harness, position: Any, depth: int, name: str) -> Signal:
    """``position`` (less than twice ``depth``) in a ring of ``depth`` places."""
    place = Signal(range(depth), name=name)
    h.m.d.comb += place.eq(Mux(position >= depth, position - depth, position))
    return place


def _ring(h: Harness, dut: Any, depth: int, level: Any) -> Signal:
    """Invariants of a ring's pointers; returns ``consume``."""
    produce, consume = dut["produce"], dut["consume"]
    h.always((produce < depth) & (consume < depth), "a pointer outside of the memory")
    h.always(produce == wrapped(h, consume + level, depth, "behind"), "the level is not what lies between the pointers")
    return consume


def _relay(h: Harness) -> None:
    """The entry to leave next waits in ``head``, the one behind it in ``spare``."""
    relay = Relay(_WIDTH)
    dut = h.place(relay)
    push, pop = relay.i.valid & relay.i.ready, relay.o.valid & relay.o.ready
    waiting = dut["waiting"]
    level = Signal(2, name="level")
    h.m.d.comb += level.eq(relay.o.valid + waiting)
    followed, ahead, value = follow(
        h, push=push, entry=relay.i.payload, pop=pop, popped=relay.o.payload, level=level, name="relay"
    )
    h.always(~waiting | relay.o.valid, "an entry waits behind none")
    h.always(relay.i.ready == ~waiting, "there is room and it takes nothing, or the reverse")
    h.always(~followed | (Mux(ahead == 0, dut["head"], dut["spare"]) == value), "an entry changed")
    h.stable(relay.o.valid, relay.o.ready, relay.o.payload, "relay")
    h.cover(level == 2)


def _queue(h: Harness, depth: int) -> None:
    queue = Queue(_WIDTH, depth)
    dut = h.place(queue)
    push, pop, level = queue.i.valid & queue.i.ready, queue.o.valid & queue.o.ready, queue.level
    followed, ahead, value = follow(
        h, push=push, entry=queue.i.payload, pop=pop, popped=queue.o.payload, level=level, name="queue"
    )
    h.always(level <= depth, "overflow")
    h.always(queue.i.ready == (level != depth), "it has room and takes nothing, or the reverse")
    h.always(queue.o.valid == (level != 0), "it has entries and does not show them, or the reverse")
    consume = _ring(h, dut, depth, level)
    held = dut.memory("memory", wrapped(h, consume + ahead, depth, "place"), _WIDTH)
    h.always(~followed | (held == value), "an entry changed in the memory")


def _buffered(h: Harness, depth: int) -> None:
    """The last entry waits in the output register; the others in a ring of ``depth`` - 1."""
    fifo = SyncFIFOBuffered(width=_WIDTH, depth=depth)
    dut = h.place_plain(fifo)
    write, read = h.free(1, "write"), h.free(1, "read")
    h.m.d.comb += [fifo.w_en.eq(write), fifo.w_data.eq(h.free(_WIDTH, "entry")), fifo.r_en.eq(read)]
    h.always(fifo.w_rdy | (fifo.level != 0), "an empty queue takes nothing")
    h.always(fifo.level <= fifo.depth, "overflow")
    inner = dut["inner_level"]
    followed, ahead, value = follow(
        h,
        push=write & fifo.w_rdy,
        entry=fifo.w_data,
        pop=read & fifo.r_rdy,
        popped=fifo.r_data,
        level=fifo.level,
        name="queue",
    )
    consume = _ring(h, dut, depth - 1, inner)
    h.always(inner <= depth - 1, "overflow of the ring")
    deep = Signal.like(ahead, name="deep")
    h.m.d.comb += deep.eq(ahead - fifo.r_rdy)
    held = dut.memory("storage", wrapped(h, consume + deep, depth - 1, "place"), _WIDTH)
    shown = fifo.r_rdy & (ahead == 0)
    h.always(~followed | (Mux(shown, fifo.r_data, held) == value), "an entry changed in the memory")


def _unit_queue(h: Harness) -> None:
    """Handing over, retiring and giving: each instruction once, in order, whatever the tokens and the unit do.

    Assumed: the unit retires only what it was handed over, ``missing`` are units that are waited for, and a unit that
    has a token keeps it until it is taken. The inner queue is proved above.
    """
    queue = UnitQueue(depth=2)
    dut = h.place(queue)
    tokens, control = queue.tokens, queue.control
    issuing, retiring, giving = dut["issuing"], dut["retiring"], dut["giving"]
    bits = len(issuing)
    in_flight, held = Signal(bits, name="in_flight"), Signal(bits, name="held")
    h.m.d.comb += [in_flight.eq(issuing - retiring), held.eq(issuing - giving)]
    h.assume(~control.retired | (in_flight != 0))
    h.assume((tokens.missing & ~tokens.wait) == 0)
    there = h.past(dut.component("queue").r_rdy & ~tokens.missing.any() & ~tokens.take, "tokens_there")
    h.assume(~there | ~tokens.missing.any())
    h.always(dut["full"] == (held == IN_FLIGHT), "all slots in use and not seen, or seen and not so")
    h.always(held <= IN_FLIGHT, "more instructions in flight than slots")
    h.always(in_flight <= held, "tokens given before the instruction retired")
    h.always(~tokens.put | tokens.fits, "a token given that does not fit")
    h.always(~tokens.take | ~tokens.missing.any(), "a token taken that is not there")
    h.always(tokens.take == queue.issued, "an instruction handed over without its tokens")
    h.always(dut["behind"] == (held != in_flight), "tokens are owed and it is not known, or the reverse")
    owed = (held != in_flight) | control.retired
    h.always(~(owed & tokens.fits) | tokens.put, "a token that fits was not given at once")
    h.always(~tokens.put | owed, "tokens given for an instruction that has not retired")
    h.always(~queue.halt | ~queue.issued, "handed over while halted")
    h.always(queue.pending | (in_flight == 0), "in flight, and not pending")
    instruction = Value.cast(control.instruction.payload)
    give = data.View(HEADER, instruction[: HEADER.size]).give
    for name, entry, pop, popped, level, first, place in (
        ("retiring", queue.issued_index, control.retired, queue.retired_index, in_flight, retiring, slice(INDEX_BITS)),
        ("giving", give, tokens.put, tokens.give, held, giving, slice(INDEX_BITS, INDEX_BITS + UNITS)),
    ):
        followed, ahead, value = follow(
            h, push=queue.issued, entry=entry, pop=pop, popped=popped, level=level, name=name
        )
        slot = Signal(range(IN_FLIGHT), name=f"{name}_slot")
        h.m.d.comb += slot.eq(first + ahead)
        word = dut.memory("slots", slot, INDEX_BITS + UNITS)
        h.always(~followed | (word[place] == value), f"{name}: a slot changed")
        if name == "giving":
            h.always(
                ~followed | (ahead != 0) | (dut["give"] == value), "giving: the first slot's tokens are not those ahead"
            )


#: Depths of the design's queues: runs of STORE 4, activation rows ahead 8, rows ahead of the packer 10, bursts in
#: flight and one more 17 (default) and 2 (one in flight); instructions 16 and 2, program words 64.
PROOFS = (
    Proof(name="relay", build=_relay, quick=True),
    *(Proof(name=f"queue-{d}", build=partial(_queue, depth=d), quick=d == 4) for d in (2, 4, 8, 10, 17)),
    *(Proof(name=f"buffered-queue-{depth}", build=partial(_buffered, depth=depth), depth=6) for depth in (2, 16, 64)),
    Proof(name="unit-queue", build=_unit_queue, depth=6),
)
