"""Area and clock for people: tables of units, of what functions cost, and of placements."""

from rich.console import Console
from rich.table import Table

from .flow import DEVICE_NAME, Synthesis
from .targets import RESOURCES
from .timing import Path


def print_synthesis(out: Console, synthesis: Synthesis) -> None:
    """Each unit's area and share, the sum, and the same by multiply-accumulate a cycle; then the placements."""
    config, target = synthesis.config, synthesis.target
    total = synthesis.total
    first = target.columns[0]
    table = Table(title=f"{config.rows}x{config.cols} accelerator on {target.title}", title_justify="left")
    table.add_column("unit")
    for name in (*(RESOURCES[column] for column in target.columns), f"share of {RESOURCES[first]}"):
        table.add_column(name, justify="right")
    for area in synthesis.areas:
        share = area.resources[first] / total[first] if total[first] else 0
        table.add_row(area.unit, *(f"{area.resources[name]:,.0f}" for name in target.columns), f"{share:.1%}")
    table.add_section()
    table.add_row("all", *(f"{total[name]:,.0f}" for name in target.columns), "")
    table.add_row("by MAC/cycle", *(f"{synthesis.per_mac(name):,.2f}" for name in target.columns), "")
    out.print(table)
    if synthesis.placements:
        _print_placements(out, synthesis)


def print_difference(out: Console, whole: Synthesis, part: Synthesis, names: tuple[str, ...]) -> None:
    """What the functions ``names``, which ``part`` lacks, add to it."""
    table = Table(title=f"What {', '.join(names)} cost", title_justify="left")
    for heading in ("", "with", "without", "added"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in whole.target.columns:
        more, less = whole.total[name], part.total[name]
        added = f"{more / less - 1:+.1%}" if less else ""
        table.add_row(RESOURCES[name], f"{more:,.0f}", f"{less:,.0f}", added)
    out.print(table)


def describe(path: Path) -> str:
    """A critical path in a sentence of the design's names."""
    through = f" through {', '.join(path.through)}" if path.through else ""
    return (
        f"{path.start} to {path.end}{through}: {path.levels} cells, {path.logic:.1f} ns logic and "
        f"{path.routing:.1f} ns routing"
    )


def _print_placements(out: Console, synthesis: Synthesis) -> None:
    table = Table(title=f"Place and route on {DEVICE_NAME}", title_justify="left")
    table.add_column("seed", justify="right")
    table.add_column("MHz", justify="right")
    table.add_column("critical path")
    for placement in synthesis.placements:
        table.add_row(str(placement.seed), f"{placement.mhz:.1f}", describe(placement.path))
    out.print(table)
    out.print(f"median {synthesis.mhz:.1f} MHz")
