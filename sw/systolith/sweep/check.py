"""What a record of a sweep must hold for a report to be made of it: each key, and what its value is."""

import math
import re
from collections.abc import Callable
from typing import Any

from systolith.analysis.causes import CAUSES
from systolith.files import shown

from .record import Outcome, Record
from .series import RESOURCES
from .workload import SweepError

#: What a value must be, in words, and whether one is.
_Kind = tuple[str, Callable[[Any], bool]]
#: No count or amount is larger: all of them are exact as floating-point numbers.
_LARGEST = 1 << 53
_WORKLOAD = re.compile(r"[a-z0-9:@/-]{1,80}")


def _whole(least: int) -> _Kind:
    return f"a whole number of at least {least}", lambda v: type(v) is int and least <= v <= _LARGEST


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= _LARGEST  # type: ignore[arg-type, operator]


def _is_text(value: object) -> bool:
    """Text that can be written again: JSON also has halves of characters."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _or_null(kind: _Kind) -> _Kind:
    return f"{kind[0]}, or null", lambda v: v is None or kind[1](v)


_TEXT: _Kind = "text", _is_text
_NUMBER: _Kind = "a number of at least 0", _is_number
_TRUTH: _Kind = "true or false", lambda v: isinstance(v, bool)
_OBJECT: _Kind = "an object", lambda v: isinstance(v, dict) and all(map(_is_text, v))

#: The keys of every record, and those that a point which ran has as well.
_ALL: dict[str, _Kind] = {
    "key": _TEXT,
    "origin": _TEXT,
    "outcome": (f"one of {', '.join(Outcome)}", lambda v: isinstance(v, str) and v in [*Outcome]),
    "failure": _or_null(_TEXT),
    "difference": _or_null(_TEXT),
    "workload": ("a workload's name", lambda v: isinstance(v, str) and _WORKLOAD.fullmatch(v) is not None),
    **dict.fromkeys(("rows", "cols", "latency"), _whole(1)),
    "bandwidth": _whole(0),
    "versions": _OBJECT,
    "config": _or_null(_OBJECT),
    "causes": _or_null(_OBJECT),
    "bit_exact": _or_null(_TRUTH),
    "cycles": _or_null(_whole(1)),
}
_RAN: dict[str, _Kind] = {
    "config": _OBJECT,
    "causes": _OBJECT,
    "bit_exact": _TRUTH,
    "bound_limit": _TEXT,
    **dict.fromkeys(("bound_cycles", "share", "utilization", "cycles_per_second"), _NUMBER),
    **dict.fromkeys(("macs", "bytes_read"), _whole(1)),
    "bytes_written": _whole(0),
}
#: Parts of what an object of a point that ran holds.
_CONFIG: dict[str, _Kind] = {
    "axi_data_width": _whole(8), **dict.fromkeys(("scratchpad_bytes", "accumulator_bytes", "lanes"), _whole(1)),
}  # fmt: skip
_CAUSES: dict[str, _Kind] = {label: _whole(0) for _, label in CAUSES}
#: The keys of an accelerator's synthesis.
_SYNTHESIS: dict[str, _Kind] = {
    "key": _TEXT, "origin": _TEXT, "versions": _OBJECT, "target": _TEXT, "config": _OBJECT,
    "result": _or_null(_OBJECT), "failure": _or_null(_TEXT),
}  # fmt: skip
#: What a result of one says.
_FOUND: _Kind = "a number of at least 0, text or null", lambda v: v is None or _is_text(v) or _is_number(v)
_AREA: _Kind = "a number above 0, or null", lambda v: v is None or (_is_number(v) and v > 0)


def check_record(record: Record) -> None:
    """Refuse what is no record of a point, with what a report or a sweep that goes on reads of it.

    Raises
    ------
    SweepError
        If a key is missing or its value is something else; the sentence names it.
    """
    _check(record, _ALL)
    if record["cycles"] is not None:
        _check(record, _RAN)
        _check(record["config"], _CONFIG, "config.")
        _check(record["causes"], _CAUSES, "causes.")


def check_synthesis(record: Record) -> None:
    """Refuse what is no record of a synthesis, as :func:`check_record` does."""
    _check(record, _SYNTHESIS)
    if record["failure"] is None:
        _check(record, {"result": _OBJECT})
        _check_found(record["result"], "result.")


def check_result(record: Record) -> None:
    """Refuse what is no line of a sweep's results: a record with the accelerator's syntheses by target, or null."""
    check_record(record)
    _check(record, {"synthesis": _or_null(_OBJECT)})
    areas = record["synthesis"] or {}
    _check(areas, dict.fromkeys(areas, _OBJECT), "synthesis.")
    for target, found in areas.items():
        _check_found(found, f"synthesis.{target}.")


def _check_found(found: dict[str, Any], place: str) -> None:
    _check(found, {name: _AREA if name in RESOURCES else _FOUND for name in found}, place)


def _check(values: dict[str, Any], kinds: dict[str, _Kind], place: str = "") -> None:
    for name, (wanted, fits) in kinds.items():
        if name not in values:
            raise SweepError(f"it has no {place}{name}")
        if not fits(values[name]):
            raise SweepError(f"{_named(place + name)} must be {wanted}, not {shown(values[name])}")


def _named(key: str) -> str:
    """A key that somebody else may have chosen."""
    return key if key.isprintable() and len(key) <= 60 else shown(key)
