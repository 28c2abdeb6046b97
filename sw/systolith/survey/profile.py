"""FLOPs, memory operations and arithmetic intensity of networks (the survey's section 2), and their roofline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from systolith.analysis.networks import MODELS, RESNET, check_tokens, network_of
from systolith.analysis.operations import Count, Operation, groups, resnet50, total, transformer
from systolith.rtl.config import Config, preset

from .figure import Figure, FigureTable, Options, Report, SurveyError

LENGTHS = (128, 512)
#: What the survey prints: (model, tokens) -> GFLOP, GMOP, FLOPs a byte.
SURVEY = {
    ("bert-base", 128): (22.42, 0.14, 159.7),
    ("bert-base", 512): (97.02, 0.42, 231.0),
    ("bert-base, 4 heads", 512): (None, None, 304.0),
}


def profile_table(title: str, operations: Sequence[Operation], *, each: bool = False) -> FigureTable:
    """A table of the groups, or of ``each`` operation, and of all together."""
    named: list[tuple[str, Count]] = (
        [(o.name, total([o])) for o in operations] if each else list(groups(operations).items())
    )
    everything = total(operations)
    rows = [(*_cells(name, count), f"{count.flops / everything.flops:.1%}") for name, count in named]
    return FigureTable(
        title=title,
        columns=("operations", "GFLOP", "GMOP", "FLOP / byte", "share of FLOPs"),
        rows=(*rows, (*_cells("all", everything), "")),
        note="Computed: two FLOPs a multiply-add, 8 bits everywhere, every operand and result once (infinite local "
        "memory).",
    )


def profiles(model: str, lengths: Sequence[int], sizes: dict[str, int | None]) -> list[tuple[str, list[Operation]]]:
    """(title, operations) of a model at each length; a ResNet has none and is counted fused and not.

    Raises
    ------
    SurveyError
        If the model, a size or a length is none.
    """
    if model == RESNET:
        if any(size is not None for size in sizes.values()):
            raise SurveyError(f"{RESNET} has no layers, hidden, heads or ffn")
        return [(f"{RESNET}, fused", resnet50(fused=True)), (f"{RESNET}, not fused", resnet50(fused=False))]
    network = network_of(model, sizes)
    own = "".join(f", {size} {name}" for name, size in sizes.items() if size is not None)
    return [
        (f"{model}{own}, {tokens} tokens", transformer(network, check_tokens(tokens))) for tokens in lengths
    ]  # fmt: skip


def ridge(config: Config) -> float:
    """FLOPs a byte from which the array limits, not the bus: its FLOPs a cycle by the bytes a cycle one way."""
    return 2 * config.rows * config.cols / config.bus_bytes


def figure(options: Options, report: Report) -> Figure:
    """All models at the survey's lengths, what the survey prints beside them, and the roofline."""
    points: list[tuple[str, list[Operation]]] = []
    for model in MODELS:
        report(model)
        points += profiles(model, LENGTHS, {})
    points += profiles("bert-base", LENGTHS[1:], {"heads": 4})
    printed = {f"{model}, {tokens} tokens": row for (model, tokens), row in SURVEY.items()}
    printed["bert-base, 4 heads, 512 tokens"] = SURVEY["bert-base, 4 heads", 512]
    rows = []
    for title, operations in points:
        known = printed.get(title)
        survey = " / ".join("-" if value is None else f"{value:g}" for value in known) if known else ""
        rows.append((*_cells(title, total(operations)), survey))
    table = FigureTable(
        title="FLOPs, bytes and intensity of whole networks",
        columns=("network", "GFLOP", "GMOP", "FLOP / byte", "survey"),
        rows=tuple(rows),
        note="Computed. This accelerator (preset default) turns from memory to compute at "
        f"{ridge(preset('default')):g} FLOP / byte. GPT-2 makes its tokens one at a time.",
    )
    groupwise = [profile_table(title, operations) for title, operations in points if title.startswith("bert-base, ")]
    counts = {title: total(operations) for title, operations in points}
    return Figure(
        tables=(table, *groupwise),
        data={title: _record(operations) for title, operations in points},
        pictures={"roofline": lambda path: draw_roofline(counts, preset("default"), path)},
    )


def record_of(points: Sequence[tuple[str, list[Operation]]]) -> dict[str, Any]:
    """JSON values of :func:`profiles`."""
    return {title: _record(operations) for title, operations in points}


def _record(operations: Sequence[Operation]) -> dict[str, Any]:
    counts = {**groups(operations), "all": total(operations)}
    return {
        "groups": {n: {"flops": c.flops, "bytes": c.bytes, "intensity": c.intensity} for n, c in counts.items()},
        "operations": {o.name: {"group": o.group, "flops": o.flops, "bytes": o.bytes} for o in operations},
    }


def _cells(name: str, count: Count) -> tuple[str, str, str, str]:
    return name, f"{count.flops / 1e9:,.2f}", f"{count.bytes / 1e9:,.3f}", f"{count.intensity:,.1f}"


def draw_roofline(counts: dict[str, Count], config: Config, path: Path) -> None:
    """Attainable FLOPs a cycle against FLOPs a byte, each network under the roof of ``config``; all computed."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(9, 5), layout="constrained")
    axes = canvas.add_subplot()
    peak, turn = 2 * config.rows * config.cols, ridge(config)
    axes.plot([0.5, turn, 2000], [0.5 * config.bus_bytes, peak, peak], color="black")
    axes.axvline(turn, color="#555555", linestyle=":")
    axes.annotate(f"ridge: {turn:g} FLOP/B", (turn, 1.2 * config.bus_bytes), rotation=90, ha="right", va="bottom")
    colours = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
    markers = "osD^vPX*<>hp"
    for index, (title, count) in enumerate(counts.items()):
        attained = min(peak, count.intensity * config.bus_bytes)
        axes.plot(
            count.intensity, attained, linestyle="", marker=markers[index % len(markers)],
            color=colours[index % len(colours)], label=f"{title}: {count.intensity:,.1f}",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("FLOPs a byte")
    axes.set_ylabel(f"FLOPs a cycle that {config.rows}x{config.cols}, {config.bus_bytes} B/cycle allows")
    axes.legend(loc="lower right", fontsize=8, frameon=True)
    canvas.savefig(path)
