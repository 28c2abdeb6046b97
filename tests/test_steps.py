"""Lines of progress where the output is no terminal, none where a command is short."""

import io
import re
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from systolith.steps import counted, steps


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_log_gets_the_step_at_hand_with_the_time_and_once_only() -> None:
    log = io.StringIO()
    with steps(Console(file=log), "building [16x16]", interval=0.005) as step:
        _until(lambda: "building" in log.getvalue())
        time.sleep(0.1)
        step("running")
        _until(lambda: "running" in log.getvalue())
    first, second = log.getvalue().splitlines()
    assert re.fullmatch(r"\d:\d\d:\d\d building \[16x16\]", first)
    assert re.fullmatch(r"\d:\d\d:\d\d running", second)


def test_what_takes_less_than_the_interval_prints_nothing() -> None:
    log = io.StringIO()
    began = time.monotonic()
    with steps(Console(file=log), "loading") as step:
        step("compiling")
    assert log.getvalue() == ""
    assert time.monotonic() - began < 10


def test_nothing_is_printed_after_the_end_even_of_a_failure() -> None:
    log = io.StringIO()

    def fail() -> None:
        with steps(Console(file=log), "first", interval=0.005) as step:
            _until(lambda: "first" in log.getvalue())
            step("second")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    size = len(log.getvalue())
    time.sleep(0.05)
    assert len(log.getvalue()) == size


def test_a_log_counts_in_lines() -> None:
    log = io.StringIO()
    with counted(Console(file=log), "predicting", interval=0.005) as count:
        count(3, 4000)
        _until(lambda: "predicting: 3 of 4,000" in log.getvalue())


def test_a_terminal_gets_a_changing_line() -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=80)
    with steps(console, "building") as step:
        step("running")
        _until(lambda: "running" in terminal.getvalue())
    with counted(console, "predicting") as count:
        count(1, 4)
        _until(lambda: "25%" in terminal.getvalue())
