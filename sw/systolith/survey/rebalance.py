"""Utilisation of the array against the sizes of scratchpad and accumulator, as the survey measured it on Gemmini.

The products of an encoder layer with weights, each a program of its own, and the whole layer; all measured on the RTL.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.prediction import WORST_ERROR, predict
from systolith.analysis.workloads import EncoderWorkload, GemmWorkload
from systolith.compiler.compile import layer_instructions
from systolith.compiler.plan import CapacityError, Shape, plan_layer
from systolith.rtl.config import Config, preset
from systolith.sweep.measure import Measured, measure

from .figure import Figure, FigureTable, Options, Report

_KIB = 1024
#: Bytes of each memory in the grid, and cycles of memory latency.
SIZES = (64 * _KIB, 128 * _KIB, 256 * _KIB)
LATENCIES = (30, 100)
#: The survey's utilisation of Gemmini's array, percent: accumulator -> scratchpad of 64, 128 and 256 KiB.
SURVEY = {64: (66, 71, 69), 128: (91, 91, 88), 256: (91, 91, 90)}
#: The share of the array's peak that the smallest memory must keep over a whole layer, at both latencies.
KEPT = 0.97
#: Sizes tried in the search for the smallest memories.
_SCRATCHPADS = tuple(range(16 * _KIB, 257 * _KIB, 16 * _KIB))
_ACCUMULATORS = tuple(range(8 * _KIB, 257 * _KIB, 8 * _KIB))
#: The share below which the planner's estimate rules a candidate out: small memories have long programs.
_ESTIMATED = 0.5
#: Candidates that the search measures before it gives up.
_TRIES = 12


def figure(options: Options, report: Report) -> Figure:
    """Measure the grid and then, from the smallest candidate on, the first memories that keep :data:`KEPT`."""
    base = preset("tiny") if options.quick else preset("default")
    layer = _layer(options.quick)
    accumulators, scratchpads = ((16 * _KIB,), (16 * _KIB, 32 * _KIB)) if options.quick else (SIZES, SIZES)
    points = []
    for accumulator in accumulators:
        for scratchpad in scratchpads:
            config = replace(base, scratchpad_bytes=scratchpad, accumulator_bytes=accumulator)
            for latency in LATENCIES:
                points.append(_point(config, layer, latency, options.cache, report))
    smallest = None if options.quick else _smallest(base, layer, options.cache, report)
    return Figure(
        tables=tuple(_tables(points, smallest)),
        data={"points": points, "smallest": smallest, "survey_percent": {str(k): v for k, v in SURVEY.items()}},
        pictures={"rebalance": lambda path: _draw(points, path)},
    )


def _layer(quick: bool) -> EncoderWorkload:
    """A BERT-Base layer of 128 tokens; a small one for tests."""
    if quick:
        return EncoderWorkload(hidden=24, heads=2, ffn=40, tokens=19)
    return EncoderWorkload(hidden=768, heads=12, ffn=3072, tokens=128)


def _products(layer: EncoderWorkload) -> list[tuple[int, GemmWorkload]]:
    """How often each product with weights occurs in the layer: four projections, and the two of the FFN."""
    rows, hidden, ffn = layer.tokens, layer.hidden, layer.ffn
    return [
        (4, GemmWorkload(rows=rows, depth=hidden, columns=hidden)),
        (1, GemmWorkload(rows=rows, depth=hidden, columns=ffn)),
        (1, GemmWorkload(rows=rows, depth=ffn, columns=hidden)),
    ]


def _point(config: Config, layer: EncoderWorkload, latency: int, cache: Path, report: Report) -> dict[str, Any]:
    """One cell: utilisation is multiply-accumulates / (cycles x rows x cols), None where a program does not fit."""
    timing = MemoryTiming(latency=latency)
    array = config.rows * config.cols
    macs = cycles = 0
    for count, product in _products(layer):
        macs += count * product.work.macs
        cycles += count * measure(product, config, timing, cache, report).cycles
    whole = _measured_layer(layer, config, timing, cache, report)
    return {
        "scratchpad_bytes": config.scratchpad_bytes,
        "accumulator_bytes": config.accumulator_bytes,
        "latency": latency,
        "products_cycles": cycles,
        "products_utilization": macs / (cycles * array),
        "layer_cycles": whole and whole.cycles,
        "layer_utilization": whole and layer.work.macs / (whole.cycles * array),
    }


def _measured_layer(
    layer: EncoderWorkload, config: Config, timing: MemoryTiming, cache: Path, report: Report
) -> Measured | None:
    try:
        return measure(layer, config, timing, cache, report)
    except CapacityError:
        return None


def _smallest(base: Config, layer: EncoderWorkload, cache: Path, report: Report) -> dict[str, Any] | None:
    """The fewest bytes of both memories, of those tried, that keep :data:`KEPT` on the RTL at both latencies.

    A candidate is measured unless the cycle model, wrong by no more than its worst error, predicts less, or the
    planner's estimate is far below. None if so many as :data:`_TRIES` are measured and none keeps it.
    """
    shape = Shape(layer.tokens, layer.hidden, layer.heads, layer.ffn)
    least = layer.work.macs / (base.rows * base.cols)
    tried = 0
    for config in _by_size(base):
        if not all(_may_keep(config, shape, latency, least) for latency in LATENCIES):
            continue
        tried += 1
        runs = [measure(layer, config, MemoryTiming(latency=latency), cache, report) for latency in LATENCIES]
        shares = [least / run.cycles for run in runs]
        if min(shares) >= KEPT:
            return {
                "scratchpad_bytes": config.scratchpad_bytes,
                "accumulator_bytes": config.accumulator_bytes,
                "cycles": [run.cycles for run in runs],
                "utilization": shares,
                "measured_before": tried - 1,
            }
        if tried == _TRIES:
            break
    return None


def _may_keep(config: Config, shape: Shape, latency: int, least: float) -> bool:
    """Whether a layer whose products take ``least`` cycles may keep the array busy, by the cycle model."""
    try:
        plan = plan_layer(config, shape)
        if least < _ESTIMATED * plan.cycles:
            return False
        program = layer_instructions(config, shape, plan)
    except CapacityError:
        return False
    predicted = predict(program, config, MemoryTiming(latency=latency)).cycles
    return least >= KEPT * predicted * (1 - WORST_ERROR)


def _by_size(base: Config) -> Iterator[Config]:
    pairs = [(scratchpad, accumulator) for scratchpad in _SCRATCHPADS for accumulator in _ACCUMULATORS]
    for scratchpad, accumulator in sorted(pairs, key=lambda pair: (sum(pair), pair)):
        yield replace(base, scratchpad_bytes=scratchpad, accumulator_bytes=accumulator)


def _tables(points: list[dict[str, Any]], smallest: dict[str, Any] | None) -> Iterator[FigureTable]:
    cells = {(p["accumulator_bytes"], p["scratchpad_bytes"], p["latency"]): p for p in points}
    accumulators = sorted({p["accumulator_bytes"] for p in points})
    scratchpads = sorted({p["scratchpad_bytes"] for p in points})
    for latency in LATENCIES:
        rows = []
        for accumulator in accumulators:
            row = [f"{accumulator // _KIB}"]
            for scratchpad in scratchpads:
                cell = cells[accumulator, scratchpad, latency]
                layer = cell["layer_utilization"]
                row.append(f"{cell['products_utilization']:.1%} / {f'{layer:.1%}' if layer else 'does not fit'}")
            survey = SURVEY.get(accumulator // _KIB)
            row.append(" / ".join(f"{percent} %" for percent in survey) if survey else "")
            rows.append(tuple(row))
        yield FigureTable(
            title=f"Utilisation of the array, products with weights / whole layer, memory latency {latency}",
            columns=(
                "accumulator, KiB",
                *(f"scratchpad {size // _KIB} KiB" for size in scratchpads),
                "survey (64 / 128 / 256)",
            ),
            rows=tuple(rows),
            note="Measured on the RTL, bit-exact; the survey's are Gemmini's products.",
        )  # fmt: skip
    if smallest:
        yield FigureTable(
            title=f"Smallest memories that keep {KEPT:.0%} over the whole layer",
            columns=("scratchpad, KiB", "accumulator, KiB", *(f"utilisation at latency {n}" for n in LATENCIES)),
            rows=(
                (
                    f"{smallest['scratchpad_bytes'] // _KIB}",
                    f"{smallest['accumulator_bytes'] // _KIB}",
                    *(f"{share:.1%}" for share in smallest["utilization"]),
                ),
            ),
            note=f"Measured on the RTL, as were {smallest['measured_before']} smaller ones that do not; in steps of "
            "16 KiB and 8 KiB. What the cycle model predicts to keep less, or the planner estimates to keep less than "
            f"{_ESTIMATED:.0%}, was not run.",
        )


def _draw(points: list[dict[str, Any]], path: Path) -> None:
    """Utilisation of products (hatched) and of the whole layer (full) for each pair of memories."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(9, 4.2), layout="constrained")
    axes = canvas.add_subplot()
    shown = [p for p in points if p["latency"] == LATENCIES[0]]
    places = range(len(shown))
    axes.bar([x - 0.2 for x in places], [100 * p["products_utilization"] for p in shown], 0.38,
             label="products with weights", color="#56b4e9", hatch="//", edgecolor="white")  # fmt: skip
    axes.bar([x + 0.2 for x in places], [100 * (p["layer_utilization"] or 0) for p in shown], 0.38,
             label="whole layer", color="#0072b2")  # fmt: skip
    names = [f"{p['scratchpad_bytes'] // _KIB} / {p['accumulator_bytes'] // _KIB}" for p in shown]
    axes.set_xticks(list(places), names)
    axes.set_xlabel("scratchpad / accumulator, KiB")
    axes.set_ylabel(f"utilisation of the array, %, latency {LATENCIES[0]}")
    axes.set_ylim(0, 105)
    axes.legend(loc="lower right", frameon=True)
    canvas.savefig(path)
