"""Non-linear functions on the host and on the accelerator: where a layer's time goes, and the survey's 39.6x.

Survey: Kim et al., arXiv 2302.14017, section 3.4: BERT-Base on a Gemmini whose host, a Rocket core, computes all but
the matrix products in fp32, against one with I-BERT's functions in hardware.
"""

from dataclasses import asdict
from pathlib import Path

from systolith.compiler.plan import Shape
from systolith.host.kernels import OPERATIONS
from systolith.host.layer import Handover
from systolith.host.program import HostError

from .figure import Figure, FigureTable, Options, Report, SurveyError
from .hybrid import TIMING, HostCost, Whole, bare, host_cost, product_cycles, subject, whole_layer

#: The survey's shares of the layer in percent, before; what is left of 100 it does not name.
SURVEY_BEFORE = {"requantisation": 49, "softmax": 19, "residual": 11, "GELU": 10, "LayerNorm": 4, "products": 1}
#: And after.
SURVEY_AFTER = {"products and GELU": 87, "residual and LayerNorm": 11, "softmax": 3}
SURVEY_SPEEDUP = 39.6
#: Operations of the compiler by rows of the table "after".
AFTER = {
    "products and GELU": ("projections", "scores", "context", "output projection", "ffn1", "gelu", "ffn2"),
    "residual and LayerNorm": ("output norm", "ffn2 norm", "output store"),
    "softmax": ("softmax",),
}
_LOWER = "Products: measured on the RTL. Host: instructions counted exactly, one cycle each at best: a lower bound."


class Subject:
    """A layer measured before (for each handover) and after."""

    def __init__(self, shape: Shape, products: dict[str, int], host: dict[Handover, HostCost], whole: Whole) -> None:
        self.shape, self.products, self.host, self.whole = shape, products, host, whole

    def before(self, handover: Handover) -> dict[str, int]:
        """Cycles by operation."""
        cost = self.host[handover]
        return {name: cost.of(name) for name in OPERATIONS} | {"products": sum(self.products.values())}

    def total(self, handover: Handover) -> int:
        return sum(self.before(handover).values())

    def speedup(self, handover: Handover) -> float:
        return self.total(handover) / self.whole.cycles

    def cycles_per_instruction(self, handover: Handover) -> float:
        """At which the speed-up would be the survey's."""
        return (SURVEY_SPEEDUP * self.whole.cycles - sum(self.products.values())) / self.host[handover].total


def figure(options: Options, report: Report) -> Figure:
    """BERT-Base at 128 and 512 tokens; see :mod:`systolith.survey.hybrid` for how cycles come about.

    Raises
    ------
    SurveyError
        If a run on the RTL is not bit-exact, or the packages of the extra ``host`` are missing.
    """
    shapes, config = subject(options)
    subjects = []
    for shape in shapes:
        try:
            costs = {handover: host_cost(shape, handover, options, report) for handover in Handover}
        except HostError as error:
            raise SurveyError(str(error)) from error
        products = product_cycles(shape, bare(config), options, report)
        subjects.append(Subject(shape, products, costs, whole_layer(shape, config, options, report)))
    return Figure(
        tables=(*map(_before, subjects), *map(_after, subjects), _speedup(subjects), _accuracy(subjects)),
        data={"timing": asdict(TIMING), "config": config.to_dict(), "layers": [_record(s) for s in subjects]},
        pictures={"host": lambda path: _draw(subjects, path)},
    )


def _record(s: Subject) -> dict[str, object]:
    return {
        "shape": asdict(s.shape),
        "product_cycles": s.products,
        "before": {
            handover.name.lower(): asdict(s.host[handover])
            | {"cycles": s.total(handover), "speedup": s.speedup(handover)}
            for handover in Handover
        },
        "after": asdict(s.whole),
    }


def _cells(part: int, whole: int) -> tuple[str, str]:
    return f"{part:,}", f"{part / whole:.1%}"


