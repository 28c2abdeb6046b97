"""The cases of the benchmark: workload, accelerator, memory, the figure known from elsewhere and the one to reach.

"Elsewhere" is Gemmini's RTL (16x16, 16 B/cycle, latency 30) on the matrix products alone.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from systolith.rtl.config import Config, preset

from .workloads import AttentionWorkload, EncoderWorkload, GemmWorkload, Workload

#: Latencies, in cycles, and bandwidths, in bytes a cycle (0: a beat each way), of the memory.
DEFAULT_LATENCIES = (30, 100)
_SLOW_LATENCY, _NARROW_BANDWIDTH = 200, 8


@dataclass(frozen=True)
class MemoryTiming:
    """``latency`` in cycles; ``bandwidth`` in bytes a cycle for both directions, 0 for a beat a cycle each way."""

    latency: int = 30
    bandwidth: int = 0


@dataclass(frozen=True)
class Target:
    """The figure to reach: at most ``cycles``, at least ``share`` of the bound, or at most ``points`` percentage
    points less than the share of the bound that padding leaves."""

    cycles: int | None = None
    share: float | None = None
    points: float | None = None

    def __str__(self) -> str:
        if self.cycles is not None:
            return f"≤ {self.cycles:,}"
        if self.share is not None:
            return f"≥ {self.share:.0%}"
        return f"≤ {self.points:g} below padding" if self.points is not None else ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the benchmark at each memory timing.

    ``target`` holds at latencies up to 100 and full bandwidth; ``slow_target`` beyond. ``elsewhere`` is in cycles,
    at the default timing.
    """

    suite: str
    name: str
    workload: Workload
    config: Config
    target: Target | None = None
    slow_target: Target | None = None
    elsewhere: int | None = None

    def timings(self, latencies: Sequence[int] | None, bandwidth: int | None) -> list[MemoryTiming]:
        """The memory timings to run: those asked for, or the case's own."""
        if latencies or bandwidth is not None:
            return [MemoryTiming(latency, bandwidth or 0) for latency in latencies or DEFAULT_LATENCIES]
        timings = [MemoryTiming(latency) for latency in DEFAULT_LATENCIES]
        if self.slow_target:
            timings += [MemoryTiming(_SLOW_LATENCY), MemoryTiming(bandwidth=_NARROW_BANDWIDTH)]
        return timings

    def target_at(self, timing: MemoryTiming) -> Target | None:
        easy = timing.latency <= max(DEFAULT_LATENCIES) and timing.bandwidth in (0, self.config.bus_bytes)
        return self.target if easy else self.slow_target


def _bert(tokens: int) -> EncoderWorkload:
    return EncoderWorkload(hidden=768, heads=12, ffn=3072, tokens=tokens)


def _minilm(tokens: int, layers: int = 1, model: str = "random") -> EncoderWorkload:
    return EncoderWorkload(hidden=384, heads=12, ffn=1536, tokens=tokens, layers=layers, model=model)


def _gemms() -> list[Case]:
    def case(depth: int, columns: int, target: int | None = None, elsewhere: int | None = None, **values: Any) -> Case:
        rows, config = values.get("rows", 128), values.get("config", preset("default"))
        return Case(
            suite="gemm", name=f"GEMM {rows}x{depth}x{columns}{values.get('note', '')}", config=config,
            workload=GemmWorkload(rows=rows, depth=depth, columns=columns), elsewhere=elsewhere,
            target=Target(cycles=target) if target else Target(points=5),
        )  # fmt: skip

    return [
        case(768, 768, 298_500, 302_048),
        case(768, 3072, 1_185_000, 1_187_287),
        case(3072, 768, 1_185_000, 1_188_698),
        case(384, 384, 75_500, 79_702),
        case(200, 333, rows=77),
        case(384, 384, config=preset("default").resized(6, 10), note=", 6x10"),
    ]


def _attention() -> list[Case]:
    def case(size: int, a_head: int | None = None, elsewhere: int | None = None, tokens: int = 128) -> Case:
        heads = 12
        return Case(
            suite="attention", name=f"{heads} heads of {size}, {tokens} tokens", config=preset("default"),
            workload=AttentionWorkload(heads=heads, size=size, tokens=tokens),
            target=Target(cycles=heads * a_head) if a_head else Target(points=5),
            elsewhere=heads * elsewhere if elsewhere else None,
        )  # fmt: skip

    return [case(64, 8_700, 13_031), case(32, 4_600, 7_625), case(48, tokens=77)]


