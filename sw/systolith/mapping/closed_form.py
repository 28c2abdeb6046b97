"""Cycles and accesses of a product by many mappings at once, in closed form: what a hundred thousand are scored by.

The blocks of sums of a mapping are of four kinds: with activations that are loaded or there, and with weights likewise.
In the steady state a block takes as long as its slowest loop: each unit by itself, and each place in a memory, which
is filled, used and filled again (its time round the loop over the number of such places, as the maximum cycle mean of
an event graph: Baccelli et al., *Synchronization and Linearity*, 1992, section 2.3). The blocks' times add up; the
program's start and end are added once. Depths of pipelines are those that the RTL declares.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.energy import OPERATIONS, Accesses, estimate
from systolith.compiler.mapping import ProductTiles
from systolith.compiler.plan import ceil_div
from systolith.rtl.accumulator import Accumulator
from systolith.rtl.array import SystolicArray
from systolith.rtl.isa import INSTRUCTION_BYTES, Function
from systolith.rtl.matrix import MIN_TILE_PERIOD
from systolith.rtl.parameters import PLANES
from systolith.rtl.vector.lanes import Lanes

from .score import Score

Numbers = npt.NDArray[Any]
#: Registers on the way from an instruction's issue to its first data, and from its last to the next unit's issue.
_ISSUE_CYCLES = 10


@dataclass(frozen=True)
class _Blocks:
    """Blocks of sums of one kind: how many, of how many output tiles, and whether they load either operand."""

    count: Numbers
    written: Numbers
    loads_x: Numbers
    loads_weights: Numbers


class ClosedForm:
    """Scores mappings of one product at one memory timing.

    The methods take mappings as :class:`.product_space.Mappings` and return an array with one element for each.
    """

    def __init__(self, tiles: ProductTiles, timing: MemoryTiming) -> None:
        config = tiles.config
        self.tiles, self.config, self.timing = tiles, config, timing
        #: Cycles of a memory row on the bus, and of a beat beyond the row that the chip takes each cycle.
        beats = config.row_pitch / config.bus_bytes
        pace = max(1.0, config.bus_bytes / timing.bandwidth) if timing.bandwidth else 1.0
        self.load_row = max(1.0, beats * pace)
        self.fetch = INSTRUCTION_BYTES / config.bus_bytes * pace
        self.matrix_latency = config.rows + SystolicArray.latency_of(config) + Accumulator.latency_of(config)
        self.load_latency = timing.latency + _ISSUE_CYCLES
        self.vector_latency = Lanes.latency_of(config) + _ISSUE_CYCLES

    def _groups(self, m: Any) -> Iterator[tuple[Any, Any, Any]]:
        """(how many, output tiles, whether the first) of groups alike: the first, the full ones, halves of the last."""
        t = self.tiles
        full = ceil_div(t.v, m.group) - 1
        yield np.minimum(full, 1), m.group, np.ones_like(full)
        yield np.maximum(full - 1, 0), m.group, np.zeros_like(full)
        left, first = t.v - full * m.group, np.asarray(full == 0)
        while np.any(left):
            half = np.maximum(m.last_group, left // 2 // m.last_group * m.last_group)
            size = np.where(left > m.last_group, half, left)
            yield np.minimum(size, 1), size, first
            left, first = left - size, np.zeros_like(full)

    def _kinds(self, m: Any) -> Iterator[_Blocks]:
        row_blocks = ceil_div(self.tiles.shape.tokens, m.row_block)
        for count, written, first in self._groups(m):
            loads_x = np.where(first, 1, 1 - m.x_resident)
            yield _Blocks(count, written, loads_x, np.ones_like(count))
            yield _Blocks(count * (row_blocks - 1), written, loads_x, 1 - m.weights_resident)

    def cycles(self, m: Any) -> Numbers:
        """Cycles of the whole program."""
        return sum((b.count * self._block_cycles(m, b) for b in self._kinds(m)), self._ends(m))

    def _portions(self, m: Any, b: _Blocks) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Pieces of activations, chunks of weights, and the LOAD and MATRIX instructions of one block."""
        tiles = np.minimum(np.maximum(b.written, 1), self.tiles.n) * self.tiles.k
        pieces = np.where(b.loads_x, ceil_div(self.tiles.k, m.piece), 1)
        chunks = np.maximum(tiles / np.minimum(m.chunk, tiles / pieces), pieces)
        loads = 1 + b.loads_x * pieces + b.loads_weights * chunks
        return pieces, chunks, loads, np.where(b.loads_weights, chunks, pieces)

    def _block_cycles(self, m: Any, b: _Blocks) -> Numbers:
        """Cycles of one block in the steady state."""
        t, config = self.tiles, self.config
        tokens = t.shape.tokens
        # An average: the last row block may be smaller.
        rows = tokens / ceil_div(tokens, m.row_block)
        written = np.maximum(b.written, 1)
        outputs = np.minimum(written, t.n)
        tile = np.maximum(np.maximum(rows, config.rows), MIN_TILE_PERIOD)
        compute = outputs * t.k * tile

        x_load = b.loads_x * t.k * rows * self.load_row
        w_load = b.loads_weights * outputs * t.k * config.rows * self.load_row
        p_load = PLANES * written * self.load_row
        pieces, chunks, loads, products = self._portions(m, b)
        bus = x_load + w_load + p_load + (loads + products + 2) * self.fetch

        vector = rows * written * (config.cols // config.lanes)
        store = rows * written * config.cols / config.rows * self.load_row
        first_chunk = b.loads_weights * w_load / chunks
        before = self.load_latency + x_load / pieces + first_chunk
        ring = np.maximum(1, t.ring_rows(m) // np.maximum(1, np.ceil(outputs * t.k / chunks) * config.rows))
        streamed = b.loads_weights * (1 - m.weights_resident)
        sums = np.maximum(1, config.accumulator_rows // (m.row_block * written))
        columns = np.maximum(1, config.parameter_rows // m.group)
        loops = [
            compute,
            bus,
            vector,
            # A place of a chunk of weights in the ring.
            streamed * (chunks * (self.load_latency + self.matrix_latency) + w_load + compute) / ring,
            # One of the two places of pieces of activations.
            (1 - m.x_resident) * pieces * (before + compute / pieces + self.matrix_latency) / 2,
            # Sums: from the product's begin until the results are written.
            (compute + self.matrix_latency + vector + self.vector_latency) / sums,
            # Column parameters: loaded before the operands, used last; what is loaded after them waits as well.
            (before + p_load + compute + self.matrix_latency + vector + self.vector_latency) / columns,
            # One of the two places of results.
            (vector + self.vector_latency + store + self.timing.latency + _ISSUE_CYCLES) / 2,
        ]
        return np.asarray(np.maximum.reduce([np.broadcast_to(loop, compute.shape) for loop in loops]))

    def _ends(self, m: Any) -> Numbers:
        """Cycles before the array begins and after it ends."""
        t, config = self.tiles, self.config
        chunk = np.minimum(m.chunk, t.k) * config.rows
        begin = 2 * self.load_latency + (PLANES * m.group + m.row_block + chunk) * self.load_row
        last = m.last_group * m.row_block
        end = self.matrix_latency + self.vector_latency + last * 2 + self.timing.latency + _ISSUE_CYCLES
        return np.asarray(begin + end, np.float64)

    def instructions(self, m: Any) -> Numbers:
        """Instructions of the program, approximately."""
        return np.asarray(sum(b.count * (2 + sum(self._portions(m, b)[2:])) for b in self._kinds(m)))

    def accesses(self, m: Any) -> Accesses:
        """What the program does; beats of the program itself and of rows narrower than the bus are approximate."""
        t, config = self.tiles, self.config
        tokens, steps = t.shape.tokens, t.n * t.k
        row_blocks = ceil_div(tokens, m.row_block)
        groups = sum(count for count, _, _ in self._groups(m))
        x_rows = tokens * t.k * np.where(m.x_resident, 1, groups)
        weight_rows = steps * config.rows * np.where(m.weights_resident, 1, row_blocks)
        parameter_rows = PLANES * t.v * row_blocks
        stored = ceil_div(t.shape.outputs, config.rows) * tokens
        beats = t.v * tokens * (config.cols // config.lanes)
        pitch, program = config.row_pitch / config.bus_bytes, INSTRUCTION_BYTES / config.bus_bytes
        multiplications, additions = OPERATIONS[Function.REQUANTIZE]
        counts: dict[str, Any] = {
            "array_rows": steps * tokens,
            "scratchpad_reads": steps * (tokens + config.rows * row_blocks) + stored,
            "scratchpad_writes": x_rows + weight_rows + beats,
            "accumulator_reads": (steps - t.n) * tokens + beats,
            "accumulator_writes": steps * tokens,
            "parameter_reads": beats,
            "parameter_writes": parameter_rows,
            "vector_beats": beats,
            "multiplications": multiplications * beats * config.lanes,
            "additions": additions * beats * config.lanes,
            "read_beats": (x_rows + weight_rows + parameter_rows) * pitch + self.instructions(m) * program,
            "write_beats": stored * pitch,
        }
        return Accesses(**counts)

    def score(self, m: Any) -> Score:
        """Cycles and energy of each mapping."""
        return Score(self.cycles(m), estimate(self.accesses(m), self.config).total)
