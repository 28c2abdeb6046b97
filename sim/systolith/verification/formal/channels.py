"""The DMA on the bus: what is offered stays, last beats are last, no queue overflows, every answer is taken.

And it can be stopped: the cycle after ``halt`` is the first in which no burst is issued.
"""

from functools import partial
from typing import Any

from amaranth.hdl import Cat, Const, Signal

from systolith.rtl.config import Config, preset
from systolith.rtl.dma.arbiter import FETCH_ID, LOAD_ID, ReadArbiter
from systolith.rtl.dma.bursts import longest_burst
from systolith.rtl.dma.fetch import BURSTS, QUEUE, Fetch
from systolith.rtl.dma.load import LoadUnit
from systolith.rtl.dma.pack import BeatPacker
from systolith.rtl.dma.store import StoreUnit
from systolith.rtl.isa import INSTRUCTION_BYTES

from .harness import Harness, Placed, Proof


def _arbiter(h: Harness, config: Config) -> None:
    """Assumed of the bus: data only for bursts that it took, with their identifier."""
    arbiter = ReadArbiter(config)
    dut = h.place(arbiter)
    axi = arbiter.axi
    h.stable(axi.arvalid, axi.arready, Cat(axi.araddr, axi.arlen, axi.arid, axi.arsize, axi.arburst), "AR")
    taken = {}
    ended = axi.rvalid & axi.rready & axi.rlast
    for identifier in (LOAD_ID, FETCH_ID):
        count = Signal(range(config.axi_outstanding + 1), name=f"taken_{identifier}")
        accepted = axi.arvalid & axi.arready & (axi.arid == identifier)
        h.m.d.sync += count.eq(count + accepted - (ended & (axi.rid == identifier)))
        h.assume(~(axi.rvalid & (axi.rid == identifier)) | (count != 0))
        h.cover(count == min(config.axi_outstanding, 2))
        taken[identifier] = count
    on_bus = taken[LOAD_ID] + taken[FETCH_ID] + axi.arvalid
    h.always(dut["in_flight"] == on_bus, "the count of bursts in flight is wrong")
    h.always(on_bus <= config.axi_outstanding, "more reads outstanding than declared")
    room = dut["in_flight"] != config.axi_outstanding
    h.always(dut["room"] == room, "one more may be and it is not known, or the reverse")
    h.always(~(arbiter.load.ar.ready & arbiter.load.ar.valid & arbiter.fetch.ar.valid), "both bursts taken at once")
    for own, other, identifier in (
        (arbiter.load, arbiter.fetch, LOAD_ID),
        (arbiter.fetch, arbiter.load, FETCH_ID),
    ):
        mine = axi.rvalid & (axi.rid == identifier)
        h.always(own.r.valid == mine, "data for another")
        h.always(~mine | (axi.rready == own.r.ready), "data lost")
        h.always(~(mine & other.r.valid), "data given twice")
        given = h.past(own.ar.valid & own.ar.ready, f"given_{identifier}")
        sent = (axi.araddr == h.past(own.ar.payload.address, f"address_{identifier}")) & (
            axi.arlen == h.past(own.ar.payload.length, f"length_{identifier}")
        )
        h.always(~given | (axi.arvalid & sent & (axi.arid == identifier)), "a burst lost or changed")


def _packer(h: Harness, config: Config) -> None:
    """Bursts, rows and ``drop`` come as they like."""
    packer = BeatPacker(config)
    dut = h.place(packer)
    burst, beat = packer.burst, packer.beat
    h.stable(beat.valid, beat.ready, beat.payload, "W")

    # The burst in hand: its length, and the beats of it that were made; those that the bus took of the present burst.
    length, made, sent, current = (Signal(9, name=name) for name in ("length", "made", "sent", "current"))
    active, left, last = dut["active"], dut["left"], dut["last"]
    load = dut["load"]
    with h.m.If(beat.valid & beat.ready):
        h.m.d.sync += sent.eq(sent + 1)
        with h.m.If(beat.payload.last):
            h.m.d.sync += sent.eq(0)
    with h.m.If(load):
        h.m.d.sync += [made.eq(made + 1), current.eq(length)]
    with h.m.If(burst.ready):
        h.m.d.sync += [made.eq(0), length.eq(burst.payload)]
    h.always(~active | ((made + left == length) & (last == (left == 0))), "beats left are miscounted")
    h.always(~(beat.valid & beat.payload.last) | (sent == current), "WLAST in the wrong beat")
    inside = beat.valid & ~beat.payload.last
    h.always(~inside | (active & (sent < length) & (made == sent + 1)), "a beat too many without WLAST")
    h.always(~(beat.valid & beat.payload.last) | (made == 0), "the next burst begins too early")
    h.always(beat.valid | (made == sent), "a beat left out")
    h.always(active | (made == 0), "a beat of no burst")
    h.always(~load | active, "a burst ended that nobody gave")
    h.always(~h.past(packer.drop & ~beat.valid, "dropped") | ~beat.valid | (beat.payload.strobe == 0), "not dropped")
    h.cover(beat.valid & beat.payload.last & (sent == 2))


