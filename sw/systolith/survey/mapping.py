"""How much a mapping decides: random mappings of the products of attention and FFN, and what search finds.

A hundred thousand mappings of each product are scored in closed form, of which a sample is predicted by the cycle model
and fewer still run on the RTL. Then whole layers, where the heuristic is compared with the best that a search finds.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from systolith.analysis.bench_cases import MemoryTiming
from systolith.compiler.mapping import ProductMapping, ProductShape
from systolith.compiler.plan import Shape
from systolith.mapping.confirm import confirmed
from systolith.mapping.problem import LayerProblem, ProductProblem
from systolith.mapping.product_space import Mappings
from systolith.mapping.score import Score
from systolith.mapping.search import search
from systolith.rtl.config import Config, preset
from systolith.sweep.fingerprint import sources_of
from systolith.sweep.measure import kept

from .figure import Figure, FigureTable, Options, Report

#: The survey's shares within three times of the best, in percent: attention, FFN.
SURVEY = {"scores": 1.70, "context": 1.70, "FFN1": 1.48, "FFN2": 1.48}
_TIMING = MemoryTiming(30)
_DRAWN, _PREDICTED, _RTL = 100_000, 60, 3
#: Longer programs are not predicted: they take minutes, and more than two kilobytes an instruction.
_INSTRUCTIONS = 1_000_000
#: Random mappings that are run on the RTL take at most so many times the fewest cycles: the others run for hours.
_RTL_CYCLES = 2.0
_LAYER_SAMPLES = 40


def _products(*, quick: bool) -> dict[str, tuple[Config, ProductShape]]:
    if quick:
        return {"scores": (preset("tiny"), ProductShape(tokens=32, inputs=8, outputs=32))}
    sizes = {"scores": (512, 64, 512), "context": (512, 512, 64), "FFN1": (512, 768, 3072), "FFN2": (512, 3072, 768)}
    return {name: (preset("default"), ProductShape(tokens=m, inputs=k, outputs=n)) for name, (m, k, n) in sizes.items()}


def _layers(*, quick: bool) -> dict[str, tuple[Config, Shape]]:
    if quick:
        return {"layer of 24, 19 tokens, 4x4": (preset("tiny"), Shape(19, 24, 2, 40))}
    default = preset("default")
    small = replace(default, scratchpad_bytes=64 << 10, accumulator_bytes=64 << 10)
    return {
        "MiniLM layer, 128 tokens": (default, Shape(128, 384, 12, 1536)),
        "hidden 200, 5 heads, 128 tokens": (default, Shape(128, 200, 5, 333)),
        "hidden 200, 5 heads, 77 tokens, 6x10": (default.resized(6, 10), Shape(77, 200, 5, 333)),
        "MiniLM layer, 128 tokens, 64 + 64 KiB": (small, Shape(128, 384, 12, 1536)),
    }


def figure(options: Options, report: Report) -> Figure:
    """Draw, score, predict, run."""
    products = {
        name: _product(name, config, shape, options, report)
        for name, (config, shape) in _products(quick=options.quick).items()
    }
    layers = [
        _layer(name, config, shape, options, report)
        for name, (config, shape) in _layers(quick=options.quick).items()
    ]  # fmt: skip
    shares = {name: np.array(found.pop("edp_over_best")) for name, found in products.items()}
    return Figure(
        tables=(_spread(products), _off(products), _checked(products), _searched(layers)),
        data={"products": products, "layers": layers},
        pictures={"mapping": lambda path: _draw(shares, path)},
    )


def _product(name: str, config: Config, shape: ProductShape, options: Options, report: Report) -> dict[str, Any]:
    """Statistics of random mappings of a product, a sample by the cycle model, and cycles on the RTL."""
    drawn_count, predicted_count = (2000, 8) if options.quick else (_DRAWN, _PREDICTED)
    problem = ProductProblem(config, _TIMING, shape)
    report(f"{name}: {drawn_count:,} mappings")
    drawn = problem.space.draw(drawn_count, np.random.default_rng(0))
    closed = problem.closed_form.score(drawn)
    edp = np.asarray(closed.edp, np.float64)
    order = np.argsort(edp, kind="stable")
    # The closed form's best few are told apart by the cycle model.
    best = min((drawn[int(i)] for i in order[:5]), key=lambda m: float(problem.score(m).edp))
    chosen = {"heuristic": problem.heuristic(), "best of the random": best}
    least = _Least(float(edp.min()), min(float(problem.score(mapping).edp) for mapping in chosen.values()))
    sample = _sampled(name, problem, drawn.chosen(np.arange(predicted_count)), least, options, report)
    quick_ones = np.flatnonzero(closed.cycles[:1000] < _RTL_CYCLES * closed.cycles.min())
    for number, index in enumerate(quick_ones[: 1 if options.quick else _RTL]):
        chosen[f"random {number + 1}"] = drawn[int(index)]
    runs = []
    for label, mapping in chosen.items():
        score = problem.score(mapping)
        ran = confirmed(problem, mapping, score, options.cache, report)
        runs.append(
            {
                "mapping": label, "sizes": asdict(mapping), "closed_form": problem.rough(mapping).cycles,
                "predicted": score.cycles, "measured": ran.cycles, "picojoules": score.energy,
            }
        )  # fmt: skip
    return {
        "shape": str(shape), "array": f"{config.rows}x{config.cols}", "drawn": drawn_count,
        "candidates": problem.space.candidates, "edp": dict(zip(("min", "median", "max"),
            (float(v) for v in np.quantile(edp, (0, 0.5, 1))), strict=True)),
        "within_3x": float(np.mean(edp <= 3 * edp.min())), "within_1.1x": float(np.mean(edp <= 1.1 * edp.min())),
        "heuristic_over_best": float(problem.rough(chosen["heuristic"]).edp / edp.min()),
        "sample": sample, "runs": runs, "edp_over_best": (edp / edp.min()).tolist(),
    }  # fmt: skip


class _Least(NamedTuple):
    """The least energy-delay product known, in closed form and by the cycle model."""

    closed_form: float
    predicted: float


def _sampled(
    name: str, problem: ProductProblem, drawn: Mappings, least: _Least, options: Options, report: Report
) -> dict[str, Any]:
    """Random mappings by the cycle model: how far the closed form is off, and how many are within 3x of the best.

    Of those whose programs are too long to predict the closed form says whether they are.
    """
    closed = problem.closed_form.score(drawn)
    near = closed.edp <= 3 * least.closed_form
    short = np.flatnonzero(problem.closed_form.instructions(drawn) <= _INSTRUCTIONS)
    scores: list[Score] = []
    for number in short:
        report(f"{name}: predicting {len(scores) + 1} of {len(short)}")
        scores.append(_predicted(problem, drawn[int(number)], options.cache))
    cycles, edp = np.array([score.cycles for score in scores]), np.array([score.edp for score in scores])
    near[short] = edp <= 3 * min(least.predicted, edp.min())
    return {
        "drawn": len(drawn), "predicted": len(scores), "within_3x": float(near.mean()),
        "cycles_error": _errors(closed.cycles[short] / cycles), "edp_error": _errors(closed.edp[short] / edp),
    }  # fmt: skip


def _predicted(problem: ProductProblem, mapping: ProductMapping, cache: Path) -> Score:
    key = f"{problem.shape} {mapping} {problem.config.to_toml()} {problem.timing} {sources_of('analysis', 'mapping')}"
    return Score(**kept(cache / "predictions", key, lambda: asdict(problem.score(mapping))))


def _errors(ratios: Any) -> dict[str, float]:
    errors = np.abs(ratios - 1)
    return {"mean": float(errors.mean()), "worst": float(errors.max())}


def _layer(name: str, config: Config, shape: Shape, options: Options, report: Report) -> dict[str, Any]:
    """What a guided search finds for a layer, and what it takes on the RTL."""
    problem = LayerProblem(config, _TIMING, shape)
    found = search(
        problem, "guided", samples=10 if options.quick else _LAYER_SAMPLES,
        progress=lambda done, most: report(f"{name}: predicting {done} of {most}"),
    )  # fmt: skip
    before = confirmed(problem, found.heuristic, found.heuristic_score, options.cache, report)
    after = confirmed(problem, found.best, found.best_score, options.cache, report)
    return {
        "name": name, "predicted": [found.heuristic_score.cycles, found.best_score.cycles],
        "measured": [before.cycles, after.cycles], "picojoules": [before.energy, after.energy],
        "heuristic": asdict(found.heuristic), "best": asdict(found.best),
    }  # fmt: skip


def _spread(products: dict[str, dict[str, Any]]) -> FigureTable:
    (sample,) = {p["sample"]["drawn"] for p in products.values()}
    return FigureTable(
        title="Energy-delay product of random mappings",
        columns=(
            "product", "mappings drawn", "median / best", "worst / best", "within 3x", f"{sample} by the cycle model",
            "survey", "heuristic / best",
        ),
        rows=tuple(
            (
                f"{name} {p['shape']}", f"{p['drawn']:,}", f"{p['edp']['median'] / p['edp']['min']:.2f}",
                f"{p['edp']['max'] / p['edp']['min']:,.0f}", f"{p['within_3x']:.1%}",
                f"{p['sample']['within_3x']:.0%}", f"{SURVEY[name]:.2f} %",
                f"{p['heuristic_over_best']:.2f}",
            )
            for name, p in products.items()
        ),
        note="Cycles in closed form, energy estimated from accesses: estimates both. The best is that of the mappings "
        "drawn, in closed form, to which the heuristic is compared as well; for the share of the first "
        f"{sample} drawn it is the best known by the cycle model. One head of attention; twelve take twelve times the "
        "cycles and the energy by any mapping, which no ratio shows. The mapspace: rows of activations at a time, "
        "output tiles summed together and how far the last of them are halved, tiles of either operand in one LOAD, "
        "the order of the two outer loops, and which operands stay on the chip; dataflow and innermost loop are the "
        "array's. It holds what fits the memories, and nothing twice: of sizes that cut a dimension into as many "
        "parts only the smallest counts. The survey's shares are of Timeloop's mappings of Gemmini, another mapspace, "
        "and a share depends on how often a mapspace counts what is alike: the two need not agree.",
    )  # fmt: skip


def _off(products: dict[str, dict[str, Any]]) -> FigureTable:
    (sample,) = {p["sample"]["drawn"] for p in products.values()}
    return FigureTable(
        title=f"The closed form against the cycle model: the first {sample} mappings drawn",
        columns=("product", "predicted", "cycles, mean error", "worst", "EDP, mean error", "worst"),
        rows=tuple(
            (
                name, f"{p['sample']['predicted']}",
                *(f"{error:.1%}" for of in ("cycles_error", "edp_error") for error in p["sample"][of].values()),
            )
            for name, p in products.items()
        ),
        note=f"Absolute errors, over all of these whose programs have up to {_INSTRUCTIONS:,} instructions.",
    )  # fmt: skip


def _checked(products: dict[str, dict[str, Any]]) -> FigureTable:
    return FigureTable(
        title="Cycles of some of them",
        columns=("product", "mapping", "closed form", "predicted", "measured (RTL)"),
        rows=tuple(
            (name, run["mapping"], f"{run['closed_form']:,.0f}", f"{run['predicted']:,}", f"{run['measured']:,}")
            for name, p in products.items()
            for run in p["runs"]
        ),
        note=f"Measured runs are bit-exact. Random ones are of those within {_RTL_CYCLES:g} times the fewest cycles.",
    )


def _searched(layers: list[dict[str, Any]]) -> FigureTable:
    return FigureTable(
        title="Whole layers: the heuristic's mapping and the best that a guided search finds",
        columns=("layer", "heuristic, predicted", "best, predicted", "heuristic, RTL", "best, RTL", "change on RTL"),
        rows=tuple(
            (
                layer["name"], *(f"{cycles:,}" for cycles in layer["predicted"] + layer["measured"]),
                f"{layer['measured'][1] / layer['measured'][0] - 1:+.2%}",
            )
            for layer in layers
        ),
        note="Cycles at memory latency 30; those on the RTL are measured and bit-exact.",
    )  # fmt: skip


def _draw(shares: dict[str, Any], path: Path) -> None:
    """Histogram of the energy-delay product over the best."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8, 4), layout="constrained")
    axes = canvas.add_subplot()
    most = max(float(values.max()) for values in shares.values())
    bins = np.geomspace(1, most, 60)
    for (name, values), colour in zip(shares.items(), ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=False):
        weights = np.full(len(values), 100 / len(values))
        axes.hist(values, bins=bins.tolist(), weights=weights, histtype="step", color=colour, label=name)
    axes.axvline(3, color="black", linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlabel("energy-delay product over that of the best (estimated)")
    axes.set_ylabel("share of the mappings, %")
    axes.legend(frameon=False)
    canvas.savefig(path)
