"""The time left follows from the products that are done and those that are not."""

import io
import re
import time
from functools import partial

import pytest
from rich.console import Console

from systolith.steps import steps
from systolith.sweep import progress
from systolith.sweep.fingerprint import key
from systolith.sweep.progress import Remaining, SweepProgress
from systolith.sweep.record import Outcome, Record, record, run_point
from systolith.sweep.space import Point, points_of


def exact(point: Point) -> Record:
    """The record of a point that ran."""
    return record(point, "any", key(point), Outcome.EXACT, None, {"cycles": 9, "share": 0.5}, 1.0)


def test_the_time_left_is_that_of_the_cost_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    remaining = Remaining({"a": 1, "b": 3, "c": 4})
    assert remaining.now() is None
    assert str(remaining) == "time left unknown"
    now[0] = 110.0
    remaining.finish("a")
    assert remaining.now() == 70.0
    now[0] = 115.0
    assert remaining.now() == 65.0
    now[0] = 140.0
    remaining.finish("b")
    assert remaining.now() == 40.0
    assert str(remaining) == "about 0:00:40 left"
    now[0] = 200.0
    assert remaining.now() == 0.0


def test_what_took_no_work_says_nothing_of_the_time_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    remaining = Remaining({"cached": 1000, "refused": 1000, "a": 1, "b": 3})
    now[0] = 2.0
    remaining.finish("cached", worked=False)
    remaining.finish("refused", worked=False)
    assert remaining.now() is None
    now[0] = 10.0
    remaining.finish("a")
    assert remaining.now() == 30.0


def test_a_build_is_no_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    points = points_of({"dims": [4], "workload": [f"random:1x{tokens}@16/2/24" for tokens in range(4, 14)]})
    config = points[0].config
    assert config is not None
    with SweepProgress(Console(record=True), [(key(point), point) for point in points], []) as shown:
        now[0] = 20.0
        shown.built(config, True)
        # Each of the ten takes 2 s, as the build's 20 s say before any of them has run.
        assert shown.remaining.now() == pytest.approx(20, rel=0.1)
        now[0] = 22.0
        shown.point(exact(points[0]))
        assert shown.remaining.now() == pytest.approx(18, rel=0.1)


def test_a_log_is_told_what_is_done_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "steps", partial(steps, interval=0.005))
    points = points_of({"dims": [4], "workload": ["random:1x5@16/2/24", "random:1x6@16/2/24"]})
    config = points[0].config
    assert config is not None
    log = io.StringIO()

    def until(said: str) -> None:
        deadline = time.monotonic() + 20
        while not re.search(rf"^\d:\d\d:\d\d {said}$", log.getvalue(), re.MULTILINE):
            assert time.monotonic() < deadline, log.getvalue()
            time.sleep(0.002)

    with SweepProgress(Console(file=log, width=200), [(key(point), point) for point in points], ["s"]) as shown:
        until("0 of 3 done, time left unknown")
        shown.built(config, True)
        until(r"0 of 3 done, about 0:\d\d:\d\d left")
        shown.point(exact(points[0]))
        until(r"1 of 3 done, about 0:\d\d:\d\d left")


def test_a_terminal_gets_a_bar_with_the_time_left() -> None:
    terminal = io.StringIO()
    (point,) = points_of({"dims": [4], "workload": ["random:1x5@16/2/24"]})
    with SweepProgress(Console(file=terminal, force_terminal=True, width=120), [(key(point), point)], []) as shown:
        shown.point(exact(point))
    assert "4x4, random:1x5@16/2/24: 9 cycles, 50.0% of the bound, bit-exact" in terminal.getvalue()
    assert "1/1" in terminal.getvalue()


def test_each_end_is_printed_with_its_cause() -> None:
    points = points_of({"dims": [4, 8], "lanes": [8], "workload": ["random:1x5@16/2/24"]})
    console = Console(record=True, width=200)
    refused = run_point(points[0], "any", key(points[0]))
    assert refused["outcome"] == Outcome.REFUSED
    size = {"rows": 4, "cols": 4}
    found = {"lut": 1234.0, "dsp": 0.0, "mhz": None, "clock_failure": "does not fit"}
    with SweepProgress(console, [(key(point), point) for point in points], ["s", "t"]) as shown:
        shown.idle()
        shown.point(refused)
        shown.synthesis({"key": "s", "config": size, "target": "ecp5", "result": found, "failure": None})
        shown.synthesis({"key": "t", "config": size, "target": "ecp5", "result": None, "failure": "too large"})
        assert shown.remaining.now() is not None
    text = console.export_text()
    assert "waiting for workers\n" in text
    assert "4x4, random:1x5@16/2/24, lanes 8: refused: lanes must divide both rows and cols" in text
    assert "4x4, ecp5: lut 1,234, clock failure does not fit\n" in text
    assert "4x4, ecp5: too large\n" in text
