"""A fault that is put into the hardware is found: instruction, tile, element and cycle."""

import functools
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systolith import cli
from systolith.compiler.compile import compile_encoder
from systolith.compiler.program import CONSTANTS, Program
from systolith.models.registry import load_model
from systolith.rtl.config import preset
from systolith.rtl.isa import Function, Opcode, disassemble
from systolith.rtl.verilog import generate
from systolith.runtime import rtl
from systolith.runtime.device import RunResult
from systolith.runtime.explain import Explanation, explain
from systolith.sim.build import build

TINY = preset("tiny")
#: The subtraction in lane 1 of GELU, in Verilog.
GELU = r"(module \\systolith\S*\.gelu_1 *\((?:(?!endmodule).)*?= \S+ +)-( correction;)"


@functools.cache
def program() -> tuple[Program, tuple[np.ndarray, ...]]:
    """One layer, and its memory."""
    model = load_model("random", tokens=6, hidden=16, heads=2, ffn=24, layers=1)
    x = model.prepare()
    compiled = compile_encoder(model.quantized, TINY, len(x))
    return compiled, tuple(compiled.regions(x))


def mutated(monkeypatch: pytest.MonkeyPatch, pattern: str, replacement: str) -> rtl.RtlDevice:
    """A device whose Verilog has ``pattern``, which occurs once, replaced."""
    text, count = re.subn(pattern, replacement, generate(TINY), flags=re.DOTALL)
    assert count == 1
    monkeypatch.setattr(rtl, "build", functools.partial(build, verilog=text))
    return rtl.RtlDevice(TINY, peek=True)


def first(opcode: Opcode, function: Function | None = None) -> int:
    """Index of the first such instruction."""
    for index, i in enumerate(disassemble(program()[0].image.tobytes())):
        if i.opcode == opcode and (function is None or i.function == function):
            return index
    raise AssertionError


def times(explanation: Explanation) -> tuple[int, int]:
    """When the instruction that it names issues and retires, in the sound accelerator."""
    result = rtl.RtlDevice(TINY).run(program()[0].image, program()[1])
    assert result.events is not None
    own = result.events[result.events["index"] == explanation.instruction]["cycle"]
    return int(own[0]), int(own[1])


def check(explanation: Explanation, index: int, memory: str) -> None:
    """It names instruction ``index``, a cycle in which that is in flight, and elements of ``memory``."""
    assert explanation.instruction == index
    issued, retired = times(explanation)
    assert explanation.cycle is not None
    assert issued < explanation.cycle <= retired
    assert explanation.elements
    assert {element.memory for element in explanation.elements} == {memory}
    assert all(element.expected != element.got for element in explanation.elements)
    compiled, _ = program()
    operation = compiled.operations[compiled.operation_of[index]]
    text = str(explanation)
    instruction = disassemble(compiled.image.tobytes())[index]
    assert f"instruction {index} (layer 0, {operation.name}): {instruction}\n" in text
    assert f"the RTL left the functional device in cycle {explanation.cycle:,} of the program" in text
    assert str(explanation.elements[0]) in text


@pytest.mark.slow
def test_a_fault_in_one_lane_of_gelu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lane 1 adds what it should subtract: the first GELU is wrong in every fourth column from 1 on."""
    compiled, regions = program()
    device = mutated(monkeypatch, GELU, r"\1+\2")
    steps: list[str] = []
    explanation = explain(compiled, regions, device, steps.append)
    index = first(Opcode.VECTOR, Function.GELU)
    check(explanation, index, "scratchpad")
    assert {element.column % TINY.lanes for element in explanation.elements} == {1}
    instruction = disassemble(compiled.image.tobytes())[index]
    token = explanation.elements[0].row - instruction.out_address
    assert f"in block {token // instruction.out_stride} of " in str(explanation)
    assert f"row {token % instruction.out_stride} of {instruction.rows}\n" in str(explanation)
    assert re.search(
        r"sums: accumulator rows .*\n    written by instruction \d+ \(layer 0, ffn1\): matrix", str(explanation)
    )
    assert re.search(r"parameters: .*\n    written by instruction \d+ \(layer 0, \w+\): load", str(explanation))
    assert len(steps) <= 12


def test_the_command_explains_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mutated(monkeypatch, GELU, r"\1+\2")
    options = "--model random --seq 6 --hidden 16 --heads 2 --ffn 24 --layers 1 --preset tiny --explain"
    monkeypatch.setattr(sys, "argv", ["systolith", "run", *options.split()])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    assert f"instruction {first(Opcode.VECTOR, Function.GELU)} (layer 0, gelu): vector" in printed
    assert "the RTL left the functional device in cycle" in printed


@pytest.mark.slow
def test_a_fault_in_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """PEs do not add what comes from above: sums are wrong, the first one a few cycles after its tile began."""
    compiled, regions = program()
    element = r"(module processing_element.*?= )\$signed\(north__sum\) \+( \$signed\(product\);)"
    explanation = explain(compiled, regions, mutated(monkeypatch, element, r"\1\2"))
    index = first(Opcode.MATRIX)
    check(explanation, index, "accumulator")
    instruction = disassemble(compiled.image.tobytes())[index]
    assert explanation.elements[0].row == instruction.acc_address
    assert "in tile 0 of " in str(explanation)
    # The first row has passed the array before the last one has entered it.
    issued, _ = times(explanation)
    assert explanation.cycle is not None
    assert explanation.cycle < issued + 100
    assert re.search(r"weights: .*\n    written by instruction \d+ .*: load", str(explanation))


class Corrupting(rtl.RtlDevice):
    """One byte of the constants is not what the host wrote."""

    def run(self, program: Any, regions: Any) -> RunResult:
        damaged = [region.copy() for region in regions]
        damaged[CONSTANTS][5] ^= 0x40
        return super().run(program, damaged)


def test_memory_that_is_wrong_from_the_beginning() -> None:
    compiled, regions = program()
    explanation = explain(compiled, regions, Corrupting(TINY, peek=True))
    assert (explanation.instruction, explanation.cycle) == (None, None)
    (element,) = explanation.elements
    assert (element.memory, element.place) == ("region 0", 5)
    assert element.got == element.expected ^ 0x40
    text = str(explanation)
    assert "Before the first instruction 1 elements differ" in text
    assert "region 0, constants, bytes 5 to 5" in text
    assert "The first instruction to read it is instruction 1 (layer 0, projections): load   memory=parameters" in text


def test_a_sound_accelerator_is_not_blamed() -> None:
    compiled, regions = program()
    explanation = explain(compiled, regions, rtl.RtlDevice(TINY, peek=True))
    assert explanation.instruction is None
    assert explanation.elements == []
    assert "agree in every byte of every memory" in str(explanation)


def test_the_device_must_show_its_memories(tmp_path: Path) -> None:
    compiled, regions = program()
    with pytest.raises(ValueError, match="to explain a run, its device must be opened with peek"):
        explain(compiled, regions, rtl.RtlDevice(TINY))
