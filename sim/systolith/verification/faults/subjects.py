"""The correct programs that faults are put into, laid out in one DRAM image with guards around every part."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from systolith.compiler.compile import compile_encoder
from systolith.compiler.gemm import compile_gemm
from systolith.compiler.kernels import regions_of
from systolith.compiler.program import Program
from systolith.models.quantized import Projection
from systolith.models.registry import load_model
from systolith.rtl.config import Config
from systolith.rtl.interfaces import Regions
from systolith.rtl.isa import Instruction, disassemble
from systolith.runtime.functional import FunctionalDevice

Bytes = npt.NDArray[np.uint8]
#: Runs from different memories that tell bytes that depend on these from others.
_RUNS = 5
#: Regions and program start on pages, behind a page that nobody may touch.
PAGE = 4096


@dataclass(frozen=True)
class Layout:
    """Addresses in the simulated memory, which is ``total`` bytes from ``dram_base`` on."""

    dram_base: int
    total: int
    program_base: int
    program_length: int
    regions: list[list[int]]


@dataclass(frozen=True)
class Subject:
    """A correct program: its instructions, where everything lies, and DRAM ``before`` and ``after`` it.

    ``after`` is int16, -1 for bytes that depend on what the chip held before: those of a row that no block uses.
    """

    name: str
    instructions: tuple[Instruction, ...]
    layout: Layout
    before: Bytes
    after: npt.NDArray[np.int16]


def subjects(config: Config, seed: int) -> list[Subject]:
    """Encoders and products, of some instructions of every unit each; DRAM images are of one size."""
    draw = np.random.default_rng([seed, config.rows, config.cols])
    programs: list[tuple[str, Program, list[Bytes]]] = []
    for number, (hidden, heads, ffn, tokens) in enumerate([(12, 2, 20, 5), (8, 1, 12, 9)]):
        model = load_model("random", hidden=hidden, heads=heads, ffn=ffn, layers=1, tokens=tokens, seed=seed + number)
        encoder = compile_encoder(model.quantized, config, tokens)
        programs.append((f"encoder {number}", encoder, encoder.regions(model.prepare())))
    for number, (tokens, inputs, outputs) in enumerate([(7, 9, 13), (17, 22, 10)]):
        projection = Projection(
            weight=draw.integers(-128, 128, (inputs, outputs)).astype(np.int8),
            bias=draw.integers(-1000, 1000, outputs).astype(np.int32),
            multiplier=draw.integers(1 << 14, 1 << 16, outputs).astype(np.uint16),
            shift=22,
        )
        gemm = compile_gemm(config, projection, tokens)
        x = draw.integers(-128, 128, (tokens, inputs)).astype(np.int8)
        programs.append((f"product {number}", gemm, regions_of(gemm, {"input": x})))
    total = max(_total(program, regions) for _, program, regions in programs)
    return [_place(config, name, program, regions, total, draw) for name, program, regions in programs]


def _pages(size: int) -> int:
    """Bytes from one part to the next: its own pages and a guard."""
    return (-(-size // PAGE) + 1) * PAGE


def _total(program: Program, regions: list[Bytes]) -> int:
    return PAGE + sum(_pages(len(part)) for part in (*regions, program.image))


def _place(
    config: Config, name: str, program: Program, regions: list[Bytes], total: int, draw: np.random.Generator
) -> Subject:
    base = 1 << (config.axi_address_width - 1)
    before = draw.integers(0, 256, total, dtype=np.uint8)
    runs = [FunctionalDevice(config, seed=seed).run(program.image, regions).regions for seed in range(_RUNS)]
    offset = PAGE
    grants = []
    results = []
    for part, *made in zip(regions, *runs, strict=True):
        before[offset : offset + len(part)] = part
        results.append((offset, np.where(np.ptp(made, axis=0) == 0, made[0].astype(np.int16), -1)))
        grants.append([base + offset, len(part)])
        offset += _pages(len(part))
    grants += [[base, 0]] * (Regions.COUNT - len(grants))
    before[offset : offset + len(program.image)] = program.image
    after = before.astype(np.int16)
    for start, result in results:
        after[start : start + len(result)] = result
    instructions = tuple(disassemble(program.image.tobytes()))
    return Subject(name, instructions, Layout(base, total, base + offset, len(instructions), grants), before, after)
