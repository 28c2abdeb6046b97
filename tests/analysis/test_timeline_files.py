"""What a run leaves behind: which cycles, how large, and layouts that name what the waveform has."""

import re
from pathlib import Path

import pytest

from systolith.analysis.timeline_files import TraceError, TraceFiles
from systolith.analysis.timeline_waves import LIMIT, cycle_bytes, groups, gtkwave_layout, surfer_layout
from systolith.compiler.compile import compile_encoder
from systolith.files import FileError
from systolith.models.registry import load_model
from systolith.rtl.config import preset
from systolith.rtl.isa import Unit
from systolith.runtime.device import RunResult, open_device
from systolith.runtime.session import run_encoder

TINY = preset("tiny")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vcd": "a", "fst": "b"}, "--vcd and --fst exclude each other"),
        ({"trace_cycles": 3}, "--trace-from and --trace-cycles need --trace, --vcd or --fst"),
    ],
)
def test_contradictions(options: dict[str, object], message: str) -> None:
    with pytest.raises(TraceError, match=f"^{message}$"):
        TraceFiles(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trace": "x.json", "vcd": "x.json"}, "cannot write x.json: both --trace and --vcd name it"),
        ({"trace": "a.gtkw", "fst": "a"}, "cannot write a.gtkw: both --trace and GTKWave's layout of --fst name it"),
        ({"trace": "a.sucl", "vcd": "a"}, "cannot write a.sucl: both --trace and Surfer's layout of --vcd name it"),
    ],
)
def test_no_file_replaces_another(options: dict[str, str], message: str) -> None:
    with pytest.raises(FileError, match=f"^{message}$"):
        TraceFiles(**{name: Path(path) for name, path in options.items()})  # type: ignore[arg-type]


def test_a_window_behind_the_end_is_said(tmp_path: Path) -> None:
    result = RunResult(counters={"cycles": 2351}, regions=[], events=None, wall_seconds=0.0, simulated=True)
    for files in (
        TraceFiles(trace=tmp_path / "x.json", trace_from=100_000),
        TraceFiles(fst=tmp_path / "x.json", trace_from=2351, trace_cycles=5),
    ):
        assert files.missed(result) == (
            f"nothing to show in {tmp_path}/x.json: the program ended in cycle 2,350, before --trace-from "
            f"{files.trace_from:,}"
        )
    assert TraceFiles(trace=tmp_path / "x.json", trace_from=2350).missed(result) == ""
    assert TraceFiles(trace=tmp_path / "x.json").missed(result) == ""
    assert TraceFiles().missed(result) == ""


def test_a_waveform_that_the_run_did_not_leave_gets_no_layouts(tmp_path: Path) -> None:
    path = tmp_path / "x.vcd"
    path.write_text("precious")
    program = compile_encoder(load_model("random", tokens=5, hidden=16, heads=2, ffn=24, layers=1).quantized, TINY, 5)
    hang = RunResult(counters={}, regions=[], events=None, wall_seconds=0.0, simulated=True)
    (line,) = TraceFiles(vcd=path, trace_from=100_000).write(program, hang, "no end")
    assert line == f"{path} is not written: the run ended before its window"
    assert [file.name for file in tmp_path.iterdir()] == ["x.vcd"]
    assert path.read_text() == "precious"


def test_without_a_window_the_size_is_limited(tmp_path: Path) -> None:
    files = TraceFiles(vcd=tmp_path / "x.vcd", trace=tmp_path / "x.json")
    options = files.options(TINY)
    assert options["trace_cycles"] is None
    assert options["wave_cycles"] * cycle_bytes("vcd", TINY) <= LIMIT
    (line,) = files.announce(TINY)
    assert f"at most {options['wave_cycles']:,} cycles" in line
    assert TraceFiles(fst=tmp_path / "x.fst").options(TINY)["wave_cycles"] > 5 * options["wave_cycles"]


