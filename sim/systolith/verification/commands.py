"""The command ``systolith verify``."""

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from systolith.files import check_writable, write_whole
from systolith.options import JsonFile
from systolith.sim.toolchain import SimulationError
from systolith.steps import steps

from .evidence import CAMPAIGNS, CampaignError, Evidence, Options, run_campaign

out = Console()
err = Console(stderr=True)


def verify(
    campaigns: Annotated[list[str] | None, typer.Argument(help="Campaigns to run; all if none is named.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Everything random follows from it.")] = 0,
    seconds: Annotated[float | None, typer.Option(min=1, help="Time for a campaign that can use more.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the share that runs in every test run.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Gather the evidence: run campaigns and print what each promise rests on.

    A campaign that cannot end is a row that fails; the others run on.
    """
    unknown = [name for name in campaigns or () if name not in CAMPAIGNS]
    if unknown:
        raise CampaignError(f"unknown campaign {unknown[0]!r}; the campaigns are {', '.join(CAMPAIGNS)}")
    check_writable(json_file)
    options = Options(seed=seed, seconds=seconds, quick=quick)
    evidence: list[Evidence] = []
    missing = ""
    with steps(err, "starting") as step:
        for name in campaigns or CAMPAIGNS:
            began = time.monotonic()
            try:
                rows = run_campaign(name, options, lambda text, name=name: step(f"{name}: {text}"))  # type: ignore[misc]
            except (ModuleNotFoundError, CampaignError) as error:
                missing = missing or f"campaign {name}: {error}"
                rows = [Evidence(campaign=name, promise=CAMPAIGNS[name], figure=f"not run: {error}", passed=False)]
            except SimulationError as error:
                rows = [Evidence(campaign=name, promise=CAMPAIGNS[name], figure=f"stopped: {error}", passed=False)]
            for row in rows:
                err.print(f"{name}: {'pass' if row.passed else 'FAIL'}: {row.promise}", highlight=False)
            err.print(f"{name}: {time.monotonic() - began:,.0f} s", highlight=False)
            evidence += rows
            if json_file is not None:
                write_whole(json_file, json.dumps([asdict(row) for row in evidence], indent=2) + "\n")
    table = Table(title="What this accelerator promises, and the evidence", title_justify="left")
    for column in ("promise", "evidence", "figure", "result"):
        table.add_column(column)
    for row in evidence:
        table.add_row(
            row.promise,
            f"systolith verify {row.campaign}",
            row.figure,
            "[green]pass[/]" if row.passed else "[red]FAIL[/]",
        )
    out.print(table)
    if len(evidence) == 1 and evidence[0].listing:
        listing = Table(box=None)
        for heading in evidence[0].listing[0]:
            listing.add_column(heading)
        for cells in evidence[0].listing[1:]:
            listing.add_row(*cells)
        out.print(listing)
    if missing:
        raise CampaignError(missing)
    if not evidence or not all(row.passed for row in evidence):
        raise typer.Exit(1)
