"""What ``systolith run`` leaves of a run: timeline, waveform and layouts, for the cycles that were asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systolith.compiler.program import Program
from systolith.files import check_outputs
from systolith.rtl.config import Config
from systolith.runtime.device import RunResult

from .timeline import Timeline
from .timeline_waves import LIMIT, affordable_cycles, cycle_bytes, layout_paths, write_layouts


class TraceError(ValueError):
    """Options that contradict each other; the message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class TraceFiles:
    """Which files to write, and of which cycles of the program (None: from the beginning, to the end).

    Raises
    ------
    TraceError
        If there is a window but no file, or a waveform of both kinds.
    FileError
        If a file cannot be written, or two of them are the same one.
    """

    trace: Path | None = None
    vcd: Path | None = None
    fst: Path | None = None
    trace_from: int | None = None
    trace_cycles: int | None = None

    def __post_init__(self) -> None:
        if self.vcd is not None and self.fst is not None:
            raise TraceError("--vcd and --fst exclude each other")
        if not self and (self.trace_from is not None or self.trace_cycles is not None):
            raise TraceError("--trace-from and --trace-cycles need --trace, --vcd or --fst")
        check_outputs(self.outputs)

    def __bool__(self) -> bool:
        return any(path is not None for path in (self.trace, self.vcd, self.fst))

    @property
    def outputs(self) -> dict[str, Path | None]:
        """All files that will be written, by what names them; layouts lie beside the waveform."""
        named = {"--trace": self.trace, "--vcd": self.vcd, "--fst": self.fst}
        if self.waves is None:
            return named
        kind, path = self.waves
        saved, commands = layout_paths(path)
        return {**named, f"GTKWave's layout of --{kind}": saved, f"Surfer's layout of --{kind}": commands}

    @property
    def waves(self) -> tuple[str, Path] | None:
        """Kind and path of the waveform, if there is one."""
        return ("vcd", self.vcd) if self.vcd is not None else ("fst", self.fst) if self.fst is not None else None

    def options(self, config: Config) -> dict[str, Any]:
        """What ``RtlDevice`` is to be told."""
        return {
            "vcd": self.vcd, "fst": self.fst, "activity": self.trace is not None, "trace_from": self.trace_from,
            "trace_cycles": self.trace_cycles, "wave_cycles": self._wave_cycles(config),
        }  # fmt: skip

    def _wave_cycles(self, config: Config) -> int | None:
        """Cycles of the waveform: those asked for, else as many as fit its limit."""
        if self.trace_cycles is not None or self.waves is None:
            return self.trace_cycles
        return affordable_cycles(self.waves[0], config)

    def announce(self, config: Config) -> Iterator[str]:
        """What to say before the run: how large the waveform may become."""
        if self.waves is None:
            return
        kind, path = self.waves
        cycles = self._wave_cycles(config) or 0
        size = cycles * cycle_bytes(kind, config)
        if self.trace_cycles is None:
            yield (
                f"{path}: at most {cycles:,} cycles, so that the waveform stays below about {LIMIT / 1e9:.1f} GB; "
                "--trace-from and --trace-cycles choose which"
            )
        elif size > LIMIT:
            yield f"{path}: {cycles:,} cycles may take about {size / 1e9:.1f} GB"

    def missed(self, result: RunResult) -> str:
        """Why there is nothing to show: the program ended before the window begins. Nothing if there is something."""
        if not result.misses(self.trace_from):
            return ""
        paths = ", ".join(str(path) for path in (self.trace, self.vcd, self.fst) if path is not None)
        return (
            f"nothing to show in {paths}: the program ended in cycle {result.ended - 1:,}, before --trace-from "
            f"{self.trace_from:,}"
        )

    def write(self, program: Program, result: RunResult, stopped: str = "") -> Iterator[str]:
        """Write what the simulator has not written itself, unless it is :meth:`missed`; a line on each file.

        ``stopped`` says why the program did not run to its end, if it did not.
        """
        if self.missed(result):
            return
        if self.trace is not None and result.activity is None:
            yield f"{self.trace} is not written: no program ran"
        elif self.trace is not None:
            trace = Timeline(program, result, stopped)
            events, about = trace.write(self.trace), trace.about()
            cut = "" if about["whole"] == "yes" else "; " + about["whole"].removeprefix("no: ")
            yield f"{self.trace}: {about['window']}, {events:,} events for ui.perfetto.dev{cut}"
        if self.waves is None:
            return
        _, path = self.waves
        if result.waves is None:
            yield f"{path} is not written: the run ended before its window"
        else:
            saved, commands = write_layouts(path, program.config)
            yield f"{path}: {path.stat().st_size:,} bytes; gtkwave {saved} or surfer --command-file {commands}"
