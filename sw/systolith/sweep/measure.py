"""Runs on the RTL, kept by what they depend on, so that no experiment runs one twice."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.workloads import Workload
from systolith.files import FileError, read_json, write_whole
from systolith.rtl.config import Config
from systolith.rtl.isa import INSTRUCTION_BYTES
from systolith.runtime.device import open_device

from .fingerprint import origin
from .workload import SweepError

Report = Callable[[str], None]

#: Most bytes of a kept run.
_RUN_BYTES = 1 << 24
#: Most bytes of any other kept record.
_RECORD_BYTES = 1 << 20


@dataclass(frozen=True)
class Measured:
    """One run on the RTL, bit-exact: cycles, the hardware's counters, and the program as it is in DRAM."""

    cycles: int
    counters: Mapping[str, int]
    image: bytes

    @property
    def instructions(self) -> int:
        return len(self.image) // INSTRUCTION_BYTES


def measure(workload: Workload, config: Config, timing: MemoryTiming, cache: Path, report: Report) -> Measured:
    """Run ``workload`` on the RTL of ``config`` and check every bit, or find that run in ``cache``.

    Raises
    ------
    SweepError
        If the result is not bit-exact.
    """
    what = f"{workload!r} {timing!r}"
    name = hashlib.sha256("\0".join([origin(), config.to_toml(), what]).encode()).hexdigest()[:24]
    path = cache / "runs" / f"{name}.json"
    try:
        found = read_json(path, _RUN_BYTES)
        return Measured(found["cycles"], found["counters"], bytes.fromhex(found["image"]))
    except (FileError, KeyError, TypeError, ValueError):
        report(f"RTL {config.rows}x{config.cols}, latency {timing.latency}: {workload}")
    device = open_device(config, "rtl", latency=timing.latency, bandwidth=timing.bandwidth, trace=False)
    measured = workload.run(device)
    if measured.difference is not None:
        raise SweepError(f"{workload} is not bit-exact on the RTL: {measured.difference}")
    counters, image = dict(measured.result.counters), measured.program.image.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"cycles": counters["cycles"], "counters": counters, "image": image.hex()}) + "\n")
    return Measured(counters["cycles"], counters, image)


def kept(directory: Path, key: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``run`` returns, or returned before for the same ``key`` and the same sources and tools."""
    path = directory / f"{hashlib.sha256(f'{origin()} {key}'.encode()).hexdigest()[:24]}.json"
    try:
        return read_json(path, _RECORD_BYTES)
    except FileError:
        record = run()
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record) + "\n")
    return record
