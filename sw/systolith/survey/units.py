"""Each non-linear unit added alone, and I-BERT's polynomials (arXiv 2101.01321) beside this accelerator's look-ups."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from systolith.compiler.plan import Shape
from systolith.host.layer import Handover
from systolith.host.program import HostError
from systolith.models.calibrate import calibrate
from systolith.models.encoder import ModelError
from systolith.models.evaluate import evaluate, held_out
from systolith.models.quantize import quantize
from systolith.models.quantized import QuantizedEncoder
from systolith.models.registry import Model, load_model
from systolith.models.sentences import calibration_texts
from systolith.numerics import reference
from systolith.numerics.approximation import APPROXIMATIONS, POLYNOMIAL
from systolith.rtl.config import Config
from systolith.sweep.measure import kept

from .figure import Figure, FigureTable, Options, Report, SurveyError
from .hybrid import Whole, bare, host_cost, product_cycles, subject, whole_layer
from .unit_variants import VARIANTS, errors, least_cosine, samples

#: What each unit takes over: the host's stages, the products of those stages, and the compiler's operations.
_TAKEN: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "softmax": (("attention",), ("scores", "context"), ("scores", "softmax", "context")),
    "gelu": (("ffn1",), ("ffn1",), ("ffn1", "gelu")),
    "layernorm": (
        ("input", "output", "ffn2"),
        ("output", "ffn2"),
        ("output projection", "output norm", "ffn2", "ffn2 norm", "output store"),
    ),
}
#: Texts over which the embeddings are compared.
_TEXTS, _QUICK_TEXTS = 24, 2
#: The same for the encoder in integers.
_INTEGER_TEXTS = 64


def _cycles(shape: Shape, config: Config, options: Options, report: Report) -> dict[str, tuple[int, int]]:
    """Units present -> (cycles of the accelerator, instructions of the host)."""
    cost = host_cost(shape, Handover.INT8, options, report)
    products = product_cycles(shape, bare(config), options, report)
    whole = whole_layer(shape, config, options, report)
    host = {stage: sum(operations.values()) for stage, operations in cost.instructions.items()}
    found = {"none": (sum(products.values()), sum(host.values()))}
    for unit, (stages, replaced_products, operations) in _TAKEN.items():
        array = sum(products.values()) - sum(products[name] for name in replaced_products) + whole.array(*operations)
        found[unit] = (array, sum(host.values()) - sum(host.get(stage, 0) for stage in stages))
    return found | {"all": (whole.cycles, 0)}


def _integer_accuracy(model: Model, options: Options, report: Report) -> dict[str, dict[str, float]]:
    """Cosines to fp32 of the whole encoder in integers: mean, min and number of texts."""
    quick = options.quick

    def calibrated_anew() -> QuantizedEncoder:
        report("calibrating with polynomials")
        known = [model.activations(text) for text in calibration_texts()[: _QUICK_TEXTS if quick else None]]
        return quantize(model.encoder, calibrate(model.encoder, known, POLYNOMIAL)).approximated(POLYNOMIAL)

    encoders: dict[str, Callable[[], QuantizedEncoder]] = {
        **{name: partial(model.quantized.approximated, name) for name in APPROXIMATIONS},
        f"{POLYNOMIAL}, calibrated with it": calibrated_anew,
    }
    texts = held_out(model, _QUICK_TEXTS if quick else _INTEGER_TEXTS)

    def measured(name: str) -> dict[str, float]:
        encoder = encoders[name]()

        def progress(done: int) -> None:
            report(f"accuracy in integers, {name}: {done} of {len(texts)} texts")

        return evaluate(replace(model, quantized=encoder), texts, progress)

    return {
        name: kept(options.cache / "accuracy", f"{model.name} {quick} {name}", partial(measured, name))
        for name in encoders
    }


def figure(options: Options, report: Report) -> Figure:
    """Cycles and accuracy of each unit; cycles and accuracy with look-ups and with polynomials.

    Raises
    ------
    SurveyError
        If a run on the RTL is not bit-exact, or the packages of the extra ``host`` or MiniLM's weights are missing.
    """
    shapes, config = subject(options)
    try:
        cycles = {shape.tokens: _cycles(shape, config, options, report) for shape in shapes}
        layers = {
            shape.tokens: {
                name: whole_layer(shape, replace(config, approximation=name), options, report)
                for name in APPROXIMATIONS
            }
            for shape in shapes
        }
        model = load_model("minilm-l6")
        integers = _integer_accuracy(model, options, report)
    except (HostError, ModelError) as error:
        raise SurveyError(str(error)) from error
    report("accuracy of the units")
    texts = calibration_texts()[: _QUICK_TEXTS if options.quick else _TEXTS]
    accuracy: dict[str, dict[str, dict[str, float]]] = {}
    for unit, (_, variants) in VARIANTS.items():
        for name, function in variants.items():
            largest, rms = errors(unit, function)
            least = least_cosine(model, texts, unit, function)
            accuracy.setdefault(unit, {})[name] = {"max": largest, "rms": rms, "cosine": least}
    return Figure(
        tables=(
            *(_cycle_table(tokens, found) for tokens, found in cycles.items()),
            _layer_table(layers),
            _accuracy_table(accuracy, len(texts)),
            _integer_table(integers),
        ),
        data={
            "layers": [asdict(shape) for shape in shapes],
            "cycles": {str(tokens): found for tokens, found in cycles.items()},
            "approximations": {
                str(tokens): {name: asdict(whole) for name, whole in found.items()} for tokens, found in layers.items()
            },
            "accuracy": accuracy,
            "texts": len(texts),
            "integers": integers,
        },
        pictures={"units": lambda path: _draw(accuracy, path)},
    )


def _cycle_table(tokens: int, found: dict[str, tuple[int, int]]) -> FigureTable:
    before = sum(found["none"])
    rows = tuple(
        (name, f"{array:,}", f"{host:,}", f"{array + host:,}", f"{before / (array + host):.2f}x")
        for name, (array, host) in found.items()
    )
    return FigureTable(
        title=f"Each unit alone, {tokens} tokens: cycles of a layer, the rest on the host, which is handed int8",
        columns=("units", "accelerator", "host", "both", "speed-up"),
        rows=rows,
        note="Accelerator: measured on the RTL; a unit's operations as in the whole layer's run. Host: a lower bound, "
        "one cycle an instruction.",
    )


def _layer_table(layers: dict[int, dict[str, Whole]]) -> FigureTable:
    return FigureTable(
        title="Look-ups and polynomials: cycles of a whole layer",
        columns=("tokens, units", "all", "softmax, vector unit", "GELU, vector unit", "cosine"),
        rows=tuple(
            (
                f"{tokens}, {name}", f"{whole.cycles:,}", f"{whole.vector('softmax'):,}", f"{whole.vector('gelu'):,}",
                f"{whole.cosine:.4f}",
            )
            for tokens, found in layers.items()
            for name, whole in found.items()
        ),
        note="Measured on the RTL, bit-exact. Vector unit: while it works on the operation, mostly beside the array. "
        "Cosine: of the layer's output with fp32, random weights.",
    )  # fmt: skip


def _integer_table(found: dict[str, dict[str, float]]) -> FigureTable:
    return FigureTable(
        title="MiniLM-L6 in integers with look-ups and with polynomials: cosine to fp32",
        columns=("units", "mean", "least", "texts"),
        rows=tuple((name, f"{f['mean']:.4f}", f"{f['min']:.4f}", f"{f['n']:,}") for name, f in found.items()),
        note="Computed by the integer reference, which the RTL equals, over texts that calibration never saw. Bias "
        "corrections are those of look-ups but for the last row.",
    )


def _accuracy_table(accuracy: dict[str, dict[str, dict[str, float]]], texts: int) -> FigureTable:
    rows = tuple(
        (f"{unit}, {name}", f"{found['max']:.2e}", f"{found['rms']:.2e}", f"{found['cosine']:.6f}")
        for unit, variants in accuracy.items()
        for name, found in variants.items()
    )
    return FigureTable(
        title="Accuracy of the look-ups and of I-BERT's polynomials",
        columns=("unit", "largest error", "rms error", "least cosine"),
        rows=rows,
        note="Computed from the integer definitions, against float64 on seeded inputs. Cosine: sentence embeddings of "
        f"MiniLM-L6 with that function alone replaced, the rest in fp32, over {texts} texts.",
    )


def _draw(accuracy: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    from matplotlib.figure import Figure as Plot

    plot = Plot(figsize=(8, 3.2), layout="constrained")
    axes = plot.subplots(1, 2)
    x = samples("gelu")
    for name, function in VARIANTS["gelu"][1].items():
        axes[0].plot(x, function(x) - reference.gelu(x), label=name, linewidth=0.8)
    axes[0].set_xlabel("x")
    axes[0].set_ylabel("GELU: error")
    axes[0].legend()
    for offset, name in ((-0.2, "look-up"), (0.2, "polynomial")):
        heights = [found[name]["rms"] for found in accuracy.values()]
        axes[1].bar([i + offset for i in range(len(heights))], heights, 0.4, label=name)
    axes[1].set_yscale("log")
    axes[1].set_xticks(range(len(accuracy)), list(accuracy))
    axes[1].set_ylabel("rms error")
    plot.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
