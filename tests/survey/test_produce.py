"""Experiments side by side."""

import json
import sys

import pytest

from systolith import cli
from systolith.survey.figure import FIGURES, Options
from systolith.survey.produce import produce_all


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_yields_tables_a_file_and_pictures(tmp_path, jobs):
    said = []
    names = ["profile", "bound"]
    found = dict(produce_all(names, Options(cache=tmp_path / "c", quick=True), tmp_path / "o", said.append, jobs))
    assert set(found) == set(names)
    for name, tables in found.items():
        assert tables[0].rows
        assert json.loads((tmp_path / "o" / f"{name}.json").read_text())
    assert {path.name for path in (tmp_path / "o").glob("*.svg")} == {"roofline.svg"}
    assert any("bound: " in text for text in said)


def test_an_unknown_experiment_runs_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["systolith", "survey", "--figure", "profile", "--figure", "fig1"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"unknown figure 'fig1'; the figures are {', '.join(FIGURES)}" in shown.err
