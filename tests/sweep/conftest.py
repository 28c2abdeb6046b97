"""Records of a sweep as a report reads them, without running one."""

from collections.abc import Callable
from typing import Any

import pytest

from systolith.analysis.causes import CAUSES
from systolith.sweep.fingerprint import key, origin
from systolith.sweep.record import Outcome, Record, record
from systolith.sweep.space import points_of


@pytest.fixture
def made() -> Callable[..., Record]:
    """``made(dims, cycles, **options)`` is the record of a point of an array that was busy in half of its cycles."""

    def make(dims: str, cycles: int | None, synthesis: dict[str, Any] | None = None, **options: Any) -> Record:
        (point,) = points_of({"dims": [dims], "workload": ["random:1x8@16/2/24"], "preset": "tiny"} | options)
        found: dict[str, Any] = {}
        if cycles is not None:
            labels = [label for _, label in CAUSES]
            found = {
                "bit_exact": True, "cycles": cycles, "bound_cycles": cycles / 2, "bound_limit": "compute",
                "padded_cycles": cycles / 2, "share": 0.5, "utilization": 0.5, "macs": cycles * 8, "bytes_least": 100,
                "bytes_read": 4000, "bytes_written": 400, "cycles_per_second": 1e6,
                "causes": dict.fromkeys(labels, 0) | {labels[0]: cycles // 2, labels[1]: cycles - cycles // 2},
            }  # fmt: skip
        outcome = Outcome.REFUSED if cycles is None else Outcome.EXACT
        failure = "too large for <it>" if cycles is None else None
        return record(point, origin(), key(point), outcome, failure, found, 1.5) | {"synthesis": synthesis}

    return make
