"""The weight-stationary systolic array: processing elements, the skew around them and its model.

Activations and everything that must meet them move east, one column a cycle; partial sums move south, one
row a cycle. An activation row enters with row r delayed by r cycles, so PE (r, c) sees it r + c cycles
after PE (0, 0) does: a wave along the diagonals. Weights wait in the ``next`` register of each PE until the
swap bit, which travels with the first activation row of a tile, makes them ``active`` along that same wave.

Weight rows shift into the ``next`` registers while the tile before streams, from the north (column c
delayed by c cycles) or, transposed, from the west (row r delayed by r cycles). The s-th row of a tile may
move only those PEs that it can reach without running past unwritten ones: array rows r <= s from the north,
columns c <= s from the west. That thermometer is made once, at the edge, and moves with the wave: each of
its bits passes through the PEs of one row (column), so PE (r, c) takes its first new weight exactly r + c
cycles after PE (0, 0). Hence, with the first weight row of the next tile entering in the very cycle of a
swap, each PE hands its old ``next`` to ``active`` at the edge at which it takes the new one, and the next
swap may enter one cycle after the last weight row. A PE compares nothing, so tiles that enter from
different sides may follow each other in an array of any shape.

No register here is reset: whatever was inside the array before a reset passes each PE ahead of whatever
enters after it, and whoever takes the sums knows which of them are wanted.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Cat, ClockSignal, Instance, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, Signature, connect

from .config import Config

#: Bits of an int8 product: at most (-128) * (-128) = 2**14.
PRODUCT_BITS = 16
#: Verilog module of the PEs under :class:`SharedElements`.
ELEMENT_MODULE = "processing_element"


class SharedElements:
    """As the platform of a conversion: PEs become instances of one module, :data:`ELEMENT_MODULE`.

    Amaranth writes a Verilog module for each submodule, 1,024 equal ones for a 32x32 array. Whoever converts
    with this platform adds the conversion of one :class:`ProcessingElement` under that name.
    """


class Eastward(Signature):
    """What a PE passes to its eastern neighbour: activation, swap bit, ``next`` weight, and ``take``,
    the thermometer bit by which the weight from the north is taken."""

    def __init__(self) -> None:
        super().__init__({"activation": Out(signed(8)), "swap": Out(1), "weight": Out(signed(8)), "take": Out(1)})


class Southward(Signature):
    """What a PE passes to its southern neighbour: partial sum, ``next`` weight, and ``take``, the
    thermometer bit by which the weight from the west is taken."""

    def __init__(self, psum_width: int) -> None:
        super().__init__({"sum": Out(signed(psum_width)), "weight": Out(signed(8)), "take": Out(1)})


class ProcessingElement(wiring.Component):
    """One multiplier and one adder, with a weight in use and a weight in waiting.

    Three cycles from an activation to the sum that holds it: activation register, product register, sum
    register; the sum of the northern neighbour, one row ahead on the wave, arrives at the last of them.

    Parameters
    ----------
    psum_width : int, bits
        Width of the signed partial sum.

    Members
    -------
    west : ``In(Eastward())``, north : ``In(Southward(psum_width))``
    east : ``Out(Eastward())``, south : ``Out(Southward(psum_width))``
    """

    #: Cycles from an activation at ``west`` to the sum at ``south`` that holds its product.
    latency = 3

    def __init__(self, *, psum_width: int) -> None:
        self.psum_width = psum_width
        eastward, southward = Eastward(), Southward(psum_width)
        super().__init__({"west": In(eastward), "north": In(southward), "east": Out(eastward), "south": Out(southward)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        activation = Signal(signed(8), reset_less=True)
        swap = Signal(reset_less=True)
        take_north = Signal(reset_less=True)
        take_west = Signal(reset_less=True)
        waiting = Signal(signed(8), reset_less=True)
        active = Signal(signed(8), reset_less=True)
        product = Signal(signed(PRODUCT_BITS), reset_less=True)
        total = Signal(signed(self.psum_width), reset_less=True)
        m.d.sync += [
            activation.eq(self.west.activation),
            swap.eq(self.west.swap),
            take_north.eq(self.west.take),
            take_west.eq(self.north.take),
            product.eq(activation * active),
            total.eq(self.north.sum + product),
        ]
        with m.If(self.west.swap):
            m.d.sync += active.eq(waiting)
        with m.If(self.west.take | self.north.take):
            m.d.sync += waiting.eq(Mux(self.west.take, self.north.weight, self.west.weight))
        m.d.comb += [
            self.east.activation.eq(activation),
            self.east.swap.eq(swap),
            self.east.weight.eq(waiting),
            self.east.take.eq(take_north),
            self.south.sum.eq(total),
            self.south.weight.eq(waiting),
            self.south.take.eq(take_west),
        ]
        return m


def delay(m: Module, value: ValueLike, cycles: int, name: str) -> Value:
    """``value`` as it was ``cycles`` cycles ago: one packed shift register without reset."""
    bits = Value.cast(value)
    if cycles == 0:
        return bits
    line = Signal(len(bits) * cycles, reset_less=True, name=name)
    m.d.sync += line.eq(Cat(bits, line))
    return line[-len(bits) :]


class SystolicArray(wiring.Component):
    """``rows`` x ``cols`` PEs: whole rows in, whole rows of sums out, always advancing.

    An activation row may enter in any cycle; the weights that it meets are those of the latest swap. A tile's
    weight rows enter last first (memory row order: array row ``rows`` - 1, or, transposed, array column
    ``cols`` - 1), in any cycles from the swap of the tile before on. Its swap, on its first
    activation row, may enter from the cycle after its last weight row on.

    Parameters
    ----------
    config : Config

    Members
    -------
    activations : ``In``, int8 of shape (rows,); the row is whatever is there in each cycle.
    swap : ``In(1)``: this activation row is the first of the tile loaded last.
    weights : ``In``, int8 of shape (max(rows, cols),): the first ``cols`` (transposed: ``rows``) count.
    shift : ``In(1)``: ``weights`` holds a weight row.
    first : ``In(1)``: that row is the first of its tile.
    transpose : ``In(1)``: that tile enters from the west, its row being the weights of one column.
    sums : ``Out``, ``psum_width``-bit sums of shape (cols,), :attr:`latency` cycles after the activations.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(8), config.rows)),
                "swap": In(1),
                "weights": In(data.ArrayLayout(signed(8), config.row_bytes)),
                "shift": In(1),
                "first": In(1),
                "transpose": In(1),
                "sums": Out(data.ArrayLayout(signed(config.psum_width), config.cols)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from an activation row to its row of sums."""
        return self.latency_of(self.config)

    @staticmethod
    def latency_of(config: Config) -> int:
        """:attr:`latency`, without an array.

        Two registers at the edge, ``rows`` + ``cols`` - 2 cycles for the wave to reach the last PE, and that
        PE's own three; the other columns wait for the last.
        """
        return 2 + (config.rows - 1) + (config.cols - 1) + ProcessingElement.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows, cols = self.config.rows, self.config.cols
        # What enters is decided late in its cycle, so all of it is registered first.
        activations = Signal.like(self.activations, reset_less=True)
        weights = Signal.like(self.weights, reset_less=True)
        first = Signal(reset_less=True)
        swap = Signal()
        shift_north = Signal()
        shift_west = Signal()
        m.d.sync += [
            activations.eq(self.activations),
            weights.eq(self.weights),
            first.eq(self.first),
            swap.eq(self.swap),
            shift_north.eq(self.shift & ~self.transpose),
            shift_west.eq(self.shift & self.transpose),
        ]
        take_north = self._thermometer(m, rows, shift_north, first, "north")
        take_west = self._thermometer(m, cols, shift_west, first, "west")
        south = []
        for c in range(cols):
            north = Southward(self.config.psum_width).create(path=(f"north_{c}",))
            m.d.comb += [
                north.sum.eq(0),
                north.weight.eq(delay(m, weights[c], c + 1, f"north_skew_{c}")),
                north.take.eq(take_west[c]),
            ]
            south.append(north)
        for r in range(rows):
            east = Eastward().create(path=(f"west_{r}",))
            m.d.comb += [
                Cat(east.activation, east.swap).eq(delay(m, Cat(activations[r], swap), r + 1, f"activation_skew_{r}")),
                east.weight.eq(delay(m, weights[r], r + 1, f"west_skew_{r}")),
                east.take.eq(take_north[r]),
            ]
            for c in range(cols):
                east, south[c] = self._place(m, platform, f"pe_{r}_{c}", east, south[c])
        for c in range(cols):
            m.d.comb += self.sums[c].eq(delay(m, south[c].sum, cols - 1 - c, f"sum_skew_{c}").as_signed())
        return m

    def _place(self, m: Module, platform: object, name: str, west: Any, north: Any) -> tuple[Any, Any]:
        """Put a PE between what arrives from ``west`` and ``north``; gives its east and south."""
        if not isinstance(platform, SharedElements):
            m.submodules[name] = element = ProcessingElement(psum_width=self.config.psum_width)
            connect(m, west, element.west)
            connect(m, north, element.north)
            return element.east, element.south
        east = Eastward().create(path=(name, "east"))
        south = Southward(self.config.psum_width).create(path=(name, "south"))
        sides = (("i", "west", west), ("i", "north", north), ("o", "east", east), ("o", "south", south))
        m.submodules[name] = Instance(
            ELEMENT_MODULE,
            ("i", "clk", ClockSignal()),
            *(
                (direction, f"{side}__{member}", getattr(interface, member))
                for direction, side, interface in sides
                for member in interface.signature.members
            ),
        )
        return east, south

    def _thermometer(self, m: Module, length: int, shift: Value, first: Value, name: str) -> Signal:
        """Bit i, in the cycle after ``shift``: that row is at least the i-th of its tile, so moves PE i."""
        reached = Signal(length, reset_less=True, name=f"{name}_reached")
        take = Signal(length, reset_less=True, name=f"{name}_take")
        following = Signal(length, name=f"{name}_following")
        m.d.comb += following.eq(Mux(first, 1, Cat(1, reached)))
        m.d.sync += take.eq(Mux(shift, following, 0))
        with m.If(shift):
            m.d.sync += reached.eq(following)
        return take

    @staticmethod
    def model(activations: npt.ArrayLike, weights: npt.ArrayLike, transpose: bool = False) -> npt.NDArray[np.int64]:
        """The sums of one tile, (M, cols) int64.

        ``activations`` int8 (M, rows); ``weights`` int8 in memory order: (rows, cols), or with
        ``transpose`` (cols, rows).
        """
        w = np.asarray(weights).astype(np.int64)
        return np.asarray(activations).astype(np.int64) @ (w.T if transpose else w)
