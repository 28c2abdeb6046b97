"""One AXI read port for the LOAD unit and the instruction fetch."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from .channels import BURST_INCREMENT, AxiRead, ReadChannel, burst_size

#: AXI read identifiers.
LOAD_ID = 0
FETCH_ID = 1


class ReadArbiter(wiring.Component):
    """Merge the bursts of LOAD (identifier 0) and fetch (identifier 1), and sort their data by identifier.

    The fetch comes first: it needs one burst for many instructions, and everything waits for it. No more than
    ``axi_outstanding`` bursts of both are on the bus. Data of the two may interleave.

    Members
    -------
    load, fetch : ``In(ReadChannel)``.
    axi : ``Out(AxiRead)``, to be joined to the top's bus by ``connect_axi``.
    """

    load: wiring.PureInterface
    fetch: wiring.PureInterface
    axi: wiring.PureInterface

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "load": In(ReadChannel(config)),
                "fetch": In(ReadChannel(config)),
                "axi": Out(AxiRead(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi = self.axi
        in_flight = Signal(range(self.config.axi_outstanding + 1))
        # Whether one more may be: known one cycle ahead.
        room = Signal(init=1)
        valid = Signal()
        identifier = Signal(1, reset_less=True)
        address = Signal.like(self.load.ar.payload, reset_less=True)
        free = Signal()
        issue = Signal()
        arrived = Signal()
        m.d.comb += [
            axi.arvalid.eq(valid),
            axi.arid.eq(identifier),
            axi.araddr.eq(address.address),
            axi.arlen.eq(address.length),
            axi.arsize.eq(burst_size(self.config)),
            axi.arburst.eq(BURST_INCREMENT),
            free.eq((~valid | axi.arready) & room),
            self.fetch.ar.ready.eq(free),
            self.load.ar.ready.eq(free & ~self.fetch.ar.valid),
            issue.eq(free & (self.fetch.ar.valid | self.load.ar.valid)),
            arrived.eq(axi.rvalid & axi.rready & axi.rlast),
        ]
        with m.If(issue & ~arrived):
            m.d.sync += [in_flight.eq(in_flight + 1), room.eq(in_flight != self.config.axi_outstanding - 1)]
        with m.Elif(arrived & ~issue):
            m.d.sync += [in_flight.eq(in_flight - 1), room.eq(1)]
        with m.If(axi.arready):
            m.d.sync += valid.eq(0)
        with m.If(issue):
            chosen = Mux(self.fetch.ar.valid, self.fetch.ar.payload.as_value(), self.load.ar.payload.as_value())
            m.d.sync += [
                valid.eq(1),
                identifier.eq(self.fetch.ar.valid),
                address.eq(data.View(self.load.ar.payload.shape(), chosen)),
            ]

        for channel, own in ((self.load, LOAD_ID), (self.fetch, FETCH_ID)):
            m.d.comb += [
                channel.r.valid.eq(axi.rvalid & (axi.rid == own)),
                channel.r.payload.data.eq(axi.rdata),
                channel.r.payload.resp.eq(axi.rresp),
                channel.r.payload.last.eq(axi.rlast),
            ]
        m.d.comb += axi.rready.eq(Mux(axi.rid == FETCH_ID, self.fetch.r.ready, self.load.r.ready))
        return m
