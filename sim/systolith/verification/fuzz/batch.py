"""Programs run on the functional device and, many in one simulator process, on the RTL; every byte compared."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from systolith.rtl.chip_state import random_state
from systolith.rtl.config import Config
from systolith.rtl.isa import FIELDS, INSTRUCTION_BYTES, Opcode, disassemble
from systolith.runtime.functional import FunctionalDevice
from systolith.sim.build import Simulator
from systolith.verification.programs.random_program import random_program, random_regions, scramble_unused_bits

from .session import Entry, Session, dram_base

Bytes = npt.NDArray[np.uint8]
#: Bytes between neighbours in the simulated memory at most; the start of the memory is a page boundary.
_GAP = 5000
#: Share of the programs that are long.
_LONG = 0.01


@dataclass(frozen=True, kw_only=True)
class Case:
    """One program with everything that its run follows from.

    Attributes
    ----------
    image : uint8, the program
    regions : uint8 arrays, contents of the DRAM regions
    state : record of ``chip_state``, or None for what the case before leaves
    reset : whether the accelerator is reset first
    timing : latency in cycles, bandwidth in bytes a cycle, seed or None: of the simulated memory
    place : seed of where program and regions lie, and of the bytes around them
    """

    image: Bytes
    regions: list[Bytes]
    state: npt.NDArray[Any] | None
    reset: bool
    timing: tuple[int, int, int | None]
    place: int


def random_case(config: Config, rng: np.random.Generator, *, fresh: bool) -> Case:
    """A random program and random circumstances; ``fresh``: with a state of its own (else that in some cases)."""
    source = random.Random(int(rng.integers(1 << 63)))
    length = source.choice([300, 600]) if source.random() < _LONG else source.choice([1, 3, 8, 20, 20, 60])
    program = random_program(config, rng, length)
    state = random_state(config, source.randrange(1 << 32)) if fresh or source.random() < 0.1 else None
    bus = config.bus_bytes
    return Case(
        image=scramble_unused_bits(program.image, rng),
        regions=random_regions(config, program.region_bytes, rng),
        state=state,
        reset=source.random() < 0.3,
        timing=(
            source.choice([1, 2, 7, 30, 100]),
            source.choice([0, 0, 0, bus, max(1, bus // 2), 3]),
            None if source.random() < 0.1 else source.randrange(1 << 31),
        ),
        place=source.randrange(1 << 32),
    )


@dataclass(frozen=True)
class _Placed:
    """A case in the simulated memory: all of its bytes, and offsets of the regions and of the program.

    Region r begins ``before[r]`` bytes earlier for the RTL, whose program has larger offsets: so these use all of
    their bits, although the simulated memory is small.
    """

    memory: Bytes
    offsets: list[int]
    before: list[int]


def _lay_out(config: Config, case: Case) -> _Placed:
    """Program and regions in random order with random bytes between them, each on a beat of its own."""
    source = random.Random(case.place)
    before = [_head_start(config, len(region), source) for region in case.regions]
    parts = [*case.regions, shift_offsets(case.image, before)]
    offsets, end = [0] * len(parts), 0
    for index in source.sample(range(len(parts)), len(parts)):
        gap = source.choice([0, 1, source.randrange(_GAP)])
        offsets[index] = -(-(end + gap) // config.bus_bytes) * config.bus_bytes
        end = offsets[index] + len(parts[index])
    size = -(-(end + _GAP) // config.bus_bytes) * config.bus_bytes
    memory = np.random.default_rng(case.place).integers(0, 256, size, np.uint8)
    for offset, part in zip(offsets, parts, strict=True):
        memory[offset : offset + len(part)] = part
    return _Placed(memory, offsets, before)


def _head_start(config: Config, size: int, source: random.Random) -> int:
    """Bytes by which a region of ``size`` begins earlier: whole beats and rows, as far as CSRs reach; usually none."""
    if source.random() < 0.6:
        return 0
    unit = max(config.bus_bytes, config.row_pitch)
    most = min((1 << 32) - 1 - size, 1 << (config.axi_address_width - 1)) // unit
    return source.choice([most, source.randrange(most), source.randrange(most) >> source.randrange(24)]) * unit


def shift_offsets(image: Bytes, before: Sequence[int]) -> Bytes:
    """The program for regions that begin ``before[region]`` bytes earlier."""
    words = image.reshape(-1, INSTRUCTION_BYTES).copy()
    place = sum(field.bits for field in takewhile(lambda f: f.name != "offset", FIELDS[Opcode.LOAD])) // 8
    for word, i in zip(words, disassemble(image.tobytes()), strict=True):
        if i.opcode in (Opcode.LOAD, Opcode.STORE):
            word[place : place + 4] = np.frombuffer((i.offset + before[i.region]).to_bytes(4, "little"), np.uint8)
    return words.ravel()


def as_run(config: Config, case: Case) -> tuple[Bytes, tuple[int, ...]]:
    """The program and the sizes of its regions as the RTL sees them."""
    place = _lay_out(config, case)
    sizes = tuple(before + len(region) for before, region in zip(place.before, case.regions, strict=True))
    return shift_offsets(case.image, place.before), sizes


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one case came to. ``difference`` says what is wrong first, or nothing; ``before`` is the chip's state."""

    cycles: int
    difference: str
    before: npt.NDArray[Any]


