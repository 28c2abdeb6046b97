"""Lower bounds on the cycles of an encoder layer and of each of its operations, and measured cycles beside them."""

from dataclasses import asdict, dataclass
from typing import Any

from systolith.analysis.bounds import (
    Bound,
    Product,
    bound,
    encoder_work,
    memory_cycles,
    on_chip_bytes,
    product_traffic,
)
from systolith.compiler.plan import Shape
from systolith.rtl.config import Config

from .figure import Figure, FigureTable, Options, Report
from .hybrid import Whole, subject, whole_layer

#: Operations of this table -> those of the compiler, whose cycles are measured.
MEASURED = {
    "projections": ("projections",),
    "scores, softmax": ("scores", "softmax"),
    "context": ("context",),
    "output projection, norm": ("output projection", "output norm"),
    "ffn1, GELU": ("ffn1", "gelu"),
    "ffn2, norm": ("ffn2", "ffn2 norm", "output store"),
}


@dataclass(frozen=True)
class OperationBound:
    """Cycles at the least of one operation of a layer.

    Attributes
    ----------
    compute : float, cycles
        What its multiply-accumulates take of the array, within a layer too.
    vector : float, cycles
        What its results take of the lanes, which may work beside the array's next operation.
    memory : float, cycles
        What its traffic takes if the operands come from DRAM and the result goes there.
    measured : int or None, cycles
        Of the array on it or waiting for it, in a run of the whole layer on the RTL.
    """

    name: str
    compute: float
    vector: float
    memory: float
    measured: int | None

    @property
    def alone(self) -> float:
        """The bound of the operation as a program of its own."""
        return max(self.compute, self.vector, self.memory)


def layer_bound(shape: Shape, config: Config) -> Bound:
    """The bound of one whole layer."""
    work = encoder_work(layers=1, hidden=shape.hidden, heads=shape.heads, ffn=shape.ffn, tokens=shape.tokens)
    return bound(work, config)


def operation_bounds(shape: Shape, config: Config, whole: Whole | None = None) -> list[OperationBound]:
    """The bounds of a layer's operations, in order; ``whole`` is a run of the layer, if there is one."""
    tokens, hidden, heads, ffn = shape.tokens, shape.hidden, shape.heads, shape.ffn
    size = hidden // heads
    scores = Product(tokens, size, tokens, heads, constant=False)
    context = Product(tokens, tokens, size, heads, constant=False)
    # Product, and how many elements pass the lanes: results once, LayerNorm's a second time. The projections share
    # their first factor.
    rows = {
        "projections": (Product(tokens, hidden, 3 * hidden), 3 * tokens * hidden),
        "scores, softmax": (scores, heads * tokens * tokens),
        "context": (context, tokens * hidden),
        "output projection, norm": (Product(tokens, hidden, hidden), 2 * tokens * hidden),
        "ffn1, GELU": (Product(tokens, hidden, ffn), tokens * ffn),
        "ffn2, norm": (Product(tokens, ffn, hidden), 2 * tokens * hidden),
    }
    return [
        OperationBound(
            name=name,
            compute=product.macs / (config.rows * config.cols),
            vector=elements / config.lanes,
            memory=memory_cycles(
                product.operand_bytes, product.result_bytes, product_traffic(product, on_chip_bytes(config)), config
            ),
            measured=sum(whole.operations[part][0] for part in MEASURED[name]) if whole else None,
        )
        for name, (product, elements) in rows.items()
    ]


@dataclass(frozen=True)
class LayerBounds:
    """The bounds of a layer and of its operations; ``measured`` (cycles) and those of the operations, if it was run."""

    shape: Shape
    config: Config
    layer: Bound
    operations: list[OperationBound]
    measured: int | None

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "shape": asdict(self.shape),
            "config": self.config.to_dict(),
            "layer": asdict(self.layer) | {"cycles": self.layer.cycles, "measured": self.measured},
            "operations": {o.name: asdict(o) | {"alone": o.alone} for o in self.operations},
        }

    def table(self) -> FigureTable:
        """The table of ``systolith bound``."""
        shape, config, layer = self.shape, self.config, self.layer
        rows = [(o.name, o.compute, o.vector, o.memory, o.alone, o.compute, o.measured) for o in self.operations]
        rows.append(("layer", layer.compute, layer.vector, layer.memory, layer.cycles, layer.cycles, self.measured))
        return FigureTable(
            title=f"{shape.tokens} tokens, hidden {shape.hidden}, {shape.heads} heads, FFN {shape.ffn}, "
            f"{config.rows}x{config.cols}: cycles",
            columns=("operation", "compute", "vector", "memory", "alone", "measured", "bound / measured"),
            rows=tuple(_row(*row) for row in rows),
            note="Bounds are computed. Memory of an operation: operands and result in DRAM once, and at least "
            "2mnk/sqrt(S) - 2S bytes in both directions (arXiv 1702.02017), S all that the chip holds; of the layer: "
            "every weight, input and output byte once. Alone: the largest of the three. In the layer, operands may "
            "stay on the chip or come early, and the lanes work beside the array's next operation: there the bound on "
            "the array's cycles is compute. "
            + ("Measured: RTL, cycles of the array on the operation or waiting for it." if self.measured else ""),
        )  # fmt: skip


def layer_bounds(shape: Shape, config: Config, options: Options, report: Report, *, measured: bool) -> LayerBounds:
    """All bounds of a layer; ``measured`` runs it on the RTL."""
    whole = whole_layer(shape, config, options, report) if measured else None
    return LayerBounds(
        shape,
        config,
        layer_bound(shape, config),
        operation_bounds(shape, config, whole),
        whole.cycles if whole else None,
    )


def figure(options: Options, report: Report) -> Figure:
    """The bounds of BERT-Base's layer at the survey's lengths, and a run of each on the RTL."""
    shapes, config = subject(options)
    found = [layer_bounds(shape, config, options, report, measured=True) for shape in shapes]
    return Figure(
        tables=tuple(bounds.table() for bounds in found), data={"layers": [bounds.record() for bounds in found]}
    )


def _row(
    name: str, compute: float, vector: float, memory: float, alone: float, least: float, measured: int | None
) -> tuple[str, ...]:
    took, share = (f"{measured:,}", f"{least / measured:.1%}") if measured else ("", "")
    return (name, *(f"{cycles:,.0f}" for cycles in (compute, vector, memory, alone)), took, share)
