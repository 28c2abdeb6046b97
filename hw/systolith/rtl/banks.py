"""A banked row memory with several prioritised readers and writers: what both large memories are made of."""

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.data import Layout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Signature

from .interfaces import READ_LATENCY


class BankedMemory(wiring.Component):
    """Rows interleaved over banks, each bank granting one read and one write a cycle.

    Row ``address`` lies in bank ``address % banks``, so that streams of consecutive rows, once a conflict
    has put them out of step, never meet again. A lower port index has priority; ``ready`` falls only while
    a port of higher priority asks for the same bank, and depends on nothing but the requests. A read sees
    all writes granted in earlier cycles; a write granted in the same cycle is not seen (the old row is read).

    Where the first two readers want the same bank, the second one may be let go first.

    Parameters
    ----------
    rows : int
        Rows in all banks, a multiple of ``banks``.
    banks : int
        Power of two.
    read, write : Signature
        Signatures of the ports, seen from the initiator: ``read`` with the members of ``ScratchpadRead``,
        ``write`` with those of ``RowWrite``. The row is as wide as the read's ``data`` and each bit of the
        write's ``mask`` enables an equal share of it.
    readers, writers : int
        Number of ports.

    Members
    -------
    read : ``In(read)``, array of ``readers``: ``valid`` and the row in ``data`` come :attr:`latency` cycles after a
        transfer, for one cycle.
    write : ``In(write)``, array of ``writers``.
    give_way : ``In(1)``: in this cycle the second reader has priority over the first.

    Raises
    ------
    ValueError
        If ``banks`` is no power of two, does not divide ``rows``, or the mask does not divide the row.
    """

    #: Cycles from a transfer to its data: the memory's own register, and one between each bank, slow to answer, and the
    #: choice of bank.
    latency = READ_LATENCY

    read: Sequence[wiring.PureInterface]
    write: Sequence[wiring.PureInterface]
    give_way: Signal

    def __init__(self, *, rows: int, banks: int, read: Signature, readers: int, write: Signature, writers: int) -> None:
        if banks < 1 or banks & (banks - 1):
            raise ValueError(f"banks must be a power of two, not {banks}")
        if rows < banks or rows % banks:
            raise ValueError(f"rows must be a multiple of the {banks} banks, not {rows}")
        payload = write.members["request"].signature.members["payload"].shape
        self.row_bits = Layout.cast(read.members["data"].shape).size
        self.mask_bits = payload["mask"].width
        if self.row_bits % self.mask_bits:
            raise ValueError(f"a row of {self.row_bits} bits cannot be written in {self.mask_bits} equal parts")
        self.rows = rows
        self.banks = banks
        super().__init__({"read": In(read).array(readers), "write": In(write).array(writers), "give_way": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank_bits = (self.banks - 1).bit_length()
        reads, writes = [], []
        for bank in range(self.banks):
            memory = Memory(shape=unsigned(self.row_bits), depth=self.rows // self.banks, init=[])
            m.submodules[f"bank{bank}"] = memory
            reads.append(memory.read_port())
            writes.append(memory.write_port(granularity=self.row_bits // self.mask_bits))

        self._arbitrate(m, [(port.request, port.request.payload[:bank_bits]) for port in self.read], self.give_way)
        self._arbitrate(m, [(port.request, port.request.payload.address[:bank_bits]) for port in self.write], Const(0))

        second = self.read[1].request if len(self.read) > 1 else None
        for bank, (reader, writer) in enumerate(zip(reads, writes, strict=True)):
            # The last assignment wins, so the port of highest priority comes last. The first one's address and row
            # stand there even if it asks for nothing: they are wide, and need one choice less.
            m.d.comb += reader.en.eq(0)
            for rank, port in enumerate(reversed(list(self.read))):
                address = port.request.payload
                asked = port.request.valid & (address[:bank_bits] == bank)
                if port is self.read[0] and second is not None:
                    asked &= ~(self.give_way & second.valid & (second.payload[:bank_bits] == bank))
                with m.If(asked):
                    m.d.comb += reader.en.eq(1)
                with m.If(asked if rank else Const(1)):
                    m.d.comb += reader.addr.eq(address[bank_bits:])
            for rank, port in enumerate(reversed(list(self.write))):
                row = port.request.payload
                asked = port.request.valid & (row.address[:bank_bits] == bank)
                with m.If(asked):
                    m.d.comb += writer.en.eq(row.mask)
                with m.If(asked if rank else Const(1)):
                    m.d.comb += [writer.addr.eq(row.address[bank_bits:]), writer.data.eq(row.data)]

        rows = []
        for bank, reader in enumerate(reads):
            row = Signal(self.row_bits, name=f"row{bank}", reset_less=True)
            m.d.sync += row.eq(reader.data)
            rows.append(row)
        for index, port in enumerate(self.read):
            taken = Signal(name=f"taken{index}")
            source, arrived = (
                Signal(range(max(self.banks, 2)), name=f"{name}{index}", reset_less=True)
                for name in ("source", "arrived")
            )
            m.d.sync += [
                taken.eq(port.request.valid & port.request.ready),
                port.valid.eq(taken),
                source.eq(port.request.payload[:bank_bits]),
                arrived.eq(source),
            ]
            m.d.comb += Value.cast(port.data).eq(Array(rows)[arrived])
        return m

    @staticmethod
    def _arbitrate(m: Module, requests: list[tuple[wiring.PureInterface, Value]], give_way: Value) -> None:
        """Hold back each request while one earlier in the list wants the same bank; the first two may change places."""
        for index, (request, bank) in enumerate(requests):
            ahead = [
                other.valid & (taken == bank) for other, taken in requests[: max(index, 2)] if other is not request
            ]
            if index < 2:
                ahead = [rival & (give_way if index == 0 else ~give_way) for rival in ahead]
            m.d.comb += request.ready.eq(~Cat(ahead).any())
