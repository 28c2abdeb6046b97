"""``systolith map`` and ``--mapping`` as a user meets them."""

import dataclasses
import json
import sys

import pytest

from systolith import cli
from systolith.rtl.config import preset

LAYER = ("--preset", "tiny", "--hidden", "24", "--heads", "2", "--ffn", "40")


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["systolith", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


def test_a_mapping_is_found_written_and_compiled(monkeypatch, tmp_path, capsys):
    mapping, record = tmp_path / "m.json", tmp_path / "r.json"
    files = ("--output", str(mapping), "--json", str(record))
    assert command(monkeypatch, "map", *LAYER, "--seq", "19", "--samples", "25", *files) == 0
    said = capsys.readouterr().out
    assert "cycles (predicted)" in said
    assert "energy, uJ (estimated)" in said
    found = json.loads(record.read_text())
    assert found["predicted"]["best found"]["cycles"] < found["predicted"]["heuristic"]["cycles"]
    run = ("run", "--model", "random", *LAYER, "--seq", "19", "--backend", "functional", "--mapping", str(mapping))
    assert command(monkeypatch, *run) == 0
    assert "bit-exact" in capsys.readouterr().out
    program = tmp_path / "a.bin"
    assert command(monkeypatch, "compile", *run[1:9], "--seq", "20", "--mapping", str(mapping), "-o", str(program)) == 2
    assert "is a mapping of" in capsys.readouterr().err
    assert not program.exists()


def test_a_confirmed_mapping_names_both_cycles(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("systolith.mapping.commands.cache_directory", lambda: tmp_path)
    code = command(
        monkeypatch, "map", "--workload", "19x24x40", "--preset", "tiny", "--samples", "10", "--search", "exhaustive",
        "--confirm", "--json", str(tmp_path / "r.json"),
    )  # fmt: skip
    assert code == 0
    assert "(measured," in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    for name, score in found["measured"].items():
        assert score["cycles"] == pytest.approx(found["predicted"][name]["cycles"], rel=0.05)


def test_a_chain_is_compared_fused_and_through_dram(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("systolith.mapping.fusion_command.cache_directory", lambda: tmp_path)
    record = tmp_path / "r.json"
    chain = ("map", "--workload", "scores-softmax", *LAYER, "--seq", "19", "--json", str(record))
    assert command(monkeypatch, *chain, "--objective", "edp") == 0
    said = capsys.readouterr().out
    assert "scores, softmax: the best plans for the least edp" in said
    assert "Better fused: edp" in said
    assert said.rstrip().endswith("less, predicted.")
    found = json.loads(record.read_text())
    assert found["predicted"]["fused"]["energy"] < found["predicted"]["through DRAM"]["energy"]
    assert (found["better"], found["measured"], found["objective"]) == ("fused", {}, "edp")
    assert [len(found["programs"][name]) for name in ("fused", "through DRAM")] == [1, 2]
    assert command(monkeypatch, *chain, "--confirm") == 0
    assert "less, on the RTL." in capsys.readouterr().out
    found = json.loads(record.read_text())
    for name, score in found["measured"].items():
        assert score["cycles"] == pytest.approx(found["predicted"][name]["cycles"], rel=0.05)


def test_a_schedule_that_does_not_fit_is_said(monkeypatch, tmp_path, capsys):
    small = tmp_path / "small.toml"
    small.write_text(dataclasses.replace(preset("tiny"), accumulator_bytes=1024).to_toml())
    sizes = ("--config", str(small), "--hidden", "24", "--heads", "2", "--ffn", "40", "--seq", "19")
    assert command(monkeypatch, "map", "--workload", "scores-softmax", *sizes) == 0
    said = capsys.readouterr().out
    assert "no plan tried fits" in said
    assert "Of the plans tried only fused fits the memories." in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workload", "convolution"), "unknown workload 'convolution'; it is layer, a product as"),
        (("--workload", "4x0x4"), "sizes of a product must be 1 to 16384, not 0"),
        (("--objective", "speed"), "unknown objective 'speed'; the objectives are cycles, energy, edp"),
        (("--workload", "ffn2-layernorm", "--output", "m.json"), "and ffn2-layernorm is a chain"),
        (("--workload", "ffn2-layernorm", "--search", "random"), "of ffn2-layernorm all plans are predicted"),
        (("--workload", "ffn2-layernorm", "--heads", "7"), "is no multiple of 7 heads"),
        (("--search", "best"), "unknown search 'best'; the searches are heuristic"),
        (("--model", "bert"), "'bert' has no encoder layers that are known"),
        (("--model", "gpt2"), "'gpt2' has no encoder layers that are known; minilm-l6"),
        (("--seq", "0"), "tokens must be 1 to"),
        (("--output", "a.json", "--json", "a.json"), "cannot write a.json: both --output and --json name it"),
        (
            ("--preset", "tiny", "--hidden", "16384", "--heads", "1"),
            "head size 16384 on a 4x4 array takes 4096 parameter rows",
        ),
    ],
)
def test_bad_input_is_one_sentence(monkeypatch, capsys, arguments, said):
    assert command(monkeypatch, "map", *arguments) == 2
    sentence = capsys.readouterr().err.strip()
    assert said in sentence
    assert len(sentence.splitlines()) == 1


def test_a_program_is_compiled_already(monkeypatch, capsys):
    assert command(monkeypatch, "run", "--program", "a.bin", "--mapping", "search", "--preset", "tiny") == 2
    assert "--mapping says how to compile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--mapping", "search", "--objective", "speed"),
            "unknown objective 'speed'; the objectives are cycles, energy",
        ),
        (("--objective", "speed"), "unknown objective 'speed'"),
        (("--objective", "edp"), "--objective says what --mapping search makes least, and no mapping is searched for"),
        (("--mapping", "a.json", "--objective", "cycles"), "no mapping is searched for"),
    ],
)
@pytest.mark.parametrize("name", ["run", "compile"])
def test_an_objective_is_of_a_search(monkeypatch, tmp_path, capsys, name, arguments, said):
    output = ("-o", str(tmp_path / "a.npz")) if name == "compile" else ()
    assert command(monkeypatch, name, "--model", "random", *arguments, *output) == 2
    sentence = capsys.readouterr().err.strip()
    assert said in sentence
    assert len(sentence.splitlines()) == 1


def test_the_objective_reaches_the_search(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("systolith.mapping.commands.cache_directory", lambda: tmp_path)
    run = ("run", "--model", "random", *LAYER, "--seq", "19", "--backend", "functional", "--mapping", "search")
    assert command(monkeypatch, *run, "--objective", "energy") == 0
    said = capsys.readouterr()
    assert "mapping: found by search: energy" in said.err
    assert "bit-exact" in said.out
