"""Long runs notice what they are for, and a quick share of them passes."""

from dataclasses import replace

import numpy as np
import pytest

from systolith.rtl.config import preset
from systolith.rtl.csr_map import ARRAY_CAUSES, COUNTERS
from systolith.runtime.functional import FunctionalDevice
from systolith.verification.endurance.batch import Finished, Report
from systolith.verification.endurance.campaign import Tally, check_rtl, drifting, run_functional
from systolith.verification.endurance.jobs import Task, random_task
from systolith.verification.evidence import Options, run_campaign

CONFIG = preset("tiny")


@pytest.fixture(scope="module")
def done() -> tuple[Task, np.ndarray, Finished]:
    """A task, its expected output, and a run of it that nothing is wrong with."""
    rng = np.random.default_rng(1)
    task = random_task(CONFIG, rng)
    inputs, expected = task.draw(rng)
    regions = FunctionalDevice(CONFIG).run(task.program.image, task.regions(inputs)).regions
    counters = dict.fromkeys((name for name, _ in COUNTERS), 0)
    counters |= {"cycles": 50, ARRAY_CAUSES[0][0]: 20, ARRAY_CAUSES[3][0]: 30}
    counters |= {"instructions": task.instructions, "read_beats": 9, "write_beats": 4}
    report = Report(problem="", counters=counters, read_beats=9, write_beats=4, seconds=0.1, resident=1 << 20)
    return task, expected, Finished(report, regions)


def counting(done: Finished, **values: int) -> Finished:
    return Finished(replace(done.report, counters=done.report.counters | values), done.regions)


def test_a_good_job_has_no_complaints(done: tuple[Task, np.ndarray, Finished]) -> None:
    task, expected, finished = done
    assert check_rtl([task], [expected], [finished]) == []


@pytest.mark.parametrize(
    ("counter", "value", "complaint"),
    [
        ("cycles", 51, "took 51 cycles, whose causes add up to 50"),
        ("array_drain", 1, "took 50 cycles, whose causes add up to 51"),
        ("instructions", 0, "counted 0 instructions"),
        ("read_beats", 8, "counted 8 beats read"),
        ("write_beats", 5, "counted 5 beats written"),
    ],
)
def test_a_counter_that_is_off_by_one_is_noticed(
    done: tuple[Task, np.ndarray, Finished], counter: str, value: int, complaint: str
) -> None:
    task, expected, finished = done
    wrong = check_rtl([task], [expected], [counting(finished, **{counter: value})])
    assert len(wrong) == 1
    assert wrong[0].endswith(complaint)


def test_a_wrong_bit_and_a_problem_are_noticed(done: tuple[Task, np.ndarray, Finished]) -> None:
    task, expected, finished = done
    changed = expected.copy()
    changed[-1, -1] ^= 1
    assert check_rtl([task], [changed], [finished]) == [f"job 0 ({task.name}) differs from the integer reference"]
    stuck = Finished(replace(finished.report, problem="no interrupt"), finished.regions)
    assert check_rtl([task], [expected], [stuck]) == [f"job 0 ({task.name}) no interrupt"]


def test_drift_is_by_program_and_timing(done: tuple[Task, np.ndarray, Finished]) -> None:
    finished = done[2]
    slower = counting(finished, cycles=51)
    assert drifting([("a", 1), ("a", 2), ("b", 1)], [finished, slower, slower]) == []
    assert drifting([("a", 1), ("b", 1), ("a", 1)], [finished, finished, slower]) == [
        "job 2 (a) has cycles 51; as job 0 it had 50"
    ]


def test_a_device_that_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A functional device whose scratchpad changes behind its back gives other results."""
    store = FunctionalDevice._store

    def forgetful(device: FunctionalDevice, i: object, dram: list[np.ndarray]) -> None:
        device.scratchpad ^= 1
        store(device, i, dram)  # type: ignore[arg-type]

    monkeypatch.setattr(FunctionalDevice, "_store", forgetful)
    tally = run_functional(CONFIG, 0, 3, 1, None, lambda _: None)
    assert tally.jobs == 3
    assert len(tally.wrong) == 3


def test_growth_counts_from_where_memory_is_warm() -> None:
    tally = Tally(resident=[100, 900, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1004])
    assert tally.growth == 4


def test_quick_share() -> None:
    rows = run_campaign("endurance", Options(quick=True), lambda _: None)
    assert [row.passed for row in rows] == [True, True], rows
    assert [row.details["jobs"] for row in rows] == [60, 30]
