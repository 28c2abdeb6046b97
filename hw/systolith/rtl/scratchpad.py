"""The scratchpad: banked int8 rows of activations and weights."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped

from .banks import BankedMemory
from .config import Config
from .interfaces import READ_LATENCY, RowWrite, ScratchpadRead


class Scratchpad(wiring.Component):
    """``scratchpad_rows`` rows of ``row_bytes`` int8, one read and one write a cycle in each bank.

    Parameters
    ----------
    config : Config
        Gives rows, bytes of a row and banks.

    Members
    -------
    activations, weights, residual, store : ``In(ScratchpadRead)``, highest priority first.
        Data follow :attr:`latency` cycles after each transfer.
    vector, load : ``In(RowWrite)``, highest priority first, masked by bytes.
    give_way : ``In(1)``: where both want the same bank, ``weights`` is granted in this cycle and not ``activations``.

    The order of priorities: the array must not starve; a late store costs nothing but bus time. Banks,
    grants and what a read sees of a write in the same cycle are those of ``BankedMemory``.
    """

    #: Cycles from a read's transfer to its data.
    latency = READ_LATENCY

    #: Names of the members, in order of priority.
    READERS = ("activations", "weights", "residual", "store")
    WRITERS = ("vector", "load")

    activations: wiring.PureInterface
    weights: wiring.PureInterface
    residual: wiring.PureInterface
    store: wiring.PureInterface
    vector: wiring.PureInterface
    load: wiring.PureInterface
    give_way: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        self._read = ScratchpadRead(config)
        self._write = RowWrite(config.scratchpad_rows, config.row_bytes)
        super().__init__(
            {
                **{name: In(self._read) for name in self.READERS},
                **{name: In(self._write) for name in self.WRITERS},
                "give_way": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.banks = banks = BankedMemory(
            rows=self.config.scratchpad_rows,
            banks=self.config.scratchpad_banks,
            read=self._read,
            readers=len(self.READERS),
            write=self._write,
            writers=len(self.WRITERS),
        )
        m.d.comb += banks.give_way.eq(self.give_way)
        for index, name in enumerate(self.READERS):
            connect(m, flipped(getattr(self, name)), banks.read[index])
        for index, name in enumerate(self.WRITERS):
            connect(m, flipped(getattr(self, name)), banks.write[index])
        return m
