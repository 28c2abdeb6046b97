"""What a fault campaign hands to its bench, and gets back: JSON both ways, and the contents of DRAM beside it."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from systolith.rtl.config import Config
from systolith.sim.build import Simulator
from systolith.sim.dram import Shared
from systolith.sim.job import CONFIG_VARIABLE
from systolith.sim.launch import launch
from systolith.sim.toolchain import SimulationError

from .subjects import Subject

_BENCH = "systolith.sim.benches.drivers.faults"
#: Files in the bench's directory: injections and observations, DRAM before and after correct runs, shared state.
INJECTIONS, OBSERVATIONS, BEFORE, AFTER = "injections.json", "observations.json", "before.npy", "after.npy"
LAYOUTS, DRAM, SHARED = "layouts.json", "dram", "shared"
#: Actions of the host that end a program without a report.
RESETS = ("reset", "insist", "rst")
#: Seconds after which a batch is ended.
_LIMIT = 900.0


@dataclass(frozen=True, kw_only=True)
class Injection:
    """One run with something wrong, and one correct run after it, of subjects by their number.

    Parameters
    ----------
    kind : str
        What is injected.
    subject, good : int
    program : str
        The instructions to run, hexadecimal bytes; in place of the subject's own.
    length : int
        PROGRAM_LENGTH.
    program_base : int
        Address; the instructions are put where the subject has its own.
    regions : list of [base, size]
    latency, seed : timing of the memory.
    watchdog : int, cycles
    interrupts : bool
        Whether the interrupt is enabled; otherwise STATUS is polled.
    error : [low, high, response, kinds] or None
        Addresses that answer with an error, as in ``sim.dram``.
    mute : int
        Channels that stop for good, a bit each.
    action : str
        What the host does on the way: ``doorbell``, ``reset`` (the register's bit), ``insist`` (that bit, and once more
        if the program does not end), ``rst`` (the pin), or nothing.
    at : float
        When the channels stop or the host acts: a fraction of the cycles of the subject's correct run.
    recovery : str
        How unanswered bursts are dealt with: ``late`` (they are answered in the end), ``forget`` (memory and
        accelerator are reset, the latter through its register) or ``rst`` (the pin of both).
    """

    kind: str
    subject: int
    good: int
    program: str
    length: int
    program_base: int
    regions: list[list[int]]
    latency: int
    seed: int
    watchdog: int
    interrupts: bool
    error: list[int] | None
    mute: int
    action: str
    at: float
    recovery: str


@dataclass(kw_only=True)
class Observation:
    """What a run with a fault showed, and what followed.

    ``problem`` is set where the machine did not stop, was not quiet or broke a rule; ``good`` where the correct run
    after it failed; ``hung`` where one of the two did not stop. ``exact``: DRAM is what the subject's own program makes
    of it. ``busy_at_action``: the program still ran when the host acted on it.
    """

    problem: str = ""
    good: str = ""
    status: int = 0
    code: int = 0
    index: int = 0
    waiting: int = 0
    interrupted: bool = False
    retired_of: list[int]
    exact: bool = False
    busy_at_action: bool = False
    hung: bool = False
    strays: int = 0


def run_batch(
    config: Config, simulator: Simulator, subjects: Sequence[Subject], injections: Sequence[Injection]
) -> list[Observation]:
    """Run the injections one after the other in one simulator; an observation for each.

    Raises
    ------
    SimulationError
        If the bench does not end or leaves no observations.
    """
    with tempfile.TemporaryDirectory(prefix="systolith-") as name:
        directory = Path(name)
        (directory / "config.toml").write_text(config.to_toml(), encoding="utf-8")
        (directory / INJECTIONS).write_text(json.dumps([asdict(i) for i in injections]))
        np.save(directory / BEFORE, np.stack([s.before for s in subjects]))
        np.save(directory / AFTER, np.stack([s.after for s in subjects]))
        subjects[0].before.tofile(directory / DRAM)
        (directory / LAYOUTS).write_text(json.dumps([asdict(s.layout) for s in subjects]))
        env = {CONFIG_VARIABLE: str(directory / "config.toml")}
        plusargs = [f"+dram_file={DRAM}", f"+dram_status={SHARED}", f"+dram_base={subjects[0].layout.dram_base:x}"]
        Shared(directory / SHARED, create=True)
        with launch(simulator, _BENCH, directory=directory, plusargs=plusargs, env=env) as simulation:
            if not simulation.wait(_LIMIT):
                raise SimulationError(f"{len(injections)} injections did not end within {_LIMIT:.0f} seconds")
        if not (directory / OBSERVATIONS).exists():
            raise simulation.failure("the bench of faults left no observations")
        observed = [Observation(**o) for o in json.loads((directory / OBSERVATIONS).read_text())]
    if len(observed) != len(injections):
        raise SimulationError(f"{len(observed)} observations of {len(injections)} injections")
    return observed
