"""Why a run on the RTL is wrong: the first instruction whose effects differ from the functional device's, and when.

Both devices run prefixes of the program, and all of their memories are compared; bisection finds an instruction
before which all is equal and after which it is not. Its wrong elements are then watched, cycle by cycle, in the whole
program's run: the RTL left the functional device when one of them first held what it never holds there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.compiler.program import Program
from systolith.rtl.isa import INSTRUCTION_BYTES, Instruction, Opcode, assemble, disassemble
from systolith.sim.toolchain import SimulationError
from systolith.sim.watch import Watch

from .device import DeviceFault, RunResult
from .explain_text import describe, operand_lines, region_name, region_of, where
from .functional import FunctionalDevice
from .rtl import RtlDevice

#: Most wrong elements that are watched.
_WATCHED = 4096
Regions = Sequence[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Element:
    """One wrong element: ``memory`` is a field of ``chip_state`` or ``region N``, ``place`` its flat index there."""

    memory: str
    place: int
    row: int
    column: int
    expected: int
    got: int

    def __str__(self) -> str:
        return f"{self.memory} row {self.row}, column {self.column}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was found.

    Attributes
    ----------
    instruction : int or None
        Index of the first instruction whose effects are wrong; None if none is, or something was wrong before.
    cycle : int or None
        The cycle of the program in which the RTL left the functional device.
    elements : list of Element
        What is wrong after that instruction; those of the first cycle come first.
    text : str
        All of it in sentences.
    """

    instruction: int | None
    cycle: int | None
    elements: list[Element]
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Compared:
    """A prefix on both devices: its wrong elements, or why the RTL did not run it to its end."""

    result: RunResult | None
    functional: FunctionalDevice
    expected: list[npt.NDArray[np.uint8]]
    elements: list[Element]
    failure: str

    @property
    def wrong(self) -> bool:
        return bool(self.elements or self.failure)


def explain(
    program: Program, regions: Regions, device: RtlDevice, report: Callable[[str], None] = lambda _: None
) -> Explanation:
    """Find where ``device``, built with ``peek``, leaves the functional device when it runs ``program``.

    Parameters
    ----------
    program : Program
    regions : arrays of uint8
        The DRAM regions before the run.
    device : RtlDevice
    report : function of str
        Told each step.

    Raises
    ------
    ValueError
        If ``device`` was not opened with ``peek``.
    """
    if not device.peek:
        raise ValueError("to explain a run, its device must be opened with peek")
    search = _Search(program, regions, device, report)
    count = len(program.operation_of)
    whole = search.compare(count)
    if not whole.wrong:
        text = (
            "The RTL and the functional device agree in every byte of every memory: what is wrong is the program or "
            "the encoder, not the accelerator."
        )
        return Explanation(instruction=None, cycle=None, elements=[], text=text)
    before = search.compare(0)
    if before.wrong:
        return _before(program, before)
    good, bad = 0, count
    while bad - good > 1:
        middle = (good + bad) // 2
        if search.compare(middle).wrong:
            bad = middle
        else:
            good = middle
    return search.explanation(good, whole)


def _before(program: Program, found: _Compared) -> Explanation:
    """Something was wrong before the first instruction."""
    if found.failure:
        text = f"The RTL does not even run an empty program: {found.failure}."
        return Explanation(instruction=None, cycle=None, elements=[], text=text)
    first = found.elements[0]
    lines = [f"Before the first instruction {len(found.elements)} elements differ, the first in {first}."]
    region = region_of(first.memory)
    if region is not None:
        lines.append(f"It lies in {region_name(program, region, first.place, first.place + 1)}.")
        row = first.place // program.config.row_pitch
        for index, instruction in enumerate(disassemble(program.image.tobytes())):
            if instruction.opcode == Opcode.LOAD and where(instruction, program.config, first.memory, row, reads=True):
                lines.append(f"The first instruction to read it is {describe(program, index)}.")
                break
    return Explanation(instruction=None, cycle=None, elements=found.elements, text="\n".join(lines))


