"""Instructions in words: which operation they belong to, which tile an element is of, where operands come from."""

import numpy as np
import numpy.typing as npt

from systolith.compiler.footprint import Footprint, Space, Span, footprint
from systolith.compiler.program import NO_LAYER, Program
from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Opcode, disassemble

#: Contents of the DRAM regions, by number (``compiler.program``).
_REGIONS = ("constants", "input", "output", "workspace", "observed tensors")
_REGION = "region "
#: Memories of ``chip_state`` by address space; what is neither has a row for each token (statistics).
_SPACES = {"scratchpad": Space.SCRATCHPAD, "accumulator": Space.ACCUMULATOR, "parameters": Space.PARAMETERS}
#: Most earlier instructions that are named as the source of an operand.
_SOURCES = 4


def region_of(memory: str) -> int | None:
    """The DRAM region that a memory's name means, or None for a memory on the chip."""
    return int(memory.removeprefix(_REGION)) if memory.startswith(_REGION) else None


def region_name(program: Program, region: int, first: int, end: int) -> str:
    """Bytes ``first`` to ``end - 1`` of a region, with the tensors that lie there."""
    name = _REGIONS[region] if region < len(_REGIONS) else "memory"
    tensors = [
        label
        for label, tensor in program.tensors.items()
        if tensor.region == region and tensor.offset < end and first < tensor.offset + tensor.size
    ]
    inside = f" (tensor {', '.join(tensors)})" if tensors else ""
    return f"region {region}, {name}, bytes {first:,} to {end - 1:,}{inside}"


def describe(program: Program, index: int) -> str:
    """``instruction 17 (0.scores): matrix rows=...``."""
    operation = program.operations[program.operation_of[index]]
    layer = "" if operation.layer == NO_LAYER else f"layer {operation.layer}, "
    instruction = disassemble(program.image.tobytes())[index]
    return f"instruction {index} ({layer}{operation.name}): {instruction}"


def where(instruction: Instruction, config: Config, memory: str, row: int, *, reads: bool = False) -> list[str]:
    """Which tile or block of ``instruction``, and which row of it, ``row`` of a memory is; empty if it is none."""
    region = region_of(memory)
    space = int(Space.DRAM + region) if region is not None else int(_SPACES.get(memory, Space.STATISTICS))
    used = footprint(instruction, config)
    for span in used.reads if reads else (*used.writes, *used.private, *_sums(instruction, used)):
        if span.space != space:
            continue
        for place in np.argwhere(_rows(span) == row)[:1]:
            *outer, inner = (int(v) for v in place)
            kind = "tile" if instruction.opcode == Opcode.MATRIX else "block"
            block = f"{kind} {outer[0]} of {span.shape[0]}, " if outer else ""
            return [f"  in {block}row {inner} of {span.shape[-1]}"]
    return []


def _sums(instruction: Instruction, used: Footprint) -> list[Span]:
    """Rows of statistics that a VECTOR makes, which only VECTOR sees."""
    if instruction.opcode != Opcode.VECTOR or instruction.function not in (Function.EXPONENT, Function.RESIDUAL):
        return []
    return [span for span in (*used.reads, *used.private) if span.space == Space.STATISTICS]


def operand_lines(program: Program, index: int) -> list[str]:
    """A line for each operand of instruction ``index``: where it lies, and which instructions wrote it last."""
    instructions = disassemble(program.image.tobytes())
    instruction = instructions[index]
    lines = []
    for name, span in zip(_names(instruction), footprint(instruction, program.config).reads, strict=True):
        lines.append(f"{name}: {_span_name(program, span)}")
        missing = np.unique(_rows(span))
        sources = []
        for earlier in range(index - 1, -1, -1):
            written = _written(footprint(instructions[earlier], program.config), span.space)
            hit = np.isin(missing, written)
            if hit.any():
                sources.append(f"  written by {describe(program, earlier)}")
                missing = missing[~hit]
            if len(missing) == 0 or len(sources) == _SOURCES:
                break
        lines += sources
    return lines


def _names(instruction: Instruction) -> tuple[str, ...]:
    """What the spans are that :func:`footprint` gives as read, in its order."""
    if instruction.opcode == Opcode.MATRIX:
        return ("activations", "weights")
    if instruction.opcode == Opcode.VECTOR:
        second = "maxima" if instruction.function == Function.EXPONENT else "parameters"
        third = ("residual",) if instruction.function == Function.RESIDUAL else ()
        return ("sums", second, *third)
    return ("source",)


def _rows(span: Span) -> npt.NDArray[np.int64]:
    """Every row of a span, in its shape."""
    rows = np.full(span.shape, span.start, np.int64)
    for axis, (count, stride) in enumerate(zip(span.shape, span.strides, strict=True)):
        rows += (np.arange(count) * stride).reshape([-1 if a == axis else 1 for a in range(len(span.shape))])
    return rows


def _written(used: Footprint, space: int) -> npt.NDArray[np.int64]:
    parts = [_rows(span).ravel() for span in used.writes if span.space == space]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _span_name(program: Program, span: Span) -> str:
    if span.space >= Space.DRAM:
        pitch = program.config.row_pitch
        return region_name(program, span.space - Space.DRAM, span.start * pitch, (span.last + 1) * pitch)
    name = Space(span.space).name.lower()
    steps = "".join(
        f", {count} x {stride} apart" for count, stride in zip(span.shape, span.strides, strict=True) if stride != 1
    )
    return f"{name} rows {span.start} to {span.last}{steps}"
