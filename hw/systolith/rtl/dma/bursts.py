"""Cutting a run of beats into AXI bursts, and putting these on an address channel."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..queues import Relay
from .channels import address_layout

#: No AXI burst crosses a multiple of this, in bytes.
BOUNDARY = 4096


def longest_burst(config: Config, most_bytes: int = BOUNDARY) -> int:
    """Beats of the longest burst: a power of two within ``axi_burst_beats`` and ``most_bytes``."""
    beats = max(1, min(config.axi_burst_beats, most_bytes // config.bus_bytes))
    return 1 << (beats.bit_length() - 1)


def beat_address_bits(config: Config) -> int:
    """Bits of an address that counts beats of the bus."""
    return config.axi_address_width - (config.bus_bytes - 1).bit_length()


def burst_layout(config: Config) -> data.StructLayout:
    """Byte ``address``, ``length`` in beats less one, and ``final``: the last burst of an instruction."""
    return data.StructLayout(
        {
            "address": unsigned(config.axi_address_width),
            "length": unsigned(8),
            "final": unsigned(1),
        }
    )


class BurstCutter(wiring.Component):
    """Cut runs of consecutive beats into bursts, one burst a cycle.

    Every burst ends where the run does or at a multiple of the longest burst. As that is a power of two no
    larger than 4 KiB, no burst crosses a 4 KiB boundary, and a cut is an equality and a short subtraction
    instead of a minimum of three lengths.

    Parameters
    ----------
    beats : int
        Longest burst, from :func:`longest_burst`.
    span_bits : int
        A run has fewer than ``2**span_bits`` beats: as many bits of the address tell its bursts apart.

    Members
    -------
    run : stream of runs: the beat addresses of its ``first`` and ``last`` beat, and ``final``, which marks
        the last run of an instruction.
    burst : stream of :func:`burst_layout`; a run's first burst comes two cycles after it.
    idle : no run or burst is inside.
    """

    run: stream.Interface
    burst: stream.Interface
    idle: Signal

    def __init__(self, config: Config, *, beats: int, span_bits: int) -> None:
        self.beats = beats
        self.span_bits = span_bits
        self.beat_bits = beat_address_bits(config)
        self.bus_bits = config.axi_address_width - self.beat_bits
        super().__init__(
            {
                "run": In(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "first": unsigned(self.beat_bits),
                                "last": unsigned(self.beat_bits),
                                "final": unsigned(1),
                            }
                        )
                    )
                ),
                "burst": Out(stream.Signature(burst_layout(config))),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # No path leads from the bus through the cutter.
        m.submodules.cut = cut = Relay(self.burst.payload.shape())
        wiring.connect(m, cut.o, wiring.flipped(self.burst))
        within = (self.beats - 1).bit_length()
        compared = slice(within, min(self.beat_bits, self.span_bits + 1))
        first = Signal(self.beat_bits, reset_less=True)
        last = Signal(self.beat_bits, reset_less=True)
        final = Signal(reset_less=True)
        busy = Signal()
        # Whether this burst is the run's last: known one burst ahead.
        ends = Signal(reset_less=True)
        following = Signal(self.beat_bits)
        run = self.run.payload
        m.d.comb += [
            following.eq(Cat(Const(0, within), first[within:] + 1)),
            cut.i.valid.eq(busy),
            cut.i.payload.address.eq(Cat(Const(0, self.bus_bits), first)),
            cut.i.payload.length.eq(Mux(ends, last[:within], self.beats - 1) - first[:within]),
            cut.i.payload.final.eq(final & ends),
            self.run.ready.eq(~busy | (cut.i.ready & ends)),
            self.idle.eq(~busy & ~cut.o.valid),
        ]
        with m.If(cut.i.ready):
            m.d.sync += [first.eq(following), ends.eq(following[compared] == last[compared])]
        with m.If(self.run.ready):
            m.d.sync += [
                busy.eq(self.run.valid),
                ends.eq(run.first[compared] == run.last[compared]),
                first.eq(self.run.payload.first),
                last.eq(self.run.payload.last),
                final.eq(self.run.payload.final),
            ]
        return m


class BurstIssuer(wiring.Component):
    """Put bursts on an address channel and count those in flight.

    Parameters
    ----------
    most : int
        Bursts in flight at once.

    Members
    -------
    burst : stream of :func:`burst_layout`.
    allow : bursts may be issued. One that is already on the channel stays there until it is taken.
    completed : a burst in flight is complete: its last data or its response has arrived.
    address : ``address`` and ``length`` of a burst, registered.
    issued : ``burst`` is taken in this cycle.
    quiet : no burst is in flight.
    """

    burst: stream.Interface
    allow: Signal
    completed: Signal
    address: stream.Interface
    issued: Signal
    quiet: Signal

    def __init__(self, config: Config, *, most: int) -> None:
        self.most = most
        super().__init__(
            {
                "burst": In(stream.Signature(burst_layout(config))),
                "allow": In(1),
                "completed": In(1),
                "address": Out(stream.Signature(address_layout(config))),
                "issued": Out(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        in_flight = Signal(range(self.most + 1))
        # Whether one more may be: known one cycle ahead.
        free = Signal(init=1)
        valid = Signal()
        address = Signal.like(self.address.payload, reset_less=True)
        m.d.comb += [
            self.burst.ready.eq(self.allow & (~valid | self.address.ready) & free),
            self.issued.eq(self.burst.valid & self.burst.ready),
            self.address.valid.eq(valid),
            self.address.payload.eq(address),
            self.quiet.eq(in_flight == 0),
        ]
        with m.If(self.issued & ~self.completed):
            m.d.sync += [in_flight.eq(in_flight + 1), free.eq(in_flight != self.most - 1)]
        with m.Elif(self.completed & ~self.issued):
            m.d.sync += [in_flight.eq(in_flight - 1), free.eq(1)]
        with m.If(self.address.ready):
            m.d.sync += valid.eq(0)
        with m.If(self.issued):
            m.d.sync += [
                valid.eq(1),
                address.address.eq(self.burst.payload.address),
                address.length.eq(self.burst.payload.length),
            ]
        return m
