"""``systolith profile`` and ``systolith bound`` as a user meets them."""

import json
import sys
from dataclasses import replace

import pytest

from systolith import cli
from systolith.compiler.plan import Shape
from systolith.rtl.config import preset
from systolith.survey.bound import layer_bounds, operation_bounds
from systolith.survey.figure import Options, run_figure
from systolith.survey.profile import SURVEY, ridge


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["systolith", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


def test_the_figure_holds_what_the_survey_prints(tmp_path):
    found = run_figure("profile", Options(cache=tmp_path, quick=True), lambda text: None)
    for (model, tokens), (gflop, gmop, intensity) in SURVEY.items():
        counted = found.data[f"{model}, {tokens} tokens"]["groups"]["all"]
        assert gflop is None or round(counted["flops"] / 1e9, 2) == gflop
        assert gmop is None or round(counted["bytes"] / 1e9, 2) == gmop
        assert round(counted["intensity"], 1) == pytest.approx(intensity, abs=0.5)
    found.pictures["roofline"](tmp_path / "roofline.svg")
    assert (tmp_path / "roofline.svg").stat().st_size > 10_000


def test_the_ridge_is_where_the_bus_feeds_the_whole_array():
    assert ridge(preset("default")) == 2 * 256 / 16


def test_a_profile_is_written_as_json(monkeypatch, tmp_path, capsys):
    target = tmp_path / "profile.json"
    code = command(monkeypatch, "profile", "--model", "minilm-l6", "--seq", "16", "--json", str(target))
    assert code == 0
    everything = json.loads(target.read_text())["minilm-l6, 16 tokens"]["groups"]["all"]
    assert everything["intensity"] == everything["flops"] / everything["bytes"]
    assert "infinite local memory" in capsys.readouterr().out


def test_the_roofline_is_that_of_the_accelerator_that_is_named(monkeypatch, tmp_path):
    for name, turn in (("default", 32), ("tiny", 4)):
        target = tmp_path / f"{name}.svg"
        assert command(monkeypatch, "profile", "--preset", name, "--roofline", str(target)) == 0
        assert f"<!-- ridge: {turn} FLOP/B -->" in target.read_text()


def test_an_operation_is_bounded_by_what_the_array_does_in_a_cycle(monkeypatch, capsys, tmp_path):
    sizes = ("--hidden", "32", "--heads", "2", "--ffn", "64")
    target = tmp_path / "bound.json"
    assert command(monkeypatch, "bound", "--seq", "8", "--preset", "tiny", *sizes, "--json", str(target)) == 0
    line = next(text for text in capsys.readouterr().out.splitlines() if "projections" in text)
    assert f"{3 * 8 * 32 * 32 // 16:,}" in line
    (record,) = json.loads(target.read_text())
    assert record["operations"]["projections"]["compute"] == 3 * 8 * 32 * 32 / 16
    assert record["layer"]["cycles"] >= sum(o["compute"] for o in record["operations"].values())
    assert record["layer"]["measured"] is None


@pytest.mark.parametrize("lanes", [4, 1])
def test_no_operation_is_measured_faster_than_its_bound(tmp_path, lanes):
    shape = Shape(hidden=32, heads=2, ffn=64, tokens=8)
    config = replace(preset("tiny"), lanes=lanes)
    found = layer_bounds(shape, config, Options(cache=tmp_path), lambda text: None, measured=True)
    assert found.measured is not None
    assert found.measured >= found.layer.cycles
    for operation in found.operations:
        assert operation.measured is not None
        assert operation.measured >= operation.compute
    assert found.measured == sum(o.measured or 0 for o in found.operations)


def test_projections_share_their_input():
    """An accelerator that holds the input reads it once, and the weights: no bound may ask for more."""
    shape = Shape(hidden=384, heads=12, ffn=1536, tokens=400)
    config = preset("default")
    assert shape.tokens * shape.hidden < config.scratchpad_bytes
    projections = operation_bounds(shape, config)[0]
    read, written = 400 * 384 + 3 * 384 * 384, 3 * 400 * 384
    assert projections.memory == max(read, written) / config.bus_bytes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("profile", "--model", "bert"), "unknown model 'bert'"),
        (("profile", "--seq", "128,x"), "not '128,x'"),
        (("profile", "--seq", "0"), "tokens must be 1 to 65536, not 0"),
        (("profile", "--heads", "5"), "no multiple of 5 heads"),
        (("profile", "--model", "resnet50", "--heads", "5"), "resnet50 has no layers"),
        (("profile", "--roofline", "a.foo"), "a.foo is no picture that can be drawn; the kinds are .svg, .png, .pdf"),
        (("profile", "--roofline", "nowhere/a.svg"), "cannot write nowhere/a.svg"),
        (("profile", "--roofline", "/tmp"), "cannot write /tmp: it is a directory"),
        (("profile", "--json", "nowhere/a.json"), "cannot write nowhere/a.json"),
        (("profile", "--json", "a.svg", "--roofline", "a.svg"), "cannot write a.svg: both --json and --roofline name"),
        (("bound", "--json", "nowhere/a.json"), "cannot write nowhere/a.json"),
        (("bound", "--model", "gpt2"), "'gpt2' has no encoder layers that are known; minilm-l6, bert-base"),
        (("bound", "--model", "resnet50"), "'resnet50' has no encoder layers that are known; minilm-l6, bert-base"),
        (("bound", "--preset", "huge"), "unknown preset 'huge'"),
    ],
)
def test_bad_input_is_one_sentence(monkeypatch, capsys, arguments, said):
    assert command(monkeypatch, *arguments) == 2
    printed, error = capsys.readouterr()
    assert said in error
    assert error.count("\n") == 1
    assert not printed
