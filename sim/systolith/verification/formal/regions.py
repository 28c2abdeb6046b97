"""Whatever an instruction says, no burst addresses a beat outside of the regions.

The solver chooses one beat of memory (``forbidden``) that overlaps no region in use, once and for all, and every
instruction in every cycle. It must never be addressed. Three proofs hand this on, each assuming of its input stream
just what the one before proves of its output: instructions to runs, runs to bursts, bursts to the address channel.
All arithmetic is modulo the address space, so a region may even wrap.
"""

from functools import partial
from typing import Any

from amaranth.hdl import Cat, Const, Signal, Value
from amaranth.lib import data

from systolith.rtl.config import Config, preset
from systolith.rtl.dma.bursts import BOUNDARY, BurstCutter, BurstIssuer, beat_address_bits, longest_burst
from systolith.rtl.dma.runs import RunWalker, span_bits
from systolith.rtl.interfaces import Fault
from systolith.rtl.isa import LAYOUTS, Opcode

from .harness import Harness, Proof


def _bus_bits(config: Config) -> int:
    """Bits of a byte's place in its beat."""
    return (config.bus_bytes - 1).bit_length()


def _named(h: Harness, value: Any, bits: int, name: str) -> Signal:
    """``value`` modulo ``2**bits``."""
    signal = Signal(bits, name=name)
    h.m.d.comb += signal.eq(value)
    return signal


def _away(h: Harness, beat: Any, base: Any, size: Any, config: Config, name: str) -> Any:
    """``beat`` holds none of the ``size`` bytes from ``base``, which begins a beat, on."""
    byte = Cat(Const(0, _bus_bits(config)), beat)
    return _named(h, byte - base, config.axi_address_width, f"{name}_offset") >= size


def _outside(h: Harness, beat: Any, first: Any, last: Any, name: str) -> Any:
    """``beat`` is none of the beats ``first`` to ``last``."""
    bits = len(Value.cast(beat))
    return _named(h, beat - first, bits, f"{name}_distance") > _named(h, last - first, bits, f"{name}_reach")


def _spans(h: Harness, first: Any, last: Any, bits: int, name: str) -> Any:
    """The run from ``first`` to ``last`` has no more than ``2**bits`` beats."""
    return _named(h, last - first, len(Value.cast(first)), f"{name}_span") < (1 << bits)


def _runs(h: Harness, config: Config, memories: int) -> None:
    """Assumed: a region begins at a whole beat. It may change between instructions."""
    rows = (config.scratchpad_rows, 8 * config.parameter_rows)[:memories]
    walker = RunWalker(config, memory_rows=rows)
    dut = h.place(walker)
    forbidden = h.constant(beat_address_bits(config), "forbidden")
    fields = data.View(LAYOUTS[Opcode.LOAD], walker.instruction.payload[: LAYOUTS[Opcode.LOAD].size])
    region = Signal(walker.regions.region[0].shape(), name="region")
    h.m.d.comb += region.eq(walker.regions.region[fields.region])
    low = slice(_bus_bits(config))
    h.assume(_away(h, forbidden, region.base, region.size, config, "region") & (region.base[low] == 0))

    for name, live in (("walked", "active"), ("summed", "summed_valid")):
        stage = {field: dut[f"{name}.{field}"] for field in ("base", "size", "last_row", "rows", "illegal", "memory")}
        idle = ~dut[live]
        h.always(
            idle | _away(h, forbidden, stage["base"], stage["size"], config, name), "it works on no granted region"
        )
        h.always(idle | (stage["base"][low] == 0), "a region begins inside of a beat")
        h.always(idle | ((stage["last_row"] + 1)[:16] == stage["rows"]), "the last row is not the last")
        h.always(idle | (stage["rows"] != 0) | stage["illegal"], "a block without rows is legal")
        limit = dut[f"{name}.limit"]
        h.always(idle | (limit == Value.cast(rows[0] if memories == 1 else _limit(stage["memory"], rows))), "limit")
    pitch = (config.row_pitch - 1).bit_length()
    size = _named(h, dut["summed.rows"] << pitch, 34, "block_bytes")
    begin = _named(h, dut["summed.base"] + dut["end_offset"] - size, config.axi_address_width, "block_begin")
    idle = ~dut["summed_valid"]
    h.always(idle | (begin == dut["begin"]), "begin and end of a block do not agree")
    h.always(idle | (dut["end_offset"] >= size), "a block begins before its region")
    h.always(idle | (dut["end_row"] == dut["summed_address"] + dut["summed.rows"]), "rows on the chip do not agree")

    run = walker.run.payload
    good = walker.run.valid & (run.fault == Fault.NONE)
    h.always(~good | _outside(h, forbidden, run.first, run.last, "run"), "a run outside of its region")
    h.always(~good | _spans(h, run.first, run.last, span_bits(config), "run"), "a run longer than the cutter takes")
    h.always(~good | (run.rows != 0), "a run without rows")
    h.always(~good | (run.address + run.rows <= _limit(run.memory, rows)), "a run beyond the end of its memory")
    h.stable(walker.run.valid, walker.run.ready, run, "runs")
    h.cover(good & (run.rows == 3))
    h.cover(walker.run.valid & (run.fault == Fault.REGION))


