"""``systolith verify``: rows as JSON, failure as status 1, what is not there as status 2."""

import json
import sys
from pathlib import Path

import pytest

from systolith import cli
from systolith.sim.toolchain import SimulationError
from systolith.verification import commands
from systolith.verification.evidence import CampaignError, Evidence, Options, Report


def verify(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["systolith", "verify", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.parametrize(("passed", "status"), [(True, 0), (False, 1)])
def test_rows_and_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], passed: bool, status: int
) -> None:
    seen = []

    def run(name: str, options: Options, report: Report) -> list[Evidence]:
        seen.append((name, options))
        return [
            Evidence(
                campaign=name, promise="it works", figure="3 of 3", passed=passed, details={"seed": 7},
                listing=[("source", "lines"), ("core", "4 of 5")],
            )
        ]  # fmt: skip

    monkeypatch.setattr(commands, "run_campaign", run)
    path = tmp_path / "rows.json"
    assert verify(monkeypatch, "fuzz", "--seed", "7", "--seconds", "9", "--json", str(path)) == status
    assert seen == [("fuzz", Options(seed=7, seconds=9))]
    row = {"campaign": "fuzz", "promise": "it works", "figure": "3 of 3", "passed": passed, "details": {"seed": 7}}
    assert json.loads(path.read_text()) == [row | {"listing": [["source", "lines"], ["core", "4 of 5"]]}]
    assert capsys.readouterr().out.rstrip().endswith("4 of 5")


@pytest.mark.parametrize(
    ("error", "status", "figure"),
    [
        (SimulationError("WLAST came late"), 1, "stopped: WLAST came late"),
        (CampaignError("no z3"), 2, "not run: no z3"),
    ],
)
def test_the_others_run_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, status: int, figure: str
) -> None:
    def run(name: str, options: Options, report: Report) -> list[Evidence]:
        if name == "fuzz":
            raise error
        return [Evidence(campaign=name, promise="it works", figure="3 of 3", passed=True)]

    monkeypatch.setattr(commands, "run_campaign", run)
    path = tmp_path / "rows.json"
    assert verify(monkeypatch, "fuzz", "faults", "--json", str(path)) == status
    rows = [(row["campaign"], row["figure"], row["passed"]) for row in json.loads(path.read_text())]
    assert rows == [("fuzz", figure, False), ("faults", "3 of 3", True)]


def test_a_campaign_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(monkeypatch, "fuz") == 2
    assert "unknown campaign 'fuz'; the campaigns are benches, fuzz," in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert verify(monkeypatch, "formal") == 2
    assert "pip install systolith[formal]" in capsys.readouterr().err