def _halts(h: Harness, unit: Any, dut: Placed) -> Signal:
    """What the controller relies on when it halts a unit and waits for ``idle``; returns when it must have stopped."""
    halted = h.past(unit.halt, "halted")
    h.always(~halted | dut["stop"], "halted for a cycle and not stopped")
    h.always(~(halted & dut["issuer.issued"]), "a burst issued while halted for a cycle")
    h.always(
        ~halted | (unit.idle == (dut["issuer.in_flight"] == 0)),
        "halted and idle with a burst in flight, or not without",
    )
    h.always(~h.past(halted & unit.halt & unit.idle, "rested") | unit.idle, "idle while halted, and then no more")
    return halted


def _load(h: Harness, config: Config) -> None:
    """Assumed: the last of a burst's data comes only for a burst that the bus took."""
    load = LoadUnit(config)
    dut = h.place(load)
    ar, r, most = load.bus.ar, load.bus.r, config.axi_outstanding
    h.stable(ar.valid, ar.ready, ar.payload, "AR")
    ended = r.valid & r.ready & r.payload.last
    taken = Signal(range(most + 1), name="taken")
    h.m.d.sync += taken.eq(taken + (ar.valid & ar.ready) - ended)
    h.assume(~(r.valid & r.payload.last) | (taken != 0))
    in_flight = dut["issuer.in_flight"]
    h.always(in_flight == taken + ar.valid, "the count of bursts in flight is wrong")
    h.always(in_flight <= most, "more reads outstanding than declared")
    h.always(dut["issuer.free"] == (in_flight != most), "one more may be and it is not known, or the reverse")
    halted = _halts(h, load, dut)
    placer = dut.component("placer")
    h.always(~halted | placer.beat.ready, "halted, and data are not taken")
    h.always(~(halted & dut["placer.take"]), "halted, and a row is taken out of the data")
    h.cover(ended)
    h.cover(halted & placer.beat.valid & (taken != 0))


def _store(h: Harness, config: Config) -> None:
    """Assumed of the bus: a response only for a burst whose address and last beat it took."""
    store = StoreUnit(config)
    dut = h.place(store)
    axi, most = store.axi, config.axi_outstanding
    h.stable(axi.awvalid, axi.awready, Cat(axi.awaddr, axi.awlen, axi.awsize, axi.awburst, axi.awid), "AW")
    h.stable(axi.wvalid, axi.wready, Cat(axi.wdata, axi.wstrb, axi.wlast), "W")
    h.always(axi.bready, "a response is not taken")
    answered = axi.bvalid
    taken = Signal(range(most + 1), name="addresses_taken")
    written = Signal(range(most + 1), name="data_taken")
    h.m.d.sync += [
        taken.eq(taken + (axi.awvalid & axi.awready) - answered),
        written.eq(written + (axi.wvalid & axi.wready & axi.wlast) - answered),
    ]
    h.assume(~answered | ((taken != 0) & (written != 0)))
    in_flight = dut["issuer.in_flight"]
    lengths, active = dut.component("lengths"), dut["packer.active"]
    relay = dut.component("packing")
    packing = Signal(2, name="packing")
    h.m.d.comb += packing.eq(relay.o.valid + dut["packing.waiting"])
    h.always(relay.i.ready == ~dut["packing.waiting"], "a relay that takes what it has no room for, or the reverse")
    h.always(relay.o.valid | relay.i.ready, "an entry waits behind none")
    h.always(in_flight == taken + axi.awvalid, "the count of bursts in flight is wrong")
    h.always(in_flight <= most, "more writes outstanding than declared")
    h.always(dut["issuer.free"] == (in_flight != most), "one more may be and it is not known, or the reverse")
    h.always(
        in_flight == lengths.level + packing + active + (axi.wvalid & axi.wlast) + written,
        "a burst without its data, or data without one",
    )
    h.always(lengths.level <= lengths.depth, "the queue of lengths overflows")
    h.always(~lengths.i.valid | lengths.i.ready, "a length lost")
    h.always(lengths.i.ready == (lengths.level != lengths.depth), "it has room and takes nothing, or the reverse")
    h.always(lengths.o.valid == (lengths.level != 0), "it has lengths and does not show them, or the reverse")
    _halts(h, store, dut)
    h.always(~axi.wvalid | axi.wlast | active, "data without a burst")
    h.cover(axi.awvalid & axi.awready)
    h.cover(answered)


