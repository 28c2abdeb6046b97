"""A layer whose products run on the RTL and whose other operations run on an emulated host; and all of it on the RTL.

Cycles of the products are measured; the host's are its instructions, counted exactly, at one cycle each: no cache
miss, no wait for a result, no driver. So the host's share is a lower bound.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.workloads import GemmWorkload
from systolith.compiler.plan import Shape
from systolith.files import digest
from systolith.host.kernels import Host
from systolith.host.layer import Handover, HybridLayer
from systolith.host.program import FLAGS, SOURCE
from systolith.models.encoder import cosine
from systolith.models.random_encoder import random_tokens
from systolith.models.registry import Model, load_model
from systolith.rtl.config import Config, preset
from systolith.runtime.device import open_device
from systolith.runtime.session import run_encoder
from systolith.sweep.measure import kept, measure

from .figure import Options, Report, SurveyError

#: The memory of all runs: the survey's Gemmini has a latency of about this much.
TIMING = MemoryTiming(30)


def products(shape: Shape) -> dict[str, tuple[int, GemmWorkload]]:
    """The layer's matrix products: how often each is done, and one of them."""

    def product(depth: int, columns: int) -> GemmWorkload:
        return GemmWorkload(rows=shape.tokens, depth=depth, columns=columns)

    return {
        "projections": (3, product(shape.hidden, shape.hidden)),
        "scores": (shape.heads, product(shape.head_size, shape.tokens)),
        "context": (shape.heads, product(shape.tokens, shape.head_size)),
        "output": (1, product(shape.hidden, shape.hidden)),
        "ffn1": (1, product(shape.hidden, shape.ffn)),
        "ffn2": (1, product(shape.ffn, shape.hidden)),
    }


def _random_layer(shape: Shape) -> Model:
    return load_model("random", layers=1, **dataclasses.asdict(shape))


def subject(options: Options) -> tuple[tuple[Shape, ...], Config]:
    """The layers of the experiments, and the accelerator with all of its units."""
    if options.quick:
        return (Shape(hidden=64, heads=2, ffn=128, tokens=16),), preset("tiny")
    bert = {"hidden": 768, "heads": 12, "ffn": 3072}
    return (Shape(**bert, tokens=128), Shape(**bert, tokens=512)), preset("default")


def bare(config: Config) -> Config:
    """``config`` without softmax, GELU and LayerNorm: products, and REQUANTIZE of their sums."""
    return dataclasses.replace(config, softmax=False, gelu=False, layernorm=False)


def product_cycles(shape: Shape, config: Config, options: Options, report: Report) -> dict[str, int]:
    """Cycles of each of the layer's products on the RTL of ``config``, one program after the other, each bit-exact."""
    return {
        name: count * measure(workload, config, TIMING, options.cache, report).cycles
        for name, (count, workload) in products(shape).items()
    }


@dataclass(frozen=True, kw_only=True)
class HostCost:
    """What the host does in a layer.

    Attributes
    ----------
    instructions : dict
        Stage of the layer -> operation -> instructions.
    deviation : float
        Largest deviation of an fp32 kernel from numpy, relative to the largest magnitude of its result.
    cosine, largest_error : float
        The layer's output against that of the layer in fp32 throughout, whose values have a deviation of about 1.
    """

    instructions: dict[str, dict[str, int]]
    deviation: float
    cosine: float
    largest_error: float

    def of(self, operation: str) -> int:
        """Instructions of one operation in all stages."""
        return sum(stage.get(operation, 0) for stage in self.instructions.values())

    @property
    def total(self) -> int:
        return sum(sum(stage.values()) for stage in self.instructions.values())


def host_cost(shape: Shape, handover: Handover, options: Options, report: Report) -> HostCost:
    """Run the host's share of a random layer in the emulator, with scales from other random tokens."""

    def run() -> dict[str, Any]:
        report(f"host, {handover.value}: {shape}")
        layer = _random_layer(shape).encoder.layers[0]
        x = random_tokens(shape.tokens, shape.hidden, 0)
        hybrid = HybridLayer.calibrate(layer, random_tokens(max(shape.tokens, 96), shape.hidden, 1), handover)
        host = Host()
        got, wanted = hybrid.forward(x, host), layer.forward(x)
        instructions: dict[str, dict[str, int]] = {}
        for (stage, operation), count in host.instructions.items():
            instructions.setdefault(stage, {})[operation] = count
        return {
            "instructions": instructions,
            "deviation": host.deviation,
            "cosine": cosine(got, wanted),
            "largest_error": float(abs(got - wanted).max()),
        }

    code = digest(b"".join(path.read_bytes() for path in sorted(SOURCE.parent.iterdir()) if path.is_file()))
    return HostCost(**kept(options.cache / "host", f"{shape} {handover} {code} {FLAGS}", run))


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole layer on the RTL: ``cycles``, and for each operation [cycles of the array, its waits included; cycles of
    the vector unit; multiply-accumulates], and ``cosine`` against fp32."""

    cycles: int
    operations: dict[str, list[int]]
    cosine: float

    def array(self, *names: str) -> int:
        return sum(self.operations[name][0] for name in names if name in self.operations)

    def vector(self, *names: str) -> int:
        return sum(self.operations[name][1] for name in names if name in self.operations)


def whole_layer(shape: Shape, config: Config, options: Options, report: Report) -> Whole:
    """Run the layer on the RTL of ``config`` with its trace, bit-exact, its cycles shared out among its operations."""

    def run() -> dict[str, Any]:
        report(f"RTL {config.rows}x{config.cols}, latency {TIMING.latency}, whole layer: {shape}")
        model = _random_layer(shape)
        x = model.prepare()
        device = open_device(config, "rtl", latency=TIMING.latency, bandwidth=TIMING.bandwidth)
        outcome = run_encoder(model.quantized, x, device)
        if outcome.difference is not None:
            raise SurveyError(f"{shape} is not bit-exact on the RTL: {outcome.difference}")
        operations: dict[str, list[int]] = {}
        for o in outcome.operations:
            seen = operations.setdefault(o.operation.name, [0, 0, 0])
            for index, count in enumerate((o.cycles, o.vector_cycles, o.operation.macs)):
                seen[index] += count
        output = model.dequantize(outcome.outputs[-1])
        wanted = model.encoder.forward(model.activations(""))[-1]
        return {"cycles": outcome.cycles, "operations": operations, "cosine": cosine(output, wanted)}

    return Whole(**kept(options.cache / "layers", f"{shape} {config.to_toml()} {TIMING}", run))
