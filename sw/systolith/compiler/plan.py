"""Choosing block sizes and what stays on the chip: the cheapest plan that fits the memories."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from systolith.rtl.config import Config
from systolith.rtl.matrix import MIN_TILE_PERIOD

#: Longest weight chunk of one LOAD, in tiles, and the chunks that the weight ring should hold.
_CHUNK_TILES = 24
_RING_CHUNKS = 3
#: Memory is planned for as if it were this much slower than the bus, so that a plan holds at half the bandwidth.
_MEMORY_MARGIN = 2.0
#: Drain of the array and vector pipelines when one waits for the other, in cycles (estimate).
DRAIN_CYCLES = 150


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
        return self.key_granule // self.cols

    @property
    def key_granule(self) -> int:
        """Tokens of which a key block is a multiple: whole tiles both as columns of scores and as rows of values."""
        return math.lcm(self.rows, self.cols)


@dataclass(frozen=True)
class Plan:
    """Block sizes in token rows, chunk sizes in tiles, and residency of the layer's input and context.

    ``project_rows``, ``query_rows``, ``block_rows``: token rows of a projection, of a query block in attention, of a
    block in the output projection and feed-forward. ``ffn_tiles``: output tiles of one feed-forward chunk.
    ``ring_rows``: scratchpad rows of the weight ring; ``chunk_rows``: the longest weight chunk. ``value_places``: heads
    whose values lie in the scratchpad at once.

    ``key_rows``: tokens of one key block where attention is cut by keys, else 0. Then the accumulator holds the
    scores of ``held_blocks`` key blocks at once, and keys and values of a whole head lie in the scratchpad only if
    ``kv_resident``.
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
    key_rows: int = 0
    held_blocks: int = 0
    kv_resident: bool = True
    value_places: int = 2

    @property
    def by_keys(self) -> bool:
        return self.key_rows > 0


def blocks_of(total: int, size: int) -> list[tuple[int, int]]:
    """(start, length) of consecutive blocks of at most ``size``."""
    return [(start, min(size, total - start)) for start in range(0, total, size)]


