"""Correct programs to change: compiled encoders, products and attention of odd shapes, and random programs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from systolith.compiler.attention_kernel import compile_attention
from systolith.compiler.compile import compile_encoder
from systolith.compiler.gemm import compile_gemm
from systolith.compiler.hazards import synchronize
from systolith.compiler.program import CONSTANTS, Program
from systolith.models.quantized import Projection
from systolith.models.registry import load_model
from systolith.rtl.config import PRESETS, Config
from systolith.rtl.isa import Function, Instruction, Opcode, Unit, disassemble
from systolith.rtl.parameters import PLANES
from systolith.verification.fuzz.configs import CONFIGS
from systolith.verification.programs.random_program import random_program, random_regions

#: Also what fuzzing builds.
SMALLEST = CONFIGS["4x4, 64-bit bus"]
#: Keys and values go through DRAM, and attention is cut by keys.
_SPILLED = replace(SMALLEST, scratchpad_bytes=1600, accumulator_bytes=512, parameter_bytes=512)
#: Queues so short that dispatch waits for every unit in turn.
_SHORT = replace(SMALLEST, load_queue=2, matrix_queue=2, vector_queue=2, store_queue=2)
#: Slots of a tile's rows that crowded programs use in each memory, and in each region.
_SLOTS = 3
_OBLONG = replace(PRESETS["default"].resized(6, 10), scratchpad_bytes=12_000, accumulator_bytes=12_000)


@dataclass(frozen=True)
class Subject:
    """A program that the verifier accepts, for ``config``, with contents for its DRAM regions."""

    name: str
    config: Config
    instructions: tuple[Instruction, ...]
    regions: tuple[npt.NDArray[np.uint8], ...]

    @property
    def region_bytes(self) -> tuple[int, ...]:
        return tuple(len(region) for region in self.regions)


def _encoder(config: Config, tokens: int, hidden: int, heads: int, ffn: int, valid: int | None = None) -> Program:
    model = load_model("random", tokens=tokens, layers=1, hidden=hidden, heads=heads, ffn=ffn)
    return compile_encoder(model.quantized, config, tokens, valid=valid)


def _gemm(config: Config, rows: int, depth: int, columns: int) -> Program:
    draw = np.random.default_rng((rows, depth, columns))
    projection = Projection(
        weight=draw.integers(-128, 128, (depth, columns), np.int8),
        bias=draw.integers(-(1 << 12), 1 << 12, columns, np.int32),
        multiplier=draw.integers(1 << 14, 1 << 16, columns, np.uint16),
        shift=27,
    )
    return compile_gemm(config, projection, rows)


def _attention(config: Config, heads: int, size: int, tokens: int) -> Program:
    hidden = heads * size
    model = load_model("random", tokens=tokens, layers=1, hidden=hidden, heads=heads, ffn=hidden)
    return compile_attention(config, model.quantized.layers[0], tokens)


#: Compiled programs, the shortest first.
COMPILED: dict[str, tuple[Config, Callable[[Config], Program]]] = {
    "attention 2x5, 9 tokens": (SMALLEST, lambda c: _attention(c, 2, 5, 9)),
    "GEMM 9x14x11": (SMALLEST, lambda c: _gemm(c, 9, 14, 11)),
    "GEMM 40x30x19 in pieces, short queues": (
        replace(_SHORT, scratchpad_bytes=1024, accumulator_bytes=1024, parameter_bytes=512),
        lambda c: _gemm(c, 40, 30, 19),
    ),
    "encoder 5x6, 2 heads": (SMALLEST, lambda c: _encoder(c, 5, 6, 2, 9)),
    "encoder 7x20, 1 head, 6x10 array": (_OBLONG, lambda c: _encoder(c, 7, 20, 1, 23, 6)),
    "encoder 11x12, 3 heads, short queues": (_SHORT, lambda c: _encoder(c, 11, 12, 3, 17)),
    "attention cut by keys, 40 tokens": (_SPILLED, lambda c: _encoder(c, 40, 8, 1, 8, 33)),
}


def compiled_subject(name: str) -> Subject:
    """The program of :data:`COMPILED` with its constants, and random bytes in all other regions."""
    config, compile_it = COMPILED[name]
    program = compile_it(config)
    draw = np.random.default_rng(len(program.image))
    regions = [draw.integers(0, 256, size, np.uint8) for size in program.region_bytes]
    regions[CONSTANTS][:] = program.constants
    return Subject(name, config, tuple(disassemble(program.image.tobytes())), tuple(regions))


def random_subject(config: Config, length: int, seed: int) -> Subject:
    """A random legal program of ``length`` instructions."""
    rng = np.random.default_rng(seed)
    program = random_program(config, rng, length)
    regions = random_regions(config, program.region_bytes, rng)
    return Subject(f"random program {seed}", config, program.instructions, tuple(regions))


def random_subjects(seed: int) -> Iterator[Subject]:
    """Random programs without end: several lengths, queues of all depths."""
    draw = np.random.default_rng(seed)
    while True:
        config = _SHORT if draw.random() < 0.5 else SMALLEST
        yield random_subject(config, int(draw.choice([5, 12, 30, 60])), int(draw.integers(1 << 31)))


def piled_up(tokens: int) -> Subject:
    """``tokens`` LOADs give to STORE, which first waits for a MATRIX that waits for the next LOAD.

    Where that many do not fit the counter, the next LOAD cannot give its token, and nothing goes on.
    """
    config = SMALLEST
    row = {"rows": config.rows, "blocks": 1}
    load, store, matrix = 1 << Unit.LOAD, 1 << Unit.STORE, 1 << Unit.MATRIX
    program = [Instruction(Opcode.LOAD, row | {"give": store})] * tokens
    program += [
        Instruction(Opcode.LOAD, row | {"address": config.rows, "give": matrix}),
        Instruction(
            Opcode.MATRIX,
            {"rows": config.rows, "k_tiles": 1, "n_tiles": 1, "w_address": config.rows, "wait": load, "give": store},
        ),
        Instruction(Opcode.STORE, row | {"address": 2 * config.rows, "region": 1, "wait": matrix}),
    ]
    program += [Instruction(Opcode.STORE, row | {"address": 2 * config.rows, "region": 1, "wait": load})] * tokens
    draw = np.random.default_rng(tokens)
    regions = [draw.integers(0, 256, config.rows * config.row_pitch, np.uint8) for _ in range(2)]
    return Subject(f"{tokens} tokens at once", config, tuple(program), tuple(regions))


def small_subjects(seed: int, most: int) -> Iterator[Subject]:
    """Random programs of 3 to ``most`` instructions on so few rows that nearly all of them conflict, without end."""
    draw = np.random.default_rng((seed, most))
    while True:
        regions = [draw.integers(0, 256, _SLOTS * SMALLEST.rows * SMALLEST.row_pitch, np.uint8) for _ in range(2)]
        crowded = [_crowded(draw) for _ in range(int(draw.integers(3, most + 1)))]
        ordered = synchronize(crowded, _SHORT, tuple(len(region) for region in regions))
        yield Subject(f"crowded program {draw.integers(1 << 31)}", _SHORT, tuple(ordered), tuple(regions))


def _crowded(draw: np.random.Generator) -> Instruction:
    """One instruction of any kind that uses whole slots of ``rows`` rows, of which each memory has few."""
    rows = _SHORT.rows
    a, b, c = (int(v) * rows for v in draw.integers(0, _SLOTS, 3))
    common = {"rows": rows, "blocks": 1}
    opcode = Opcode(int(draw.integers(1, len(Opcode) + 1)))
    if opcode == Opcode.MATRIX:
        values = {"rows": rows, "k_tiles": 1, "n_tiles": 1, "a_address": a, "w_address": b, "acc_address": c}
        for flag in ("accumulate", "transpose", "track_max", "max_first"):
            values[flag] = int(draw.integers(2))
        return Instruction(opcode, values)
    if opcode == Opcode.VECTOR:
        values = common | {"acc_address": a, "out_address": b, "residual_address": c, "valid": _SHORT.cols}
        values |= {"function": int(draw.integers(len(Function))), "multiplier": 1 << 14, "mean_multiplier": 1 << 22}
        return Instruction(opcode, values | {"first": int(draw.integers(2)), "last": int(draw.integers(2))})
    parameters = int(opcode == Opcode.LOAD and draw.random() < 0.3)
    place = {"address": 0, "rows": PLANES} if parameters else {"address": a}
    offset = b // 2 * _SHORT.row_pitch
    return Instruction(
        opcode, common | place | {"memory": parameters, "region": int(draw.integers(2)), "offset": offset}
    )
