"""A point's name changes with everything that its result depends on, and with nothing else."""

import dataclasses

import pytest

from systolith.sweep import fingerprint
from systolith.sweep.space import Point, points_of


def point() -> Point:
    (made,) = points_of({"workload": ["random:1x8@16/2/24"], "preset": "tiny"})
    return made


def test_the_name_follows_from_configuration_workload_and_memory() -> None:
    name = fingerprint.key(point())
    assert fingerprint.key(point()) == name
    config = point().config
    assert config is not None
    for changes in (
        {"config": dataclasses.replace(config, lanes=2)},
        {"workload": points_of({"workload": ["random:1x9@16/2/24"]})[0].workload},
        {"latency": 31},
        {"bandwidth": 4},
    ):
        assert fingerprint.key(dataclasses.replace(point(), **changes)) != name
    # How an option was written is not what is run.
    assert fingerprint.key(dataclasses.replace(point(), settings={"lanes": 4})) == name


def test_the_name_follows_from_tools_and_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    name = fingerprint.key(point())
    fingerprint.origin.cache_clear()
    monkeypatch.setattr(fingerprint, "sources", lambda: "others")
    assert fingerprint.key(point()) != name
    monkeypatch.undo()
    fingerprint.origin.cache_clear()
    monkeypatch.setattr(fingerprint, "tools", lambda: {"verilator": "6"})
    assert fingerprint.key(point()) != name
    monkeypatch.undo()
    fingerprint.origin.cache_clear()
    assert fingerprint.key(point()) == name


def test_tools_name_every_version() -> None:
    assert {"python", "verilator", "amaranth", "cocotb", "numpy", "compiler", "machine"} <= fingerprint.tools().keys()