def _layers() -> list[Case]:
    default, large = preset("default"), preset("large")
    slow, padding, wide = Target(share=0.95), Target(points=5), Target(share=0.94)

    def case(name: str, workload: Workload, config: Config = default, **values: Any) -> Case:
        return dataclasses.replace(Case(suite="layer", name=name, workload=workload, config=config), **values)

    return [
        case("BERT-Base layer, 128 tokens", _bert(128), target=Target(cycles=3_700_000), slow_target=slow,
             elsewhere=3_740_549),
        case("MiniLM layer, 128 tokens", _minilm(128), target=Target(cycles=963_000), slow_target=slow,
             elsewhere=1_012_847),
        case("BERT-Base layer, 512 tokens", _bert(512), target=Target(share=0.97), slow_target=slow),
        case("MiniLM layer, 16 tokens", _minilm(16), target=Target(share=0.90), slow_target=slow),
        case("1,024 tokens, hidden 192, 3 heads", EncoderWorkload(hidden=192, heads=3, ffn=384, tokens=1024)),
        case("2,048 tokens, hidden 128, 4 heads", EncoderWorkload(hidden=128, heads=4, ffn=256, tokens=2048)),
        case("MiniLM layer, 77 tokens", _minilm(77), target=padding, slow_target=padding),
        case("head size 48, 128 tokens", EncoderWorkload(hidden=384, heads=8, ffn=1536, tokens=128), target=padding,
             slow_target=padding),
        case("hidden 200, FFN 333, 128 tokens", EncoderWorkload(hidden=200, heads=5, ffn=333, tokens=128),
             target=padding, slow_target=padding),
        case("MiniLM layer, 128 tokens, 12x12", _minilm(128), default.resized(12, 12), target=padding),
        case("MiniLM layer, 77 tokens, 6x10", _minilm(77), default.resized(6, 10), target=padding),
        case("MiniLM layer, 128 tokens, 32x32", _minilm(128), large, target=wide),
        case("BERT-Base layer, 128 tokens, 32x32", _bert(128), large, target=wide),
    ]  # fmt: skip


def _models() -> list[Case]:
    def case(name: str, tokens: int, share: float) -> Case:
        return Case(
            suite="model", name=name, workload=_minilm(tokens, 6, "minilm-l6"), config=preset("default"),
            target=Target(share=share),
        )  # fmt: skip

    return [case("MiniLM-L6, 128 tokens", 128, 0.97), case("MiniLM-L6, 16 tokens", 16, 0.90)]


def _quick() -> list[Case]:
    """Small ones that touch everything: for noticing what a change costs, in seconds."""
    tiny, default = preset("tiny"), preset("default")
    gemm = GemmWorkload(rows=24, depth=40, columns=33)
    attention = AttentionWorkload(heads=3, size=6, tokens=21)
    encoder = EncoderWorkload(hidden=24, heads=2, ffn=40, tokens=19, layers=2)
    return [
        Case(suite="quick", name="GEMM 24x40x33, 4x4", workload=gemm, config=tiny),
        Case(suite="quick", name="3 heads of 6, 21 tokens, 4x4", workload=attention, config=tiny),
        Case(suite="quick", name="2 layers of 24, 19 tokens, 4x4", workload=encoder, config=tiny),
        Case(suite="quick", name="GEMM 64x96x80, 16x16", config=default,
             workload=GemmWorkload(rows=64, depth=96, columns=80)),
        Case(suite="quick", name="layer of 96, 32 tokens, 16x16", config=default,
             workload=EncoderWorkload(hidden=96, heads=3, ffn=192, tokens=32)),
        Case(suite="quick", name="GEMM 16x96x160, 16x16", config=default,
             workload=GemmWorkload(rows=16, depth=96, columns=160)),
    ]  # fmt: skip


#: The cases of each suite that runs programs on the RTL; all but "quick" are run when none is named.
CASES = {"gemm": _gemms(), "attention": _attention(), "layer": _layers(), "model": _models(), "quick": _quick()}