class Fuzzer:
    """The two devices side by side; a context manager, as it keeps one simulator process for all of its batches.

    Parameters
    ----------
    config : Config
    simulator : Simulator
        Built with ``peek``.
    device : FunctionalDevice, optional
        What the RTL is compared with.
    """

    def __init__(self, config: Config, simulator: Simulator, device: FunctionalDevice | None = None) -> None:
        self.config = config
        self.device = device or FunctionalDevice(config)
        self._session = Session(config, simulator)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def run(self, cases: Sequence[Case]) -> list[Result]:
        """Run ``cases`` one after the other, up to and including the first that differs.

        Raises
        ------
        SimulationError
            If the simulator fails or does not end.
        ValueError
            If the first case has no state.
        """
        results = self._run(cases)
        wrong = next((index for index, result in enumerate(results) if result.difference), len(results))
        return results[: wrong + 1]

    def run_all(self, cases: Sequence[Case]) -> list[Result]:
        """Run every one of ``cases``, each with a state of its own, whatever the others do."""
        results: list[Result] = []
        while len(results) < len(cases):
            results += self._run(cases[len(results) :])
        return results

    def _run(self, cases: Sequence[Case]) -> list[Result]:
        """One batch, which ends early only with a case that hangs, faults or breaks a rule of the bus."""
        if not cases or cases[0].state is None:
            raise ValueError("the first case must have a state")
        placed = [_lay_out(self.config, case) for case in cases]
        before = np.zeros((len(cases), max(len(place.memory) for place in placed)), np.uint8)
        for row, place in zip(before, placed, strict=True):
            row[: len(place.memory)] = place.memory
        states: list[npt.NDArray[Any]] = []
        entries = []
        for case, place in zip(cases, placed, strict=True):
            entries.append(self._entry(case, place, None if case.state is None else len(states)))
            if case.state is not None:
                states.append(case.state)
        self._session.start(entries, before, np.stack(states))
        # Meanwhile, on the other core:
        expected = [
            self._expect(case, place, row.copy()) for case, place, row in zip(cases, placed, before, strict=True)
        ]
        results = []
        for index, (outcome, memory, chip) in enumerate(self._session.finish()):
            initial, expected_memory, expected_chip = expected[index]
            difference = (
                outcome.problem
                or _compare(placed[index], cases[index], expected_memory, memory)
                or _compare_chips(expected_chip, chip)
            )
            results.append(Result(cycles=outcome.cycles, difference=difference, before=initial))
        return results

    def _entry(self, case: Case, place: _Placed, state: int | None) -> Entry:
        *bases, program_base = (dram_base(self.config) + offset for offset in place.offsets)
        latency, bandwidth, seed = case.timing
        return Entry(
            program_base=program_base,
            program_length=len(case.image) // INSTRUCTION_BYTES,
            regions=[
                [base - before, before + len(region)]
                for base, before, region in zip(bases, place.before, case.regions, strict=True)
            ],
            grants=[[base, base + len(region)] for base, region in zip(bases, case.regions, strict=True)],
            latency=latency,
            bandwidth=bandwidth,
            seed=seed,
            reset=case.reset,
            state=state,
        )

    def _expect(self, case: Case, place: _Placed, memory: Bytes) -> tuple[npt.NDArray[Any], Bytes, npt.NDArray[Any]]:
        """The chip before, all of the simulated ``memory`` after, and the chip after, by the functional device."""
        if case.state is not None:
            self.device.state = case.state
        before = self.device.state
        result = self.device.run(case.image, case.regions)
        for offset, region in zip(place.offsets, result.regions, strict=False):
            memory[offset : offset + len(region)] = region
        return before, memory, self.device.state


def _compare(place: _Placed, case: Case, expected: Bytes, got: Bytes) -> str:
    """The first byte of DRAM that differs, and where it lies; nothing if none does."""
    differing = np.flatnonzero(expected != got)
    if not len(differing):
        return ""
    at = int(differing[0])
    where = "outside every region"
    for region, (offset, content) in enumerate(zip(place.offsets, case.regions, strict=False)):
        if offset <= at < offset + len(content):
            where = f"region {region} byte {at - offset}"
    if place.offsets[-1] <= at < place.offsets[-1] + len(case.image):
        where = f"the program's byte {at - place.offsets[-1]}"
    return f"DRAM, {where}: expected {expected[at]}, got {got[at]}; {len(differing)} bytes differ"


def _compare_chips(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> str:
    """The first element on the chip that differs; nothing if none does."""
    for name in expected.dtype.names or ():
        differing = np.argwhere(expected[name] != got[name])
        if len(differing):
            at = tuple(int(v) for v in differing[0])
            return (
                f"{name} row {', column '.join(map(str, at))}: expected {expected[name][at]}, got {got[name][at]}; "
                f"{len(differing)} elements differ"
            )
    return ""


def listing(image: Bytes) -> list[str]:
    """The program as assembly, a line for each instruction."""
    return [str(instruction) for instruction in disassemble(image.tobytes())]
