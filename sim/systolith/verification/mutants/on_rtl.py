"""The judge of hardware that passes its nearest tests: an encoder and random programs on the RTL of one build.

Compared are every byte of DRAM and of the memories on the chip, and the cycles of each program. What is expected comes
from the tree without a fault, as the functional device reads some of the files that get faults.
"""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.compiler.compile import compile_encoder
from systolith.models.registry import load_model
from systolith.rtl.chip_state import random_state
from systolith.runtime.device import RunResult
from systolith.runtime.functional import FunctionalDevice
from systolith.runtime.session import run_encoder
from systolith.sim.build import build
from systolith.verification.fuzz.batch import Case, Fuzzer, Result, random_case
from systolith.verification.fuzz.configs import CONFIGS

#: What a verdict of this judge begins with.
ON_RTL = "on the RTL"
#: The smallest accelerator that is fuzzed; its memories are so small that everything meets.
_CONFIG = next(iter(CONFIGS.values()))
#: The encoder; the mask leaves two tokens out.
_ENCODER = {"tokens": 9, "hidden": 24, "heads": 2, "ffn": 40, "layers": 1}
_VALID = 7
#: Random programs behind the encoder.
_PROGRAMS = 64

#: What a program leaves: the regions of DRAM, and the memories on the chip.
Left = tuple[list[npt.NDArray[np.uint8]], npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Programs, and what each leaves behind and takes (cycles) without any fault."""

    cases: Sequence[Case]
    left: Sequence[Left]
    cycles: Sequence[int]


class _Recorder(FunctionalDevice):
    """The functional device, which remembers what each program left."""

    def __init__(self) -> None:
        super().__init__(_CONFIG)
        self.left: list[Left] = []

    def run(self, program: npt.NDArray[np.uint8], regions: Sequence[npt.NDArray[np.uint8]]) -> RunResult:
        result = super().run(program, regions)
        self.left.append((result.regions, self.state))
        return result


class _Replay(FunctionalDevice):
    """Answers what was recorded, whatever the program."""

    def __init__(self, left: Sequence[Left]) -> None:
        super().__init__(_CONFIG)
        self._left: Iterator[Left] = iter(left)

    def run(self, program: npt.NDArray[np.uint8], regions: Sequence[npt.NDArray[np.uint8]]) -> RunResult:
        del program, regions
        after, self.state = next(self._left)
        return RunResult(counters={}, regions=after, events=None, wall_seconds=0.0, simulated=False)


def record(path: Path) -> str:
    """Make the trial on a tree without a fault and see that it passes, twice in the same cycles; else say why not."""
    model = load_model("random", **_ENCODER)
    x = model.prepare()
    outcome = run_encoder(model.quantized, x, FunctionalDevice(_CONFIG), valid=_VALID)
    program = compile_encoder(model.quantized, _CONFIG, len(x), valid=_VALID)
    rng = np.random.default_rng(0)
    encoder = Case(
        image=program.image, regions=program.regions(x), state=random_state(_CONFIG, 0), reset=True,
        timing=(30, 0, None), place=0,
    )  # fmt: skip
    cases = [encoder, *(random_case(_CONFIG, rng, fresh=False) for _ in range(_PROGRAMS))]
    recorder = _Recorder()
    results = _run(cases, recorder)
    trial = Trial(cases=cases, left=recorder.left, cycles=[result.cycles for result in results])
    problem = "a wrong bit on the functional device" if outcome.difference is not None else _judge(results, trial)
    problem = problem or _judge(_run(trial.cases, _Replay(trial.left)), trial)
    path.write_bytes(pickle.dumps(trial))
    return f"without any fault: {problem}" if problem else ""


def judge(path: Path) -> str:
    """What is wrong with the RTL in the trial recorded at ``path``, or nothing; trouble of the machine is raised."""
    trial: Trial = pickle.loads(path.read_bytes())
    try:
        return _judge(_run(trial.cases, _Replay(trial.left)), trial)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        return f"{ON_RTL}: {type(error).__name__}"


def _run(cases: Sequence[Case], device: FunctionalDevice) -> list[Result]:
    with Fuzzer(_CONFIG, build(_CONFIG, peek=True), device) as fuzzer:
        return fuzzer.run(cases)


def _judge(results: Sequence[Result], trial: Trial) -> str:
    for index, (result, cycles) in enumerate(zip(results, trial.cycles, strict=False)):
        name = f"random program {index}" if index else "an encoder"
        if result.difference:
            return f"{ON_RTL}, {name}: {result.difference}"
        if result.cycles != cycles:
            return f"{ON_RTL}, {name}: {result.cycles} cycles, not {cycles}"
    return ""
