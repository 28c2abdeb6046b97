import numpy as np
import pytest

from systolith.rtl.isa import (
    FIELDS,
    INSTRUCTION_BITS,
    LAYOUTS,
    Instruction,
    InstructionError,
    Opcode,
    assemble,
    disassemble,
)


def random_instruction(rng: np.random.Generator, opcode: Opcode) -> Instruction:
    return Instruction(opcode, {f.name: int(rng.integers(f.low, f.high + 1)) for f in FIELDS[opcode][1:]})


@pytest.mark.parametrize("opcode", Opcode)
def test_encoder_decoder_and_hardware_layout_agree(opcode: Opcode) -> None:
    rng = np.random.default_rng(opcode)
    for _ in range(50):
        instruction = random_instruction(rng, opcode)
        word = instruction.encode()
        assert word < 1 << INSTRUCTION_BITS
        decoded = Instruction.decode(word)
        hardware = LAYOUTS[opcode].from_bits(word & ((1 << LAYOUTS[opcode].size) - 1))
        for field in FIELDS[opcode][1:]:
            assert getattr(decoded, field.name) == getattr(instruction, field.name) == hardware[field.name]


def test_assemble_round_trip() -> None:
    rng = np.random.default_rng(0)
    program = [random_instruction(rng, opcode) for opcode in list(Opcode) * 5]
    again = disassemble(assemble(program).tobytes())
    assert [i.encode() for i in again] == [i.encode() for i in program]


def test_disassembly_names_units_functions_and_leaves_out_zeros() -> None:
    line = str(Instruction(Opcode.VECTOR, {"wait": 0b0010, "give": 0b1001, "function": 2, "rows": 7, "offset": -3}))
    assert line == "vector wait=matrix give=load+store function=exponent rows=7 layout=rows offset=-3"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 65536}, "LOAD rows must be 0 to 65535, not 65536"),
        ({"region": -1}, "LOAD region must be 0 to 7, not -1"),
        ({"tiles": 1}, "LOAD has no field 'tiles'"),
        ({"opcode": 1}, "LOAD has no field 'opcode'"),
    ],
)
def test_encode_refuses(values: dict[str, int], message: str) -> None:
    with pytest.raises(InstructionError, match=message):
        Instruction(Opcode.LOAD, values).encode()


def test_disassemble_names_the_bad_instruction() -> None:
    image = assemble([Instruction(Opcode.LOAD)]).tobytes() + bytes(32)
    with pytest.raises(InstructionError, match="instruction 1: illegal opcode 0"):
        disassemble(image)
    with pytest.raises(InstructionError, match="program of 33 bytes is no multiple of 32"):
        disassemble(image[:33])
