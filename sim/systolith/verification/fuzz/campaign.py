"""Random programs: functional device against RTL, every byte of every memory."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from systolith.compiler.footprint import space_rows
from systolith.rtl.isa import INSTRUCTION_BYTES, disassemble
from systolith.sim.build import build
from systolith.sim.toolchain import SimulationError
from systolith.verification.evidence import Evidence, Options, Report

from .batch import Case, Fuzzer, as_run, listing, random_case
from .configs import CONFIGS
from .fields_hit import FieldCoverage
from .file import save
from .shrink import Shrinker

#: Programs in one simulator process, and in the quick share.
_BATCH, _QUICK_BATCH = 64, 24
#: Seconds of the full amount when none are given.
_SECONDS = 600.0
#: Where failing programs are saved, below the working directory.
_FAILURES = Path("build") / "fuzz"


@dataclass
class Tally:
    """What ran, what differed, and what the instructions covered."""

    programs: int = 0
    instructions: int = 0
    cycles: int = 0
    of_config: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    coverage: FieldCoverage = field(default_factory=FieldCoverage)


def campaign(options: Options, report: Report) -> list[Evidence]:
    """Fuzz every configuration of :data:`.configs.CONFIGS` in turn; the quick share only the smallest.

    Raises
    ------
    SimulationError
        If a simulator cannot be built.
    """
    names = list(CONFIGS)[:1] if options.quick else list(CONFIGS)
    tally = Tally()
    with contextlib.ExitStack() as stack:
        fuzzers = [stack.enter_context(Fuzzer(CONFIGS[n], build(CONFIGS[n], peek=True, report=report))) for n in names]
        _run(options, dict(zip(names, fuzzers, strict=True)), tally, report)
    return [evidence(tally)]


def _run(options: Options, fuzzers: dict[str, Fuzzer], tally: Tally, report: Report) -> None:
    """A batch on each accelerator in turn, until the time is over; no more on one whose simulator fails."""
    seconds = options.seconds or (0.0 if options.quick else _SECONDS)
    started, batch = time.monotonic(), 0
    failed: set[str] = set()
    while len(failed) < len(fuzzers) and (batch == 0 or time.monotonic() - started < seconds):
        for index, (name, fuzzer) in enumerate(fuzzers.items()):
            if name in failed:
                continue
            if batch and time.monotonic() - started >= seconds:
                break
            rng = np.random.default_rng([options.seed, index, batch])
            size = _QUICK_BATCH if options.quick else _BATCH
            label = f"{name}, seed {options.seed}, batch {batch}"
            if not run_batch(fuzzer, rng, size, label, tally, report):
                failed.add(name)
            tally.of_config[name] = tally.of_config.get(name, 0) + size
            report(f"{name}: {tally.programs} programs, {len(tally.differences)} differ")
        batch += 1


def run_batch(fuzzer: Fuzzer, rng: np.random.Generator, size: int, label: str, tally: Tally, report: Report) -> bool:
    """Run ``size`` random programs, each after the other; a difference ends the batch, shrunk and saved.

    False if the simulator failed: that is a difference too, and all of the batch is saved.
    """
    cases = [random_case(fuzzer.config, rng, fresh=index == 0) for index in range(size)]
    try:
        _run_cases(fuzzer, cases, label, tally, report)
    except SimulationError as error:
        directory = _FAILURES / _file_name(label)
        for index, case in enumerate(cases):
            save(directory / f"{index:03}.npz", fuzzer.config, case)
        tally.differences.append(f"{label}: {error}\n  its {len(cases)} programs are saved in {directory}")
        report(tally.differences[-1])
        return False
    return True


def _file_name(label: str) -> str:
    return label.replace(", ", "_").replace(" ", "-")


def _run_cases(fuzzer: Fuzzer, cases: Sequence[Case], label: str, tally: Tally, report: Report) -> None:
    """Run a batch into the tally, and shrink and save the case that differs."""
    results = fuzzer.run(cases)
    for case, result in zip(cases, results, strict=False):
        tally.programs += 1
        tally.instructions += len(case.image) // INSTRUCTION_BYTES
        tally.cycles += result.cycles
        image, sizes = as_run(fuzzer.config, case)
        tally.coverage.add(disassemble(image.tobytes()), fuzzer.config, space_rows(fuzzer.config, sizes))
    last = results[-1]
    if not last.difference:
        return
    index = len(results) - 1
    label = f"{label}, program {index}"
    report(f"{label}: {last.difference}; shrinking")
    small, difference = shrink(fuzzer, replace(cases[index], state=last.before))
    path = save(_FAILURES / f"{_file_name(label)}.npz", fuzzer.config, small)
    if not difference:
        difference = f"{last.difference} (only after the programs before it)"
    tally.differences.append("\n  ".join([f"{label}: {difference}", *listing(small.image), f"saved in {path}"]))
    report(tally.differences[-1])


def shrink(fuzzer: Fuzzer, case: Case) -> tuple[Case, str]:
    """A small case that differs, and how; the case itself and nothing if it does not differ by itself."""

    def fails(cases: Sequence[Case]) -> list[bool]:
        return [bool(result.difference) for result in fuzzer.run_all(cases)]

    if not fails([case])[0]:
        return case, ""
    small = Shrinker(fuzzer.config, fails).shrink(case)
    return small, fuzzer.run([small])[0].difference


def evidence(tally: Tally) -> Evidence:
    """The row of the table."""
    fields = tally.coverage.table()
    hit, bins = sum(row.hit for row in fields.values()), sum(row.bins for row in fields.values())
    return Evidence(
        campaign="fuzz",
        promise="any legal program leaves the same bytes in DRAM and on the chip as the functional device",
        figure=(
            f"{tally.programs:,} random programs ({tally.instructions:,} instructions, {tally.cycles:,} cycles) on "
            f"{len(tally.of_config)} accelerators, {len(tally.differences)} differ; "
            f"{hit} of {bins} bins of field values hit"
        ),
        passed=not tally.differences,
        details={
            "programs": tally.programs,
            "instructions": tally.instructions,
            "cycles": tally.cycles,
            "of_config": tally.of_config,
            "differences": tally.differences,
            "fields": {name: row._asdict() for name, row in fields.items()},
        },
    )