def _fetch(h: Harness, config: Config) -> None:
    """Data are always taken at once and never overflow the queue.

    Assumed: data come only for beats asked for, the last of a burst only for a burst that the bus took, and another
    only while each burst in flight has one left; a start comes only when done and idle, and no program is longer than
    half the address space.
    """
    fetch = Fetch(config)
    dut = h.place(fetch)
    ar, r = fetch.bus.ar, fetch.bus.r
    entry_bytes = max(INSTRUCTION_BYTES, config.bus_bytes)
    beats = entry_bytes // config.bus_bytes
    capacity = QUEUE * INSTRUCTION_BYTES // config.bus_bytes
    longest = longest_burst(config, QUEUE * INSTRUCTION_BYTES // BURSTS)
    h.assume(~fetch.start | (fetch.done & fetch.idle))
    h.assume(fetch.length < (1 << min(32, config.axi_address_width - 6)))
    h.assume(~fetch.start | (fetch.base[: (config.bus_bytes - 1).bit_length()] == 0))

    due, taken = Signal(range(capacity + 1), name="due"), Signal(range(capacity + 1), name="taken")
    issued, length = dut["issuer.issued"], dut.component("cutter").burst.payload.length
    ended = r.valid & r.payload.last
    with h.m.If(issued):
        h.m.d.sync += due.eq(due + length + 1 - r.valid)
    with h.m.Else():
        h.m.d.sync += due.eq(due - r.valid)
    h.m.d.sync += taken.eq(taken + (ar.valid & ar.ready) - ended)
    h.assume(~r.valid | (due != 0))
    h.assume(~ended | (taken != 0))
    in_flight = dut["issuer.in_flight"]
    h.assume(~r.valid | ended | (due > in_flight))
    queue, room = dut.component("queue"), dut["room"]
    part = dut["part"] if beats > 1 else Const(0)
    h.always(r.ready, "data are not taken at once")
    h.always(~queue.w_en | queue.w_rdy, "the queue overflows")
    h.always(room <= capacity, "more room than there is")
    h.always(dut["roomy"] == (room >= longest), "there is room for a burst and it is not known, or the reverse")
    held, returned = (queue.level + dut["ready"]) * beats + part, dut["rest"] + dut["left"] * beats
    h.always(~(dut["sound"] & dut["faulty"]), "an entry both sound and read in error")
    h.always(room + held + due + returned == capacity, "room for beats is miscounted")
    h.always(in_flight == taken + ar.valid, "the count of bursts in flight is wrong")
    h.always(in_flight <= due, "a burst without beats")
    _halts(h, fetch, dut)
    h.always(~(fetch.halt & fetch.instruction.valid), "an instruction delivered while halted")
    h.always(dut["issuer.free"] == (in_flight != capacity), "one more may be and it is not known, or the reverse")
    inner, ready = dut["queue.inner_level"], queue.r_rdy
    h.always(ready | (inner <= 1), "the queue's output is empty though entries wait")

    first, last, busy, ends = (dut[f"cutter.{name}"] for name in ("first", "last", "busy", "ends"))
    within = (longest - 1).bit_length()
    h.always(~busy | (ends == (first[within:] == last[within:])), "the last burst is not known as such")
    for valid, name in ((dut.component("cutter").burst.valid, "head"), (dut["cutter.cut.waiting"], "spare")):
        h.always(~valid | (dut[f"cutter.cut.{name}.length"] < longest), "a burst longer than its room on its way")
    span = Signal(len(first), name="span")
    h.m.d.comb += span.eq(last - first)
    h.always(~busy | (span < (1 << len(first)) - longest), "the cutter passes the end of the program")
    h.always(~issued | (length < longest), "a burst longer than its room")
    launch = dut["launch"]
    program = Signal(len(first), name="program")
    run = dut.component("cutter").run.payload
    h.m.d.comb += program.eq(run.last - run.first)
    h.always(~launch | (program < (1 << len(first)) - longest), "a program longer than its length")
    h.stable(ar.valid, ar.ready, ar.payload, "AR")
    h.cover(queue.level == 1)


_TINY, _DEFAULT, _LARGE = preset("tiny"), preset("default"), preset("large")
_SIZES = {"tiny": _TINY, "default": _DEFAULT, "large": _LARGE}
PROOFS = (
    *(Proof(name=f"arbiter-{size}", build=partial(_arbiter, config=_SIZES[size])) for size in ("tiny", "default")),
    *(
        # A beat of two rows, of one row, and a row of several beats.
        Proof(name=f"packer-{name}", build=partial(_packer, config=config), quick=name == "two-rows")
        for name, config in (("two-rows", _TINY), ("row", _DEFAULT), ("part", _LARGE.resized(64, 64)))
    ),
    *(
        Proof(name=f"load-{size}", build=partial(_load, config=config), depth=4, reach=12, free_memories=True)
        for size, config in _SIZES.items()
    ),
    *(
        Proof(name=f"store-{size}", build=partial(_store, config=config), depth=4, reach=12, free_memories=True)
        for size, config in _SIZES.items()
    ),
    *(
        Proof(name=f"fetch-{size}", build=partial(_fetch, config=config), depth=4, reach=12, free_memories=True)
        for size, config in _SIZES.items()
    ),
)
