"""The command line: generate, compile, run, look inside."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from systolith.analysis.networks import NetworkError
from systolith.analysis.prediction_command import predict_program
from systolith.analysis.report import print_info, print_run, run_record
from systolith.analysis.timeline_files import TraceError, TraceFiles
from systolith.compiler.compile import compile_encoder
from systolith.compiler.hazards import ProgramError
from systolith.compiler.mapping import MappingError
from systolith.compiler.plan import CapacityError
from systolith.compiler.program import Program
from systolith.files import check_outputs, check_writable, error_sentence, read_text, write_whole
from systolith.mapping.commands import map_command, plan_for
from systolith.models.registry import Model, ModelError
from systolith.numerics.approximation import DEFAULT
from systolith.options import (
    Accelerator,
    EncoderOptions,
    JsonFile,
    MappingOptions,
    MemoryOptions,
    ModelName,
    UsageError,
    grouped,
)
from systolith.rtl.config import Config, ConfigError
from systolith.rtl.isa import InstructionError, disassemble
from systolith.runtime.device import BACKENDS, AcceleratorError, Device, DeviceFault, RunResult, open_device
from systolith.runtime.session import run_encoder
from systolith.sim.dram import MOST_TIMING
from systolith.sim.toolchain import SimulationError
from systolith.steps import counted, steps
from systolith.survey.commands import bound, profile, survey
from systolith.survey.figure import SurveyError
from systolith.sweep.commands import report, sweep
from systolith.sweep.workload import SweepError
from systolith.verification.commands import verify
from systolith.verification.evidence import CampaignError

app = typer.Typer(
    name="systolith",
    help="Generate, simulate and program systolic-array accelerators for Transformer encoders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)


#: What a user can cause: one sentence, exit status 2.
_BAD_INPUT = (
    ConfigError, CapacityError, ProgramError, InstructionError, ModelError, SimulationError, UsageError, TraceError,
    SweepError, CampaignError, SurveyError, NetworkError, MappingError, OSError,
)  # fmt: skip


def _program(path: Path, hardware: Config) -> Program:
    """A program file for ``hardware``, proven to be safe to run."""
    loaded = Program.load(path, hardware)
    try:
        loaded.verify()
    except (ProgramError, InstructionError) as error:
        raise ProgramError(f"{path}: {error}") from error
    return loaded


def _model(encoder: EncoderOptions) -> tuple[Model, Any]:
    """The model and its int8 input (tokens, hidden)."""
    with steps(err, f"loading and quantising {encoder.model}"):
        model = encoder.load()
        return model, model.prepare(encoder.sentence)


@contextmanager
def _progress(instructions: int, simulated: bool) -> Iterator[dict[str, Callable[..., None]]]:
    """Callbacks of a device that show its steps and, while it simulates, its progress."""
    if not simulated:
        with steps(err, "running on the functional device"):
            yield {}
    elif not err.is_terminal:
        with steps(err, "starting") as step:
            yield {"report": step, "progress": lambda cycles, retired: step(f"simulating: {cycles:,} cycles")}
    else:
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[cycles]}"),
            TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task("starting", total=None, cycles="")
            simulating = partial(bar.update, task, description="simulating", total=instructions)
            yield {
                "report": lambda step: bar.update(task, description=step),
                "progress": lambda cycles, retired: simulating(completed=retired, cycles=f"{cycles:,} cycles"),
            }


def _leave(files: TraceFiles, program: Program, result: RunResult, stopped: str = "") -> bool:
    """Write what was to be seen of a run, and say so; False if there is nothing in the window asked for."""
    for line in files.write(program, result, stopped):
        out.print(escape(line), soft_wrap=True)
    if missed := files.missed(result):
        typer.echo(f"systolith: {missed}", err=True)
    return not missed


@app.command()
@grouped
def run(
    *,
    encoder: EncoderOptions,
    backend: Annotated[str, typer.Option(help="rtl (simulated hardware) or functional (numpy).")] = "rtl",
    accelerator: Accelerator,
    memory: MemoryOptions,
    trace: Annotated[Path | None, typer.Option(help="Write a timeline for ui.perfetto.dev (JSON) there.")] = None,
    vcd: Annotated[Path | None, typer.Option(help="Write a waveform there, and layouts for viewers beside it.")] = None,
    fst: Annotated[Path | None, typer.Option(help="The same in the smaller format FST.")] = None,
    trace_from: Annotated[int | None, typer.Option(min=0, help="First cycle of timeline and waveform.")] = None,
    trace_cycles: Annotated[int | None, typer.Option(min=1, help="Number of their cycles.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="If the RTL is wrong, find where and when first.")] = False,
    program: Annotated[Path | None, typer.Option(help="Run this compiled program instead of compiling.")] = None,
    mapping: MappingOptions,
    json_file: JsonFile = None,
) -> None:
    """Run an encoder on the accelerator, check every layer bit for bit and report where the cycles went."""
    hardware = accelerator.configuration()
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}; the backends are {', '.join(BACKENDS)}")
    files = TraceFiles(trace=trace, vcd=vcd, fst=fst, trace_from=trace_from, trace_cycles=trace_cycles)
    if (files or explain) and backend != "rtl":
        name = "--trace" if trace is not None else "--vcd" if vcd is not None else "--fst" if files else "--explain"
        raise UsageError(f"{name} needs --backend rtl: the functional device has no signals and no cycles")
    if program is not None and mapping.named:
        raise UsageError("--mapping says how to compile, and --program is compiled")
    mapping.checked_objective()
    inputs = {"--config": accelerator.config, "--program": program, "--mapping": mapping.file}
    check_outputs({**files.outputs, "--json": json_file}, inputs)
    loaded = None if program is None else _program(program, hardware)
    bundle, x = _model(encoder)
    with steps(err, "compiling") as step:
        plan = plan_for(mapping, bundle.quantized, hardware, len(x), memory.timing, step)
        compiled = loaded or compile_encoder(bundle.quantized, hardware, len(x), plan=plan)
    simulated = backend == "rtl"
    options: dict[str, Any] = {}
    if simulated:
        options = {**asdict(memory), "peek": explain, **files.options(hardware)}
    for line in files.announce(hardware):
        err.print(escape(line))
    stopped: DeviceFault | AcceleratorError | None = None
    with _progress(len(compiled.operation_of), simulated) as callbacks:
        device: Device = open_device(hardware, backend, **options, **callbacks)
        try:
            outcome = run_encoder(bundle.quantized, x, device, program=compiled)
        except (DeviceFault, AcceleratorError) as failure:
            outcome, stopped = None, failure
    if stopped is not None:
        typer.echo(f"systolith: {stopped}", err=True)
        if stopped.result is not None:
            _leave(files, compiled, stopped.result, str(stopped))
    if explain and (outcome is None or not outcome.bit_exact):
        from systolith.runtime.explain import explain as explain_run
        from systolith.runtime.rtl import RtlDevice

        again = RtlDevice(hardware, **asdict(memory), peek=True)
        with steps(err, "explaining") as step:
            explanation = explain_run(compiled, compiled.regions(x), again, step)
        out.print(escape(str(explanation)), soft_wrap=True, highlight=False)
    if outcome is None:
        raise typer.Exit(1)
    record = run_record(
        outcome,
        model=bundle.name,
        backend=backend,
        memory=asdict(memory),
        cosine=bundle.cosine(encoder.sentence, outcome.outputs[-1]),
    )
    print_run(out, record)
    if json_file is not None:
        write_whole(json_file, json.dumps(record, indent=2) + "\n")
    shown = _leave(files, compiled, outcome.result)
    if not outcome.bit_exact:
        raise typer.Exit(1)
    if not shown:
        raise typer.Exit(2)


@app.command("compile")
@grouped
def compile_command(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Program file to write.")],
    encoder: EncoderOptions,
    accelerator: Accelerator,
    mapping: MappingOptions,
) -> None:
    """Compile an encoder for the text's (or random encoder's) number of tokens into a program file."""
    hardware = accelerator.configuration()
    mapping.checked_objective()
    check_outputs({"--output": output}, {"--config": accelerator.config, "--mapping": mapping.file})
    bundle, x = _model(encoder)
    with steps(err, "compiling") as step:
        plan = plan_for(mapping, bundle.quantized, hardware, len(x), MemoryOptions().timing, step)
        compiled = compile_encoder(bundle.quantized, hardware, len(x), plan=plan)
    compiled.save(output)
    out.print(
        f"{output}: {len(compiled.operation_of):,} instructions, {len(compiled.image):,} bytes of program, "
        f"{len(compiled.constants):,} bytes of constants, for {len(x)} tokens"
    )


@app.command()
@grouped
def disasm(
    *,
    program: Annotated[Path, typer.Argument(help="Program file.")],
    accelerator: Accelerator,
) -> None:
    """Print a program's instructions, each with its index and operation."""
    loaded = Program.load(program, accelerator.configuration() if accelerator.named else None)
    try:
        instructions = disassemble(loaded.image.tobytes())
    except InstructionError as error:
        raise ProgramError(f"{program}: {error}") from error
    for index, instruction in enumerate(instructions):
        operation = loaded.operations[loaded.operation_of[index]]
        typer.echo(f"{index:6}  {operation.layer}.{operation.name:18} {instruction}")


