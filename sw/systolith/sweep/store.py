"""The directory of a sweep's results: a file for each finished point, and all of them as JSON lines and CSV."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from systolith.analysis.causes import CAUSES
from systolith.files import FileError, check_writable, parse_object, read_bytes, read_json, shown, write_whole
from systolith.rtl.config import Config

from .check import check_record, check_result, check_synthesis
from .record import Outcome, Record
from .synthesis import is_final
from .workload import SweepError

JSON_LINES, TABLE = "results.jsonl", "results.csv"
#: Most bytes of one record, and of all of them.
_RECORD_BYTES, _RESULTS_BYTES = 1 << 20, 1 << 30
#: Seconds between writings of the collected results while a sweep runs.
_INTERVAL = 5.0
#: Columns of the CSV that are the record's own; then come the causes, the synthesis and the configuration.
_COLUMNS = (
    "workload", "rows", "cols", "latency", "bandwidth", "outcome", "bit_exact", "cycles", "bound_cycles", "bound_limit",
    "padded_cycles", "share", "utilization", "macs", "bytes_least", "bytes_read", "bytes_written", "instructions",
    "program_bytes", "compile_seconds", "simulation_seconds", "cycles_per_second", "wall_seconds", "layers", "tokens",
    "hidden", "heads", "ffn", "failure", "host", "key", "origin",
)  # fmt: skip


class _Folder:
    """A directory of records, a file each, named by their keys; ``records`` are those of ``origin``."""

    def __init__(self, path: Path, origin: str, check: Callable[[Record], None]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path, self._origin = path, origin
        self._check, self._seen = check, set[str]()
        self.records: dict[str, Record] = {}
        self.read()

    def read(self) -> None:
        """Take what is new, of another sweep into the same directory too."""
        for file in sorted(self._path.glob("*.json")):
            if file.stem not in self._seen:
                self._seen.add(file.stem)
                try:
                    self._take(read_record(file, self._check))
                except (FileError, SweepError):
                    continue  # not written by a sweep: its point runs again

    def put(self, record: Record) -> None:
        self._seen.add(record["key"])
        self._take(record)
        write_whole(self._path / f"{record['key']}.json", json.dumps(record) + "\n")

    def _take(self, record: Record) -> None:
        if record["origin"] == self._origin:
            self.records[record["key"]] = record


class Store:
    """Records by their keys, on disk as soon as they are put; an interrupted write leaves no record.

    Parameters
    ----------
    directory : Path
        Made if it is not there.
    origin, synthesis_origin : str
        Of points and of syntheses: records of other sources or tools stay on disk but are not among the results.
    """

    def __init__(self, directory: Path, origin: str, synthesis_origin: str) -> None:
        self.directory = directory
        try:
            self._points = _Folder(directory / "points", origin, check_record)
            self._syntheses = _Folder(directory / "synthesis", synthesis_origin, check_synthesis)
        except OSError as error:
            raise SweepError(f"cannot make the directory {directory}: {str(error.strerror).lower()}") from error
        for name in (JSON_LINES, TABLE):
            check_writable(directory / name)
        self.records, self.syntheses = self._points.records, self._syntheses.records
        self._written = 0.0

    def done(self, key: str) -> Record | None:
        """The record of a point that need not run again, if there is one."""
        found = self.records.get(key)
        return found if found and found["outcome"] != Outcome.FAILED else None

    def done_synthesis(self, key: str) -> Record | None:
        """The record of a synthesis that need not be tried again, if there is one."""
        found = self.syntheses.get(key)
        return found if found and is_final(found) else None

    def put(self, record: Record) -> None:
        """Keep a point's record, and now and then write the results."""
        self._points.put(record)
        if time.monotonic() - self._written > _INTERVAL:
            self.write()

    def put_synthesis(self, record: Record) -> None:
        """Keep the area of a configuration."""
        self._syntheses.put(record)

    def write(self) -> None:
        """Write all records of this origin as JSON lines and as CSV, smallest accelerators first.

        Those that another sweep has put here meanwhile are among them. Those with an area also have the versions of
        its tools.
        """
        self._points.read()
        self._syntheses.read()
        found: dict[str, dict[str, Any]] = {}
        versions: dict[str, str] = {}
        for synthesis in self.syntheses.values():
            if synthesis["failure"] is None:
                found.setdefault(_text(synthesis["config"]), {})[synthesis["target"]] = synthesis["result"]
                versions = synthesis["versions"]  # the same in all of one origin
        records = []
        for record in sorted(self.records.values(), key=_order):
            areas = found.get(_text(record["config"]))
            records.append(record | {"synthesis": areas, "versions": record["versions"] | (versions if areas else {})})
        write_whole(self.directory / JSON_LINES, "".join(json.dumps(record) + "\n" for record in records))
        write_whole(self.directory / TABLE, table(records))
        self._written = time.monotonic()


def table(records: Iterable[Record]) -> str:
    """The records as CSV: one line each, a column for each value of theirs."""
    rows = [_flat(record) for record in records]
    text = io.StringIO()
    columns = dict.fromkeys([*_COLUMNS, *(f"cycles: {label}" for _, label in CAUSES)])
    columns |= dict.fromkeys(name for row in rows for name in row if name.startswith("synthesis."))
    columns |= dict.fromkeys(f"config.{name}" for name in Config().to_dict())
    columns |= dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_results(directory: Path) -> list[Record]:
    """The records that a sweep wrote to ``directory``.

    Raises
    ------
    SweepError
        If there are none, or the file is not that of a sweep.
    """
    path = directory / JSON_LINES
    records = []
    for number, line in enumerate(read_bytes(path, _RESULTS_BYTES).splitlines(), 1):
        try:
            record = parse_object(line)
        except ValueError as error:
            raise SweepError(f"{path}, line {number}, is no JSON object") from error
        try:
            check_result(record)
        except SweepError as error:
            raise SweepError(f"{path}, line {number}, is no record of a sweep: {error}") from error
        records.append(record)
    if not records:
        raise SweepError(f"{path} holds no record")
    return records


def read_record(path: Path, check: Callable[[Record], None]) -> Record:
    """The record of a point or a synthesis in a store, as ``check`` wants it.

    Raises
    ------
    FileError
        If the file cannot be read or is no JSON object.
    SweepError
        If it is no such record, or that of another key.
    """
    record = read_json(path, _RECORD_BYTES)
    try:
        check(record)
    except SweepError as error:
        raise SweepError(f"{path} is no record of a sweep: {error}") from error
    if record["key"] != path.stem:
        raise SweepError(f"{path} is the record of another key: {shown(record['key'])}")
    return record


def _order(record: Record) -> tuple[Any, ...]:
    sizes = (record["rows"] * record["cols"], record["rows"])
    return (*sizes, record["workload"], record["latency"], record["bandwidth"], str(record["config"]))


def _text(config: dict[str, Any] | None) -> str:
    return json.dumps(config, sort_keys=True)


def _flat(record: Record) -> dict[str, Any]:
    """One level of names: those of objects after a prefix."""
    row = dict(record)
    prefixes = {"causes": "cycles: ", "config": "config.", "versions": "version."}
    groups = [(prefix, row.pop(group)) for group, prefix in prefixes.items()]
    groups += [(f"synthesis.{target}.", result) for target, result in (row.pop("synthesis") or {}).items()]
    del row["difference"]  # the same as the failure
    for prefix, group in groups:
        row |= {f"{prefix}{name}": value for name, value in (group or {}).items()}
    return row
