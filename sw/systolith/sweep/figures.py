"""The figures of a report, each from the records of a sweep, with matplotlib and without a display."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from systolith.analysis.causes import CAUSES

from .record import Record
from .series import Area, area_of, dimension, intensity, pareto_front, peak, point_titles, roof, series_of

#: Okabe and Ito's colours, told apart by nearly everyone; then the same again with other markers.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX"
#: One colour for each cause: the array's work, then what it waited for.
_CAUSE_COLOURS = (
    "#0072b2", "#f0e442", "#e69f00", "#bbbbbb", "#d55e00", "#cc79a7", "#56b4e9", "#009e73", "#777777",
)  # fmt: skip
#: Most bars of the causes, and most lines of one figure; the page's table has the others.
MAX_BARS, MAX_SERIES = 40, 14
_WIDTH, _HEIGHT = 8.0, 4.8
_STYLE: dict[Any, Any] = {
    "font.size": 10.0, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
    "svg.hashsalt": "systolith", "legend.frameon": False, "axes.axisbelow": True,
}  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """One figure: the name of its file, a sentence of what it shows and says, and how to draw it."""

    name: str
    caption: str
    draw: Callable[[], Figure]


def plots(records: Sequence[Record]) -> list[Plot]:
    """The figures that these records allow: ``records`` are those that ran, all of them bit-exact or not."""
    rest = f" The first {MAX_BARS} of {len(records)} runs." if len(records) > MAX_BARS else ""
    shown = [
        Plot(
            "utilization",
            "Share of the array's multiply-accumulates that did work, against its size. Measured on the RTL.",
            lambda: utilization(records),
        ),
        Plot(
            "cycles",
            "Cycles against the size of the array. Solid: measured on the RTL. Dotted: the bound, computed as "
            "max(MACs / (rows x cols), bytes / bandwidth), every byte once.",
            lambda: cycles(records),
        ),
        Plot(
            "roofline",
            "Multiply-accumulates a cycle against those for each byte on the busier direction of the bus. Points: "
            "measured on the RTL. Lines: the roofs, computed from array size and bus width.",
            lambda: roofline(records),
        ),
        Plot(
            "causes",
            "Where the cycles went: what the array did or waited for in each cycle of a run, in percent of its cycles. "
            f"Measured on the RTL.{rest}",
            lambda: where_cycles_went(records),
        ),
    ]
    area = area_of(records)
    if area is not None:
        shown.insert(
            2,
            Plot(
                "area",
                f"Cycles (measured on the RTL) against area (synthesised for {area.target}). The line joins "
                "what no other accelerator beats in both: the Pareto front.",
                lambda: cycles_against_area(records, area),
            ),
        )
    return shown


def utilization(records: Sequence[Record]) -> Figure:
    """MACs / (rows x cols x cycles) against array size, a line for each workload and setting."""
    with style():
        figure, axes = _figure()
        for number, (label, members) in enumerate(_lines(records)):
            at = [peak(record) for record in members]
            axes.plot(at, [100 * r["utilization"] for r in members], label=label, **_look(number))
        _sizes(axes, records)
        axes.set_ylim(0, 105)
        axes.set_ylabel("array utilization (%), measured on RTL")
        _legend(figure, axes)
        return figure


def cycles(records: Sequence[Record]) -> Figure:
    """Cycles, measured, and their bound, computed, against array size."""
    with style():
        figure, axes = _figure()
        for number, (label, members) in enumerate(_lines(records)):
            at = [peak(record) for record in members]
            look = _look(number)
            axes.plot(at, [r["cycles"] for r in members], label=label, **look)
            bound = [r["bound_cycles"] for r in members]
            axes.plot(at, bound, color=look["color"], linestyle=":", marker="_", linewidth=1.2)
        axes.plot([], [], color="#555555", linestyle=":", marker="_", label="bound (computed)")
        axes.set_yscale("log")
        _sizes(axes, records)
        axes.set_ylabel("cycles, measured on RTL")
        _legend(figure, axes)
        return figure


def roofline(records: Sequence[Record]) -> Figure:
    """The measured points below the roofs of their accelerators; a roof for each array size and bandwidth."""
    with style():
        figure, axes = _figure()
        places = [(intensity(record), record["macs"] / record["cycles"]) for record in records]
        low, high = min(x for x, _ in places) / 4, max(x for x, _ in places) * 4
        roofs = sorted({(peak(record), roof(record)) for record in records}, reverse=True)
        names: dict[int, str] = {}
        for record in records:
            names.setdefault(peak(record), dimension(record))
        colours = {size: _COLOURS[i % len(_COLOURS)] for i, size in enumerate(sorted(names))}
        for size, bandwidth in roofs:
            ridge = min(max(size / bandwidth, low), high)
            edge = [low, ridge, high]
            axes.plot(edge, [min(size, bandwidth * x) for x in edge], color=colours[size], linewidth=1.0, alpha=0.8)
            axes.annotate(
                f"{names[size]}, {bandwidth} B/cycle", (high, min(size, bandwidth * high)), xytext=(4, 0),
                textcoords="offset points", fontsize=8, va="center", color=colours[size],
            )  # fmt: skip
        for number, (label, members) in enumerate(_lines(records)):
            axes.scatter(
                [intensity(r) for r in members], [r["macs"] / r["cycles"] for r in members],
                c=[colours[peak(r)] for r in members], marker=_MARKERS[number % len(_MARKERS)], s=36, zorder=3,
            )  # fmt: skip
            axes.plot([], [], color="#555555", linestyle="", marker=_MARKERS[number % len(_MARKERS)], label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_xlabel("arithmetic intensity (MAC/byte moved), measured on RTL")
        axes.set_ylabel("MAC/cycle, measured on RTL")
        _legend(figure, axes)
        return figure


def cycles_against_area(records: Sequence[Record], area: Area) -> Figure:
    """Cycles of each workload against the area of the accelerator, with the Pareto front."""
    with style():
        figure, axes = _figure()
        groups: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if area(record) is not None:
                groups[record["workload"]].append(record)
        for number, (workload, members) in enumerate(sorted(groups.items())[:MAX_SERIES]):
            look = _look(number)
            places = [(area(r) or 0.0, r["cycles"]) for r in members]
            axes.plot(*zip(*places, strict=True), label=workload, **(look | {"linestyle": ""}))
            front = pareto_front(places)
            axes.plot(*zip(*front, strict=True), color=look["color"], linewidth=1.2, drawstyle="steps-post")
            for place, record in zip(places, members, strict=True):
                axes.annotate(dimension(record), place, xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.plot([], [], color="#555555", linewidth=1.2, label="Pareto front")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        axes.set_xlabel(f"area ({area.unit}), synthesised for {area.target}")
        axes.set_ylabel("cycles, measured on RTL")
        axes.margins(x=0.12)
        _legend(figure, axes)
        return figure


def where_cycles_went(records: Sequence[Record]) -> Figure:
    """A bar for each run, cut into the causes of its cycles, in percent."""
    with style():
        chosen = list(records)[:MAX_BARS]
        titles = point_titles(records)[:MAX_BARS]
        figure, axes = _figure(height=1.7 + 0.32 * len(chosen))
        labels = [label for _, label in CAUSES]
        left = [0.0] * len(chosen)
        for colour, label in zip(_CAUSE_COLOURS, labels, strict=True):
            shares = [100 * record["causes"][label] / record["cycles"] for record in chosen]
            if any(shares):
                axes.barh(range(len(chosen)), shares, left=left, color=colour, label=label, height=0.7)
            left = [a + b for a, b in zip(left, shares, strict=True)]
        axes.set_yticks(range(len(chosen)), titles)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of the run's cycles (%), measured on RTL")
        _legend(figure, axes, columns=3)
        return figure


def style() -> AbstractContextManager[None]:
    """While this is entered, matplotlib draws as all figures of a report look."""
    return rc_context(_STYLE)


def _figure(height: float = _HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _lines(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """The first series, each by rising array size."""
    found = list(series_of(records).items())[:MAX_SERIES]
    return [(label, sorted(members, key=peak)) for label, members in found]


def _look(number: int) -> dict[str, Any]:
    turn = number // len(_COLOURS)
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[(number + turn) % len(_MARKERS)],
        "linestyle": ("-", "--")[turn % 2],
        "linewidth": 1.6,
        "markersize": 5.5,
    }


def _sizes(axes: Axes, records: Sequence[Record]) -> None:
    """A logarithmic axis of processing elements, labelled with the sizes that were run."""
    names: dict[int, list[str]] = defaultdict(list)
    for record in sorted(records, key=lambda r: (peak(r), r["rows"])):
        if dimension(record) not in names[peak(record)]:
            names[peak(record)].append(dimension(record))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    close = [b / a < 1.25 for a, b in zip(list(names), list(names)[1:], strict=False)]
    labels = ["\n".join(group) for group in names.values()]
    # Every other one of labels that would touch goes a line lower.
    for i, near in enumerate(close, 1):
        if near and not labels[i - 1].startswith("\n"):
            labels[i] = "\n" + labels[i]
    axes.set_xticks(list(names), labels)
    axes.set_xlabel("array (rows x cols), by its number of processing elements")
    axes.margins(x=0.08)


def _legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Below the axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9)


def _thousands(value: float, _: object) -> str:
    return f"{value:,.0f}"
