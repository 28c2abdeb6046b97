"""``systolith predict`` says what it predicts and what it estimates."""

import json

import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.prediction_command import prediction_record
from systolith.cli import main
from systolith.compiler.compile import compile_encoder
from systolith.models.registry import load_model
from systolith.rtl.config import preset


@pytest.fixture(scope="module")
def program():
    model = load_model("random", layers=1, hidden=16, heads=2, ffn=24, tokens=7)
    return compile_encoder(model.quantized, preset("tiny"), 7)


def test_operations_add_up_to_the_cycles(program):
    record = prediction_record(program, MemoryTiming(30))
    assert sum(op["cycles"] for op in record["per_op"]) == record["cycles"]
    assert {op["op"] for op in record["per_op"]} >= {"projections", "softmax", "ffn2 norm"}
    energy = record["estimated_energy"]
    assert energy.pop("total") == pytest.approx(sum(energy.values()))
    assert record["energy_delay"] == pytest.approx(sum(energy.values()) * record["cycles"])
    slow = prediction_record(program, MemoryTiming(100))
    assert slow["cycles"] > record["cycles"]
    assert slow["accesses"] == record["accesses"]


def test_the_command(program, tmp_path, monkeypatch, capsys):
    file = tmp_path / "program.npz"
    program.save(file)
    arguments = ["systolith", "predict", str(file), "--latency", "100", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    text = capsys.readouterr().out
    assert "cycles (predicted)" in text
    assert "energy (estimated)" in text
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["predicted"]
    assert record["cycles"] == prediction_record(program, MemoryTiming(100))["cycles"]


def test_a_file_that_is_no_program(tmp_path, monkeypatch, capsys):
    (tmp_path / "x.npz").write_bytes(b"none")
    monkeypatch.setattr("sys.argv", ["systolith", "predict", str(tmp_path / "x.npz")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "is truncated or no Systolith program" in capsys.readouterr().err