def test_a_large_window_is_announced(tmp_path: Path) -> None:
    assert list(TraceFiles(vcd=tmp_path / "x.vcd", trace_cycles=1000).announce(TINY)) == []
    (line,) = TraceFiles(vcd=tmp_path / "x.vcd", trace_cycles=10_000_000).announce(TINY)
    assert re.search(r"x.vcd: 10,000,000 cycles may take about \d+\.\d GB$", line)
    assert list(TraceFiles(trace=tmp_path / "x.json").announce(TINY)) == []


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cycles 100 to 119 of a run, and its layouts."""
    path = tmp_path_factory.mktemp("waves") / "run.vcd"
    files = TraceFiles(vcd=path, trace_from=100, trace_cycles=20)
    model = load_model("random", tokens=5, hidden=16, heads=2, ffn=24, layers=1)
    outcome = run_encoder(model.quantized, model.prepare(), open_device(TINY, "rtl", **files.options(TINY)))
    assert outcome.bit_exact
    (line,) = files.write(outcome.program, outcome.result)
    assert f"{path}: {path.stat().st_size:,} bytes" in line
    return path


def header(wave: Path) -> dict[str, int]:
    """Bits of each signal of a VCD by its full name."""
    bits, scopes = {}, []
    for line in wave.read_text().partition("$enddefinitions")[0].splitlines():
        words = line.split()
        if words[:1] == ["$scope"]:
            scopes.append(words[2])
        elif words[:1] == ["$upscope"]:
            scopes.pop()
        elif words[:1] == ["$var"]:
            bits[".".join([*scopes, words[4]])] = int(words[2])
    return bits


@pytest.mark.slow
def test_every_signal_of_a_layout_is_in_the_waveform(wave: Path) -> None:
    known = header(wave)
    shown = groups(TINY)
    assert {unit.name for unit in Unit} < shown.keys()
    for signals in shown.values():
        assert signals
        for name, bits in signals:
            assert known[name] == bits


@pytest.mark.slow
def test_layouts_name_the_waveform_and_its_signals(wave: Path) -> None:
    saved, commands = wave.with_name("run.vcd.gtkw"), wave.with_name("run.vcd.sucl")
    assert saved.read_text() == gtkwave_layout(wave, TINY)
    assert commands.read_text() == surfer_layout(wave, TINY)
    lines = saved.read_text().splitlines()
    assert lines[0] == f'[dumpfile] "{wave}"'
    assert lines.count("@800200") == lines.count("@1000200") == len(groups(TINY))
    assert "testbench.dut.core.dispatch.matrix_queue.issued_index[23:0]" in lines
    words = [line.split(" ", 1) for line in commands.read_text().splitlines()]
    assert words[0] == ["load_file", str(wave)]
    known = header(wave)
    assert all(name in known for command, name in words[1:-1] if command == "variable_add")
    assert words[-1] == ["zoom_fit"]


@pytest.mark.slow
def test_a_waveform_holds_its_window_alone(wave: Path) -> None:
    times = [int(line[1:]) for line in wave.read_text().splitlines() if line.startswith("#")]
    assert times[-1] - times[0] == 20 * 1000 - 500  # ps, between the first and the last edge
    assert wave.stat().st_size < 3_000_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vcd", "fst"])
def test_a_missed_window_replaces_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    path.write_text("precious")
    files = TraceFiles(**{kind: path}, trace_from=1_000_000)  # type: ignore[arg-type]
    model = load_model("random", tokens=5, hidden=16, heads=2, ffn=24, layers=1)
    outcome = run_encoder(model.quantized, model.prepare(), open_device(TINY, "rtl", **files.options(TINY)))
    assert files.missed(outcome.result).startswith(f"nothing to show in {path}: ")
    assert not list(files.write(outcome.program, outcome.result))
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("run", b"precious")]


@pytest.mark.slow
def test_fst(tmp_path: Path) -> None:
    files = TraceFiles(fst=tmp_path / "run.fst", trace_from=100, trace_cycles=20)
    model = load_model("random", tokens=5, hidden=16, heads=2, ffn=24, layers=1)
    outcome = run_encoder(model.quantized, model.prepare(), open_device(TINY, "rtl", **files.options(TINY)))
    assert outcome.bit_exact
    # A header block (type 0, 329 bytes with its length): start and end, in steps of the timescale.
    head = (tmp_path / "run.fst").read_bytes()[:330]
    assert head[0] == 0
    assert int.from_bytes(head[1:9], "big") == 329
    start, end = int.from_bytes(head[9:17], "big"), int.from_bytes(head[17:25], "big")
    assert end - start == 20 * 1000 - 500
