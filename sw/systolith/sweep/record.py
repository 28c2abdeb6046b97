"""One point of a sweep, run on the RTL and checked: what is kept of it."""

import socket
import time
from enum import StrEnum
from typing import Any

from systolith.analysis.bounds import bound
from systolith.analysis.causes import causes
from systolith.compiler.hazards import ProgramError
from systolith.compiler.plan import CapacityError
from systolith.files import error_sentence
from systolith.models.encoder import ModelError
from systolith.rtl.config import ConfigError
from systolith.runtime.device import open_device

from .fingerprint import check_same, key, tools
from .space import Point

Record = dict[str, Any]


class Outcome(StrEnum):
    """How a point ended. Only ``FAILED`` is tried again by the next sweep: the others would end the same way."""

    EXACT = "bit-exact"
    WRONG = "wrong"
    REFUSED = "refused"
    FAILED = "failed"


def run_point(point: Point, origin: str, name: str) -> Record:
    """Build the accelerator unless it is in the cache, run the workload on it and check every bit; never raises.

    Parameters
    ----------
    origin, name : str
        :func:`fingerprint.origin` and :func:`fingerprint.key` where the sweep was started: a worker with other
        sources or tools would measure something else, and refuses.
    """
    begin = time.perf_counter()
    try:
        if point.config is None:
            raise ConfigError(point.refusal)
        check_same(key(point), name)
        found = _measure(point)
        outcome, failure = (Outcome.EXACT, None) if found["bit_exact"] else (Outcome.WRONG, found["difference"])
    except (ConfigError, CapacityError, ModelError, ProgramError) as error:
        found, outcome, failure = {}, Outcome.REFUSED, sentence(error)
    except Exception as error:
        found, outcome, failure = {}, Outcome.FAILED, sentence(error)
    return record(point, origin, name, outcome, failure, found, time.perf_counter() - begin)


def record(
    point: Point, origin: str, name: str, outcome: Outcome, failure: str | None, found: Record, seconds: float
) -> Record:
    """The JSON object of a point; ``found`` is what :func:`_measure` found, if anything."""
    encoder = point.workload.encoder
    return {
        "key": name,
        "origin": origin,
        "outcome": str(outcome),
        "failure": failure,
        "workload": point.workload.name,
        "layers": encoder.layers,
        "tokens": encoder.tokens,
        "hidden": encoder.hidden,
        "heads": encoder.heads,
        "ffn": encoder.ffn,
        "rows": point.rows,
        "cols": point.cols,
        "latency": point.latency,
        "bandwidth": point.bandwidth,
        "config": point.config.to_dict() if point.config else None,
        **dict.fromkeys(MEASURED),
        **found,
        "wall_seconds": seconds,
        "host": socket.gethostname(),
        "versions": tools(),
    }


#: What :func:`_measure` finds; null in the record of a point that did not run.
MEASURED = (
    "bit_exact", "difference", "cycles", "bound_cycles", "bound_limit", "padded_cycles", "share", "utilization", "macs",
    "bytes_least", "bytes_read", "bytes_written", "causes", "instructions", "program_bytes", "compile_seconds",
    "simulation_seconds", "cycles_per_second",
)  # fmt: skip


def _measure(point: Point) -> Record:
    """Run the point on the RTL. ``bound_*`` and ``padded_cycles`` are computed, all else is measured."""
    config = point.config
    assert config is not None
    device = open_device(config, "rtl", latency=point.latency, bandwidth=point.bandwidth, trace=False)
    work = point.workload.encoder.work
    measured = point.workload.encoder.run(device)
    counters = measured.result.counters
    cycles, least = counters["cycles"], bound(work, config, point.bandwidth)
    return {
        "bit_exact": measured.difference is None,
        "difference": measured.difference,
        "cycles": cycles,
        "bound_cycles": least.cycles,
        "bound_limit": least.limit,
        "padded_cycles": least.padded,
        "share": least.cycles / cycles,
        "utilization": least.compute / cycles,
        "macs": work.macs,
        "bytes_least": work.read_bytes + work.written_bytes,
        "bytes_read": counters["read_beats"] * config.bus_bytes,
        "bytes_written": counters["write_beats"] * config.bus_bytes,
        "causes": causes(counters),
        "instructions": len(measured.program.operation_of),
        "program_bytes": len(measured.program.image),
        "compile_seconds": measured.compile_seconds,
        "simulation_seconds": measured.result.wall_seconds,
        "cycles_per_second": cycles / measured.result.wall_seconds,
    }


def sentence(error: BaseException) -> str:
    """Why a point failed, on one line; the kind of error too where the message alone may say nothing."""
    said = error_sentence(error) if isinstance(error, Exception) else str(error)
    line = " ".join(said.split())[:400]
    known = isinstance(error, (OSError, ValueError, RuntimeError)) and line
    return line if known else f"{type(error).__name__}: {line}".removesuffix(": ")
