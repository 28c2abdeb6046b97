"""Area and clock of an accelerator of a sweep, from the same synthesis as ``systolith synth``."""

import re
from typing import Any

from systolith.rtl.config import Config

from .fingerprint import check_same, synthesis_key, synthesis_tools
from .record import Record, sentence
from .workload import SweepError

#: Seeds of place and route, and the MHz that it aims at.
_SEEDS, _MHZ = 1, 100.0
#: What nextpnr says of a design that the device has no room for: it would say so again.
_TOO_LARGE = re.compile("no BELs remaining|at utilisation limit")


def check_target(target: str) -> None:
    """``SweepError`` unless ``target`` is one that can be synthesised for."""
    from systolith.synthesis.targets import SynthesisError, target_named

    try:
        target_named(target)
    except SynthesisError as error:
        raise SweepError(str(error)) from error


def synth(config: Config, target: str) -> dict[str, Any]:
    """LUTs, FFs, DSPs, block RAMs of the whole accelerator, and ``mhz`` where the target has place and route.

    ``clock_failure`` says why there is no clock where there should be one.
    """
    from systolith.synthesis.flow import measure_area, measure_clock
    from systolith.synthesis.targets import SynthesisError, target_named

    synthesis = measure_area(config, target_named(target), lambda _: None)
    found: dict[str, Any] = dict(synthesis.total)
    if target == "ecp5":
        try:
            found["mhz"] = measure_clock(synthesis, _SEEDS, _MHZ, lambda _: None).mhz
        except SynthesisError as error:
            found |= {"mhz": None, "clock_failure": sentence(error)}
    return found


def run_synthesis(config: Config, target: str, origin: str, name: str) -> Record:
    """The record of an accelerator's synthesis; never raises.

    Parameters
    ----------
    origin, name : str
        :func:`fingerprint.synthesis_origin` and :func:`fingerprint.synthesis_key` where the sweep was started: a
        worker with other sources or tools refuses, as in :func:`record.run_point`.
    """
    try:
        check_same(synthesis_key(config.to_toml(), target), name)
        return synthesis_record(config, target, origin, name, synth(config, target), None)
    except Exception as error:
        return synthesis_record(config, target, origin, name, None, sentence(error))


def synthesis_record(
    config: Config, target: str, origin: str, name: str, result: dict[str, Any] | None, failure: str | None
) -> Record:
    """The JSON object of a synthesis: its result, or why there is none."""
    return {
        "key": name,
        "origin": origin,
        "versions": synthesis_tools(),
        "target": target,
        "config": config.to_dict(),
        "result": result,
        "failure": failure,
    }


def missing(record: Record) -> str | None:
    """Why a synthesis has no area, or no clock where there should be one; None if it has all."""
    reason = record["failure"] or (record["result"] or {}).get("clock_failure")
    return None if reason is None else str(reason)


def is_final(record: Record) -> bool:
    """Whether the next sweep need not try again: the synthesis has all, or the device is too small for its clock."""
    reason = missing(record)
    return reason is None or (record["failure"] is None and _TOO_LARGE.search(reason) is not None)


def synthesis_title(record: Record) -> str:
    """Size and target."""
    return f"{record['config']['rows']}x{record['config']['cols']}, {record['target']}"
