"""The command ``systolith map``, and what ``--mapping`` means."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.networks import check_tokens, encoder_of
from systolith.compiler.mapping import MappingError, ProductShape
from systolith.compiler.plan import Plan, Shape
from systolith.files import check_outputs, write_whole
from systolith.models.quantized import QuantizedEncoder
from systolith.options import Accelerator, JsonFile, MappingOptions, MemoryOptions, UsageError, grouped
from systolith.rtl.config import Config
from systolith.sim.cache import cache_directory
from systolith.steps import counted, steps

from .choose import choose_plan
from .confirm import confirmed
from .file import MappingFile, config_digest, read_mapping
from .fusion import CHAINS
from .fusion_command import map_chain
from .problem import LayerProblem, Problem, ProductProblem
from .score import OBJECTIVES, Score, check_objective
from .search import SEARCHES, Found, search

out = Console()
err = Console(stderr=True)
#: Largest dimension of a product.
_LARGEST = 1 << 14
#: The search if none is named.
_SEARCH = "guided"


def plan_for(
    options: MappingOptions, encoder: QuantizedEncoder, config: Config, tokens: int, timing: MemoryTiming,
    report: Callable[[str], None],
) -> Plan | None:  # fmt: skip
    """The plan that ``--mapping`` names for an encoder's layers: None for the compiler's own.

    Raises
    ------
    MappingError, FileError
        If it names a file that cannot be read, or of another layer or configuration.
    """
    if options.mapping == "heuristic":
        return None
    first = encoder.layers[0]
    shape = Shape(tokens, first.hidden, first.heads, first.ffn)
    if options.file is None:
        cache = cache_directory() / "survey"
        chosen = choose_plan(config, shape, timing, cache, report, options.checked_objective())
        err.print(f"mapping: {chosen.reason}", highlight=False, soft_wrap=True)
        return chosen.plan
    plan = read_mapping(options.file, config, shape)
    assert isinstance(plan, Plan)
    return plan


@grouped
def map_command(
    *,
    workload: Annotated[
        str, typer.Option(help=f"layer, a product as TOKENSxINPUTSxOUTPUTS, or a chain: {', '.join(CHAINS)}.")
    ] = "layer",
    model: Annotated[str, typer.Option(help="Layer of bert-base, bert-large or minilm-l6.")] = "minilm-l6",
    seq: Annotated[int, typer.Option(help="Tokens of the layer.")] = 128,
    hidden: Annotated[int | None, typer.Option(help="Hidden size, if another than the model's.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads, likewise.")] = None,
    ffn: Annotated[int | None, typer.Option(help="FFN size, likewise.")] = None,
    how: Annotated[
        str, typer.Option("--search", help=f"{', '.join(SEARCHES)}; of a chain all plans are predicted.")
    ] = _SEARCH,
    objective: Annotated[str, typer.Option(help=f"{', '.join(OBJECTIVES)}.")] = "cycles",
    samples: Annotated[int, typer.Option(min=1, help="Mappings to predict at most.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="What random choices follow from.")] = 0,
    confirm: Annotated[bool, typer.Option("--confirm", help="Run both on the RTL too.")] = False,
    memory: MemoryOptions,
    accelerator: Accelerator,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the better mapping here.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Search for the best mapping of a layer or a matrix product: tile sizes, loop order, what stays on the chip.

    Of a chain of operations, whether to fuse it: sums stay on the chip, or go through DRAM as int8. A layer is fused.
    """
    hardware = accelerator.configuration()
    check_objective(objective)
    check_outputs({"--output": output, "--json": json_file})
    timing = memory.timing
    problem: Problem[Any]
    shape: Shape | ProductShape
    sizes = {"hidden": hidden, "heads": heads, "ffn": ffn}
    if workload in CHAINS:
        if output is not None:
            raise UsageError(f"--output writes the mapping of a layer or product, and {workload} is a chain")
        if how != _SEARCH:
            raise UsageError(f"--search is for layers and products; of {workload} all plans are predicted")
        chain = map_chain(workload, _layer(model, seq, sizes), hardware, timing, objective, confirm=confirm)
        if json_file is not None:
            write_whole(json_file, json.dumps(chain, indent=2) + "\n")
        return
    if workload == "layer":
        shape = _layer(model, seq, sizes)
        problem = LayerProblem(hardware, timing, shape)
    else:
        shape = _product(workload)
        problem = ProductProblem(hardware, timing, shape)
    with counted(err, "predicting") as count:
        found: Found[Any] = search(problem, how, objective=objective, samples=samples, seed=seed, progress=count)
    mappings = {"heuristic": (found.heuristic, found.heuristic_score), "best found": (found.best, found.best_score)}
    measured: dict[str, Score] = {}
    if confirm:
        cache = cache_directory() / "survey"
        with steps(err, "simulating") as step:
            for name, (mapping, score) in mappings.items():
                measured[name] = confirmed(problem, mapping, score, cache, step)
    scores = measured or {name: score for name, (_, score) in mappings.items()}
    better = min(mappings, key=lambda name: scores[name].of(objective))
    _print(found, measured, objective, better)
    results = {
        "search": how, "objective": objective, "samples": found.predicted, "seed": seed, "memory": asdict(timing),
        "predicted": {name: asdict(score) for name, (_, score) in mappings.items()},
        "measured": {name: asdict(score) for name, score in measured.items()}, "better": better,
    }  # fmt: skip
    if output is not None:
        chosen = mappings[better][0]
        MappingFile(config=config_digest(hardware), shape=shape, mapping=chosen, results=results).write(output)
    if json_file is not None:
        record = {name: asdict(mapping) for name, (mapping, _) in mappings.items()}
        write_whole(json_file, json.dumps(results | {"mappings": record}, indent=2) + "\n")