class _Search:
    """The two devices, a program and its memory."""

    def __init__(self, program: Program, regions: Regions, device: RtlDevice, report: Callable[[str], None]) -> None:
        self.program, self.regions, self.device, self.report = program, regions, device, report
        self._known: dict[int, _Compared] = {}

    def compare(self, count: int) -> _Compared:
        """Run the first ``count`` instructions on both devices."""
        if count not in self._known:
            self._known[count] = self._compare(count)
        return self._known[count]

    def _compare(self, count: int) -> _Compared:
        self.report(f"comparing after {count:,} instructions")
        image = self.program.image[: INSTRUCTION_BYTES * count]
        functional = FunctionalDevice(self.program.config)
        expected = functional.run(image, self.regions).regions
        try:
            result = self.device.run(image, self.regions)
        except (DeviceFault, SimulationError) as error:
            return _Compared(None, functional, expected, [], str(error))
        return _Compared(result, functional, expected, _differences(functional, expected, result), "")

    def explanation(self, index: int, whole: _Compared) -> Explanation:
        """Instruction ``index`` is the first whose effects differ."""
        before, after = self.compare(index), self.compare(index + 1)
        head = describe(self.program, index)
        if after.failure:
            text = f"Up to here all is equal; with {head}\nthe RTL ends otherwise: {after.failure}."
            return Explanation(instruction=index, cycle=None, elements=[], text=text)
        elements, cycle, how = after.elements, None, "the program's whole run does not end, so its cycle is unknown"
        if whole.result is not None:
            cycle, first = self._watch(index, before, elements, whole.result)
            elements = [*first, *(e for e in elements if e not in first)]
            how = f"{elements[0]}"
        lines = [f"The first wrong instruction is {head}"]
        row = elements[0].row
        lines += where(self._instruction(index), self.program.config, elements[0].memory, row)[:1] or [
            "  wrong outside of everything that it writes"
        ]
        lines += [f"  {how}; {len(elements)} elements are wrong after it"]
        if cycle is not None:
            lines.append(f"  the RTL left the functional device in cycle {cycle:,} of the program")
        lines.append("All memories were equal before it. Its operands:")
        lines += [f"  {line}" for line in operand_lines(self.program, index)]
        return Explanation(instruction=index, cycle=cycle, elements=elements, text="\n".join(lines))

    def _instruction(self, index: int) -> Instruction:
        image = self.program.image[INSTRUCTION_BYTES * index : INSTRUCTION_BYTES * (index + 1)]
        return disassemble(image.tobytes())[0]

    def _watch(
        self, index: int, before: _Compared, elements: list[Element], whole: RunResult
    ) -> tuple[int, list[Element]]:
        """The first cycle with a value that the functional device never has, and the elements that had it."""
        assert whole.events is not None
        own = whole.events[whole.events["index"] == index]
        issue, retire = int(own["cycle"].min()), int(own["cycle"].max())
        chosen = elements[:_WATCHED]
        chip: dict[str, list[int]] = {}
        dram: list[int] = []
        begins = np.cumsum([0, *(len(region) for region in self.regions)])
        for element in chosen:
            region = region_of(element.memory)
            if region is None:
                chip.setdefault(element.memory, []).append(element.place)
            else:
                dram.append(int(begins[region]) + element.place)
        self.report(f"watching {len(chosen):,} elements from cycle {issue:,} to {retire:,}")
        self.device.watch = Watch(first=issue, last=retire, chip=chip, dram=dram)
        try:
            watched = self.device.run(self.program.image, self.regions).watched
        finally:
            self.device.watch = None
        assert watched is not None
        keep = (watched.cycles > issue) & (watched.cycles <= retire + 1)
        cycles = watched.cycles[keep] - 1  # a sample shows what was written by the end of the cycle before
        allowed = self._allowed(index, before, chosen)
        position = dict.fromkeys([*chip, "dram"], 0)
        firsts = np.full(len(chosen), retire)
        for i, element in enumerate(chosen):
            name = element.memory if region_of(element.memory) is None else "dram"
            samples = watched.values[name][keep, position[name]]
            position[name] += 1
            strange = np.flatnonzero(~np.isin(samples, allowed[i]))
            if len(strange):
                firsts[i] = cycles[strange[0]]
        cycle = int(firsts.min())
        return cycle, [element for element, first in zip(chosen, firsts.tolist(), strict=True) if first == cycle]

    def _allowed(self, index: int, before: _Compared, elements: list[Element]) -> list[list[int]]:
        """For each element all values that it has on the functional device from before instruction ``index`` on."""
        instruction = self._instruction(index)
        values = [[element.expected] for element in elements]
        states = [_memories(before.functional, before.expected)]
        for part in _parts(instruction):
            device = FunctionalDevice(self.program.config)
            device.state = before.functional.state
            result = device.run(assemble([part]), before.expected)
            states.append(_memories(device, result.regions))
        for state in states:
            for known, element in zip(values, elements, strict=True):
                known.append(int(state[element.memory].ravel()[element.place]))
        return values


def _parts(instruction: Instruction) -> list[Instruction]:
    """Instructions that do the first part of its work: a MATRIX adds to its sums tile by tile."""
    alone: dict[str, Any] = {**instruction.values, "wait": 0, "give": 0}
    if instruction.opcode != Opcode.MATRIX:
        return []
    fewer = [{**alone, "k_tiles": n, "track_max": 0} for n in range(1, instruction.k_tiles)]
    if instruction.track_max:
        fewer += [{**alone, "n_tiles": n} for n in range(1, instruction.n_tiles)]
    return [replace(instruction, values=values) for values in fewer]


def _memories(device: FunctionalDevice, regions: Regions) -> dict[str, npt.NDArray[Any]]:
    state = device.state
    memories = {name: state[name] for name in state.dtype.names or ()}
    return memories | {f"region {i}": region for i, region in enumerate(regions)}


def _differences(functional: FunctionalDevice, expected: Regions, result: RunResult) -> list[Element]:
    """Everything that differs, DRAM last."""
    assert result.state is not None
    found = []
    pitch = functional.config.row_pitch
    got = {name: result.state[name] for name in result.state.dtype.names or ()}
    got |= {f"region {i}": region for i, region in enumerate(result.regions)}
    for name, memory in _memories(functional, expected).items():
        width = pitch if region_of(name) is not None else memory.shape[1] if memory.ndim > 1 else 1
        for place in np.flatnonzero(memory.ravel() != got[name].ravel()).tolist():
            wanted, had = int(memory.ravel()[place]), int(got[name].ravel()[place])
            found.append(Element(name, place, place // width, place % width, wanted, had))
    return found
