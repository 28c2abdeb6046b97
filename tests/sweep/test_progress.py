"""The time left follows from the products that are done and those that are not."""

import pytest
from rich.console import Console

from systolith.sweep import progress
from systolith.sweep.fingerprint import key
from systolith.sweep.progress import Remaining, SweepProgress
from systolith.sweep.record import Outcome, run_point
from systolith.sweep.space import points_of


def test_the_time_left_is_that_of_the_cost_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    remaining = Remaining({"a": 1, "b": 3, "c": 4})
    assert remaining.now() is None
    now[0] = 110.0
    remaining.finish("a")
    assert remaining.now() == 70.0
    now[0] = 115.0
    assert remaining.now() == 65.0
    now[0] = 140.0
    remaining.finish("b")
    assert remaining.now() == 40.0
    now[0] = 200.0
    assert remaining.now() == 0.0


def test_each_end_is_printed_with_its_cause() -> None:
    points = points_of({"dims": [4, 8], "lanes": [8], "workload": ["random:1x5@16/2/24"]})
    console = Console(record=True, width=200)
    record = run_point(points[0], "any", key(points[0]))
    assert record["outcome"] == Outcome.REFUSED
    size = {"rows": 4, "cols": 4}
    found = {"lut": 1234.0, "dsp": 0.0, "mhz": None, "clock_failure": "does not fit"}
    with SweepProgress(console, [(key(point), point) for point in points], ["s", "t"]) as shown:
        shown.idle()
        shown.point(record)
        shown.synthesis({"key": "s", "config": size, "target": "ecp5", "result": found, "failure": None})
        shown.synthesis({"key": "t", "config": size, "target": "ecp5", "result": None, "failure": "too large"})
        assert shown.remaining.now() is not None
    text = console.export_text()
    assert "waiting for workers\n" in text
    assert "4x4, random:1x5@16/2/24, lanes 8: refused: lanes must divide both rows and cols" in text
    assert "4x4, ecp5: lut 1,234, clock failure does not fit\n" in text
    assert "4x4, ecp5: too large\n" in text
