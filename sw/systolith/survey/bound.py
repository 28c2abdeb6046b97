"""Lower bounds on the cycles of an encoder layer and of each of its operations, and measured cycles beside them."""

from dataclasses import asdict, dataclass
from typing import Any

from systolith.analysis.bounds import Bound, Product, bound, encoder_work, product_traffic
from systolith.rtl.config import Config

from .figure import FigureTable, Options, Report
from .hybrid import Shape, Whole, whole_layer

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
    compute, vector : float, cycles
        Hold wherever the operands lie.
    alone : float, cycles
        What its traffic takes if the operands come from DRAM and the result goes there.
    measured : int or None, cycles
        Of the array on it or waiting for it, in a run of the whole layer on the RTL.
    """

    name: str
    compute: float
    vector: float
    alone: float
    measured: int | None

    @property
    def cycles(self) -> float:
        """The bound within a layer, whose intermediate results may stay on the chip."""
        return max(self.compute, self.vector)


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
    # Product, and how many elements pass the lanes: results once, LayerNorm's a second time.
    rows = {
        "projections": (Product(tokens, hidden, hidden, 3), 3 * tokens * hidden),
        "scores, softmax": (scores, heads * tokens * tokens),
        "context": (context, tokens * hidden),
        "output projection, norm": (Product(tokens, hidden, hidden), 2 * tokens * hidden),
        "ffn1, GELU": (Product(tokens, hidden, ffn), tokens * ffn),
        "ffn2, norm": (Product(tokens, ffn, hidden), 2 * tokens * hidden),
    }
    on_chip = config.scratchpad_bytes + config.accumulator_bytes
    return [
        OperationBound(
            name=name,
            compute=product.macs / (config.rows * config.cols),
            vector=elements / config.lanes,
            # A beat each way in a cycle: whatever is read and written, at least half of it goes one way.
            alone=product_traffic(product, on_chip) / (2 * config.bus_bytes),
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
            "operations": {o.name: asdict(o) | {"cycles": o.cycles} for o in self.operations},
        }

    def table(self) -> FigureTable:
        """The table of ``systolith bound``."""
        shape, config, layer = self.shape, self.config, self.layer
        rows = [_row(o.name, o.compute, o.vector, f"{o.alone:,.0f}", o.cycles, o.measured) for o in self.operations]
        rows.append(
            _row("layer", layer.compute, layer.vector, f"{layer.memory:,.0f}", layer.cycles, self.measured)
        )  # fmt: skip
        return FigureTable(
            title=f"{shape.tokens} tokens, hidden {shape.hidden}, {shape.heads} heads, FFN {shape.ffn}, "
            f"{config.rows}x{config.cols}: cycles",
            columns=("operation", "compute", "vector", "memory", "bound", "measured", "bound / measured"),
            rows=tuple(rows),
            note="Bounds are computed. Memory of an operation: alone, operands and result in DRAM, at least "
            "2mnk/sqrt(S) - 2S bytes (arXiv 1702.02017) in both directions; in a layer they may stay on the chip, so "
            "it is no part of its bound there; of the layer: every weight, input and output byte once. "
            + ("Measured: RTL, cycles of the array on the operation or waiting for it." if self.measured else ""),
        )


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


def _row(name: str, compute: float, vector: float, memory: str, least: float, measured: int | None) -> tuple[str, ...]:
    took, share = (f"{measured:,}", f"{least / measured:.1%}") if measured else ("", "")
    return (name, f"{compute:,.0f}", f"{vector:,.0f}", memory, f"{least:,.0f}", took, share)
