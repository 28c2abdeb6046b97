"""The signatures that the units meet at; every signature is seen from the unit that initiates."""

from enum import IntEnum

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Flow, In, Out, Signature

from .config import Config
from .isa import INSTRUCTION_BITS, Unit

#: Cycles from an accepted scratchpad or accumulator read request to its data.
READ_LATENCY = 2
#: Bits of an instruction's index in its program.
INDEX_BITS = 24
#: Instructions that a unit holds at most: handed over, and not yet retired with their tokens given.
IN_FLIGHT = 16
#: Bits of the token counter of each ordered pair of units.
TOKEN_BITS = 8


class Fault(IntEnum):
    """Why the accelerator stopped; 0 means that it did not."""

    NONE = 0
    ILLEGAL_INSTRUCTION = 1
    ADDRESS = 2
    REGION = 3
    BUS_READ = 4
    BUS_WRITE = 5
    BUS_FETCH = 6
    WATCHDOG = 7


FAULT_BITS = 4
#: For each unit in turn, a bit for each unit whose token it waits for: unit u waits for unit v in bit 4u + v.
WAITING_BITS = len(Unit) ** 2


def address_width(rows: int) -> int:
    """Bits of a row address of a memory of ``rows`` rows."""
    return max(1, (rows - 1).bit_length())


def members(signature: Signature) -> list[tuple[str, int, bool]]:
    """Name, width in bits and whether the initiator drives it, of each member of a flat signature."""
    return [
        (name, Shape.cast(member.shape).width, member.flow is Flow.Out) for name, member in signature.members.items()
    ]


class UnitControl(Signature):
    """What a unit receives from its queue, seen from the queue.

    Members
    -------
    instruction : stream of 256-bit words, tokens already taken; the unit decodes its own fields.
    retired : one pulse for each instruction, in order, once all of its effects are visible.
    fault : a ``Fault`` code for one cycle when the unit cannot go on; 0 otherwise.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "instruction": Out(stream.Signature(INSTRUCTION_BITS)),
                "retired": In(1),
                "fault": In(FAULT_BITS),
            }
        )


class ScratchpadRead(Signature):
    """``request`` carries row addresses; ``data`` holds each row for one cycle, ``READ_LATENCY`` after its transfer."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "request": Out(stream.Signature(address_width(config.scratchpad_rows))),
                "valid": In(1),
                "data": In(data.ArrayLayout(signed(8), config.row_bytes)),
            }
        )


class RowWrite(Signature):
    """Stream of writes of bytes to one row; ``mask`` has a bit for each byte."""

    def __init__(self, rows: int, row_bytes: int) -> None:
        super().__init__(
            {
                "request": Out(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "address": unsigned(address_width(rows)),
                                "mask": unsigned(row_bytes),
                                "data": data.ArrayLayout(signed(8), row_bytes),
                            }
                        )
                    )
                )
            }
        )


class AccumulatorAdd(Signature):
    """Rows of partial sums from the array; always taken, at most one a cycle.

    ``overwrite`` replaces instead of adding. With ``track_max`` the new sums of the columns in ``mask``
    update the maximum at ``stat_address``, which starts anew with ``max_first``. ``last`` marks the last
    row of an instruction; ``retired`` pulses when that row, and its maximum, are visible to readers.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "address": Out(address_width(config.accumulator_rows)),
                "data": Out(data.ArrayLayout(signed(config.psum_width), config.cols)),
                "overwrite": Out(1),
                "track_max": Out(1),
                "max_first": Out(1),
                "stat_address": Out(address_width(config.statistics_rows)),
                "mask": Out(config.cols),
                "last": Out(1),
                "retired": In(1),
            }
        )


class AccumulatorRead(Signature):
    """``request`` carries row addresses; ``data`` holds each row for one cycle, ``READ_LATENCY`` after its transfer."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "request": Out(stream.Signature(address_width(config.accumulator_rows))),
                "valid": In(1),
                "data": In(data.ArrayLayout(signed(32), config.cols)),
            }
        )


class AccumulatorWrite(Signature):
    """Stream of writes of int32 words to one row; ``mask`` has a bit for each column."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "request": Out(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "address": unsigned(address_width(config.accumulator_rows)),
                                "mask": unsigned(config.cols),
                                "data": data.ArrayLayout(signed(32), config.cols),
                            }
                        )
                    )
                )
            }
        )


class MaximumRead(Signature):
    """Read port of the row maxima: ``data`` belongs to the ``address`` of the cycle before. Never busy."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "address": Out(address_width(config.statistics_rows)),
                "data": In(signed(32)),
            }
        )


class ParameterRead(Signature):
    """Read port of the parameter memory: ``data`` belongs to the ``address`` of the cycle before. Never busy.

    A column's record is 8 bytes, little-endian: ``bias`` int32, ``multiplier_a`` uint16, ``multiplier_b`` int16.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "address": Out(address_width(config.parameter_rows)),
                "data": In(data.ArrayLayout(PARAMETER_RECORD, config.cols)),
            }
        )


PARAMETER_RECORD = data.StructLayout({"bias": signed(32), "multiplier_a": unsigned(16), "multiplier_b": signed(16)})


class AxiLite(Signature):
    """AXI4-Lite with 32-bit data, seen from the initiator."""

    def __init__(self, address_bits: int) -> None:
        super().__init__({
            "awaddr": Out(address_bits), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(address_bits), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        })  # fmt: skip


class Axi(Signature):
    """AXI4, incrementing bursts of whole beats, one-bit identifiers, seen from the initiator.

    Read identifier 0 is data, 1 is instruction fetch; write identifier 0 is data.
    """

    def __init__(self, config: Config) -> None:
        width, address = config.axi_data_width, config.axi_address_width
        super().__init__({
            "awid": Out(1), "awaddr": Out(address), "awlen": Out(8), "awsize": Out(3), "awburst": Out(2),
            "awvalid": Out(1), "awready": In(1),
            "wdata": Out(width), "wstrb": Out(width // 8), "wlast": Out(1), "wvalid": Out(1), "wready": In(1),
            "bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "arid": Out(1), "araddr": Out(address), "arlen": Out(8), "arsize": Out(3), "arburst": Out(2),
            "arvalid": Out(1), "arready": In(1),
            "rid": In(1), "rdata": In(width), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1),
        })  # fmt: skip


class Regions(Signature):
    """Bases and sizes (bytes) of the DRAM regions, from the CSRs."""

    #: Number of regions; the ``region`` field of an instruction selects one.
    COUNT = 8

    def __init__(self, config: Config) -> None:
        region = data.StructLayout({"base": unsigned(config.axi_address_width), "size": unsigned(32)})
        super().__init__({"region": Out(data.ArrayLayout(region, self.COUNT))})