def _before(s: Subject) -> FigureTable:
    rows = []
    for name in (*OPERATIONS, "products"):
        cells = (cell for h in Handover for cell in _cells(s.before(h)[name], s.total(h)))
        rows.append((name, f"{SURVEY_BEFORE[name]} %" if name in SURVEY_BEFORE else "", *cells))
    rows.append(("all", "", *(cell for h in Handover for cell in (f"{s.total(h):,}", ""))))
    return FigureTable(
        title=f"Before, {s.shape.tokens} tokens: cycles of a layer whose non-linear functions run on the host",
        columns=("operation", "survey", *(cell for h in Handover for cell in (h.value, "share"))),
        rows=tuple(rows),
        note=f"{_LOWER} Columns: what the array hands over.",
    )


def _after(s: Subject) -> FigureTable:
    rows = []
    for name, operations in AFTER.items():
        cells = _cells(s.whole.array(*operations), s.whole.cycles)
        rows.append((name, f"{SURVEY_AFTER[name]} %", *cells, f"{s.whole.vector(*operations):,}"))
    rows.append(("all", "", f"{s.whole.cycles:,}", "", f"{s.whole.vector(*s.whole.operations):,}"))
    return FigureTable(
        title=f"After, {s.shape.tokens} tokens: cycles of the whole layer on the accelerator",
        columns=("operation", "survey", "array", "share", "vector unit"),
        rows=tuple(rows),
        note="Measured on the RTL, bit-exact. The array works on the operation or waits for it; the vector unit's own "
        "cycles run beside it.",
    )


def _speedup(subjects: list[Subject]) -> FigureTable:
    rows = tuple(
        (
            f"{s.shape.tokens}, {h.value}", f"{s.total(h):,}", f"{s.whole.cycles:,}", f"{s.speedup(h):.1f}x",
            f"{SURVEY_SPEEDUP}x", f"{s.cycles_per_instruction(h):.2f}",
        )
        for s in subjects for h in Handover
    )  # fmt: skip
    return FigureTable(
        title="Speed-up of the layer",
        columns=("tokens, handed over", "before", "after", "at least", "survey", "CPI"),
        rows=rows,
        note="After: measured. Before: a lower bound. CPI: cycles that an instruction of the host would have to take "
        "for the survey's speed-up, computed.",
    )


def _accuracy(subjects: list[Subject]) -> FigureTable:
    rows = tuple(
        (
            f"{s.shape.tokens}, {h.value}", f"{s.host[h].cosine:.5f}", f"{s.whole.cosine:.5f}",
            f"{s.host[h].deviation:.1e}",
        )
        for s in subjects for h in Handover
    )  # fmt: skip
    return FigureTable(
        title="Accuracy of the layer",
        columns=("tokens, handed over", "before", "after", "kernels"),
        rows=rows,
        note="Before, after: cosine of the layer's output with fp32 throughout, computed from what ran. Kernels: their "
        "largest deviation from numpy's fp32, relative to the largest value of the result.",
    )


def _draw(subjects: list[Subject], path: Path) -> None:
    from matplotlib.figure import Figure as Plot

    plot = Plot(figsize=(9, 0.9 + 0.8 * (1 + 2 * len(subjects))), layout="constrained")
    axes = plot.subplots()
    names = (*OPERATIONS, "products")
    bars: dict[str, dict[str, float]] = {"survey": {name: float(SURVEY_BEFORE.get(name, 0)) for name in names}}
    for s in subjects:
        for handover in Handover:
            total = s.total(handover)
            bars[f"{s.shape.tokens} tokens, {handover.value}"] = {
                name: 100 * cycles / total for name, cycles in s.before(handover).items()
            }
    left = dict.fromkeys(bars, 0.0)
    for name in names:
        axes.barh(list(bars), [bar[name] for bar in bars.values()], left=list(left.values()), label=name)
        left = {bar: left[bar] + bars[bar][name] for bar in bars}
    axes.invert_yaxis()
    axes.set_xlabel("percent of the layer, non-linear functions on the host (host: lower bound)")
    plot.legend(loc="outside upper center", ncols=len(names), fontsize="small")
    plot.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
