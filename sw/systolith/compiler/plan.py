"""Choosing block sizes and what stays on the chip: the cheapest plan that fits the memories."""

import itertools
import math
from dataclasses import dataclass

from systolith.rtl.config import Config
from systolith.rtl.matrix import MIN_TILE_PERIOD

#: Longest weight chunk of one LOAD, in tiles, and the chunks that the weight ring should hold.
_CHUNK_TILES = 24
_RING_CHUNKS = 3
#: Drain of the array and vector pipelines when one waits for the other, in cycles (estimate).
_DRAIN_CYCLES = 150


class CapacityError(ValueError):
    """The layer does not fit the on-chip memories however it is cut."""


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    return ceil_div(a, b) * b


@dataclass(frozen=True)
class Shape:
    """Sizes of an encoder layer and the number of tokens."""

    tokens: int
    hidden: int
    heads: int
    ffn: int

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True)
class Geometry:
    """How many array-sized blocks each dimension of the layer takes.

    ``*_k`` counts contraction tiles of ``rows``, ``*_n`` output tiles of ``cols``. ``*_v`` is the output tiles
    that the vector unit writes so that every contraction tile that reads them is defined, and ``*_b`` the
    scratchpad blocks of ``rows`` that those touch; for a square array all are the same.
    """

    shape: Shape
    rows: int
    cols: int

    def outputs(self, columns: int) -> tuple[int, int, int, int]:
        """(k, n, v, b) of ``columns`` columns."""
        k, n = ceil_div(columns, self.rows), ceil_div(columns, self.cols)
        v = max(n, ceil_div(k * self.rows, self.cols))
        return k, n, v, ceil_div(v * self.cols, self.rows)

    @property
    def granule(self) -> int:
        """Output tiles after which a block of ``rows`` columns begins again: groups are multiples of it."""
        return math.lcm(self.rows, self.cols) // self.cols


@dataclass(frozen=True)
class Plan:
    """Block sizes in token rows, chunk sizes in tiles, and residency of the layer's input and context.

    ``project_rows``, ``query_rows``, ``block_rows``: token rows of a projection, of a query block in attention, of a
    block in the output projection and feed-forward. ``ffn_tiles``: output tiles of one feed-forward chunk.
    ``ring_rows``: scratchpad rows of the weight ring; ``chunk_rows``: the longest weight chunk.
    """

    project_rows: int
    query_rows: int
    block_rows: int
    ffn_tiles: int
    x_resident: bool
    context_resident: bool
    ring_rows: int
    chunk_rows: int
    cycles: float


def blocks_of(total: int, size: int) -> list[tuple[int, int]]:
    """(start, length) of consecutive blocks of at most ``size``."""
    return [(start, min(size, total - start)) for start in range(0, total, size)]


def _splits(tokens: int, most: int) -> list[int]:
    counts = [*range(1, 9), 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024, 4096]
    return sorted({ceil_div(tokens, n) for n in counts if n <= tokens and ceil_div(tokens, n) <= most}, reverse=True)


def _tile_cycles(config: Config, tokens: int, size: int) -> int:
    least = max(config.rows, MIN_TILE_PERIOD)
    return sum(max(length, least) for _, length in blocks_of(tokens, size))


