"""Non-linear functions on the host and on the accelerator: where a layer's time goes, and the survey's 39.6x.

Survey: Kim et al., arXiv 2302.14017, section 3.4: BERT-Base on a Gemmini whose host, a Rocket core, computes all but
the matrix products in fp32, against one with I-BERT's functions in hardware.
"""

from dataclasses import asdict
from pathlib import Path

from systolith.host.kernels import OPERATIONS
from systolith.host.layer import Handover
from systolith.host.program import HostError

from .figure import Figure, FigureTable, Options, Report, SurveyError
from .hybrid import TIMING, HostCost, Shape, Whole, bare, host_cost, product_cycles, subject, whole_layer

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
        tables=(_before(subjects), _after(subjects), _speedup(subjects)),
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


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})"


def _before(subjects: list[Subject]) -> FigureTable:
    columns, rows = ["operation", "survey"], []
    for s in subjects:
        columns += [f"{s.shape.tokens} tokens, {handover.value}" for handover in Handover]
    for name in (*OPERATIONS, "products"):
        cells = [_share(s.before(handover)[name], s.total(handover)) for s in subjects for handover in Handover]
        rows.append((name, f"{SURVEY_BEFORE[name]} %" if name in SURVEY_BEFORE else "", *cells))
    totals = (f"{s.total(handover):,}" for s in subjects for handover in Handover)
    rows.append(("all", "", *totals))
    return FigureTable(
        title="Before: cycles of a layer whose non-linear functions run on the host",
        columns=tuple(columns),
        rows=tuple(rows),
        note=f"{_LOWER} Columns: what the array hands over.",
    )


def _after(subjects: list[Subject]) -> FigureTable:
    columns, rows = ["operation", "survey"], []
    for s in subjects:
        columns += [f"{s.shape.tokens} tokens", "vector unit"]
    for name, operations in AFTER.items():
        cells: list[str] = []
        for s in subjects:
            cells += [_share(s.whole.array(*operations), s.whole.cycles), f"{s.whole.vector(*operations):,}"]
        rows.append((name, f"{SURVEY_AFTER[name]} %", *cells))
    totals: list[str] = []
    for s in subjects:
        totals += [f"{s.whole.cycles:,}", f"{s.whole.vector(*s.whole.operations):,}"]
    rows.append(("all", "", *totals))
    return FigureTable(
        title="After: cycles of the whole layer on the accelerator",
        columns=tuple(columns),
        rows=tuple(rows),
        note="Measured on the RTL, bit-exact. The array works on the operation or waits for it; the vector unit's own "
        "cycles run beside it.",
    )


def _speedup(subjects: list[Subject]) -> FigureTable:
    rows = []
    for s in subjects:
        for handover in Handover:
            cost = s.host[handover]
            rows.append((
                f"{s.shape.tokens}, {handover.value}", f"{s.total(handover):,}", f"{s.whole.cycles:,}",
                f"{s.speedup(handover):.1f}x", f"{SURVEY_SPEEDUP}x", f"{s.cycles_per_instruction(handover):.2f}",
                f"{cost.cosine:.5f}", f"{s.whole.cosine:.5f}", f"{cost.deviation:.1e}",
            ))  # fmt: skip
    return FigureTable(
        title="Speed-up of the layer",
        columns=(
            "tokens, handover", "before", "after", "speed-up, at least", "survey", "CPI for the survey's",
            "cosine before", "cosine after", "host from numpy",
        ),
        rows=tuple(rows),
        note="CPI: cycles that an instruction of the host would have to take for the survey's speed-up, computed. "
        "Cosine of the layer's output with fp32 throughout. Host from numpy: largest relative deviation of a kernel.",
    )  # fmt: skip


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
