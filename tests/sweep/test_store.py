"""Results on disk: what is done stays done, what is damaged or of other sources runs again."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from systolith.files import FileError
from systolith.sweep.fingerprint import origin
from systolith.sweep.record import Outcome, Record
from systolith.sweep.store import Store, read_results
from systolith.sweep.workload import SweepError

Made = Callable[..., Record]


def test_records_are_there_again_unless_they_failed(made: Made, tmp_path: Path) -> None:
    exact, refused, failed = made("4", 100), made("8", None), made("16", None) | {"outcome": str(Outcome.FAILED)}
    store = Store(tmp_path, origin())
    for record in (exact, refused, failed):
        store.put(record)
    again = Store(tmp_path, origin())
    assert again.records == {record["key"]: record for record in (exact, refused, failed)}
    assert again.done(exact["key"]) == exact
    assert again.done(refused["key"]) == refused
    assert again.done(failed["key"]) is None
    assert again.done("another") is None


def test_records_of_other_sources_and_damaged_ones_are_not_results(made: Made, tmp_path: Path) -> None:
    record = made("4", 100)
    Store(tmp_path, origin()).put(record)
    assert Store(tmp_path, "other").records == {}
    (tmp_path / "points" / f"{record['key']}.json").write_text('{"origin": ')
    assert Store(tmp_path, origin()).records == {}


def test_results_are_json_lines_and_csv_with_everything_resolved(made: Made, tmp_path: Path) -> None:
    store = Store(tmp_path, origin())
    for record in (made("16", None), made("4", 100), made("6x10", 90)):
        store.put(record)
    area = {"key": "k", "origin": origin(), "target": "ecp5", "config": made("4", 100)["config"], "failure": None}
    store.put_synthesis(area | {"result": {"lut": 10.0, "mhz": None}})
    store.write()
    records = read_results(tmp_path)
    assert [(r["rows"], r["cycles"]) for r in records] == [(4, 100), (6, 90), (16, None)]
    assert [r["synthesis"] for r in records] == [{"ecp5": {"lut": 10.0, "mhz": None}}, None, None]
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cycles"] for row in rows] == ["100", "90", ""]
    first = rows[0]
    assert (first["synthesis.ecp5.lut"], first["config.axi_data_width"], first["cycles: array busy"]) == (
        "10.0", "64", "50",
    )  # fmt: skip
    assert first["version.verilator"] == records[0]["versions"]["verilator"]
    assert rows[2]["failure"] == "too large for <it>"
    assert list(first)[:8] == ["workload", "rows", "cols", "latency", "bandwidth", "outcome", "bit_exact", "cycles"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "results.jsonl holds no record"),
        ("{", "results.jsonl, line 1, is no JSON object"),
        (json.dumps({"cycles": 3}), "results.jsonl, line 1, is no record of a sweep"),
    ],
)
def test_results_of_something_else_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text(text)
    with pytest.raises(SweepError, match=message):
        read_results(tmp_path)


def test_a_directory_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*results.jsonl: no such file or directory"):
        read_results(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SweepError, match=r"cannot make the directory .*file: not a directory"):
        Store(tmp_path / "file", origin())