def plan_layer(config: Config, shape: Shape) -> Plan:
    """The plan with the fewest estimated cycles.

    Raises
    ------
    CapacityError
        If none fits; the sentence says which memory is too small for what.
    """
    g = Geometry(shape, config.rows, config.cols)
    tokens, heads = shape.tokens, shape.heads
    most = config.statistics_rows // 2
    x_k, _, x_v, x_b = g.outputs(shape.hidden)
    h_k, h_n, h_v, h_b = g.outputs(shape.head_size)
    s_k, s_n, s_v, s_b = g.outputs(tokens)
    ffn_n = ceil_div(shape.ffn, config.cols)
    ffn_options = sorted({min(round_up(t, g.granule), round_up(ffn_n, g.granule)) for t in (1, 2, 4, 8, 12, 16, 24)})
    acc = config.accumulator_rows
    if max(h_v, g.granule) > config.parameter_rows:
        raise CapacityError(
            f"head size {shape.head_size} on a {config.rows}x{config.cols} array takes {max(h_v, g.granule)} parameter "
            f"rows; parameter_bytes of {config.parameter_bytes} holds {config.parameter_rows}"
        )
    best: Plan | None = None
    for x_resident, context_resident in itertools.product((True, False), repeat=2):
        for project, query in itertools.product(_splits(tokens, most), repeat=2):
            if 2 * h_v * project > acc or s_v * query + h_v * query > acc:
                continue
            attention_rows = (
                x_b * (tokens if x_resident else 2 * project)
                + h_b * tokens
                + h_b * round_up(tokens, config.cols)
                + 2 * h_n * round_up(tokens, config.rows)
                + 2 * s_b * query
                + ((heads * h_k + h_b) * tokens if context_resident else 2 * h_b * query)
            )
            if attention_rows >= config.scratchpad_rows:
                continue
            project_cycles = _tile_cycles(config, tokens, project)
            query_cycles = _tile_cycles(config, tokens, query)
            projections = 3 * heads * h_n * x_k
            project_loads = projections * config.rows * ceil_div(tokens, project)
            if not x_resident:
                project_loads += heads * x_k * tokens
            attention_compute = projections * project_cycles + heads * (h_k * s_n + s_k * h_n) * query_cycles
            attention_tasks = heads * ceil_div(tokens, query)
            for block, ffn_tiles in itertools.product(_splits(tokens, most), ffn_options):
                if x_v * block + 2 * g.granule * block > acc:
                    continue
                f_k, _, _, f_b = g.outputs(ffn_tiles * config.cols)
                row_rows = (
                    x_b * (tokens if x_resident else 2 * block + 2 * block)
                    + ((heads * h_k + h_b) * tokens if context_resident else 2 * heads * h_k * block)
                    + x_b * block
                    + 2 * f_b * block
                )
                ring = config.scratchpad_rows - max(attention_rows, row_rows)
                chunk = min(_CHUNK_TILES * config.rows, ring // _RING_CHUNKS // config.rows * config.rows)
                if chunk < config.rows:
                    continue
                count = ceil_div(tokens, block)
                row_tiles = heads * h_k * x_v + x_k * ffn_n + ceil_div(ffn_n, ffn_tiles) * f_k * x_v
                row_loads = row_tiles * config.rows * count
                row_loads += (0 if x_resident else tokens * x_k) + (0 if context_resident else tokens * heads * h_k)
                beat = config.row_pitch / config.bus_bytes
                vector_row = config.cols // config.lanes
                cycles = (
                    max(attention_compute, project_loads * beat * 1.05)
                    + max(row_tiles * _tile_cycles(config, tokens, block), row_loads * beat * 1.05)
                    + (attention_tasks * _DRAIN_CYCLES if query == tokens else attention_tasks * s_v * query * 0.1)
                    + count * 2 * (x_v * block * vector_row + 2 * _DRAIN_CYCLES)
                    + ceil_div(ffn_n, ffn_tiles) * count * 20
                    # A short ring cannot hide the latency of memory.
                    + (row_loads + project_loads) * beat * min(1.0, 0.1 * 256 * config.rows / (ring * 16))
                )
                if best is None or cycles < best.cycles:
                    best = Plan(
                        project, query, block, ffn_tiles, x_resident, context_resident, ring, chunk, cycles
                    )  # fmt: skip
    if best is None:
        raise CapacityError(
            f"a layer of hidden {shape.hidden}, {heads} heads, ffn {shape.ffn} on {tokens} tokens does not fit "
            f"{config.scratchpad_rows} scratchpad rows and {acc} accumulator rows of a "
            f"{config.rows}x{config.cols} array: keys and values of one head take "
            f"{h_b * round_up(tokens, config.cols) + 2 * h_n * round_up(tokens, config.rows)} scratchpad rows, "
            f"one token's sums {max(x_v + 2 * g.granule, s_v + h_v)} accumulator rows"
        )
    return best
