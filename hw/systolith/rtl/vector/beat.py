"""What travels with the data: the words that describe one beat, that is one lane group of one token row."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from ..config import Config
from ..interfaces import address_width

#: One row's reciprocal, as ``systolith.numerics.integer.Reciprocal``.
RECIPROCAL = data.StructLayout({"mean": signed(16), "mantissa": unsigned(16), "exponent": unsigned(6)})


class RowTag(data.StructLayout):
    """The part of a beat that concerns its row's statistics.

    ``summed``: the results enter the row's sums; ``softmax``: EXPONENT. ``start`` and ``end`` mark a row's first and
    last lane group within a block, ``sums_start`` and ``sums_end`` the block with which the row's sums begin and are
    complete, ``final`` the last beat of an instruction.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "stat_row": unsigned(address_width(config.statistics_rows)),
                "summed": unsigned(1),
                "softmax": unsigned(1),
                "start": unsigned(1),
                "end": unsigned(1),
                "sums_start": unsigned(1),
                "sums_end": unsigned(1),
                "final": unsigned(1),
            }
        )


class Beat(data.StructLayout):
    """What the datapath must know of a beat.

    ``group`` is the lane group within the accumulator row, ``count`` the number of its lanes, from lane 0 on,
    whose column is valid.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(
            {
                "function": unsigned(3),
                "group": unsigned(max(1, (config.cols // config.lanes - 1).bit_length())),
                "count": unsigned(config.lanes.bit_length()),
                "parameter_row": unsigned(address_width(config.parameter_rows)),
                "multiplier": unsigned(16),
                "shift_a": unsigned(6),
                "shift_b": unsigned(6),
                "offset": signed(8),
                "grid": unsigned(2),
                "row": RowTag(config),
            }
        )


class Placement(data.StructLayout):
    """Where the result of a beat goes: a row of the scratchpad or (``accumulator``) of the accumulator, and in
    it the ``position``, counted in groups of lanes. ``final`` marks the last beat of an instruction."""

    def __init__(self, config: Config) -> None:
        rows = max(config.scratchpad_rows, config.accumulator_rows)
        super().__init__(
            {
                "address": unsigned(address_width(rows)),
                "position": unsigned(position_width(config)),
                "accumulator": unsigned(1),
                "final": unsigned(1),
            }
        )


def position_width(config: Config) -> int:
    """Bits of a lane group's number within the widest row."""
    return max(1, (config.row_bytes // config.lanes - 1).bit_length())