def _limit(memory: Any, rows: tuple[int, ...]) -> Any:
    limit = Const(rows[0], 20)
    return limit if len(rows) == 1 else Value.cast(memory).replicate(20) & rows[1] | ~memory.replicate(20) & limit


def _bursts(h: Harness, config: Config, beats: int, span: int) -> None:
    """Assumed: what is proved of runs; and no run, the program's neither, is longer than half the address space."""
    cutter = BurstCutter(config, beats=beats, span_bits=span)
    dut = h.place(cutter)
    span_bits_compared = span + 1
    span = min(span, beat_address_bits(config) - 1)
    forbidden = h.constant(beat_address_bits(config), "forbidden")
    run, burst = cutter.run.payload, cutter.burst.payload
    h.assume(_outside(h, forbidden, run.first, run.last, "run") & _spans(h, run.first, run.last, span, "run"))

    first, last, busy = dut["first"], dut["last"], dut["busy"]
    h.always(~busy | _outside(h, forbidden, first, last, "cut"), "the cutter leaves its run")
    h.always(~busy | _spans(h, first, last, span, "cut"), "the cutter passes the end of its run")
    within = (beats - 1).bit_length()
    compared = slice(within, min(len(first), span_bits_compared))
    h.always(~busy | (dut["ends"] == (first[compared] == last[compared])), "the last burst is not known as such")
    # The burst that is cut, and those on their way out: the relay is proved elsewhere.
    cut = dut.component("cut")
    relayed = {name: data.View(burst.shape(), dut[f"cut.{name}"]) for name in ("head", "spare")}
    page = BOUNDARY // config.bus_bytes
    for name, valid, given in (
        ("cut", busy, cut.i.payload),
        ("head", cutter.burst.valid, relayed["head"]),
        ("spare", dut["cut.waiting"], relayed["spare"]),
    ):
        begin = _named(h, given.address >> _bus_bits(config), beat_address_bits(config), f"{name}_begin")
        end = _named(h, begin + given.length, beat_address_bits(config), f"{name}_end")
        h.always(
            ~valid | _outside(h, forbidden, begin, end, f"{name}_burst"),
            "a burst addresses a beat outside of its region",
        )
        h.always(~valid | (given.address[: _bus_bits(config)] == 0), "a burst begins inside of a beat")
        h.always(~valid | ((begin % beats) + given.length < beats), "a burst is too long or crosses its alignment")
        h.always(~valid | ((begin % page) + given.length < page), "a burst crosses a 4 KiB boundary")
    valid = cutter.burst.valid
    h.stable(valid, cutter.burst.ready, burst, "bursts")
    h.always(cutter.idle == ~(busy | valid), "idle with a burst inside, or the reverse")

    # The bursts of a run are all of its beats, once each and in order.
    going = Signal(name="going")
    expected, until = Signal.like(first, name="expected"), Signal.like(last, name="until")
    begin = _named(h, cut.i.payload.address >> _bus_bits(config), beat_address_bits(config), "begin")
    end = _named(h, begin + cut.i.payload.length, beat_address_bits(config), "end")
    taken = busy & cut.i.ready
    ends = taken & (end == until)
    with h.m.If(taken):
        h.m.d.sync += expected.eq(end + 1)
    with h.m.If(ends):
        h.m.d.sync += going.eq(0)
    with h.m.If(cutter.run.valid & cutter.run.ready):
        h.m.d.sync += [going.eq(1), expected.eq(run.first), until.eq(run.last)]
    h.always(busy == going, "a run ends with beats left, or goes on without")
    h.always(~busy | ((begin == expected) & (last == until)), "beats left out or repeated")
    h.cover(ends & (cut.i.payload.length == 0))
    h.cover(valid & ~cutter.burst.ready & (burst.length == beats - 1))