def even_blocks(total: int, size: int) -> list[tuple[int, int]]:
    """The same number of blocks, of lengths that differ by at most one: none is too short to fill the array."""
    count = ceil_div(total, size)
    starts = [index * total // count for index in range(count + 1)]
    return [(start, end - start) for start, end in itertools.pairwise(starts)]


def splits(tokens: int, most: int) -> list[int]:
    counts = [*range(1, 17), 20, 24, 32, 48, 64, 128, 256, 512, 1024, 4096]
    return sorted({ceil_div(tokens, n) for n in counts if n <= tokens and ceil_div(tokens, n) <= most}, reverse=True)


def tile_cycles(config: Config, tokens: int, size: int) -> int:
    """Array cycles of one weight tile for all tokens, at most ``size`` at a time."""
    count = ceil_div(tokens, size)
    return max(tokens, count * max(config.rows, MIN_TILE_PERIOD))


@dataclass(frozen=True)
class AttentionCost:
    """One way to cut attention: its scratchpad rows, and estimates in cycles and DRAM rows for the whole layer.

    ``stall_cycles`` is what the array waits for the vector unit.
    """

    project_rows: int
    query_rows: int
    scratchpad_rows: int
    compute_cycles: int
    load_rows: int
    stall_cycles: float
    key_rows: int = 0
    held_blocks: int = 0
    kv_resident: bool = True
    value_places: int = 2


@dataclass(frozen=True)
class RowCost:
    """One way to cut what follows attention; as :class:`AttentionCost`."""

    block_rows: int
    ffn_tiles: int
    scratchpad_rows: int
    compute_cycles: int
    load_rows: int
    vector_cycles: int
    chunk_cycles: int


def alone(config: Config, compute: int, load_rows: int, rest: float) -> tuple[float, float]:
    """Cycles of one part of a layer by itself, and those of its loads (estimates)."""
    loads = load_rows * config.row_pitch / config.bus_bytes
    return max(compute, loads * _MEMORY_MARGIN) + rest, loads


def exposed(config: Config, ring_rows: int) -> float:
    """The share of the loads' cycles that a weight ring of ``ring_rows`` is too short to hide (estimate)."""
    return min(1.0, 0.1 * 256 * config.rows / (ring_rows * 16))


def row_costs(config: Config, g: Geometry, x_resident: bool, context_resident: bool) -> list[RowCost]:
    """The ways to cut what follows attention."""
    shape = g.shape
    tokens, heads = shape.tokens, shape.heads
    x_k, _, x_v, x_b = g.outputs(shape.hidden)
    h_k, _, _, h_b = g.outputs(shape.head_size)
    ffn_n = ceil_div(shape.ffn, config.cols)
    ffn_options = sorted({min(round_up(t, g.granule), round_up(ffn_n, g.granule)) for t in (1, 2, 4, 8, 12, 16, 24)})
    costs = []
    for block, ffn_tiles in itertools.product(splits(tokens, config.statistics_rows // 2), ffn_options):
        if x_v * block + 2 * g.granule * block > config.accumulator_rows:
            continue
        f_k, _, _, f_b = g.outputs(ffn_tiles * config.cols)
        row_rows = (
            x_b * (tokens if x_resident else 2 * block)
            + ((heads * h_k + h_b) * tokens if context_resident else 2 * heads * h_k * block)
            + x_b * block
            + 2 * f_b * block
        )
        count = ceil_div(tokens, block)
        row_tiles = heads * h_k * x_v + x_k * ffn_n + ceil_div(ffn_n, ffn_tiles) * f_k * x_v
        row_loads = row_tiles * config.rows * count
        row_loads += (0 if x_resident else tokens * x_k) + (0 if context_resident else tokens * heads * h_k)
        vector_row = config.cols // config.lanes
        costs.append(
            RowCost(
                block,
                ffn_tiles,
                row_rows,
                row_tiles * tile_cycles(config, tokens, block),
                row_loads,
                count * 2 * (x_v * block * vector_row + 2 * DRAIN_CYCLES),
                ceil_div(ffn_n, ffn_tiles) * count * 20,
            )
        )
    return costs


def combine(
    config: Config,
    attention: Iterable[AttentionCost],
    rows: Sequence[RowCost],
    x_resident: bool,
    context_resident: bool,
) -> Plan | None:
    """The cheapest plan of any ``attention`` with any ``rows`` that leave room for the weight ring."""
    attention_parts = [(a, *alone(config, a.compute_cycles, a.load_rows, a.stall_cycles)) for a in attention]
    row_parts = [(r, *alone(config, r.compute_cycles, r.load_rows, r.vector_cycles + r.chunk_cycles)) for r in rows]
    best, fewest = None, math.inf
    for a, a_cycles, a_loads in attention_parts:
        for r, r_cycles, r_loads in row_parts:
            cycles = a_cycles + r_cycles
            if cycles >= fewest:
                continue
            ring = ring_rows(config, a, r)
            if ring < _RING_CHUNKS * config.rows:
                continue
            cycles += (a_loads + r_loads) * exposed(config, ring)
            if cycles < fewest:
                best, fewest = (a, r), cycles
    if best is None:
        return None
    a, r = best
    chunk = min(_CHUNK_TILES, ring_rows(config, a, r) // _RING_CHUNKS // config.rows)
    return plan_of(config, a, r, x_resident, context_resident, chunk, fewest)


def ring_rows(config: Config, a: AttentionCost, r: RowCost) -> int:
    """Scratchpad rows that both parts leave for weights, which is less than nothing where they do not fit."""
    return config.scratchpad_rows - max(a.scratchpad_rows, r.scratchpad_rows)


def plan_of(
    config: Config,
    a: AttentionCost,
    r: RowCost,
    x_resident: bool,
    context_resident: bool,
    chunk_tiles: int,
    cycles: float = 0.0,
) -> Plan:
    """The plan that cuts attention as ``a`` and the rest as ``r``, with all the room that is left for the ring."""
    return Plan(
        a.project_rows, a.query_rows, r.block_rows, r.ffn_tiles, x_resident, context_resident, ring_rows(config, a, r),
        chunk_tiles * config.rows, cycles, a.key_rows, a.held_blocks, a.kv_resident, a.value_places,
    )  # fmt: skip


def whole_rows(config: Config, g: Geometry, x_resident: bool, context_resident: bool) -> Iterator[AttentionCost]:
    """Attention with the scores of a query block with all keys in the accumulator at once."""
    shape = g.shape
    tokens, heads = shape.tokens, shape.heads
    most = config.statistics_rows // 2
    x_k, _, _, x_b = g.outputs(shape.hidden)
    h_k, h_n, h_v, h_b = g.outputs(shape.head_size)
    s_k, s_n, s_v, s_b = g.outputs(tokens)
    acc = config.accumulator_rows
    for project, query, places in itertools.product(splits(tokens, most), splits(tokens, most), (2, 1)):
        if 2 * h_v * project > acc or s_v * query + h_v * query > acc:
            continue
        rows = (
            x_b * (tokens if x_resident else 2 * project)
            + h_b * tokens
            + h_b * round_up(tokens, config.cols)
            + places * h_n * round_up(tokens, config.rows)
            + 2 * s_b * query
            + ((heads * h_k + h_b) * tokens if context_resident else 2 * h_b * query)
        )
        if rows >= config.scratchpad_rows:
            continue
        projections = 3 * heads * h_n * x_k
        loads = projections * config.rows * ceil_div(tokens, project)
        if not x_resident:
            loads += heads * x_k * tokens
        query_cycles = tile_cycles(config, tokens, query)
        tasks = heads * ceil_div(tokens, query)
        stall = tasks * DRAIN_CYCLES if query == tokens else tasks * s_v * query * 0.1
        if places == 1:
            # The last context of a head comes before the next head's values, straight after its own softmax.
            stall += heads * (s_v * query * config.cols // config.lanes + 2 * DRAIN_CYCLES)
        # Weights are fetched while they are needed: scores and contexts do not make up for slow projections.
        project_cycles = projections * tile_cycles(config, tokens, project)
        project_cycles = int(alone(config, project_cycles, loads, 0)[0])
        yield AttentionCost(
            project,
            query,
            rows,
            project_cycles + heads * (h_k * s_n + s_k * h_n) * query_cycles,
            loads,
            stall,
            value_places=places,
        )


def cheapest(plans: Iterable[Plan | None]) -> Plan | None:
    """The plan with the fewest estimated cycles, the first of equals."""
    return min((p for p in plans if p is not None), key=lambda p: p.cycles, default=None)


def plan_layer(config: Config, shape: Shape) -> Plan:
    """The plan with the fewest estimated cycles.

    Attention is cut by keys (:mod:`.keyblocks`) where that is cheaper, and is only tried where whole rows of scores do
    not fit, or only with so few queries at a time that each tile takes at least as long to load as to use.

    Raises
    ------
    CapacityError
        If none fits; the sentence says which memory is too small for what.
    """
    from .keyblocks import by_keys

    g = Geometry(shape, config.rows, config.cols)
    _, _, x_v, _ = g.outputs(shape.hidden)
    h_k, h_n, h_v, _ = g.outputs(shape.head_size)
    if max(h_v, g.granule) > config.parameter_rows:
        raise CapacityError(
            f"head size {shape.head_size} on a {config.rows}x{config.cols} array takes {max(h_v, g.granule)} parameter "
            f"rows; parameter_bytes of {config.parameter_bytes} holds {config.parameter_rows}"
        )
    resident = tuple(itertools.product((True, False), repeat=2))
    rows = {r: row_costs(config, g, *r) for r in resident}
    best = cheapest(combine(config, whole_rows(config, g, *r), rows[r], *r) for r in resident)
    if best is None or (best.query_rows < shape.tokens and best.query_rows <= config.rows):
        best = cheapest([best, *(combine(config, by_keys(config, g, *r), rows[r], *r) for r in resident)])
    if best is None:
        raise CapacityError(
            f"a layer of hidden {shape.hidden}, {shape.heads} heads, ffn {shape.ffn} on {shape.tokens} tokens does not "
            f"fit {config.scratchpad_rows} scratchpad rows and {config.accumulator_rows} accumulator rows of a "
            f"{config.rows}x{config.cols} array: two blocks of keys and values of one head take at least "
            f"{2 * (h_k + h_n) * g.key_granule} scratchpad rows, "
            f"one token's sums {max(x_v + 2 * g.granule, g.key_granule // g.cols + 2 * h_v)} accumulator rows"
        )
    return best
