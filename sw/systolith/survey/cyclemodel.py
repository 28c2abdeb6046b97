"""How far the predicted cycles (``analysis/prediction.py``) are from those of the RTL."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.prediction import MEAN_ERROR, WORST_ERROR, predict
from systolith.analysis.workloads import AttentionWorkload, EncoderWorkload, GemmWorkload, Workload
from systolith.rtl.config import Config, preset
from systolith.rtl.isa import disassemble
from systolith.sweep.measure import measure

from .figure import Figure, FigureTable, Options, Report, SurveyError

#: The last is half the bandwidth of the buses of 64 bits, a quarter of those of 128.
_TIMINGS = (MemoryTiming(30), MemoryTiming(100), MemoryTiming(200), MemoryTiming(30, 4))
#: For odd hardware: which programs, and which memories.
_ODD = ("GEMM 77x100x130", "attention 3 heads of 6, 21 tokens", "layer of 64, 50 tokens")
_ODD_TIMINGS = (MemoryTiming(30), MemoryTiming(100, 6))


@dataclass(frozen=True)
class Point:
    """One program on one accelerator."""

    name: str
    workload: Workload
    array: str
    config: Config
    timing: MemoryTiming


def points(*, quick: bool) -> Iterator[Point]:
    """The programs of the table; ``quick`` are those on the 4x4 array that take no second."""
    tiny = preset("tiny")
    small: dict[str, Workload] = {
        "GEMM 24x40x33": GemmWorkload(rows=24, depth=40, columns=33),
        "GEMM 1x64x64": GemmWorkload(rows=1, depth=64, columns=64),
        "GEMM 77x100x130": GemmWorkload(rows=77, depth=100, columns=130),
        "attention 3 heads of 6, 21 tokens": AttentionWorkload(heads=3, size=6, tokens=21),
        "attention 2 heads of 32, 64 tokens": AttentionWorkload(heads=2, size=32, tokens=64),
        "2 layers of 24, 19 tokens": EncoderWorkload(hidden=24, heads=2, ffn=40, tokens=19, layers=2),
        "layer of 64, 50 tokens": EncoderWorkload(hidden=64, heads=2, ffn=128, tokens=50),
    }
    large: dict[str, Workload] = {
        "GEMM 16x96x160": GemmWorkload(rows=16, depth=96, columns=160),
        "GEMM 128x384x384": GemmWorkload(rows=128, depth=384, columns=384),
        "layer of 96, 32 tokens": EncoderWorkload(hidden=96, heads=3, ffn=192, tokens=32),
        "layer of 128, 128 tokens": EncoderWorkload(hidden=128, heads=4, ffn=256, tokens=128),
    }
    for array in ("tiny",) if quick else ("tiny", "small", "default"):
        config = preset(array)
        for name, workload in small.items():
            for timing in _TIMINGS:
                yield Point(name, workload, f"{config.rows}x{config.cols}", config, timing)
    if quick:
        return
    slim = replace(preset("default"), scratchpad_bytes=64 << 10, accumulator_bytes=64 << 10)
    wide = preset("default").resized(6, 10)
    for title, config in (("16x16", preset("default")), ("6x10", wide), ("16x16, 64 + 64 KiB", slim)):
        for name, workload in large.items():
            for timing in _TIMINGS[:2]:
                yield Point(name, workload, title, config, timing)
    for name, hidden in (("MiniLM layer, 128 tokens", 384), ("BERT-Base layer, 128 tokens", 768)):
        workload = EncoderWorkload(hidden=hidden, heads=12, ffn=4 * hidden, tokens=128)
        yield Point(name, workload, "16x16", preset("default"), _TIMINGS[1])
    # Keys by blocks, as the scores of a few queries with all of them fill the accumulator.
    long = EncoderWorkload(hidden=16, heads=2, ffn=32, tokens=200)
    narrow = replace(tiny, scratchpad_bytes=8 << 10, accumulator_bytes=2 << 10)
    shallow = replace(
        tiny, axi_data_width=32, axi_outstanding=2, axi_burst_beats=4,
        load_queue=2, matrix_queue=2, vector_queue=2, store_queue=2,
    )  # fmt: skip
    few = {name: small[name] for name in _ODD}
    odd: tuple[tuple[str, Config, dict[str, Workload]], ...] = (
        ("4x4, 8 + 2 KiB", narrow, {"layer of 16, 200 tokens, keys by blocks": long}),
        ("5x3", tiny.resized(5, 3), few),
        ("12x8", tiny.resized(12, 8), few),
        ("4x4, 512-bit bus", replace(tiny, axi_data_width=512), few),
        ("4x4, 32-bit bus, short queues", shallow, few),
        ("4x4, 2 lanes, 2 banks", replace(tiny, lanes=2, scratchpad_banks=2, accumulator_banks=2), few),
    )
    for title, config, workloads in odd:
        for name in workloads:
            for timing in _ODD_TIMINGS:
                yield Point(name, workloads[name], title, config, timing)


def figure(options: Options, report: Report) -> Figure:
    """Run all points on the RTL and predict them.

    Raises
    ------
    SurveyError
        If the predictions are further off than :data:`.WORST_ERROR` at a point, or :data:`.MEAN_ERROR` in the mean.
    """
    rows: list[tuple[str, ...]] = []
    records: list[dict[str, Any]] = []
    for point in points(quick=options.quick):
        ran = measure(point.workload, point.config, point.timing, options.cache, report)
        begin = time.perf_counter()
        predicted = predict(disassemble(ran.image), point.config, point.timing).cycles
        seconds = time.perf_counter() - begin
        error = predicted / ran.cycles - 1
        memory = f"{point.timing.latency}" + (f", {point.timing.bandwidth} B" if point.timing.bandwidth else "")
        rows.append((point.name, point.array, memory, f"{ran.cycles:,}", f"{predicted:,}", f"{error:+.2%}"))
        records.append(
            {
                "name": point.name, "array": point.array, "latency": point.timing.latency,
                "bandwidth": point.timing.bandwidth, "instructions": ran.instructions, "measured": ran.cycles,
                "predicted": predicted, "error": error, "predict_seconds": seconds,
            }
        )  # fmt: skip
    check_errors(records)
    errors = [abs(record["error"]) for record in records]
    summary: dict[str, Any] = {
        "points": len(records), "mean": statistics.mean(errors), "worst": max(errors),
        "milliseconds": 1e3 * statistics.median(record["predict_seconds"] for record in records),
    }  # fmt: skip
    return Figure(
        tables=(
            FigureTable(
                title="Cycles",
                columns=("program", "array", "memory latency", "measured (RTL)", "predicted", "error"),
                rows=tuple(rows),
                note=f"{summary['points']} points: mean error {summary['mean']:.2%}, worst {summary['worst']:.2%}; a "
                f"prediction takes {summary['milliseconds']:.1f} ms (median).",
            ),
            FigureTable(
                title="Error by hardware",
                columns=("array", "points", "exact", "mean", "worst"),
                rows=tuple(_by_hardware(records)),
                note="Of the absolute error of the predicted cycles; exact: to the cycle.",
            ),
        ),
        data={"summary": summary, "points": records},
        pictures={"cycle-model": lambda path: _draw(records, path)},
    )


def check_errors(records: list[dict[str, Any]]) -> None:
    """Hold the ``error`` of the figure's records against its bounds; ``SurveyError`` names what is beyond."""
    worst = max(records, key=lambda record: abs(record["error"]))
    where = f"{worst['name']} on {worst['array']}, memory latency {worst['latency']}"
    if abs(worst["error"]) > WORST_ERROR:
        raise SurveyError(f"the predicted cycles of {where} are {worst['error']:+.2%} off, more than {WORST_ERROR:.0%}")
    mean = statistics.mean(abs(record["error"]) for record in records)
    if mean > MEAN_ERROR:
        raise SurveyError(
            f"the predicted cycles of {len(records)} points are {mean:.2%} off in the mean, more than {MEAN_ERROR:.0%}"
            f"; the worst is {where}, {worst['error']:+.2%}"
        )


def _by_hardware(records: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for array in dict.fromkeys(record["array"] for record in records):
        errors = [abs(record["error"]) for record in records if record["array"] == array]
        exact = sum(error == 0 for error in errors)
        yield array, f"{len(errors)}", f"{exact}", f"{statistics.mean(errors):.2%}", f"{max(errors):.2%}"


def _draw(records: list[dict[str, Any]], path: Path) -> None:
    """The error of each point against its cycles."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8, 4), layout="constrained")
    axes = canvas.add_subplot()
    known = ("4x4", "8x8", "16x16", "6x10")
    colours = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
    for array, colour, marker in zip((*known, "others"), colours, "osD^v", strict=True):
        chosen = [r for r in records if r["array"] == array or (array == "others" and r["array"] not in known)]
        axes.plot(
            [r["measured"] for r in chosen], [100 * r["error"] for r in chosen],
            linestyle="", color=colour, marker=marker, label=array,
        )  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("cycles, measured on the RTL")
    axes.set_ylabel("error of the prediction, %")
    axes.legend(frameon=False)
    canvas.savefig(path)
