"""Energy and energy-delay product of the cycle model's programs: counters of the RTL times published energies."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from systolith.analysis.energy import count_accesses, estimate
from systolith.analysis.prediction import predict
from systolith.rtl.isa import disassemble
from systolith.sweep.measure import measure

from .cyclemodel import Point, points
from .figure import Figure, FigureTable, Options, Report

#: The programs and the hardware shown, at the first memory timing of each.
_PROGRAMS = (
    "GEMM 77x100x130", "GEMM 128x384x384", "attention 2 heads of 32, 64 tokens", "layer of 64, 50 tokens",
    "layer of 128, 128 tokens", "layer of 16, 200 tokens, keys by blocks", "MiniLM layer, 128 tokens",
    "BERT-Base layer, 128 tokens",
)  # fmt: skip
_ARRAYS = ("4x4", "8x8", "16x16", "6x10", "16x16, 64 + 64 KiB", "4x4, 8 + 2 KiB")
_PARTS = ("array", "scratchpad", "accumulator", "vector", "dram")


def _chosen(*, quick: bool) -> list[Point]:
    found: dict[tuple[str, str], Point] = {}
    for point in points(quick=quick):
        if point.name in _PROGRAMS and point.array in _ARRAYS:
            found.setdefault((point.name, point.array), point)
    return list(found.values())


def figure(options: Options, report: Report) -> Figure:
    """Run the programs on the RTL and estimate their energy, from the counters and from the instructions alone."""
    rows: list[tuple[str, ...]] = []
    products: list[tuple[str, ...]] = []
    records: list[dict[str, Any]] = []
    for point in _chosen(quick=options.quick):
        ran = measure(point.workload, point.config, point.timing, options.cache, report)
        instructions = disassemble(ran.image)
        accesses = count_accesses(instructions, point.config, ran.counters)
        energy = estimate(accesses, point.config)
        alone = estimate(count_accesses(instructions, point.config), point.config)
        predicted = predict(instructions, point.config, point.timing).cycles
        macs = point.workload.work.macs
        measured_product, predicted_product = energy.delay_product(ran.cycles), alone.delay_product(predicted)
        rows.append(
            (
                point.name, point.array, f"{energy.total / 1e6:,.2f}", f"{energy.total / macs:.2f}",
                *(f"{getattr(energy, part) / energy.total:.0%}" for part in _PARTS),
            )
        )  # fmt: skip
        products.append(
            (
                point.name,
                point.array,
                f"{ran.cycles:,}",
                f"{measured_product / 1e12:.3g}",
                f"{predicted_product / 1e12:.3g}",
            )
        )
        records.append(
            {
                "name": point.name, "array": point.array, "config": point.config.to_dict(),
                "latency": point.timing.latency,
                "cycles_measured": ran.cycles, "cycles_predicted": predicted, "macs": macs,
                "accesses": asdict(accesses), "estimated_picojoules": asdict(energy) | {"total": energy.total},
                "energy_delay_of_run": measured_product, "energy_delay_predicted": predicted_product,
            }
        )  # fmt: skip
    return Figure(
        tables=(
            FigureTable(
                title="Energy, estimated",
                columns=("program", "array", "uJ", "pJ/MAC", "array", "scratchpad", "accumulator", "vector", "DRAM"),
                rows=tuple(rows),
                note="Estimates: accesses counted by the RTL's counters and from the instructions, energies of "
                "Horowitz's table (ISSCC 2014, 45 nm).",
            ),
            FigureTable(
                title="Energy-delay product, J x cycles",
                columns=("program", "array", "cycles, measured", "of the run", "predicted"),
                rows=tuple(products),
                note="Of the run: energy estimated, cycles measured on the RTL. Predicted: from the program alone.",
            ),
        ),
        data={"points": records},
        pictures={"energy": lambda path: _draw(records, path)},
    )  # fmt: skip


def _draw(records: list[dict[str, Any]], path: Path) -> None:
    """Picojoules for each multiply-accumulate of a program, by part."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8, 1 + 0.32 * len(records)), layout="constrained")
    axes = canvas.add_subplot()
    left = [0.0] * len(records)
    colours = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#999999")
    for part, colour in zip(_PARTS, colours, strict=True):
        share = [record["estimated_picojoules"][part] / record["macs"] for record in records]
        axes.barh(range(len(records)), share, left=left, color=colour, label="DRAM" if part == "dram" else part)
        left = [a + b for a, b in zip(left, share, strict=True)]
    axes.set_yticks(range(len(records)), [f"{record['name']}, {record['array']}" for record in records])
    axes.invert_yaxis()
    axes.set_xlabel("pJ for each multiply-accumulate, estimated")
    axes.legend(frameon=False)
    canvas.savefig(path)
