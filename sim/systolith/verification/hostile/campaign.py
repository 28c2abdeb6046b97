"""Campaign ``hostile``: spoiled files of every kind end in one sentence, exit status 2 and within bounds."""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from systolith.models.minilm import PACKAGE, VERSION
from systolith.verification.evidence import Evidence, Options, Report

from .files import ALLOWED, SUBJECTS, Subject, write_originals
from .mutations import mutate
from .worker import SECONDS

#: Mutants of each kind read in a worker, and given to the command line: of a whole campaign, and of its quick share.
READ, QUICK_READ = 4000, 60
COMMANDS, QUICK_COMMANDS = 40, 1
#: Most resident memory of a worker or a command, MiB. The tool with its libraries takes some 60 of them.
MOST_MIB = 256
#: Seconds that a command may take, on a machine that does other things as well.
COMMAND_SECONDS = 60

_RANDOM = ("--model", "random", "--layers", "1", "--hidden", "8", "--heads", "2", "--ffn", "12", "--seq", "3")
#: The command that reads each kind of file, where one does, with the directory to be filled in.
_COMMAND: dict[str, tuple[str, ...]] = {
    "config.toml": ("info", "--config", "{}/config.toml"),
    "program.npz": (
        "run", *_RANDOM, "--preset", "tiny", "--backend", "functional", "--program", "{}/program.npz",
    ),
    "model.safetensors": ("run", "--backend", "functional"),
    "config.json": ("run", "--backend", "functional"),
    "tokenizer.json": ("run", "--backend", "functional"),
    "mapping.json": (
        "run", *_RANDOM, "--preset", "tiny", "--backend", "functional", "--mapping", "{}/mapping.json",
    ),
    "sweep.toml": ("sweep", "--file", "{}/sweep.toml"),
    "results.jsonl": ("report", "{}"),
    "cycles.json": ("bench", "--suite", "quick", "--against", "{}/cycles.json"),
}  # fmt: skip
#: Runs the command line and says, on the last line, how much memory it took.
_RUN = """
import sys
from systolith.cli import main
from systolith.verification.hostile.memory import peak_mib
try:
    main()
finally:
    print(peak_mib(), file=sys.stderr)
"""


def campaign(options: Options, report: Report) -> list[Evidence]:
    """Read mutants of every kind of file in workers, and give some of those refused to the command line.

    A failure names the seed and the index of the mutant; ``hostile.worker`` makes it again.
    """
    reading, commanding = (QUICK_READ, QUICK_COMMANDS) if options.quick else (READ, COMMANDS)
    with tempfile.TemporaryDirectory(prefix="systolith-") as name:
        directory = Path(name)
        write_originals(directory)
        records = {}
        for subject in SUBJECTS:
            report(f"{reading:,} mutants of {subject.name}")
            records[subject.name] = _work(subject, directory, options.seed, reading)
        report("the command line")
        _install(directory)
        commands = list(_command_line(directory, options.seed, commanding, report))
    return [_loaders(records, options.seed), _commands(commands, options.seed)]


def _work(subject: Subject, directory: Path, seed: int, count: int) -> dict[str, Any]:
    """A worker's record, or one with a failure if it died or hung."""
    command = [sys.executable, "-m", "systolith.verification.hostile.worker", str(directory), subject.name]
    limit = COMMAND_SECONDS + SECONDS * 2 + count * 0.1
    try:
        done = subprocess.run(
            [*command, str(seed), str(count)], capture_output=True, text=True, timeout=limit, check=False
        )
        if done.returncode == 0:
            record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return record
        failure = done.stderr.strip()[-500:] or f"exit status {done.returncode}"
    except subprocess.TimeoutExpired:
        failure = f"no end after {limit:.0f} seconds"
    return {"read": 0, "accepted": 0, "failures": [f"{subject.name}: {failure}"], "slowest": 0.0, "peak_mib": 0.0}


def _install(directory: Path) -> None:
    """Make ``directory`` the place where Python finds the model's package."""
    info = directory / f"{PACKAGE.replace('-', '_')}-{VERSION}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n")
    (info / "RECORD").write_text("model.safetensors,,\n")


def _refused(subject: Subject, directory: Path, seed: int) -> Iterator[int]:
    """Indices of mutants that their reader refuses; the mutant is in the place of the file."""
    path = directory / subject.name
    original = path.read_bytes()
    index = 0
    try:
        while True:
            path.write_bytes(mutate(original, random.Random(f"{seed}/{subject.name}/{index}")))
            try:
                subject.read(directory)
            except ALLOWED:
                yield index
            index += 1
    finally:
        path.write_bytes(original)


def _command_line(directory: Path, seed: int, count: int, report: Report) -> Iterator[tuple[str, float]]:
    """What is wrong with how each command ended, if anything, and the memory that it took, MiB."""
    for subject in SUBJECTS:
        if subject.name not in _COMMAND:
            continue
        arguments = [argument.format(directory) for argument in _COMMAND[subject.name]]
        refused = _refused(subject, directory, seed)
        for number in range(count):
            index = next(refused)
            before = sorted(directory.iterdir())
            wrong, peak = _command(arguments, directory)
            if not wrong and sorted(directory.iterdir()) != before:
                wrong = "it left something behind"
            report(f"systolith {arguments[0]}, {number + 1} of {count}")
            yield (f"{subject.name}, seed {seed}, mutant {index}: {wrong}" if wrong else ""), peak
        refused.close()  # type: ignore[attr-defined]


def _command(arguments: list[str], directory: Path) -> tuple[str, float]:
    """Run the command line in ``directory``: what is wrong with its end, if anything, and its memory, MiB."""
    path = os.pathsep.join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RUN, *arguments], cwd=directory, env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end after {COMMAND_SECONDS} seconds", 0.0
    *lines, memory = done.stderr.strip().splitlines()
    peak = float(memory)
    said = [line for line in lines if line.strip()]
    if done.returncode != 2:
        return f"exit status {done.returncode}: {done.stderr[-300:]!r}", peak
    if len(said) != 1 or not said[0].startswith("systolith: "):
        return f"not one sentence: {done.stderr[-300:]!r}", peak
    return "", peak


def _loaders(records: dict[str, dict[str, Any]], seed: int) -> Evidence:
    failures = [failure for record in records.values() for failure in record["failures"]]
    read, accepted = (sum(record[key] for record in records.values()) for key in ("read", "accepted"))
    peak = max(record["peak_mib"] for record in records.values())
    slowest = max(record["slowest"] for record in records.values())
    return Evidence(
        campaign="hostile",
        promise="a spoiled file is refused in one sentence, whatever is wrong with it",
        figure=(
            f"{read:,} files of {len(records)} kinds: {read - accepted - len(failures):,} refused, {accepted:,} still "
            f"good, {len(failures)} failures; slowest {slowest:.1f} s, peak {peak:.0f} MiB"
        ),
        passed=not failures and peak <= MOST_MIB,
        details={"seed": seed, "failures": failures, "files": records},
    )


def _commands(commands: list[tuple[str, float]], seed: int) -> Evidence:
    failures = [wrong for wrong, _ in commands if wrong]
    peak = max(memory for _, memory in commands)
    return Evidence(
        campaign="hostile",
        promise="the command line says that sentence alone, exits with status 2 and leaves nothing behind",
        figure=f"{len(commands)} commands, {len(failures)} failures; peak {peak:.0f} MiB",
        passed=not failures and peak <= MOST_MIB,
        details={"seed": seed, "failures": failures, "commands": len(commands)},
    )