@app.command()
@grouped
def verilog(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory of all files, or FILE.v for the Verilog alone.")
    ] = Path("build"),
    accelerator: Accelerator,
) -> None:
    """Write the accelerator as Verilog, with its configuration, C header, register map, core file and example top."""
    from systolith.rtl.export.bundle import bundle

    hardware = accelerator.configuration()
    alone = output.suffix == ".v"
    if not alone and output.exists() and not output.is_dir():
        raise UsageError(f"cannot write to {output}: it is a file that is not named *.v")
    inputs = {"--config": accelerator.config}
    if alone or not output.exists():
        check_outputs({"--output": output}, inputs)
    else:
        check_outputs({name: output / name for name in ("systolith.v", "systolith.toml")}, inputs)
    with steps(err, f"generating a {hardware.rows}x{hardware.cols} accelerator"):
        files = bundle(hardware)
    if alone:
        write_whole(output, files["systolith.v"])
        out.print(f"{output}: {files['systolith.v'].count(chr(10)):,} lines, top module systolith")
        return
    output.mkdir(exist_ok=True)
    check_outputs({name: output / name for name in files}, inputs)
    for name, text in files.items():
        write_whole(output / name, text)
    out.print(f"{output}: {', '.join(files)}")


@app.command()
@grouped
def synth(
    *,
    target: Annotated[str, typer.Option(help="ecp5, xc7, ice40 or generic.")] = "ecp5",
    accelerator: Accelerator,
    pnr: Annotated[bool, typer.Option(help="Place and route too, for the clock (ecp5).")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="Placements, 3 unless given; the median counts.")] = None,
    mhz: Annotated[float | None, typer.Option(min=1, max=1000, help="What place and route aims at (100).")] = None,
    without: Annotated[
        str, typer.Option(help="Leave out softmax, gelu, layernorm (joined by commas), and compare.")
    ] = "",
    json_file: JsonFile = None,
) -> None:
    """Area by unit of the design, and on ECP5 the clock that it reaches, with Yosys and nextpnr from PyPI."""
    from systolith.synthesis.flow import measure_area, measure_clock
    from systolith.synthesis.flow import without as lacking
    from systolith.synthesis.tables import print_difference, print_synthesis
    from systolith.synthesis.targets import SynthesisError, target_named

    hardware = accelerator.configuration()
    if not pnr and (seeds is not None or mhz is not None):
        raise UsageError("--seeds and --mhz need --pnr")
    check_outputs({"--json": json_file}, {"--config": accelerator.config})
    try:
        chosen = target_named(target)
        if pnr and chosen.name != "ecp5":
            raise UsageError(f"--pnr is for ecp5, not {chosen.name}")
        names = tuple(name.strip() for name in without.split(",") if name.strip())
        smaller = lacking(hardware, names)
        with steps(err, "generating") as step:
            part = measure_area(smaller, chosen, step)
            whole = measure_area(hardware, chosen, step) if names else None
    except SynthesisError as error:
        raise UsageError(str(error)) from error

    def save() -> None:
        if json_file is not None:
            record = part.to_dict() | ({"with": whole.to_dict()} if whole is not None else {})
            write_whole(json_file, json.dumps(record, indent=2) + "\n")

    save()
    try:
        if pnr:
            with steps(err, "placing") as step:
                part = measure_clock(part, seeds or 3, mhz or 100, step)
            save()
    except SynthesisError as error:
        raise UsageError(f"there is the area but no clock, as place and route failed: {error}") from error
    finally:
        print_synthesis(out, part)
        if whole is not None:
            print_difference(out, whole, part, names)