def _issue(h: Harness, config: Config, most: int) -> None:
    """Assumed: what is proved of bursts, and answers only to bursts that the bus took."""
    issuer = BurstIssuer(config, most=most)
    dut = h.place(issuer)
    forbidden = h.constant(config.axi_address_width + 8, "forbidden")
    address = issuer.address
    given, sent = Value.cast(issuer.burst.payload)[: len(forbidden)], Value.cast(address.payload)
    h.assume(given != forbidden)
    h.always(~address.valid | (sent != forbidden), "a burst goes out that nobody gave")
    h.stable(address.valid, address.ready, address.payload, "address")
    taken = Signal(range(most + 1), name="taken")
    h.m.d.sync += taken.eq(taken + (address.valid & address.ready) - issuer.completed)
    h.assume(~issuer.completed | (taken != 0))
    h.always(dut["in_flight"] == taken + address.valid, "the count of bursts in flight is wrong")
    h.always(taken + address.valid <= most, "more bursts in flight than declared")
    h.always(dut["free"] == (dut["in_flight"] != most), "one more may be and it is not known, or the reverse")
    h.always(issuer.quiet == (taken + address.valid == 0), "quiet with a burst in flight, or the reverse")
    h.always(~issuer.issued | issuer.allow, "a burst issued that was not allowed")
    # Every burst given goes out: the one on the channel is the last one taken.
    given_last = Signal.like(sent, name="given_last")
    with h.m.If(issuer.issued):
        h.m.d.sync += given_last.eq(given)
    h.always(~address.valid | (sent == given_last), "a burst lost or changed")
    h.always(~h.past(issuer.issued, "issued_before") | address.valid, "a burst taken that does not go out")
    h.cover(taken == min(most, 3))


_TINY, _DEFAULT, _LARGE = preset("tiny"), preset("default"), preset("large")
PROOFS = (
    *(
        Proof(name=f"runs-{unit}-{name}", build=partial(_runs, config=config, memories=memories), depth=4, seconds=480)
        for name, config, unit, memories in (
            ("tiny", _TINY, "load", 2),
            ("tiny", _TINY, "store", 1),
            ("default", _DEFAULT, "load", 2),
            ("large", _LARGE, "store", 1),
        )
    ),
    *(
        Proof(
            name=f"bursts-{name}",
            build=partial(_bursts, config=config, beats=longest_burst(config), span=span_bits(config)),
        )
        for name, config in (("tiny", _TINY), ("default", _DEFAULT), ("large", _LARGE))
    ),
    Proof(name="bursts-fetch", build=partial(_bursts, config=_TINY, beats=longest_burst(_TINY, 512), span=40)),
    *(Proof(name=f"issue-{most}", build=partial(_issue, config=_TINY, most=most), quick=True) for most in (1, 16)),
)
