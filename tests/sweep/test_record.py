"""How a point ends: exact, refused, or failed with a sentence; it never raises."""

import pytest

from systolith.files import FileError
from systolith.runtime.device import DeviceFault
from systolith.sweep import record
from systolith.sweep.fingerprint import key, origin
from systolith.sweep.record import MEASURED, run_point, sentence
from systolith.sweep.space import Point, points_of


def point(workload: str = "random:1x5@16/2/24", **options: object) -> Point:
    (made,) = points_of({"workload": [workload], "preset": "tiny"} | options)
    return made


def test_a_workload_that_does_not_fit_is_refused() -> None:
    tried = point("random:1x5@64/2/128", dims=["4"], scratchpad=[256])
    found = run_point(tried, origin(), key(tried))
    assert found["outcome"] == "refused"
    assert "does not fit" in found["failure"]
    assert all(found[name] is None for name in MEASURED)


def test_a_worker_with_other_sources_measures_nothing() -> None:
    found = run_point(point(), "origin", "other")
    assert (found["outcome"], found["origin"], found["key"]) == ("failed", "origin", "other")
    assert found["failure"].endswith("has other sources or tools than where the sweep was started")


def test_a_wrong_result_is_wrong_and_whatever_is_raised_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_measure", lambda _: {"bit_exact": False, "difference": "layer 0, row 1"})
    found = run_point(point(), origin(), key(point()))
    assert (found["outcome"], found["failure"], found["bit_exact"]) == ("wrong", "layer 0, row 1", False)

    def fault(_: Point) -> record.Record:
        raise DeviceFault(1, 7)

    monkeypatch.setattr(record, "_measure", fault)
    found = run_point(point(), origin(), key(point()))
    assert found["outcome"] == "failed"
    assert "the accelerator stopped at instruction 7" in found["failure"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileError("cannot read x: no"), "cannot read x: no"),
        (RuntimeError("two\n  lines"), "two lines"),
        (KeyError("cycles"), "KeyError: 'cycles'"),
        (MemoryError(), "MemoryError"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_a_failure_is_one_line_that_says_what(error: Exception, said: str) -> None:
    assert sentence(error) == said