@app.command()
@grouped
def info(
    *,
    accelerator: Accelerator,
    json_file: JsonFile = None,
) -> None:
    """Show a configuration and what follows from it."""
    hardware = accelerator.configuration()
    check_outputs({"--json": json_file}, {"--config": accelerator.config})
    print_info(out, hardware)
    if json_file is not None:
        write_whole(json_file, json.dumps(hardware.to_dict(), indent=2) + "\n")


@app.command()
@grouped
def sim(
    *,
    benches: Annotated[list[str] | None, typer.Argument(help="Benches to run; all if none is named.")] = None,
    accelerator: Accelerator,
    seed: Annotated[int, typer.Option(min=0, help="What random stimulus follows from.")] = 0,
    effort: Annotated[
        float, typer.Option(min=0.001, help="Share of the full amount of stimulus; some benches are exhaustive at 1.")
    ] = 0.1,
    list_only: Annotated[bool, typer.Option("--list", help="List the benches and run none.")] = False,
) -> None:
    """Run the cocotb benches on the generated hardware in Verilator (by default the tiny preset)."""
    from systolith.sim.run_benches import BENCHES, run_benches

    hardware = accelerator.configuration("tiny")
    unknown = sorted(set(benches or ()) - set(BENCHES))
    if unknown:
        raise UsageError(f"unknown bench {unknown[0]!r}; the benches are {', '.join(BENCHES)}")
    if list_only:
        listing = Table(title="cocotb benches", title_justify="left")
        for column in ("bench", "what it drives"):
            listing.add_column(column)
        for name in benches or BENCHES:
            listing.add_row(name, BENCHES[name])
        out.print(listing)
        return
    with steps(err, "starting") as step:
        results = run_benches(benches or list(BENCHES), hardware, seed=seed, effort=effort, report=step)
    table = Table(title=f"cocotb benches on a {hardware.rows}x{hardware.cols} accelerator", title_justify="left")
    for column in ("bench", "result"):
        table.add_column(column)
    for result in results:
        table.add_row(result.name, "[green]passed[/]" if result.passed else f"[red]{escape(result.failure)}[/]")
    out.print(table)
    if not results or not all(result.passed for result in results):
        raise typer.Exit(1)


