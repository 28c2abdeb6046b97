"""The accelerator itself as a device: its Verilog under Verilator, with the memory in a file that numpy maps."""

import tempfile
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from systolith.rtl.chip_state import chip_state
from systolith.rtl.config import Config
from systolith.rtl.interfaces import Regions
from systolith.rtl.isa import INSTRUCTION_BYTES
from systolith.sim.activity import MOST_CHANGES, read_activity
from systolith.sim.bare import run_bare
from systolith.sim.build import Simulator, build
from systolith.sim.dram import DramSettings, Shared, read_events
from systolith.sim.job import CONFIG_VARIABLE, JOB_VARIABLE, Job, Outcome
from systolith.sim.launch import Simulation, launch
from systolith.sim.watch import Watch, read_watched

from .device import AcceleratorError, Device, DeviceFault, RunResult
from .waveform import pending_waveform, shows_a_cycle, take_place

#: Regions and program start on pages, so that no two of them share one.
_PAGE = 4096
#: Seconds between calls of ``progress``.
_INTERVAL = 0.1
_BENCH = "systolith.sim.benches.drivers.run_program"


class RtlDevice(Device):
    """Device backend ``rtl``. Every run starts from reset; the simulator is built at the first one and cached.

    Parameters
    ----------
    config : Config
    memory : DramSettings
        Latency, bandwidth and irregularity of the simulated DRAM; or give ``latency`` (cycles), ``bandwidth``
        (bytes a cycle, 0 for a beat each way) and ``seed``, which override it one by one.
    vcd, fst : path or None
        Write a waveform there, in the one or the other format (see ``analysis.timeline_waves`` for its size). What was
        there before stays until the run has ended, by a fault or hang too, and if the run did not reach the window.
    trace : bool
        Record when each instruction issues and retires.
    activity : bool
        Record what array, queues and bus did in every cycle.
    trace_from, trace_cycles : int or None, cycles
        First cycle of the program and number of cycles that waveform and activity hold; all if None.
    wave_cycles : int or None, cycles
        The same for the waveform alone, instead of ``trace_cycles``.
    peek : bool
        Build a simulator whose memories can be looked at: each run then leaves ``state``, and ``watch`` is possible.
    watch : Watch or None
        Elements of memory to look at in every cycle of a part of each run. May be changed between runs; its bytes of
        DRAM are counted in the regions, one after the other.
    watchdog : int, cycles
        Cycles without a retired instruction that count as a fault; 0 is never. It must exceed the cycles of
        the longest instruction.
    max_cycles : int or None
        Give up after this many cycles.
    cache : path or None
        Where built simulators are kept, if not in ``build.cache_directory()``.
    bare : bool
        Run the model in a plain C++ loop instead of under cocotb: the only counter is then ``cycles``, and
        ``max_cycles`` and ``progress`` mean nothing. For comparing speeds.
    progress : function of (int, int), or None
        Called about ten times a second with the cycles simulated and the instructions retired so far.
    report : function of str, or None
        Called at the start of each step of a build with its description.
    """

    def __init__(
        self,
        config: Config,
        *,
        memory: DramSettings | None = None,
        latency: int = 30,
        bandwidth: int = 0,
        seed: int | None = None,
        vcd: str | Path | None = None,
        fst: str | Path | None = None,
        trace: bool = True,
        activity: bool = False,
        trace_from: int | None = None,
        trace_cycles: int | None = None,
        wave_cycles: int | None = None,
        peek: bool = False,
        watch: Watch | None = None,
        watchdog: int = 1 << 24,
        max_cycles: int | None = None,
        cache: str | Path | None = None,
        bare: bool = False,
        progress: Callable[[int, int], None] | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.memory = memory or DramSettings(latency=latency, bandwidth=bandwidth, seed=seed)
        if vcd is not None and fst is not None:
            raise ValueError("a waveform is written as VCD or as FST, not as both")
        self.waves = Path(vcd or fst).absolute() if vcd or fst else None  # type: ignore[arg-type]
        self.tracing = None if self.waves is None else "vcd" if vcd is not None else "fst"
        self.trace = trace
        self.activity = activity
        self.trace_from, self.trace_cycles = trace_from, trace_cycles
        self.wave_cycles = trace_cycles if wave_cycles is None else wave_cycles
        self.peek = peek
        self.watch = watch
        self.watchdog = watchdog
        self.max_cycles = max_cycles
        self.cache = Path(cache) if cache is not None else None
        self.bare = bare
        self.progress = progress
        self.report = report

    @property
    def dram_base(self) -> int:
        """Address of the memory: the upper half of the address space, so that every address bit is used."""
        return 1 << (self.config.axi_address_width - 1)

    def run(self, program: npt.NDArray[np.uint8], regions: Sequence[npt.NDArray[np.uint8]]) -> RunResult:
        """Run a program; see :meth:`Device.run`.

        Raises
        ------
        DeviceFault
            If the accelerator stopped with a fault.
        AcceleratorError
            If the accelerator hangs or broke the AXI protocol.
        SimulationError
            If the simulator cannot be built or fails.
        FileError
            If the waveform cannot be written.
        ValueError
            If there are more regions than the accelerator has, or the program is not of whole instructions.
        """
        if len(program) % INSTRUCTION_BYTES:
            raise ValueError(f"program of {len(program)} bytes is no multiple of {INSTRUCTION_BYTES}")
        if len(regions) > Regions.COUNT:
            raise ValueError(f"{len(regions)} regions; the accelerator has {Regions.COUNT}")
        simulator = build(self.config, tracing=self.tracing, peek=self.peek, cache=self.cache, report=self.report)
        parts = [np.asarray(part, np.uint8) for part in (*regions, program)]
        offsets, total = _lay_out([len(part) for part in parts])
        with tempfile.TemporaryDirectory(prefix="systolith-") as name, pending_waveform(self.waves) as waves:
            directory = Path(name)
            dram = np.memmap(directory / "dram", np.uint8, "w+", shape=(total,))
            for offset, part in zip(offsets, parts, strict=True):
                dram[offset : offset + len(part)] = part
            shared = Shared(directory / "status", create=True)
            job = Job(
                program_base=self.dram_base + offsets[-1],
                program_length=len(program) // INSTRUCTION_BYTES,
                regions=[(self.dram_base + offsets[i], len(region)) for i, region in enumerate(regions)],
                watchdog=self.watchdog,
                max_cycles=self.max_cycles,
                status=str(directory / "status"),
                result=str(directory / "result.json"),
                chip=str(directory / "chip") if self.peek else "",
                watch=None if self.watch is None else _placed(self.watch, offsets, parts).to_dict(),
            )
            shared.grant(
                [(base, base + size) for base, size in job.regions],
                (job.program_base, job.program_base + len(program)),
            )
            if self.bare:
                outcome = run_bare(simulator, job, directory, self._plusargs(waves))
            else:
                outcome = self._simulate(simulator, job, directory, shared, self._plusargs(waves))
            after = [
                np.array(dram[offset : offset + size]) for offset, (_, size) in zip(offsets, job.regions, strict=False)
            ]
            result = self._kept(waves, self._result(directory, job, outcome, after, shared.cycles))
            if not self.bare:
                _check(outcome, shared, result)
        return result

    def unrecorded(self) -> "RtlDevice":
        """This device without waveform and activity, on the same simulator."""
        other = copy(self)
        other.waves, other.activity = None, False
        return other

    def _kept(self, waves: Path | None, result: RunResult) -> RunResult:
        """``result`` with the waveform, moved to its place, if that shows something of the program."""
        if waves is None or self.waves is None or result.misses(self.trace_from) or not shows_a_cycle(waves):
            return result
        return replace(result, waves=take_place(waves, self.waves))

    def _result(
        self, directory: Path, job: Job, outcome: Outcome, regions: list[npt.NDArray[np.uint8]], simulated: int
    ) -> RunResult:
        """What a run of ``simulated`` cycles left in ``directory``, whether or not the program ended.

        The counter tells when a program that is done began. Of one that hangs or is at fault, which still drains the
        bus when it has stopped, only the activity does.
        """
        activity = None
        if self.activity:
            activity = read_activity(directory / "activity", self.trace_from, self.trace_cycles, simulated)
        start = activity.origin if activity is not None else outcome.start if outcome.done else None
        events = watched = None
        if self.trace and start is not None:
            events = read_events(directory / "events")
            events["cycle"] -= np.uint64(start)
        if self.watch is not None and start is not None:
            watched = read_watched(directory / "watched.npz", start)
        return RunResult(
            counters=outcome.counters,
            regions=regions,
            events=events,
            wall_seconds=outcome.seconds,
            simulated=True,
            activity=activity,
            state=np.fromfile(job.chip, chip_state(self.config))[0] if self.peek else None,
            watched=watched,
        )

    def _simulate(
        self, simulator: Simulator, job: Job, directory: Path, shared: Shared, plusargs: Sequence[str]
    ) -> Outcome:
        """Run ``job`` under cocotb."""
        job.save(directory / "job.json")
        (directory / "config.toml").write_text(self.config.to_toml(), encoding="utf-8")
        env = {JOB_VARIABLE: str(directory / "job.json"), CONFIG_VARIABLE: str(directory / "config.toml")}
        with launch(simulator, _BENCH, directory=directory, plusargs=plusargs, env=env) as simulation:
            self._follow(simulation, shared)
        result = directory / "result.json"
        if not result.exists():
            raise simulation.failure("the simulation failed")
        return Outcome.load(result)

    def _plusargs(self, waves: Path | None) -> list[str]:
        """The simulator's arguments, with the waveform's path; it runs in the directory of files without one."""
        args = ["+dram_file=dram", "+dram_status=status", f"+dram_base={self.dram_base:x}", *self.memory.plusargs()]
        if self.trace:
            args.append("+dram_events=events")
        if self.peek:
            args.append("+memories=memories")
        if self.activity:
            args += ["+dram_activity=activity", f"+dram_changes={MOST_CHANGES}"]
        if waves is not None:
            args.append(f"+waves={waves}")
            if self.wave_cycles is not None:
                args.append(f"+wave_cycles={self.wave_cycles}")
        if self.trace_from is not None:
            args.append(f"+trace_from={self.trace_from}")
        if self.trace_cycles is not None:
            args.append(f"+trace_cycles={self.trace_cycles}")
        return args

    def _follow(self, simulation: Simulation, shared: Shared) -> None:
        """Wait for the end of the simulation, telling ``progress`` on the way and once more at the end."""
        ended = False
        while not ended:
            ended = simulation.wait(_INTERVAL)
            if self.progress is not None:
                self.progress(shared.cycles, shared.retired)


def _check(outcome: Outcome, shared: Shared, result: RunResult) -> None:
    """Raise what went wrong in a run that left ``result``."""
    if shared.violation:
        raise AcceleratorError(f"the accelerator {shared.violation}", result)
    if outcome.hang:
        raise AcceleratorError(f"the accelerator hangs: {outcome.hang}", result)
    if outcome.fault_code:
        raise DeviceFault(outcome.fault_code, outcome.fault_index, outcome.fault_waiting, result)
    if not outcome.done:
        raise AcceleratorError("the accelerator interrupted without being done or at fault", result)
    if shared.unanswered:
        raise AcceleratorError(f"the accelerator {shared.unanswered}", result)


def _lay_out(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Offsets of parts of these sizes, each on a page of its own, and the bytes that all of them take."""
    offsets, total = [], 0
    for size in sizes:
        offsets.append(total)
        total += max(_PAGE, -(-size // _PAGE) * _PAGE)
    return offsets, total


def _placed(watch: Watch, offsets: Sequence[int], parts: Sequence[npt.NDArray[np.uint8]]) -> Watch:
    """``watch`` with bytes of the simulated memory instead of bytes of the regions."""
    ends = np.cumsum([len(part) for part in parts])
    places = np.array(watch.dram, np.int64)
    part = np.searchsorted(ends, places, "right")
    begins = np.concatenate(([0], ends))[part]
    return replace(watch, dram=(np.array(offsets)[part] + places - begins).tolist())
