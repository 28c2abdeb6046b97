"""The figures of a report, each from the records of a sweep, with matplotlib and without a display."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from systolith.analysis.causes import CAUSES

from .record import Outcome, Record
from .series import (
    MEMORY_SETTINGS,
    Area,
    area_of,
    dimension,
    intensity,
    pareto_front,
    peak,
    point_titles,
    roof,
    series_of,
)

#: Okabe and Ito's colours, told apart by nearly everyone; then the same again with other markers.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "osD^vPX"
#: One for each bandwidth of a roof.
_DASHES: Any = ("-", "--", "-.", ":", (0, (8, 3)), (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)))
#: One colour for each cause: the array's work, then what it waited for.
_CAUSE_COLOURS = (
    "#0072b2", "#f0e442", "#e69f00", "#bbbbbb", "#d55e00", "#cc79a7", "#56b4e9", "#009e73", "#777777",
)  # fmt: skip
#: Most bars of the causes, and most series of one figure, as many as look different; the page's table has the others.
MAX_BARS, MAX_SERIES = 40, 2 * len(_MARKERS)
#: Inches of a figure, which grows with long names; least ones of the bars beside their names.
_WIDTH, _HEIGHT, _BARS_WIDTH = 8.0, 4.8, 4.0
#: Points of a legend's text and of all other; inches a point of a character's width.
_LEGEND_SIZE, _SIZE, _CHARACTER = 9.0, 10.0, 0.008
#: Inches of a legend's line, and of what stands before and after its text; lines that a figure's height allows for.
_LEGEND_LINE, _LEGEND_HANDLE, _LEGEND_LINES = 0.19, 0.6, 4
#: Share of an axis that the name of a size takes.
_LABEL_SHARE = 0.08
_GREY = "#555555"
_BOUND: dict[str, Any] = {"linestyle": ":", "marker": "_", "linewidth": 1.2}
_STYLE: dict[Any, Any] = {
    "font.size": _SIZE, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
    "svg.hashsalt": "systolith", "legend.frameon": False, "axes.axisbelow": True,
}  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """One figure: the name of its file, a sentence of what it shows and says, and how to draw it."""

    name: str
    caption: str
    draw: Callable[[], Figure]


def plots(records: Sequence[Record]) -> list[Plot]:
    """The figures that ``records``, those that ran, allow: the bit-exact ones are drawn, captions name the rest."""
    every, records = len(records), [record for record in records if record["outcome"] == Outcome.EXACT]
    if not records:
        return []
    wrong = every - len(records)
    only = f" Runs that are not bit-exact are left out: {wrong} of {every}." if wrong else ""
    rest = _first(MAX_SERIES, len(series_of(records)), "series") + only
    shown = [
        Plot(
            "utilization",
            "Share of the array's multiply-accumulates that did work, against its size. Measured on the RTL. Lines "
            f"join square arrays.{rest}",
            lambda: utilization(records),
        ),
        Plot(
            "cycles",
            "Cycles against the size of the array. Solid: measured on the RTL. Dotted: the bound, computed as "
            f"max(MACs / (rows x cols), bytes / bandwidth, elements / lanes), every byte once.{rest}",
            lambda: cycles(records),
        ),
        Plot(
            "roofline",
            "Multiply-accumulates a cycle against those for each byte on the busier direction of the bus. Points: "
            f"measured on the RTL. Lines: the roofs, computed from array size and bus width.{rest}",
            lambda: roofline(records),
        ),
        Plot(
            "causes",
            "Where the cycles went: what the array did or waited for in each cycle of a run, in percent of its cycles. "
            f"Measured on the RTL.{_first(MAX_BARS, len(records), 'runs')}{only}",
            lambda: where_cycles_went(records),
        ),
    ]
    area = area_of(records)
    if area is not None:
        placed = _by_memory(records, area)
        shown.insert(
            2,
            Plot(
                "area",
                f"Cycles (measured on the RTL) against area (synthesised for {area.target}). The line joins "
                "what no other accelerator beats in both: the Pareto front."
                f"{_first(MAX_SERIES, len(placed), 'series')}{only}",
                lambda: cycles_against_area(records, area),
            ),
        )
    return shown


def _first(most: int, found: int, what: str) -> str:
    """The sentence of a caption that says that not all are drawn, if so."""
    return f" The first {most} of {found} {what}." if found > most else ""


def _by_memory(records: Sequence[Record], area: Area) -> dict[str, list[Record]]:
    """Those whose area is known, by workload and memory."""
    return series_of([record for record in records if area(record) is not None], MEMORY_SETTINGS)


def utilization(records: Sequence[Record]) -> Figure:
    """MACs / (rows x cols x cycles) against array size, a line for each workload and setting."""
    with style():
        figure, axes = _figure()
        lines = _lines(series_of(records))
        for number, (label, members) in enumerate(lines):
            _points(axes, members, [100 * r["utilization"] for r in members], label, _look(number))
        _sizes(axes, _drawn(lines))
        axes.set_ylim(0, 105)
        axes.set_ylabel("array utilization (%), measured on RTL")
        _legend(figure, axes)
        return figure


def cycles(records: Sequence[Record]) -> Figure:
    """Cycles, measured, and their bound, computed, against array size."""
    with style():
        figure, axes = _figure()
        lines = _lines(series_of(records))
        for number, (label, members) in enumerate(lines):
            look = _look(number)
            _points(axes, members, [r["cycles"] for r in members], label, look)
            bound = [r["bound_cycles"] for r in members]
            axes.plot([peak(r) for r in members], bound, color=look["color"], **_BOUND)
        axes.plot([], [], color=_GREY, label="bound (computed)", **_BOUND)
        _logarithmic(axes, "y")
        _sizes(axes, _drawn(lines))
        axes.set_ylabel("cycles, measured on RTL")
        _legend(figure, axes)
        return figure


def roofline(records: Sequence[Record]) -> Figure:
    """The measured points below the roofs of their accelerators; a roof for each array size and bandwidth."""
    with style():
        figure, axes = _figure()
        lines = _lines(series_of(records))
        records = _drawn(lines)
        low, high = min(map(intensity, records)) / 4, max(map(intensity, records)) * 4
        roofs = sorted({(peak(record), roof(record)) for record in records}, reverse=True)
        sizes = _size_names(records)
        colours = dict(zip(sizes, _shades(len(sizes)), strict=True))
        dashes = dict(zip(sorted({bandwidth for _, bandwidth in roofs}), itertools.cycle(_DASHES), strict=False))
        for size, bandwidth in roofs:
            edge = [low, min(max(size / bandwidth, low), high), high]
            axes.plot(
                edge, [min(size, bandwidth * x) for x in edge], color=colours[size], linewidth=1.2,
                linestyle=dashes[bandwidth], label=f"roof of {' and '.join(sizes[size])}, {bandwidth} B/cycle",
            )  # fmt: skip
        for number, (label, members) in enumerate(lines):
            # Colours are those of sizes: the second half of the series has open markers.
            turn, kind = divmod(number, len(_MARKERS))
            look: dict[str, Any] = {"linestyle": "", "marker": _MARKERS[kind], "fillstyle": ("full", "none")[turn]}
            for r in members:
                axes.plot([intensity(r)], [r["macs"] / r["cycles"]], color=colours[peak(r)], zorder=3, **look)
            axes.plot([], [], color=_GREY, label=label, **look)
        _logarithmic(axes, "x")
        _logarithmic(axes, "y")
        axes.set_xlim(low, high)
        axes.set_xlabel("arithmetic intensity (MAC/byte moved), measured on RTL")
        axes.set_ylabel("MAC/cycle, measured on RTL")
        _legend(figure, axes)
        return figure


def cycles_against_area(records: Sequence[Record], area: Area) -> Figure:
    """Cycles of each workload and memory against the area of the accelerator, with the Pareto front of each."""
    with style():
        figure, axes = _figure()
        lines = _lines(_by_memory(records, area))
        for number, (label, members) in enumerate(lines):
            look = _look(number)
            places = [(area(r) or 0.0, r["cycles"]) for r in members]
            axes.plot(*zip(*places, strict=True), label=label, **(look | {"linestyle": ""}))
            front = pareto_front(places)
            axes.plot(*zip(*front, strict=True), color=look["color"], linewidth=1.2, drawstyle="steps-post")
        axes.plot([], [], color=_GREY, linewidth=1.2, label="Pareto front")
        _logarithmic(axes, "x")
        _logarithmic(axes, "y")
        axes.margins(x=0.08)
        _name_areas(axes, _drawn(lines), area)
        axes.set_xlabel(f"area ({area.unit}), synthesised for {area.target}")
        axes.set_ylabel("cycles, measured on RTL")
        _legend(figure, axes)
        return figure


def _name_areas(axes: Axes, records: Sequence[Record], area: Area) -> None:
    """The sizes above the areas that they take; names that would touch stand above each other."""
    names: dict[float, str] = {area(r) or 0.0: dimension(r) for r in records}
    groups: list[list[float]] = []
    low, high = (math.log(x) for x in axes.get_xlim())
    for value in sorted(names):
        if groups and math.log(value / groups[-1][0]) < _LABEL_SHARE * (high - low):
            groups[-1].append(value)
        else:
            groups.append([value])
    for group in groups:
        text = "\n".join(dict.fromkeys(names[value] for value in group))
        axes.annotate(
            text, (group[0], 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
            ha="center", va="bottom", fontsize=9, color=_GREY,
        )  # fmt: skip


def where_cycles_went(records: Sequence[Record]) -> Figure:
    """A bar for each run, cut into the causes of its cycles, in percent."""
    with style():
        chosen = list(records)[:MAX_BARS]
        titles = point_titles(records)[:MAX_BARS]
        figure, axes = _figure(height=1.7 + 0.32 * len(chosen))
        figure.set_figwidth(max(_WIDTH, _BARS_WIDTH + _CHARACTER * _SIZE * max(map(len, titles))))
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


def _lines(series: dict[str, list[Record]]) -> list[tuple[str, list[Record]]]:
    """The first series, each by rising array size."""
    return [(label, sorted(members, key=peak)) for label, members in list(series.items())[:MAX_SERIES]]


def _drawn(lines: Sequence[tuple[str, list[Record]]]) -> list[Record]:
    """The records of all lines."""
    return [record for _, members in lines for record in members]


def _shades(count: int) -> Sequence[str]:
    """``count`` colours in order, all different: of a scale from dark to light if there are not enough others."""
    if count <= len(_COLOURS):
        return _COLOURS[:count]
    return [to_hex(colormaps["viridis"](0.9 * step / (count - 1))) for step in range(count)]


def _look(number: int) -> dict[str, Any]:
    turn = number // len(_COLOURS)
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[(number + turn) % len(_MARKERS)],
        "linestyle": ("-", "--")[turn % 2],
        "linewidth": 1.6,
        "markersize": 5.5,
    }


def _points(axes: Axes, members: Sequence[Record], values: Sequence[float], label: str, look: dict[str, Any]) -> None:
    """A marker for each record, by its array's size, and a line through those of square arrays."""
    square = [(peak(r), value) for r, value in zip(members, values, strict=True) if r["rows"] == r["cols"]]
    others = [(peak(r), value) for r, value in zip(members, values, strict=True) if r["rows"] != r["cols"]]
    axes.plot([x for x, _ in square], [y for _, y in square], label=label, **look)
    axes.plot([x for x, _ in others], [y for _, y in others], **(look | {"linestyle": "", "fillstyle": "none"}))


def _size_names(records: Sequence[Record]) -> dict[int, list[str]]:
    """The sizes that were run, by their processing elements and rising."""
    names: dict[int, list[str]] = defaultdict(list)
    for record in sorted(records, key=lambda r: (peak(r), r["rows"])):
        if dimension(record) not in names[peak(record)]:
            names[peak(record)].append(dimension(record))
    return dict(names)


def _sizes(axes: Axes, records: Sequence[Record]) -> None:
    """A logarithmic axis of processing elements, labelled with the sizes that were run."""
    names = _size_names(records)
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
    """Below the axes, where it covers nothing, in columns that are wide enough; the figure grows with a long one."""
    handles, labels = axes.get_legend_handles_labels()
    widest = _LEGEND_HANDLE + _CHARACTER * _LEGEND_SIZE * max(map(len, labels))
    columns = max(1, min(columns, int(_WIDTH / widest)))
    figure.set_figwidth(max(figure.get_figwidth(), widest))
    lines = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + _LEGEND_LINE * max(0, lines - _LEGEND_LINES))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=_LEGEND_SIZE)


def _logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis with plain numbers, at 1, 2 and 5 times powers of ten where it spans few of them."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())
