"""Planning of attention whose scores are cut by keys: for sequences longer than the on-chip memories hold."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from systolith.rtl.config import Config

from .plan import DRAIN_CYCLES, AttentionCost, Geometry, alone, ceil_div, exposed, round_up, splits, tile_cycles

#: Tokens of a key block, in multiples of the geometry's granule.
_KEY_GRANULES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
#: Weight tiles that the ring is taken to hold.
_RING_TILES = 16
#: Cycles that the array waits at each key block: its numerators are seldom ready without fail (estimate).
_BLOCK_CYCLES = 20


@dataclass(frozen=True)
class KeyBlocks:
    """Scratchpad rows of the buffers of :class:`.blockwise.BlockwiseAttention`.

    ``key`` and ``value`` are those of a whole head if ``kv_resident``, else of one of two blocks each;
    ``query`` and ``scores`` are one of two; ``projected`` is one of two of the projections that leave for DRAM.
    """

    key: int
    value: int
    query: int
    scores: int
    projected: int
    kv_resident: bool

    @classmethod
    def of(cls, g: Geometry, project_rows: int, query_rows: int, key_rows: int, kv_resident: bool) -> "KeyBlocks":
        h_k, h_n, _, h_b = g.outputs(g.shape.head_size)
        return cls(
            key=h_b * round_up(g.shape.tokens, g.cols) if kv_resident else h_k * key_rows,
            value=h_n * round_up(g.shape.tokens, g.rows) if kv_resident else h_n * key_rows,
            query=h_k * query_rows,
            scores=key_rows // g.rows * query_rows,
            projected=(h_b if kv_resident else 2 * h_b + h_n) * project_rows,
            kv_resident=kv_resident,
        )

    @property
    def scratchpad_rows(self) -> int:
        """All of them; projections on their way to DRAM and the blocks of a query block share their rows."""
        kept = self.key + self.value if self.kv_resident else 0
        blocks = 0 if self.kv_resident else self.key + self.value
        return kept + 2 * max(blocks + self.query + self.scores, self.projected)


def by_keys(config: Config, g: Geometry, x_resident: bool, context_resident: bool) -> Iterable[AttentionCost]:
    """The ways to cut attention by keys that fit; none needs both more rows and more cycles than another.

    Cycles are what :func:`.plan.combine` estimates, but for the length of the weight ring, which depends on the rest.
    """
    front: list[AttentionCost] = []
    fewest = float("inf")

    def cycles(a: AttentionCost) -> float:
        own, loads = alone(config, a.compute_cycles, a.load_rows, a.stall_cycles)
        return own + loads * exposed(config, _RING_TILES * config.rows)

    for cost in sorted(fitting(config, g, x_resident, context_resident), key=lambda a: (a.scratchpad_rows, cycles(a))):
        if cycles(cost) < fewest:
            fewest = cycles(cost)
            front.append(cost)
    return front


def _query_rows(tokens: int, most: int) -> list[int]:
    """Sizes of query blocks, about a tenth apart; equal blocks, so that none is much shorter."""
    sizes = set()
    count = float(ceil_div(tokens, most))
    while count < 2 * tokens:
        sizes.add(ceil_div(tokens, int(count)))
        count = max(count * 1.1, count + 1)
    return sorted(sizes, reverse=True)


def fitting(config: Config, g: Geometry, x_resident: bool, context_resident: bool) -> Iterator[AttentionCost]:
    """The ways to cut attention by keys that fit."""
    shape = g.shape
    tokens, heads, most = shape.tokens, shape.heads, config.statistics_rows // 2
    x_k, _, _, x_b = g.outputs(shape.hidden)
    h_k, h_n, h_v, h_b = g.outputs(shape.head_size)
    s_k, s_n, s_v, _ = g.outputs(tokens)
    projections = 3 * heads * h_n * x_k
    projects = [p for p in splits(tokens, most) if 2 * h_v * p <= config.accumulator_rows]
    keys = sorted({min(n * g.key_granule, round_up(tokens, g.key_granule)) for n in _KEY_GRANULES})
    for query, key, kv_resident in itertools.product(_query_rows(tokens, most), keys, (True, False)):
        block_sums = key // config.cols * query
        blocks = ceil_div(tokens, key)
        held = min(blocks, (config.accumulator_rows - 2 * h_v * query) // block_sums)
        if held < 1:
            continue
        # The share of the keys whose scores are made twice: once for the maxima and once for the numerators.
        again = (blocks - held) / blocks
        tasks = heads * ceil_div(tokens, query)
        scores_cycles = int(heads * (h_k * s_n * (1 + again) + s_k * h_n) * tile_cycles(config, tokens, query))
        loads = heads * h_k * tokens
        if not kv_resident:
            loads += int(tasks * tokens * (h_k * (1 + again) + h_n))
        stall = tasks * (blocks * _BLOCK_CYCLES + DRAIN_CYCLES / 2)
        if held == 1:
            stall += tasks * (s_v * query + blocks * DRAIN_CYCLES)
        for project in projects:
            rows = (
                x_b * (tokens if x_resident else 2 * project)
                + ((heads * h_k + h_b) * tokens if context_resident else 2 * h_b * query)
                + KeyBlocks.of(g, project, query, key, kv_resident).scratchpad_rows
            )
            if rows >= config.scratchpad_rows:
                continue
            yield AttentionCost(
                project,
                query,
                rows,
                projections * tile_cycles(config, tokens, project) + scores_cycles,
                loads
                + projections * config.rows * ceil_div(tokens, project)
                + (0 if x_resident else heads * x_k * tokens),
                stall,
                key,
                held,
                kv_resident,
            )
