"""The command ``systolith survey``."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from systolith.analysis.networks import check_tokens, encoder_of
from systolith.compiler.plan import Shape
from systolith.files import check_outputs, check_writable, write_whole
from systolith.options import Accelerator, JsonFile, grouped
from systolith.sim.cache import cache_directory
from systolith.steps import steps

from .figure import FIGURES, FigureTable, Options, SurveyError
from .produce import produce_all

#: Pictures that can be drawn.
_PICTURES = (".svg", ".png", ".pdf")
out = Console()
err = Console(stderr=True)


def survey(
    figure: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(FIGURES)}; all if none.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write JSON and pictures here.")] = None,
    quick: Annotated[bool, typer.Option(help="Small sizes only: seconds.")] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Experiments at a time, by default one for each processor.")
    ] = None,
) -> None:
    """Answer the questions of the survey (arXiv 2302.14017) again, on this RTL; runs are kept, so it resumes."""
    names = figure or list(FIGURES)
    for name in names:
        if name not in FIGURES:
            raise SurveyError(f"unknown figure {name!r}; the figures are {', '.join(FIGURES)}")
    options = Options(quick=quick, cache=cache_directory() / "survey")
    with steps(err, "starting") as step:
        for name, tables in produce_all(names, options, output, step, jobs or os.cpu_count() or 1):
            out.print(f"[bold]{name}[/]: {FIGURES[name][1]}", soft_wrap=True)
            for table in tables:
                out.print(printed(table), crop=False)
                out.print(table.note, style="dim", markup=False, soft_wrap=True)


@grouped
def profile(
    *,
    model: Annotated[str, typer.Option(help="bert-base, bert-large, gpt2, minilm-l6 or resnet50.")] = "bert-base",
    seq: Annotated[str, typer.Option(help="Tokens, joined by commas.")] = "128,512",
    layers: Annotated[int | None, typer.Option(help="Layers, if others than the model's.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden size, likewise.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads, likewise.")] = None,
    ffn: Annotated[int | None, typer.Option(help="FFN size, likewise.")] = None,
    operations: Annotated[bool, typer.Option(help="Each operation, not groups of them.")] = False,
    roofline: Annotated[Path | None, typer.Option(help="Draw the accelerator's roofline here (.svg, .png).")] = None,
    accelerator: Accelerator,
    json_file: JsonFile = None,
) -> None:
    """FLOPs, memory operations and arithmetic intensity of a network, counted as the survey does."""
    from systolith.analysis.operations import total

    from .profile import draw_roofline, profile_table, profiles, record_of

    hardware = accelerator.configuration()
    check_outputs({"--json": json_file, "--roofline": roofline})
    if roofline is not None and roofline.suffix not in _PICTURES:
        raise SurveyError(f"{roofline} is no picture that can be drawn; the kinds are {', '.join(_PICTURES)}")
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "ffn": ffn}
    points = profiles(model, _lengths(seq), sizes)
    for title, counted in points:
        table = profile_table(title, counted, each=operations)
        out.print(printed(table), crop=False)
    out.print(table.note, style="dim", markup=False, soft_wrap=True)
    if json_file is not None:
        write_whole(json_file, json.dumps(record_of(points), indent=1) + "\n")
    if roofline is not None:
        draw_roofline({title: total(counted) for title, counted in points}, hardware, roofline)


@grouped
def bound(
    *,
    model: Annotated[str, typer.Option(help="bert-base, bert-large or minilm-l6.")] = "bert-base",
    seq: Annotated[str, typer.Option(help="Tokens, joined by commas.")] = "128",
    accelerator: Accelerator,
    hidden: Annotated[int | None, typer.Option(help="Hidden size, if another than the model's.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads, likewise.")] = None,
    ffn: Annotated[int | None, typer.Option(help="FFN size, likewise.")] = None,
    measure: Annotated[bool, typer.Option(help="Run the layer on the RTL too.")] = False,
    json_file: JsonFile = None,
) -> None:
    """The fewest cycles that a layer and each of its operations could take, and what the RTL takes."""
    from .bound import layer_bounds

    network = encoder_of(model, {"hidden": hidden, "heads": heads, "ffn": ffn})
    hardware = accelerator.configuration()
    check_writable(json_file)
    options = Options(cache=cache_directory() / "survey")
    records = []
    for tokens in _lengths(seq):
        shape = Shape(check_tokens(tokens), network.hidden, network.heads, network.ffn)
        with steps(err, "bound") as step:
            found = layer_bounds(shape, hardware, options, step, measured=measure)
        records.append(found.record())
        out.print(printed(found.table()), crop=False)
        out.print(found.table().note, style="dim", markup=False, soft_wrap=True)
    if json_file is not None:
        write_whole(json_file, json.dumps(records, indent=1) + "\n")


def _lengths(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SurveyError(f"tokens must be whole numbers joined by commas, not {text!r}") from error


def printed(found: FigureTable) -> Table:
    """The table for a console."""
    table = Table(title=found.title, title_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True)
    for index, (heading, *cells) in enumerate(zip(found.columns, *found.rows, strict=True)):
        # Narrow outputs wrap between words and cut none of them: a figure with an ellipsis is none.
        words = " ".join((heading, *cells)).split()
        table.add_column(heading, justify="right" if index else "left", min_width=max(map(len, words), default=0))
    for row in found.rows:
        table.add_row(*row)
    return table