@app.command()
def evaluate(
    model: ModelName = "minilm-l6",
    sentences: Annotated[int, typer.Option(min=1, help="How many held-out texts.")] = 400,
    approximation: Annotated[str, typer.Option(help="Of softmax and GELU: look-up or polynomial.")] = DEFAULT,
    json_file: JsonFile = None,
) -> None:
    """Cosine between sentence embeddings of the integer encoder and of fp32, over held-out texts."""
    from systolith.models.evaluate import evaluate_model

    check_writable(json_file)
    with counted(err, "evaluating") as count:
        record = evaluate_model(model, sentences, lambda done: count(done, sentences), approximation)
    out.print(f"{record['n']} texts: cosine mean {record['mean']:.4f}, min {record['min']:.4f}")
    if json_file is not None:
        write_whole(json_file, json.dumps(record, indent=2) + "\n")


@app.command()
def bench(
    suite: Annotated[
        list[str] | None, typer.Option(help="gemm, attention, layer, model, sim, generate or quick; repeat for more.")
    ] = None,
    latency: Annotated[
        list[int] | None, typer.Option(min=1, max=MOST_TIMING, help="Memory latency, cycles; repeat for more.")
    ] = None,
    bandwidth: Annotated[
        int | None, typer.Option(min=0, max=MOST_TIMING, help="Memory bandwidth, bytes a cycle.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="Compare cycles, exactly, with those in this file.")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Write the cycles to the file of --against instead.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Cycles beside their bound and where each went, on the RTL and checked bit for bit; speeds of the tools."""
    from systolith.analysis.bench import SUITES, run_suites, suites_record
    from systolith.analysis.bench_tools import run_generate, run_sim
    from systolith.analysis.regression import changes, cycles_of, read_cycles, to_text

    unknown = sorted(set(suite or ()) - set(SUITES))
    if unknown:
        raise UsageError(f"unknown suite {unknown[0]!r}; the suites are {', '.join(SUITES)}")
    if renew and against is None:
        raise UsageError("--renew needs --against FILE")
    known = None if against is None or renew else read_cycles(against)
    outputs = {"--against": against if renew else None, "--json": json_file}
    check_outputs(outputs, {"--against": None if renew else against})
    with steps(err, "starting") as step:
        chosen = suite or SUITES[:-1]
        results = run_suites(chosen, latency, bandwidth, out, step, err.print)
        record = suites_record(results)
        if "sim" in chosen:
            record["sim"] = run_sim(out, step)
        if "generate" in chosen:
            record["generate"] = run_generate(out, step)
    if json_file is not None:
        write_whole(json_file, json.dumps(record, indent=2) + "\n")
    moved: list[str] = []
    if against is not None and renew:
        write_whole(against, to_text(cycles_of(results)))
    elif known is not None:
        moved = changes(known, cycles_of(results))
    for line in moved:
        out.print(line, style="red")
    if moved or not record["bit_exact"]:
        raise typer.Exit(1)


@app.command()
def docs(
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the pages.")] = Path("docs"),
    check: Annotated[bool, typer.Option("--check", help="Only say whether the pages are up to date.")] = False,
) -> None:
    """Write the instruction set and register map pages from their definitions."""
    from systolith.rtl.documentation import PAGES

    for name, page in PAGES.items():
        path = output / name
        if not check:
            write_whole(path, page())
        elif not path.exists() or read_text(path, 1 << 20) != page():
            raise UsageError(f"{path} is out of date: run make docs")


app.command()(sweep)
app.command()(verify)
app.command()(report)
app.command()(survey)
app.command()(profile)
app.command()(bound)
app.command("predict")(predict_program)
app.command("map")(map_command)


def _end(number: int, _: object) -> None:
    """Leave as by Ctrl-C, so that no tool or simulation goes on without us."""
    sys.exit(128 + number)


def main() -> None:
    """Entry point: bad input is one sentence and exit status 2, a fault of the accelerator is 1."""
    signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except (DeviceFault, AcceleratorError) as error:
        typer.echo(f"systolith: {error}", err=True)
        sys.exit(1)
    except _BAD_INPUT as error:
        typer.echo(f"systolith: {error_sentence(error)}", err=True)
        sys.exit(2)