def _layer(model: str, tokens: int, sizes: dict[str, int | None]) -> Shape:
    """A layer of the model, with the sizes that are not None in place of its own."""
    network = encoder_of(model, sizes)
    return Shape(check_tokens(tokens), network.hidden, network.heads, network.ffn)


def _product(text: str) -> ProductShape:
    """The product named as 512x768x3072."""
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})x(\d{1,6})", text)
    if found is None:
        raise MappingError(
            f"unknown workload {text!r}; it is layer, a product as TOKENSxINPUTSxOUTPUTS, or {', '.join(CHAINS)}"
        )
    sizes = [int(size) for size in found.groups()]
    for size in sizes:
        if not 1 <= size <= _LARGEST:
            raise MappingError(f"sizes of a product must be 1 to {_LARGEST}, not {size}")
    return ProductShape(tokens=sizes[0], inputs=sizes[1], outputs=sizes[2])


def _print(found: Found[Any], measured: dict[str, Score], objective: str, better: str) -> None:
    """Costs of both mappings, then where they differ."""
    costs = Table(title=f"{found.predicted} mappings predicted, for the least {objective}", box=SIMPLE)
    costs.title_justify = "left"
    headings = ("mapping", "cycles (predicted)", "energy, uJ (estimated)", "EDP, J x cycles", "cycles (measured, RTL)")
    for heading in headings[: 5 if measured else 4]:
        costs.add_column(heading, justify="left" if heading == "mapping" else "right")
    for name, score in (("heuristic", found.heuristic_score), ("best found", found.best_score)):
        cells = [name, f"{score.cycles:,}", f"{score.energy / 1e6:,.2f}", f"{score.edp / 1e12:.4g}"]
        costs.add_row(*cells, *([f"{measured[name].cycles:,}"] if measured else []))
    out.print(costs)
    if found.best == found.heuristic:
        out.print("The heuristic's is the best of them.")
        return
    sizes = Table(title="Where they differ", title_justify="left", box=SIMPLE)
    for heading in ("", "heuristic", "best found"):
        sizes.add_column(heading)
    for name, value in asdict(found.heuristic).items():
        other = getattr(found.best, name)
        if value != other:
            sizes.add_row(name, str(value), str(other))
    out.print(sizes)
    if measured and better == "heuristic":
        out.print("On the RTL the heuristic's is better.")
