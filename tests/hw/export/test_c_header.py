"""The C header: a C compiler packs instructions as the Python encoder does."""

import subprocess
from pathlib import Path

import numpy as np

from systolith.rtl.config import PRESETS
from systolith.rtl.csr_map import OFFSETS
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


def test_the_first_job_of_the_documentation_compiles(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "integration.md").read_text()
    job = page.split("```c\n")[1].split("```")[0].removeprefix('#include "systolith.h"\n')
    body = (
        f'#include "{FILE}"\nvoid fail(void); void report(uint32_t, uint32_t, uint32_t);\n'
        "void first_job(uintptr_t base, uint32_t program, uint32_t source, uint32_t source_bytes, uint32_t target, "
        f"uint32_t target_bytes) {{\n{job}\n}}\n"
    )
    (tmp_path / FILE).write_text(c_header(PRESETS["tiny"]))
    (tmp_path / "job.c").write_text(body)
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-c", "job.c", "-o", "job.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
