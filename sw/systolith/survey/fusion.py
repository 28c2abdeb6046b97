"""Fusion on the RTL: a chain of a layer's operations in one program, or in several with int8 in DRAM between them.

The survey (section on fusion-aware mapping) estimated with Timeloop, for Gemmini, which of them pay.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from systolith.analysis.bench_cases import MemoryTiming
from systolith.compiler.plan import Shape
from systolith.mapping.chains import Chain, chains, projected, run_steps
from systolith.rtl.config import Config, preset

from .figure import Figure, FigureTable, Options, Report

_KIB = 1024
_PLAIN, _SLOW, _NARROW = MemoryTiming(30), MemoryTiming(100), MemoryTiming(30, 8)
#: The accumulators that the survey compares, and those of the search for the one from which on fusion costs nothing.
_ACCUMULATORS = (128 * _KIB, 256 * _KIB)
_SWEPT = (32 * _KIB, 48 * _KIB, 64 * _KIB, 128 * _KIB, 256 * _KIB)
#: What the survey says of a chain: (chain, tokens, accumulator in KiB; 0 is any) -> its words.
_SURVEY = {
    ("scores, softmax", 512, 0): "up to 78 % better",
    ("output projection, LayerNorm", 512, 128): "83 % worse",
    ("output projection, LayerNorm", 512, 256): "4 % better",
    ("FFN2, LayerNorm", 512, 0): "27 % worse",
}


@dataclass(frozen=True)
class _Group:
    """Points of the figure: the chains of a layer on accelerators and memories."""

    shape: Shape
    configs: tuple[Config, ...]
    timings: tuple[MemoryTiming, ...]
    #: Only the chains that end in a LayerNorm, whose rows the accumulator must hold.
    norms_only: bool = False
    #: Chains that are left out.
    without: tuple[str, ...] = ()

    def points(self) -> Iterator[tuple[Config, MemoryTiming, Chain]]:
        for config in self.configs:
            for timing in self.timings:
                for chain in (projected if self.norms_only else chains)(self.shape, config):
                    if chain.name not in self.without:
                        yield config, timing, chain


def _groups(quick: bool) -> tuple[_Group, ...]:
    if quick:
        tiny = preset("tiny")
        shape = Shape(hidden=24, heads=2, ffn=40, tokens=19)
        small = replace(tiny, scratchpad_bytes=8 * _KIB, accumulator_bytes=2 * _KIB)
        return (
            _Group(shape, (tiny,), (_PLAIN, replace(_NARROW, bandwidth=4))),
            _Group(shape, (small,), (_PLAIN,), True),
        )
    default = preset("default")
    two = tuple(replace(default, accumulator_bytes=size) for size in _ACCUMULATORS)
    swept = tuple(replace(default, accumulator_bytes=size) for size in _SWEPT)
    bert = Shape(hidden=768, heads=12, ffn=3072, tokens=128)
    # Scaled down from 4,096 tokens and 12 heads for the time that the RTL takes: heads follow one another, all alike,
    # and so do blocks of queries; the keys are already too many for the accumulator.
    one_head = Shape(hidden=64, heads=1, ffn=256, tokens=2048)
    return (
        _Group(bert, two, (_PLAIN, _SLOW, _NARROW)),
        _Group(replace(bert, tokens=512), two, (_PLAIN,)),
        _Group(bert, swept, (_PLAIN, _NARROW), norms_only=True),
        _Group(one_head, two, (_PLAIN,), without=("output projection, LayerNorm", "FFN2, LayerNorm")),
    )


def figure(options: Options, report: Report) -> Figure:
    """Measure both schedules of every chain."""
    points: dict[tuple[Any, ...], dict[str, Any]] = {}
    for group in _groups(options.quick):
        for config, timing, chain in group.points():
            key = (config, timing, chain.name, chain.tokens)
            if key not in points:
                found = _point(group.shape, config, timing, chain, options.cache, report)
                points[key] = found | {"swept": group.norms_only}
    records = list(points.values())
    swept = [p for p in records if "LayerNorm" in p["chain"] and p["tokens"] == records[0]["tokens"]]
    return Figure(
        tables=(*_tables(records), _sweep_table(swept)),
        data={"points": records, "free_from_kib": _free_from(swept)},
        pictures={"fusion": lambda path: _draw(records, swept, path)},
    )


def _point(
    shape: Shape, config: Config, timing: MemoryTiming, chain: Chain, cache: Path, report: Report
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "chain": chain.name, "tokens": chain.tokens, "hidden": shape.hidden, "heads": shape.heads,
        "accumulator_kib": config.accumulator_bytes // _KIB, "latency": timing.latency, "bandwidth": timing.bandwidth,
        "macs": chain.macs,
    }  # fmt: skip
    for name, steps in (("fused", chain.fused), ("unfused", chain.unfused)):
        ran = run_steps(steps, config, timing, cache, report)
        found[name] = ran | {"utilization": chain.macs / (ran["cycles"] * config.rows * config.cols)}
    return found | {"change": found["fused"]["cycles"] / found["unfused"]["cycles"] - 1}


def _memory(point: dict[str, Any]) -> str:
    bandwidth = f", {point['bandwidth']} B a cycle" if point["bandwidth"] else ""
    return f"latency {point['latency']}{bandwidth}"


def _tables(points: list[dict[str, Any]]) -> Iterator[FigureTable]:
    """One table for each length and memory."""
    kinds = dict.fromkeys((p["tokens"], p["heads"], p["hidden"], _memory(p)) for p in points)
    for tokens, heads, hidden, memory in kinds:
        rows = []
        for p in points:
            if p["swept"] or (p["tokens"], _memory(p)) != (tokens, memory):
                continue
            survey = [_SURVEY.get((p["chain"], tokens, size), "") for size in (0, p["accumulator_kib"])]
            fused, unfused = p["fused"], p["unfused"]
            rows.append(
                (
                    p["chain"], f"{p['accumulator_kib']}", f"{fused['cycles']:,}", f"{unfused['cycles']:,}",
                    f"{p['change']:+.1%}", f"{100 * fused['utilization']:.1f} / {100 * unfused['utilization']:.1f}",
                    f"{_moved(fused):,} / {_moved(unfused):,}", survey[0] or survey[1],
                )
            )  # fmt: skip
        yield FigureTable(
            title=f"{tokens} tokens, hidden {hidden}, heads {heads}, memory {memory}",
            columns=(
                "chain", "acc., KiB", "fused, cycles", "through DRAM", "change", "array, %", "DRAM, KiB", "survey",
            ),
            rows=tuple(rows),
            note="Measured on the RTL, each program bit-exact against the integer reference of its schedule; several "
            "programs one after another. The plan of each is the best of those tried, by predicted cycles. Pairs are "
            "fused / through DRAM; DRAM: beats read and written, instructions included. Survey: estimated, Gemmini.",
        )  # fmt: skip


def _moved(run: dict[str, Any]) -> int:
    """KiB of DRAM read and written."""
    moved: int = run["read_bytes"] + run["written_bytes"]
    return round(moved / _KIB)


def _sweep_table(points: list[dict[str, Any]]) -> FigureTable:
    kinds = list(dict.fromkeys((p["chain"], _memory(p)) for p in points))
    sizes = sorted({p["accumulator_kib"] for p in points})
    cells = {(p["chain"], _memory(p), p["accumulator_kib"]): f"{p['change']:+.1%}" for p in points}
    free = _free_from(points)
    return FigureTable(
        title=f"LayerNorm fused against through DRAM, {points[0]['tokens']} tokens, by accumulator",
        columns=("chain, memory", *(f"{size} KiB" for size in sizes), "no loss from"),
        rows=tuple(
            (f"{chain}, {memory}", *(cells.get((chain, memory, size), "") for size in sizes),
             f"{free[f'{chain}, {memory}']} KiB" if free[f"{chain}, {memory}"] else "none")
            for chain, memory in kinds
        ),
        note="Cycles of the fused program against those of product and LayerNorm as programs of their own, measured on "
        "the RTL; the last column: the smallest accumulator tried from which on fusion loses nothing.",
    )  # fmt: skip


def _free_from(points: list[dict[str, Any]]) -> dict[str, int | None]:
    """For each chain and memory the smallest accumulator, in KiB, from which on fusion is no slower."""
    found: dict[str, int | None] = {}
    for p in sorted(points, key=lambda p: -int(p["accumulator_kib"])):
        name = f"{p['chain']}, {_memory(p)}"
        found.setdefault(name, None)
        larger = [q for q in points if f"{q['chain']}, {_memory(q)}" == name]
        if all(q["change"] <= 0 for q in larger if q["accumulator_kib"] >= p["accumulator_kib"]):
            found[name] = p["accumulator_kib"]
    return found


def _draw(points: list[dict[str, Any]], swept: list[dict[str, Any]], path: Path) -> None:
    """Left: the change of each chain; right: that of the chains with LayerNorm by accumulator."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(12, 4.8), layout="constrained")
    bars, lines = canvas.subplots(1, 2, width_ratios=(3, 2))
    largest = max(p["accumulator_kib"] for p in points if p["tokens"] == points[0]["tokens"])
    kinds = dict.fromkeys((p["tokens"], _memory(p)) for p in points)
    names = list(dict.fromkeys(p["chain"] for p in points))
    colours = ("#0072b2", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
    for number, (tokens, memory) in enumerate(kinds):
        chosen = {
            p["chain"]: 100 * p["change"] for p in points
            if (p["tokens"], _memory(p), p["accumulator_kib"]) == (tokens, memory, largest)
        }  # fmt: skip
        shown = [n for n in names if n in chosen]
        width = 0.8 / len(kinds)
        bars.barh(
            [names.index(n) + (number - len(kinds) / 2) * width for n in shown], [chosen[n] for n in shown], width,
            color=colours[number % len(colours)], label=f"{tokens} tokens, {memory}",
        )  # fmt: skip
    bars.axvline(0, color="black", linewidth=0.8)
    bars.set_yticks(range(len(names)), names)
    bars.invert_yaxis()
    bars.set_xlabel(f"cycles, fused against through DRAM, %; accumulator {largest} KiB")
    bars.legend(frameon=False, fontsize=8)
    for number, (chain, memory) in enumerate(dict.fromkeys((p["chain"], _memory(p)) for p in swept)):
        line = sorted(
            (p["accumulator_kib"], 100 * p["change"]) for p in swept if (p["chain"], _memory(p)) == (chain, memory)
        )
        lines.plot(*zip(*line, strict=True), marker="osD^v*"[number % 6], color=colours[number % len(colours)],
                   label=f"{chain}, {memory}")  # fmt: skip
    lines.axhline(0, color="black", linewidth=0.8)
    lines.set_xscale("log", base=2)
    lines.set_xlabel("accumulator, KiB")
    lines.set_ylabel("cycles, fused against through DRAM, %")
    lines.legend(frameon=False, fontsize=8)
    canvas.savefig(path)
