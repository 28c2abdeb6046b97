"""Random programs are legal, use everything there is, and follow from their seed alone."""

import random
from dataclasses import replace

import numpy as np
import pytest

from systolith.compiler.hazards import TOKEN_LIMIT, synchronize, verify
from systolith.rtl.config import PRESETS, Config
from systolith.rtl.isa import Function, Instruction, Opcode, Unit, disassemble
from systolith.verification.programs.random_program import flood, random_program, random_regions, scramble_unused_bits

TINY = PRESETS["tiny"]
ODD = replace(TINY.resized(6, 10), lanes=1, scratchpad_banks=1, accumulator_banks=16, store_queue=2, softmax=False)


@pytest.mark.parametrize("config", [TINY, ODD, PRESETS["default"]], ids=["tiny", "odd", "default"])
def test_programs_are_legal_and_use_every_opcode_and_function(config: Config) -> None:
    rng = np.random.default_rng(1)
    opcodes, functions = set(), set()
    for length in (1, 2, 17, 150):
        program = random_program(config, rng, length)
        assert len(program.instructions) == length
        verify(program.instructions, config, program.region_bytes)
        opcodes |= {i.opcode for i in program.instructions}
        functions |= {i.function for i in program.instructions if i.opcode == Opcode.VECTOR}
    assert opcodes == set(Opcode)
    left_out = {Function.EXPONENT, Function.CONTEXT} if not config.softmax else set()
    assert functions == set(Function) - left_out


def test_a_seed_gives_one_program_and_another_seed_another() -> None:
    first, again, other = (random_program(TINY, np.random.default_rng(seed), 20) for seed in (5, 5, 6))
    assert first == again != other


def test_there_are_tokens_beyond_the_needed_ones() -> None:
    def tokens(instructions: tuple[Instruction, ...]) -> int:
        return sum(i.wait.bit_count() + i.give.bit_count() for i in instructions)

    program = random_program(TINY, np.random.default_rng(2), 200)
    bare = [replace(i, values=i.values | {"wait": 0, "give": 0}) for i in program.instructions]
    needed = tuple(synchronize(bare, TINY, program.region_bytes))
    assert tokens(program.instructions) > tokens(needed)


def test_a_flood_fills_a_counter_as_far_as_is_legal() -> None:
    load = Instruction(Opcode.LOAD, {"rows": 1, "blocks": 1})
    flooded = flood([load] * 300, random.Random(1))
    verify(flooded, TINY, (4096,))
    (taker,) = (unit for unit in Unit if flooded[0].give >> unit & 1)
    assert sum(i.give >> taker & 1 for i in flooded) == TOKEN_LIMIT


def test_regions_have_the_sizes_of_the_program() -> None:
    rng = np.random.default_rng(3)
    program = random_program(ODD, rng, 5)
    regions = random_regions(ODD, program.region_bytes, rng)
    assert tuple(len(region) for region in regions) == program.region_bytes
    assert all(len(np.unique(region)) > 10 for region in regions if len(region) > 500)


def test_unused_bits_are_scrambled_and_no_others() -> None:
    program = random_program(TINY, np.random.default_rng(4), 40)
    scrambled = scramble_unused_bits(program.image, np.random.default_rng(4))
    assert (scrambled != program.image).any()
    expected = [i.encode() for i in program.instructions]
    assert [i.encode() for i in disassemble(scrambled.tobytes())] == expected


def test_an_empty_program_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 instruction, not 0"):
        random_program(TINY, np.random.default_rng(0), 0)
