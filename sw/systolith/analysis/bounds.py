"""The fewest cycles that any schedule of a workload could take: the roofline of Williams et al. 2009, as a time.

A bound is the largest of three (Kim et al., arXiv 2302.14017, section 2.3, count the same operations and bytes):

- compute: multiply-accumulates / (rows x cols), what the array does in a cycle;
- memory: bytes that must move / bytes a cycle. Every weight, parameter, input and output byte moves once, unpadded;
  what a program moves beyond that is its own fault;
- vector: elements that pass the lanes / lanes. Every sum leaves the accumulator through them once, and what LayerNorm
  normalises passes a second time.

A product alone, whose operands and result lie in DRAM, must move more where the on-chip memory is small
(:func:`product_traffic`). That holds of no chain of products, as results may stay on the chip, and of classical
multiplication, which is what an array does.
"""

import math
from dataclasses import dataclass

from systolith.rtl.config import Config

#: Bytes of one column's vector parameters (bias, two multipliers).
_PARAMETER_BYTES = 8
#: Bytes of registers and queues: more than synthesis counts (docs/cost.md), in all, for each PE and for each lane.
_REGISTERS, _PE_REGISTERS, _LANE_REGISTERS = 8 << 10, 16, 256


@dataclass(frozen=True)
class Product:
    """``count`` matrix products (rows, depth) x (depth, columns); ``constant`` if the second factor is weights."""

    rows: int
    depth: int
    columns: int
    count: int = 1
    constant: bool = True

    @property
    def macs(self) -> int:
        return self.count * self.rows * self.depth * self.columns

    @property
    def operand_bytes(self) -> int:
        """Both factors, int8."""
        return self.count * self.depth * (self.rows + self.columns)

    @property
    def result_bytes(self) -> int:
        return self.count * self.rows * self.columns

    def padded_cycles(self, config: Config) -> int:
        """Cycles of the array with depth and columns padded to whole tiles."""
        return self.count * self.rows * -(-self.depth // config.rows) * -(-self.columns // config.cols)


@dataclass(frozen=True)
class Work:
    """What a workload must do whatever the schedule: its products, and the bytes of DRAM read and written."""

    products: tuple[Product, ...]
    read_bytes: int
    written_bytes: int
    #: Elements that pass the vector unit.
    vector_elements: int

    @property
    def macs(self) -> int:
        return sum(p.macs for p in self.products)


@dataclass(frozen=True)
class Bound:
    """Cycles at the least. ``padded`` is ``compute`` with every product padded to whole tiles of the array."""

    compute: float
    memory: float
    vector: float
    padded: float

    @property
    def cycles(self) -> float:
        return max(self.compute, self.memory, self.vector)

    @property
    def limit(self) -> str:
        """``compute``, ``memory`` or ``vector``."""
        return max(("compute", "memory", "vector"), key=lambda name: float(getattr(self, name)))


def bound(work: Work, config: Config, bandwidth: int = 0) -> Bound:
    """The bound of ``work``; ``bandwidth`` is bytes a cycle shared by both directions, 0 a beat a cycle each way."""
    alone = len(work.products) == 1
    moved = product_traffic(work.products[0], on_chip_bytes(config)) if alone else 0.0
    memory = memory_cycles(work.read_bytes, work.written_bytes, moved, config, bandwidth)
    vector = work.vector_elements / config.lanes
    return Bound(
        compute=work.macs / (config.rows * config.cols),
        memory=memory,
        vector=vector,
        padded=max(sum(p.padded_cycles(config) for p in work.products), memory, vector),
    )


def memory_cycles(read: int, written: int, moved: float, config: Config, bandwidth: int = 0) -> float:
    """Cycles at the least for so many bytes read, so many written, and ``moved`` in either direction, which counts
    both; ``bandwidth`` as in :func:`bound`."""
    # A beat each way in a cycle: whatever moves, at least half of it goes one way.
    one_way = max(read, written, moved / 2) / config.bus_bytes
    return max(one_way, max(read + written, moved) / bandwidth if bandwidth else 0.0)


def on_chip_bytes(config: Config) -> int:
    """Bytes that the accelerator can hold at most: its memories, and more than all of its registers."""
    memories = config.scratchpad_bytes + config.accumulator_bytes + config.parameter_bytes
    return memories + _REGISTERS + _PE_REGISTERS * config.rows * config.cols + _LANE_REGISTERS * config.lanes


def product_traffic(product: Product, on_chip: int) -> float:
    """Bytes that must cross the bus, in both directions, for a product alone, int8, with ``on_chip`` bytes of memory.

    Each operand and the result once; and no schedule moves fewer than ``2 m n k / sqrt(S) - 2 S`` elements where ``S``
    fit on the chip (Smith, Lowery, Langou, van de Geijn, arXiv 1702.02017, after Hong and Kung 1981 and Irony, Toledo
    and Tiskin 2004). An element takes a byte at least, so ``on_chip`` bytes hold no more than as many.
    """
    once = product.operand_bytes + product.result_bytes
    return max(float(once), 2 * product.macs / math.sqrt(on_chip) - product.count * 2 * on_chip)


def encoder_work(*, layers: int, hidden: int, heads: int, ffn: int, tokens: int, keys: int | None = None) -> Work:
    """A stack of encoder layers: weights and parameters once, the first layer's input and the last one's output.

    ``keys`` of the tokens are attended to, all if None. A head's columns are a product of their own, as its scores
    contract them alone; so they are padded each.
    """
    size = hidden // heads
    keys = tokens if keys is None else keys
    products = (
        Product(tokens, hidden, size, 3 * layers * heads),
        Product(tokens, size, keys, layers * heads, constant=False),
        Product(tokens, keys, size, layers * heads, constant=False),
        Product(tokens, size, hidden, layers * heads),
        Product(tokens, hidden, ffn, layers),
        Product(tokens, ffn, hidden, layers),
    )
    # Parameter rows: the projections', the context's, the FFN's, and two for each residual and LayerNorm.
    parameters = _PARAMETER_BYTES * layers * (3 * hidden + hidden + ffn + 4 * hidden)
    # Queries, keys, values, context and inner layer pass once; sums of residuals again for LayerNorm; scores once.
    passed = layers * tokens * (4 * hidden + ffn + 2 * 2 * hidden + heads * keys)
    return Work(products, _weights(products) + parameters + tokens * hidden, tokens * hidden, passed)


def gemm_work(rows: int, depth: int, columns: int) -> Work:
    """One product with weights, requantised to int8."""
    products = (Product(rows, depth, columns),)
    read = _weights(products) + _PARAMETER_BYTES * columns + rows * depth
    return Work(products, read, rows * columns, rows * columns)


def attention_work(heads: int, size: int, tokens: int) -> Work:
    """softmax(Q K') V of all heads; Q, K and V are read, the context is written."""
    products = (
        Product(tokens, size, tokens, heads, constant=False),
        Product(tokens, tokens, size, heads, constant=False),
    )
    columns = heads * size
    passed = tokens * columns + heads * tokens * tokens
    return Work(products, 3 * tokens * columns + _PARAMETER_BYTES * columns, tokens * columns, passed)


def _weights(products: tuple[Product, ...]) -> int:
    """Bytes of the constant factors, int8."""
    return sum(p.count * p.depth * p.columns for p in products if p.constant)
