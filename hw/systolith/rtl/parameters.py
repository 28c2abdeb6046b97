"""The parameter memory: what the vector unit needs to know of each output column."""

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Cat, Module, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from .config import Config
from .interfaces import PARAMETER_RECORD, ParameterRead, RowWrite

#: Byte planes of a record: byte j of all columns' records is plane j.
PLANES = PARAMETER_RECORD.size // 8

#: A record as numpy reads it.
RECORD_DTYPE = np.dtype([("bias", "<i4"), ("multiplier_a", "<u2"), ("multiplier_b", "<i2")])


class Parameters(wiring.Component):
    """``parameter_rows`` rows of one 8-byte record for each column, in eight byte planes.

    Planes let a LOAD fill this memory with rows no wider than the scratchpad's, while a read takes the
    records of all columns at once.

    Parameters
    ----------
    config : Config
        Gives rows, columns and bytes of a loaded row.

    Members
    -------
    load : ``In(RowWrite(8 * parameter_rows, row_bytes))``
        Address 8 x row + plane; always ready. Bytes from ``cols`` on are dropped.
    read : ``In(ParameterRead)``
        Records one cycle after their row's address; a load in the address's cycle is not seen.
    """

    #: Cycles from a read's address to its records.
    latency = 1

    load: wiring.PureInterface
    read: wiring.PureInterface

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "load": In(RowWrite(PLANES * config.parameter_rows, config.row_bytes)),
                "read": In(ParameterRead(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cols = self.config.cols
        row = self.load.request.payload
        plane_bits = (PLANES - 1).bit_length()
        planes = []
        for plane in range(PLANES):
            memory = Memory(shape=unsigned(8 * cols), depth=self.config.parameter_rows, init=[])
            m.submodules[f"plane{plane}"] = memory
            reader, writer = memory.read_port(), memory.write_port(granularity=8)
            m.d.comb += [
                reader.addr.eq(self.read.address),
                writer.addr.eq(row.address[plane_bits:]),
                writer.data.eq(row.data),
            ]
            with m.If(self.load.request.valid & (row.address[:plane_bits] == plane)):
                m.d.comb += writer.en.eq(row.mask)
            planes.append(reader.data)
        m.d.comb += [
            self.load.request.ready.eq(1),
            Value.cast(self.read.data).eq(Cat(plane.word_select(c, 8) for c in range(cols) for plane in planes)),
        ]
        return m

    @staticmethod
    def model(planes: npt.NDArray[np.uint8]) -> np.ndarray:
        """Records (:data:`RECORD_DTYPE`, shape (..., cols)) of planes, uint8 of shape (..., 8, cols)."""
        records = np.ascontiguousarray(np.swapaxes(planes, -1, -2))
        return records.view(RECORD_DTYPE)[..., 0]
