"""The accumulator: banked int32 rows that add up partial sums, and the running maximum of each row."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, connect, flipped

from .banks import BankedMemory
from .config import Config
from .interfaces import READ_LATENCY, AccumulatorAdd, AccumulatorRead, AccumulatorWrite, MaximumRead

#: The maximum of no columns.
LOWEST = -(1 << 31)


def _delay(m: Module, value: Value, cycles: int, *, control: bool = False) -> Value:
    """``value`` some cycles later; ``control`` bits are cleared by reset."""
    for _ in range(cycles):
        register = Signal.like(value, name="delayed", reset_less=not control)
        m.d.sync += register.eq(value)
        value = register
    return value


class _Maximum(NamedTuple):
    """A maximum under way: ``value`` belongs to ``address`` and counts if ``active``."""

    active: Value
    address: Value
    first: Value


class Accumulator(wiring.Component):
    """``accumulator_rows`` rows of ``cols`` int32, and ``statistics_rows`` row maxima.

    An added row goes down a pipeline that never stops::

        cycle 0, 1   the old row is read (unless overwritten)
        cycle 2      addition
        cycle 3      the new row is written; its masked columns enter the tree of comparisons
        cycle 3 + L  the stored maximum is read, L = ceil(log2(cols)), and registered
        cycle 4 + L  the tree's winner meets it
        cycle 5 + L  the new maximum is written
        cycle 6 + L  retired

    Adding has priority on its bank in cycles 0 (reading) and 3 (writing); ``read`` and ``write`` wait. The
    same row may be added to again from cycle 4 on, and the same maximum updated from 4 cycles later on.
    Sums wrap at 32 bits, which up to 131,071 products of int8 by int8 cannot reach.

    Parameters
    ----------
    config : Config
        Gives rows, columns, banks and maxima.

    Members
    -------
    add : ``In(AccumulatorAdd)``: always taken.
    read : ``In(AccumulatorRead)``: data ``READ_LATENCY`` cycles after each transfer.
    write : ``In(AccumulatorWrite)``: masked by columns. It must not meet an addition under way to its row.
    maximum : ``In(MaximumRead)``.

    A read, of a row or of a maximum, does not see a write of the same cycle. Maxima over no columns are
    ``LOWEST`` with ``max_first`` and unchanged without.
    """

    add: wiring.PureInterface
    read: wiring.PureInterface
    write: wiring.PureInterface
    maximum: wiring.PureInterface

    def __init__(self, config: Config) -> None:
        self.config = config
        self._read = AccumulatorRead(config)
        self._write = AccumulatorWrite(config)
        super().__init__(
            {
                "add": In(AccumulatorAdd(config)),
                "read": In(self._read),
                "write": In(self._write),
                "maximum": In(MaximumRead(config)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a row on ``add`` until it and its maximum are visible, and ``retired``."""
        return self.latency_of(self.config)

    @staticmethod
    def latency_of(config: Config) -> int:
        """:attr:`latency`, without an accumulator; the tree of comparisons takes a cycle a level."""
        return READ_LATENCY + 4 + (config.cols - 1).bit_length()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.banks = banks = BankedMemory(
            rows=self.config.accumulator_rows,
            banks=self.config.accumulator_banks,
            read=self._read,
            readers=2,
            write=self._write,
            writers=2,
        )
        connect(m, flipped(self.read), banks.read[1])
        connect(m, flipped(self.write), banks.write[1])

        add = self.add
        old, new = banks.read[0], banks.write[0].request
        m.d.comb += [
            old.request.valid.eq(add.valid & ~add.overwrite),
            old.request.payload.eq(add.address),
        ]
        valid = _delay(m, add.valid, READ_LATENCY, control=True)
        partial = add.data.shape()(_delay(m, Value.cast(add.data), READ_LATENCY))
        overwrite = _delay(m, add.overwrite, READ_LATENCY)
        sums = Signal(new.payload.data.shape(), reset_less=True)
        with m.If(valid):
            for column in range(self.config.cols):
                m.d.sync += sums[column].eq(Mux(overwrite, 0, old.data[column]) + partial[column])

        written = READ_LATENCY + 1
        m.d.comb += [
            new.valid.eq(_delay(m, valid, 1, control=True)),
            new.payload.address.eq(_delay(m, add.address, written)),
            new.payload.mask.eq(~0),
            new.payload.data.eq(sums),
            add.retired.eq(_delay(m, add.valid & add.last, self.latency, control=True)),
        ]
        entering = _Maximum(
            _delay(m, add.valid & add.track_max, written, control=True),
            _delay(m, add.stat_address, written),
            _delay(m, add.max_first, written),
        )
        self._track(m, entering, sums, _delay(m, add.mask, written))
        return m

    def _track(self, m: Module, entering: _Maximum, sums: Value, mask: Value) -> None:
        """The tree of comparisons, one level a cycle, and the update of the stored maximum behind it."""
        # Columns are compared while it is found out which of them count.
        level = [(sums[column], mask[column]) for column in range(self.config.cols)]
        here = before = entering
        while len(level) > 1:
            pairs = [(*level[i], *level[min(i + 1, len(level) - 1)]) for i in range(0, len(level), 2)]
            larger = [Signal(signed(32), name="larger", reset_less=True) for _ in pairs]
            level = [(value, Const(1)) for value in larger]
            with m.If(here.active):
                for value, (left, left_counts, right, right_counts) in zip(larger, pairs, strict=True):
                    chosen = Mux(left_counts & (~right_counts | (left > right)), left, right)
                    m.d.sync += value.eq(Mux(left_counts | right_counts, chosen, Const(LOWEST, signed(32))))
            before = here
            here = _Maximum(
                _delay(m, before.active, 1, control=True),
                _delay(m, before.address, 1),
                _delay(m, before.first, 1),
            )
        ((winner, _),) = level
        # The memory is slow to answer: its row is registered before it is compared.
        winner = _delay(m, winner, 1)
        here = _Maximum(_delay(m, here.active, 1, control=True), _delay(m, here.address, 1), _delay(m, here.first, 1))

        m.submodules.maxima = maxima = Memory(shape=signed(32), depth=self.config.statistics_rows, init=[])
        stored, visible, writer = maxima.read_port(), maxima.read_port(), maxima.write_port()
        maximum = Signal(signed(32), reset_less=True)
        latest = _delay(m, stored.data, 1)
        m.d.sync += maximum.eq(Mux(here.first | (winner > latest), winner, latest))
        m.d.comb += [
            stored.en.eq(before.active),
            stored.addr.eq(before.address),
            writer.en.eq(_delay(m, here.active, 1, control=True)),
            writer.addr.eq(_delay(m, here.address, 1)),
            writer.data.eq(maximum),
            visible.addr.eq(self.maximum.address),
            self.maximum.data.eq(visible.data),
        ]

    @staticmethod
    def model(old: npt.ArrayLike, data: npt.ArrayLike, overwrite: bool) -> npt.NDArray[np.int32]:
        """The new row, int32 of any shape: ``data`` plus, unless ``overwrite``, ``old``; wraps at 32 bits."""
        base = np.zeros_like(old) if overwrite else np.asarray(old)
        return (base.astype(np.int64) + np.asarray(data)).astype(np.int32)

    @staticmethod
    def maximum_model(old: int, row: npt.ArrayLike, mask: npt.ArrayLike, first: bool) -> int:
        """The new maximum of int32 ``row`` over the columns where bool ``mask`` is true, and of ``old``."""
        largest = np.where(np.asarray(mask, dtype=bool), row, LOWEST).max()
        return int(largest if first else max(largest, old))
