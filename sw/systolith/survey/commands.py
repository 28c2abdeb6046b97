"""The command ``systolith survey``."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from systolith.files import write_whole
from systolith.sim.build import cache_directory

from .figure import FIGURES, FigureTable, Options, SurveyError, run_figure

out = Console()
err = Console(stderr=True)


def survey(
    figure: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(FIGURES)}; all if none.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write JSON and pictures here.")] = None,
    quick: Annotated[bool, typer.Option(help="Small sizes only: seconds.")] = False,
) -> None:
    """Answer the questions of the survey (arXiv 2302.14017) again, on this RTL; runs are kept, so it resumes."""
    names = figure or list(FIGURES)
    for name in names:
        if name not in FIGURES:
            raise SurveyError(f"unknown figure {name!r}; the figures are {', '.join(FIGURES)}")
    options = Options(quick=quick, cache=cache_directory() / "survey")
    for name in names:
        with err.status(name) as status:
            found = run_figure(name, options, status.update)
        out.print(f"[bold]{name}[/]: {FIGURES[name][1]}", soft_wrap=True)
        for table in found.tables:
            out.print(_printed(table))
            out.print(table.note, style="dim", markup=False, soft_wrap=True)
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            write_whole(output / f"{name}.json", json.dumps(found.data, indent=1) + "\n")
            for stem, draw in found.pictures.items():
                draw(output / f"{stem}.svg")


def _printed(found: FigureTable) -> Table:
    table = Table(title=found.title, title_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True)
    for index, heading in enumerate(found.columns):
        table.add_column(heading, justify="right" if index else "left")
    for row in found.rows:
        table.add_row(*row)
    return table
