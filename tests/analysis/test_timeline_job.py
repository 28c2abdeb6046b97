"""The picture of the first job: what must happen, in the order in which it must."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from systolith.analysis.timeline_job import ROWS, first_job, intervals, picture
from systolith.rtl.config import preset
from systolith.rtl.isa import INSTRUCTION_BYTES
from systolith.runtime.device import RunResult

TINY = preset("tiny")
COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "images" / "first_job.svg"


@pytest.fixture(scope="module")
def result() -> RunResult:
    return first_job()


def test_what_the_job_does(result: RunResult) -> None:
    found = {(group, label): cycles for group, label, cycles in intervals(result)}
    beats = {row: sum(end - start for start, end in cycles) for row, cycles in found.items()}
    data = -(-ROWS * TINY.row_pitch // TINY.bus_bytes)
    assert beats["LOAD", "data"] == beats["STORE", "data"] == data
    assert beats["fetch", "instructions"] == 2 * INSTRUCTION_BYTES // TINY.bus_bytes
    assert beats["STORE", "response"] == beats["STORE", "write address"]
    assert found["host", "running"] == [(0, result.counters["cycles"])]
    (load,), (store,) = found["LOAD", "in flight"], found["STORE", "in flight"]
    doorbell = max(start for start, _ in found["host", "register write"] if start < 0)
    order = [
        doorbell, found["fetch", "read address"][0][0], found["fetch", "instructions"][0][0], load[0],
        found["LOAD", "read address"][0][0], found["LOAD", "data"][0][0], found["LOAD", "data"][-1][0], load[1],
        store[0], found["STORE", "data"][0][0], found["STORE", "response"][-1][0], store[1],
        found["host", "interrupt"][0][0],
    ]  # fmt: skip
    assert order == sorted(order)
    assert result.regions[1].tobytes() == result.regions[0].tobytes()


def test_the_committed_picture_is_of_this_rtl(result: RunResult) -> None:
    assert f">{result.counters['cycles']} cycles<" in COMMITTED.read_text()


def test_the_picture_names_every_row(result: RunResult) -> None:
    pytest.importorskip("matplotlib")
    image = picture(result)
    assert picture(result) == image
    texts = {
        "".join(element.itertext()).strip() for element in ET.fromstring(image).iter() if element.tag.endswith("text")
    }
    assert {f"{group}: {label}" for group, label, _ in intervals(result)} | {
        "doorbell",
        "cycle of the program",
    } <= texts
