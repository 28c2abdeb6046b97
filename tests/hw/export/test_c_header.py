"""The C header: a C compiler packs instructions as the Python encoder does."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from systolith.rtl.config import PRESETS
from systolith.rtl.csr_map import IDENTITY, OFFSETS, REGISTERS, VERSION
from systolith.rtl.export.c_header import FILE, c_header
from systolith.rtl.isa import FIELDS, INSTRUCTION_BYTES, Instruction, Opcode


def test_c_packs_what_python_packs(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    instructions, lines = [], []
    for opcode, fields in FIELDS.items():
        for _ in range(3):
            values = {f.name: int(draw.integers(f.low, f.high + 1)) for f in fields[1:]}
            instructions.append(Instruction(opcode, values))
            lines.append("memset(&i, 0xFF, sizeof i);")
            lines += [
                f"systolith_set(&i, SYSTOLITH_{opcode.name}_{name.upper()}_LOW, "
                f"SYSTOLITH_{opcode.name}_{name.upper()}_BITS, (uint32_t)({value}));"
                for name, value in {"opcode": f"SYSTOLITH_OPCODE_{opcode.name}", **values}.items()
            ]
            lines.append("fwrite(&i, 1, sizeof i, stdout);")
    (tmp_path / FILE).write_text(c_header(PRESETS["tiny"]))
    source = (
        f'#include <stdio.h>\n#include <string.h>\n#include "{FILE}"\nint main(void) {{\nsystolith_instruction i;\n'
    )
    (tmp_path / "pack.c").write_text(source + "\n".join(lines) + "\nreturn 0;\n}\n")
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run(["gcc", *warnings, "pack.c", "-o", "pack"], cwd=tmp_path, check=True)
    packed = subprocess.run([tmp_path / "pack"], capture_output=True, check=True).stdout
    for number, instruction in enumerate(instructions):
        word = int.from_bytes(packed[number * INSTRUCTION_BYTES :][:INSTRUCTION_BYTES], "little")
        used = sum(field.bits for field in FIELDS[instruction.opcode])
        assert word & ((1 << used) - 1) == instruction.encode()


def test_every_register_and_size_is_named() -> None:
    text = c_header(PRESETS["default"])
    for name, offset in OFFSETS.items():
        assert f"#define SYSTOLITH_REG_{name} 0x{offset:03X}\n" in text
    assert "#define SYSTOLITH_ROWS 16\n" in text
    assert "#define SYSTOLITH_VECTOR_FUNCTION_GELU 1\n" in text
    assert f"#define SYSTOLITH_OPCODE_MATRIX {Opcode.MATRIX.value}\n" in text


def test_every_part_of_a_register_is_named() -> None:
    values = re.findall(r"^#define (\w+) (\w+)$", c_header(PRESETS["tiny"]), re.MULTILINE)
    names = dict(values)
    assert len(names) == len(values)
    for register in REGISTERS:
        for part in register.parts:
            prefix = f"SYSTOLITH_{register.name}_{part.name.upper()}"
            mask = int(names[f"{prefix}_MASK"].removesuffix("u"), 16)
            assert int(names[f"{prefix}_LOW"]) == part.low
            assert [bit for bit in range(32) if mask >> bit & 1] == list(range(part.low, part.low + part.width))
    assert names["SYSTOLITH_STATUS_UNANSWERED_MASK"] == "0x00000008u"
    assert names["SYSTOLITH_ARRAY_COLS_MASK"] == "0xFFFF0000u"


@pytest.mark.parametrize(("why", "reported"), [(1, ""), (2, "7 8 9"), (3, "7 8 9")])
def test_the_first_job_of_the_documentation_runs(why: int, reported: str, tmp_path: Path) -> None:
    """On registers that are plain memory: what it writes, and whether it reports a fault."""
    page = (Path(__file__).parents[3] / "docs" / "integration.md").read_text()
    job = page.split("```c\n")[1].split("```")[0].removeprefix('#include "systolith.h"\n')
    assert re.findall(r"REG\((?:CONTROL|IRQ_ENABLE)\) = \d|why & \d", job) == []
    registers = {"ID": IDENTITY, "VERSION": VERSION, "IRQ_STATUS": why}
    registers |= {"FAULT_CODE": 7, "FAULT_INDEX": 8, "FAULT_WAITING": 9}
    settings = "".join(f"registers[{OFFSETS[name] // 4}] = {value}u;\n" for name, value in registers.items())
    written = ", ".join(f"registers[{OFFSETS[name] // 4}]" for name in ("CONTROL", "IRQ_ENABLE", "PROGRAM_LENGTH"))
    body = (
        f'#include <stdio.h>\n#include <stdlib.h>\n#include "{FILE}"\n'
        "static uint32_t registers[1024];\n"
        "static void fail(void) { exit(1); }\n"
        "static void report(uint32_t code, uint32_t index, uint32_t waiting)\n"
        '{ printf("%u %u %u", (unsigned)code, (unsigned)index, (unsigned)waiting); }\n'
        "static void first_job(uintptr_t base, uint32_t program, uint32_t source, uint32_t source_bytes, "
        f"uint32_t target, uint32_t target_bytes) {{\n{job}\n}}\n"
        f"int main(void) {{\n{settings}first_job((uintptr_t)registers, 0, 0, 0, 0, 0);\n"
        f'printf("\\n%u %u %u\\n", {written});\nreturn 0;\n}}\n'
    )
    (tmp_path / FILE).write_text(c_header(PRESETS["tiny"]))
    (tmp_path / "job.c").write_text(body)
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "job.c", "-o", "job"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "job"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [reported, "1 3 2"]
