"""The points of a sweep: every combination of sizes, settings and workloads that the options or a TOML file name."""

import dataclasses
import itertools
import math
import re
import tomllib
from collections.abc import Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from systolith.files import brief, read_text, shown
from systolith.rtl.config import Config, ConfigError, preset
from systolith.sim.dram import MOST_TIMING

from .workload import NamedWorkload, SweepError, parse_workload

#: Most bytes of a sweep's file.
_FILE_BYTES = 64 << 10
#: Most points of one sweep.
MAX_POINTS = 100_000
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}
#: Options that replace a value of the configuration, and which.
SETTINGS = {
    "axi": "axi_data_width",
    "scratchpad": "scratchpad_bytes",
    "accumulator": "accumulator_bytes",
    "lanes": "lanes",
}
#: Options that take a list.
LISTS = ("dims", "workload", *SETTINGS, "latency", "bandwidth")
#: Options that name the accelerator that sizes and settings start from, of which there is one.
BASES = ("preset", "config")
#: All keys of a sweep's file.
KEYS = (*LISTS, *BASES, "synth")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run: an accelerator, a workload and the memory's timing.

    ``config`` is None if such an accelerator cannot be built, and ``refusal`` says why. ``latency`` is in cycles,
    ``bandwidth`` in bytes a cycle, 0 for the bus width each way.
    """

    rows: int
    cols: int
    config: Config | None
    workload: NamedWorkload
    latency: int
    bandwidth: int
    refusal: str | None = None
    settings: dict[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Size, workload, and the settings that were asked for."""
        return ", ".join(
            [f"{self.rows}x{self.cols}", self.workload.name, *(f"{k} {v}" for k, v in self.settings.items())]
        )


def parse_list(text: str) -> list[str]:
    """The parts of a comma-separated option, none of which may be empty."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise SweepError(f"{text!r} is no list of values separated by single commas")
    return parts


def _as_text(value: object) -> str:
    """A value of a file as it would be given on the command line."""
    return value if isinstance(value, str) else shown(value)


def parse_dims(value: object) -> tuple[int, int]:
    """Rows and columns of ``N`` or ``RxC``."""
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", _as_text(value))
    if match is None:
        raise SweepError(f"dimensions {shown(value)} are neither N nor ROWSxCOLS")
    return int(match[1]), int(match[2] or match[1])


def parse_number(name: str, value: object) -> int:
    """A number of at least 0; memories also take the units K and M (KiB, MiB)."""
    units = "KM" if name in ("scratchpad", "accumulator") else ""
    match = re.fullmatch(rf"(\d{{1,12}})([{units}]?)" if units else r"(\d{1,12})()", _as_text(value))
    if match is None or isinstance(value, bool):
        raise SweepError(f"{name} {shown(value)} is no number" + (" of bytes, KiB (K) or MiB (M)" if units else ""))
    number = int(match[1]) * _UNITS[match[2]]
    if name in ("latency", "bandwidth") and not (least := int(name == "latency")) <= number <= MOST_TIMING:
        raise SweepError(f"{name} must be {least} to {MOST_TIMING}, not {number}")
    return number


def read_file(path: Path) -> dict[str, Any]:
    """The keys of a sweep's file; ``SweepError`` if it is not TOML, or has a key or value that no sweep takes."""
    try:
        table = tomllib.loads(read_text(path, _FILE_BYTES))
    except (ValueError, RecursionError) as error:
        raise SweepError(f"{path} is not a TOML file: {brief(error)}") from error
    for key, value in table.items():
        if key not in KEYS:
            raise SweepError(f"{path}: unknown key {shown(key)}; the keys are {', '.join(KEYS)}")
        if key in LISTS and not (isinstance(value, list) and value):
            raise SweepError(f"{path}: {key} must be a list of at least one value, not {shown(value)}")
        if key not in LISTS and not isinstance(value, str):
            raise SweepError(f"{path}: {key} must be text, not {shown(value)}")
    if "config" in table:
        table["config"] = str(path.parent / table["config"])
    return table


def replaced(kept: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The options of a file, replaced by those ``given`` on the command line: one of :data:`BASES` by either."""
    dropped = BASES if any(name in given for name in BASES) else ()
    return {name: value for name, value in kept.items() if name not in dropped} | given


def base_config(options: dict[str, Any]) -> Config:
    """The accelerator that sizes and settings start from."""
    if "preset" in options and "config" in options:
        raise SweepError("preset and config exclude each other")
    return Config.from_toml(options["config"]) if "config" in options else preset(options.get("preset", "default"))


def points_of(options: dict[str, Any]) -> list[Point]:
    """Every point of a sweep, each once, those of one accelerator together.

    Parameters
    ----------
    options : dict
        Keys of :data:`KEYS`; lists of text or numbers for those of :data:`LISTS`.

    Raises
    ------
    SweepError
        If there is no workload, a value cannot be read, or there are too many points.
    ConfigError
        If no accelerator of the sweep can be built, or a size or bus width is one that none can have. Other
        combinations that cannot be built are points with a refusal.
    """
    if not options.get("workload"):
        raise SweepError("a sweep needs at least one workload")
    base = base_config(options)
    workloads = [parse_workload(_as_text(text)) for text in options["workload"]]
    dims = [parse_dims(value) for value in options.get("dims") or [f"{base.rows}x{base.cols}"]]
    named = {name: [parse_number(name, v) for v in options[name]] for name in SETTINGS if options.get(name)}
    latencies, bandwidths = (
        [parse_number(name, value) for value in options.get(name) or [default]]
        for name, default in (("latency", 30), ("bandwidth", 0))
    )
    lists: tuple[Sized, ...] = (dims, workloads, latencies, bandwidths, *named.values())
    count = math.prod(map(len, lists))
    if count > MAX_POINTS:
        raise SweepError(f"{count:,} points are more than the {MAX_POINTS:,} of one sweep")
    points: dict[Any, Point] = {}
    for (rows, cols), values in itertools.product(dims, itertools.product(*named.values())):
        settings = dict(zip(named, values, strict=True))
        config = _configured(base, rows, cols, settings)
        for workload, latency, bandwidth in itertools.product(workloads, latencies, bandwidths):
            memory = {"latency": latency, "bandwidth": bandwidth}
            point = Point(
                rows=rows, cols=cols, config=None if isinstance(config, ConfigError) else config, workload=workload,
                latency=latency, bandwidth=bandwidth, refusal=str(config) if isinstance(config, ConfigError) else None,
                settings=settings | {name: value for name, value in memory.items() if options.get(name)},
            )  # fmt: skip
            points.setdefault((str(config), rows, cols, workload, latency, bandwidth), point)
    refusals = [point.refusal for point in points.values() if point.refusal]
    if len(refusals) == len(points):
        raise ConfigError(refusals[0])
    return list(points.values())


def _configured(base: Config, rows: int, cols: int, settings: dict[str, int]) -> Config | ConfigError:
    """The accelerator, or why there is none; ``ConfigError`` at once for a size or bus that none can have."""
    resized = base.resized(rows, cols)
    if "axi" in settings:
        resized = dataclasses.replace(resized, axi_data_width=settings["axi"])
    try:
        changes: dict[str, Any] = {SETTINGS[name]: value for name, value in settings.items()}
        return dataclasses.replace(resized, **changes)
    except ConfigError as error:
        return error
