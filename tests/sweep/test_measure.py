"""Runs that are kept: what is spoiled on disk is run again."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.workloads import Workload
from systolith.rtl.config import preset
from systolith.sweep.measure import Measured, measure

TINY = preset("tiny")


class Counted:
    """A workload of two instructions and 7 cycles that is not simulated, and how often it ran."""

    runs = 0

    def __repr__(self) -> str:
        return "Counted"

    def run(self, _: object) -> Any:
        self.runs += 1
        program = SimpleNamespace(image=np.arange(64, dtype=np.uint8))
        return SimpleNamespace(difference=None, program=program, result=SimpleNamespace(counters={"cycles": 7}))


def again(workload: Counted, cache: Path) -> Measured:
    return measure(cast(Workload, workload), TINY, MemoryTiming(), cache, lambda _: None)


def test_a_run_is_kept(tmp_path: Path) -> None:
    workload = Counted()
    first = again(workload, tmp_path)
    assert (first.cycles, first.instructions) == (7, 2)
    assert again(workload, tmp_path) == first
    assert workload.runs == 1


@pytest.mark.parametrize("spoiled", [{"image": "zz"}, {"image": 5}, {"counters": None}, None])
def test_a_spoiled_run_is_run_again(spoiled: dict[str, object] | None, tmp_path: Path) -> None:
    workload = Counted()
    first = again(workload, tmp_path)
    (path,) = (tmp_path / "runs").iterdir()
    record = json.loads(path.read_text())
    path.write_text("[" if spoiled is None else json.dumps({k: v for k, v in (record | spoiled).items() if v}))
    assert again(workload, tmp_path) == first
    assert workload.runs == 2
    assert again(workload, tmp_path) == first
    assert workload.runs == 2
