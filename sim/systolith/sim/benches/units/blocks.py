"""The blocks that have a bench of their own, by the bench's name."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from systolith.rtl.accumulator import Accumulator
from systolith.rtl.array import SystolicArray
from systolith.rtl.config import Config
from systolith.rtl.csr import Csr
from systolith.rtl.dispatch import Dispatch
from systolith.rtl.dma.arbiter import ReadArbiter
from systolith.rtl.dma.channels import AxiRead
from systolith.rtl.dma.fetch import Fetch
from systolith.rtl.dma.load import LoadUnit
from systolith.rtl.dma.store import StoreUnit
from systolith.rtl.matrix import MatrixUnit
from systolith.rtl.scratchpad import Scratchpad
from systolith.rtl.tokens import Tokens
from systolith.rtl.vector import VectorUnit
from systolith.rtl.vector.lanes import Lanes
from systolith.rtl.vector.polynomials import PolynomialExponent, PolynomialGelu
from systolith.rtl.vector.reciprocal import RowReciprocal
from systolith.rtl.vector.tables import ExponentTable, GeluTable
from systolith.sim.block import Block


class OnBus(wiring.Component):
    """LOAD or fetch with the arbiter that puts its bursts on the bus: the engine's ports, ``axi`` in place of ``bus``.

    Parameters
    ----------
    engine : LoadUnit or Fetch
    channel : str
        Of the arbiter.
    """

    def __init__(self, config: Config, engine: wiring.Component, channel: str) -> None:
        self.config, self.engine, self.channel = config, engine, channel
        members = {name: member for name, member in engine.signature.members.items() if name != "bus"}
        super().__init__({**members, "axi": Out(AxiRead(config))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.arbiter = arbiter = ReadArbiter(self.config)
        connect(m, engine.bus, getattr(arbiter, self.channel))
        connect(m, arbiter.axi, flipped(self.axi))
        for name, member in engine.signature.members.items():
            if name == "bus":
                continue
            inner, outer = getattr(engine, name), getattr(self, name)
            if member.is_signature:
                connect(m, inner, flipped(outer))
            else:
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        return m


BLOCKS = {
    block.name: block
    for block in (
        Block("array", "systolic array, tiles from both sides", SystolicArray, played=True),
        Block("matrix", "MATRIX unit: random instructions against the functional device", MatrixUnit),
        Block("scratchpad", "all six ports of the scratchpad under random traffic", Scratchpad, played=True),
        Block("accumulator", "additions, reads, writes and maxima of the accumulator", Accumulator, played=True),
        Block("tokens", "token counters from empty to full", lambda _: Tokens(), played=True, sized=False),
        Block("vector", "vector unit: random instructions against the functional device", VectorUnit),
        Block(
            "load", "LOAD between cocotbext-axi's memory and stalled rows", lambda c: OnBus(c, LoadUnit(c), "load"),
            bus=True,
        ),
        Block("store", "STORE between stalled rows and cocotbext-axi's memory", StoreUnit, bus=True),
        Block(
            "fetch", "fetch of programs from cocotbext-axi's memory", lambda c: OnBus(c, Fetch(c), "fetch"), bus=True,
        ),
        Block("dispatch", "decode, queues and tokens with units of random speed", Dispatch),
        Block("registers", "register file behind cocotbext-axi's AXI4-Lite master", Csr),
        Block("lanes", "every function of the vector unit's lanes", Lanes, played=True),
        Block(
            "exponent_table", "table of EXPONENT, every argument", lambda _: ExponentTable(), played=True, sized=False,
        ),
        Block(
            "gelu_table", "table of GELU, every argument on every grid", lambda _: GeluTable(),
            played=True, sized=False,
        ),
        Block(
            "exponent_polynomial", "polynomial of EXPONENT, every argument", lambda _: PolynomialExponent(),
            played=True, sized=False,
        ),
        Block(
            "gelu_polynomial", "polynomial of GELU, every argument on every grid", lambda _: PolynomialGelu(),
            played=True, sized=False,
        ),
        Block(
            "reciprocal", "square root and divide of softmax and LayerNorm rows",
            lambda config: RowReciprocal(config, tag_width=8), played=True, sized=False,
        ),
    )
}  # fmt: skip
