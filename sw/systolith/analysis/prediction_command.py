"""The command ``systolith predict``."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from systolith.compiler.program import Program
from systolith.files import check_writable, write_whole
from systolith.options import JsonFile, MemoryOptions, grouped
from systolith.rtl.isa import Instruction, disassemble
from systolith.sim.dram import EVENT

from .bench_cases import MemoryTiming
from .energy import count_accesses, estimate
from .prediction import Prediction, predict
from .profile import ISSUE, RETIRE, operation_cycles
from .report import operations_table

out = Console()


@grouped
def predict_program(
    *,
    program: Annotated[Path, typer.Argument(help="Program file, as compile writes it.")],
    memory: MemoryOptions,
    json_file: JsonFile = None,
) -> None:
    """Predict a program's cycles and estimate its energy, in milliseconds and without any hardware."""
    check_writable(json_file)
    loaded = Program.load(program)
    loaded.verify()
    record = prediction_record(loaded, memory.timing)
    _print(program.name, record)
    if json_file is not None:
        write_whole(json_file, json.dumps(record, indent=2) + "\n")


def prediction_record(program: Program, timing: MemoryTiming) -> dict[str, Any]:
    """The JSON object of a prediction; energies are picojoules, ``energy_delay`` picojoules x cycles."""
    instructions = disassemble(program.image.tobytes())
    config = program.config
    began = time.perf_counter()
    prediction = predict(instructions, config, timing)
    seconds = time.perf_counter() - began
    accesses = count_accesses(instructions, config)
    energy = estimate(accesses, config)
    operations = operation_cycles(program, events_of(prediction, instructions), prediction.cycles)
    return {
        "config": config.to_dict(),
        "memory": asdict(timing),
        "instructions": len(instructions),
        "macs": program.macs,
        "predicted": True,
        "cycles": prediction.cycles,
        "utilization": program.macs / (config.rows * config.cols) / prediction.cycles,
        "predict_seconds": seconds,
        "accesses": asdict(accesses),
        "estimated_energy": asdict(energy) | {"total": energy.total},
        "energy_delay": energy.delay_product(prediction.cycles),
        "per_op": [
            {
                "layer": o.operation.layer, "op": o.operation.name, "cycles": o.cycles,
                "vector_cycles": o.vector_cycles, "macs": o.operation.macs,
            }
            for o in operations
        ],
    }  # fmt: skip


def events_of(prediction: Prediction, instructions: list[Instruction]) -> npt.NDArray[np.void]:
    """The trace of a prediction, in the form of the RTL's."""
    count = len(instructions)
    events = np.zeros(2 * count, EVENT)
    events["cycle"] = prediction.issued + prediction.retired
    events["unit"] = 2 * [word.unit for word in instructions]
    events["kind"] = [ISSUE] * count + [RETIRE] * count
    events["index"] = 2 * list(range(count))
    return events[np.argsort(events["cycle"], kind="stable")]


def _print(name: str, record: dict[str, Any]) -> None:
    config, memory = record["config"], record["memory"]
    out.print(operations_table(record, "Cycles of each operation over all layers, predicted"))
    table = Table(show_header=False, title=name, title_justify="left", box=SIMPLE)
    table.add_column(style="bold")
    table.add_column()
    energy = record["estimated_energy"]
    parts = ", ".join(f"{part} {energy[part] / energy['total']:.0%}" for part in energy if part != "total")
    for label, text in (
        ("accelerator", f"{config['rows']}x{config['cols']} array, {config['axi_data_width']}-bit AXI"),
        ("memory", f"latency {memory['latency']} cycles, {memory['bandwidth'] or 'full'} bandwidth"),
        ("instructions", f"{record['instructions']:,}"),
        ("cycles (predicted)", f"{record['cycles']:,} in {1e3 * record['predict_seconds']:.1f} ms"),
        ("array utilization (predicted)", f"{record['utilization']:.1%} of MACs / (rows x cols)"),
        ("energy (estimated)", f"{energy['total'] / 1e6:,.1f} uJ: {parts}"),
        ("energy-delay product (estimated)", f"{record['energy_delay'] / 1e12:,.3g} J x cycles"),
    ):
        table.add_row(label, text)
    out.print(table)
