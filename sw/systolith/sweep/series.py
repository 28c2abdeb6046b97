"""What a report's figures are made of: records that belong on one line, intensities, areas, the Pareto front."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from .record import Record

#: How a legend calls a setting; the others, all of a configuration's, by their names.
_NAMES = {
    "axi_data_width": "AXI {} bit",
    "scratchpad_bytes": "scratchpad {} B",
    "accumulator_bytes": "accumulator {} B",
    "lanes": "{} lanes",
    "latency": "latency {}",
    "bandwidth": "{} B/cycle",
}
#: Settings that also follow from the array's size, which alone tells no two runs apart.
_FOLLOWING = ("scratchpad_bytes", "accumulator_bytes", "parameter_bytes", "lanes")
#: Those of the memory, which cost no area.
MEMORY_SETTINGS = ("latency", "bandwidth")
#: Those that every report gives, whether they vary or not.
_GIVEN = ("axi_data_width", *MEMORY_SETTINGS)
#: Resources of a synthesis by which an area is told, the first that is there, and how an axis calls them.
RESOURCES = {"lut": "LUTs", "gates": "gates"}


@dataclass(frozen=True)
class Area:
    """The area of a record's accelerator: what was counted, and for which target."""

    target: str
    resource: str

    @property
    def unit(self) -> str:
        return RESOURCES[self.resource]

    def __call__(self, record: Record) -> float | None:
        """None if the record's accelerator was not synthesised."""
        value = ((record["synthesis"] or {}).get(self.target) or {}).get(self.resource)
        return None if value is None else float(value)


def area_of(records: Sequence[Record]) -> Area | None:
    """The area that most records have; None if none has any."""
    found: dict[Area, int] = defaultdict(int)
    for record in records:
        for target, result in (record["synthesis"] or {}).items():
            for resource in RESOURCES:
                if result.get(resource) is not None:
                    found[Area(target, resource)] += 1
                    break
    return max(found, key=lambda area: found[area]) if found else None


def dimension(record: Record) -> str:
    return f"{record['rows']}x{record['cols']}"


def peak(record: Record) -> int:
    """Multiply-accumulates a cycle at most."""
    return int(record["rows"]) * int(record["cols"])


def roof(record: Record) -> int:
    """Bytes a cycle at most: of each direction of the bus, or of both where the memory is slower."""
    return int(record["bandwidth"]) or int(record["config"]["axi_data_width"]) // 8


def intensity(record: Record) -> float:
    """MACs for each byte that moved, of the busier direction where the bus is the limit (see :func:`roof`)."""
    read, written = record["bytes_read"], record["bytes_written"]
    return float(record["macs"] / (read + written if record["bandwidth"] else max(read, written)))


def _values(record: Record) -> dict[str, Hashable]:
    """The settings of a record, of the memory alone if there is no such accelerator."""
    settings = {name: value for name, value in (record["config"] or {}).items() if name not in ("rows", "cols")}
    return {**settings, **{name: record[name] for name in MEMORY_SETTINGS}}


def _varying(records: Sequence[Record]) -> list[str]:
    """Settings that differ, those that follow from the size between runs of one size: a line is named after them."""
    found: dict[str, dict[Hashable, set[Hashable]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        for name, value in _values(record).items():
            found[name][dimension(record) if name in _FOLLOWING else None].add(value)
    names = [*_NAMES, *(name for name in found if name not in _NAMES)]
    return [name for name in names if any(len(values) > 1 for values in found[name].values())]


def _setting(name: str, value: Hashable) -> str:
    if name == "bandwidth" and not value:
        return "full bandwidth"
    return _NAMES.get(name, f"{name} {{}}").format(value)


def _label(record: Record, names: Sequence[str]) -> str:
    values = _values(record)
    return ", ".join([record["workload"], *(_setting(name, values[name]) for name in names if name in values)])


def settings_of_all(records: Sequence[Record]) -> str:
    """Bus and memory where they are the same in all records, as titles and legends do not name them."""
    values, names = _values(next((r for r in records if r["config"]), records[0])), _varying(records)
    return ", ".join(_setting(name, values[name]) for name in _GIVEN if name in values and name not in names)


def series_of(records: Sequence[Record], among: Sequence[str] | None = None) -> dict[str, list[Record]]:
    """Records by workload and those settings that vary, if given only of ``among``."""
    names = [name for name in _varying(records) if among is None or name in among]
    series: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        series[_label(record, names)].append(record)
    return dict(series)


def point_titles(records: Sequence[Record]) -> list[str]:
    """A name for each record: size, workload, and the settings that vary."""
    names = _varying(records)
    return [f"{dimension(record)}, {_label(record, names)}" for record in records]


def pareto_front(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of the places that no other one beats in both coordinates, less being better, from left to right."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(places):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front
