"""Which points a sweep has: every combination once, and which options say nothing that can be run."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from systolith.rtl.config import ConfigError, preset
from systolith.sweep.space import MAX_POINTS, parse_list, points_of, read_file, replaced
from systolith.sweep.workload import SweepError

WORKLOADS = ["random:1x5@16/2/24", "bert-tiny:1x8"]


def test_every_combination_is_a_point_and_those_of_one_accelerator_are_together() -> None:
    points = points_of({"dims": ["4", "6x10"], "workload": WORKLOADS, "axi": [64, 128], "latency": ["30", "100"]})
    found = [(p.rows, p.cols, p.config.axi_data_width, p.workload.name, p.latency) for p in points if p.config]
    assert found == [
        (rows, cols, axi, workload, latency)
        for (rows, cols), axi, workload, latency in itertools.product(
            [(4, 4), (6, 10)], [64, 128], ["random:1x5@16/2/24", "bert-tiny:1x8"], [30, 100]
        )
    ]
    assert points[0].title == "4x4, random:1x5@16/2/24, axi 64, latency 30"


def test_settings_replace_what_follows_from_the_size() -> None:
    (point,) = points_of(
        {"dims": [8], "workload": WORKLOADS[:1], "scratchpad": ["64K"], "accumulator": [32768], "lanes": [2],
         "bandwidth": [4], "preset": "small"}
    )  # fmt: skip
    assert point.config is not None
    assert (point.config.scratchpad_bytes, point.config.accumulator_bytes, point.config.lanes) == (65536, 32768, 2)
    assert point.config.axi_data_width == preset("small").axi_data_width
    assert (point.latency, point.bandwidth) == (30, 4)


def test_without_dims_the_base_is_the_accelerator() -> None:
    (point,) = points_of({"workload": WORKLOADS[:1], "preset": "tiny"})
    assert point.config == preset("tiny")


def test_the_same_point_named_twice_is_one() -> None:
    assert len(points_of({"dims": [4, "4x4"], "lanes": [4, 4], "workload": ["random:1x8", "random:1x8@64/2/128"]})) == 1


def test_a_combination_that_cannot_be_built_is_a_point_with_a_refusal() -> None:
    points = points_of({"dims": [4, 8], "lanes": [8], "workload": WORKLOADS[:1]})
    assert [point.config is None for point in points] == [True, False]
    assert points[0].refusal == "lanes must divide both rows and cols (their greatest common divisor is 4), not 8"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, SweepError, "a sweep needs at least one workload"),
        ({"workload": WORKLOADS, "dims": ["4y4"]}, SweepError, "dimensions '4y4' are neither N nor ROWSxCOLS"),
        ({"workload": WORKLOADS, "dims": [True]}, SweepError, "dimensions True are neither"),
        ({"workload": WORKLOADS, "dims": [4, 1]}, ConfigError, "rows must be 2 to 128, not 1"),
        ({"workload": WORKLOADS, "axi": [64, 100]}, ConfigError, "axi_data_width must be one of"),
        ({"workload": WORKLOADS, "dims": [4], "lanes": [3]}, ConfigError, "lanes must divide both rows and cols"),
        ({"workload": WORKLOADS, "dims": [1 << 9999]}, SweepError, "dimensions a number of 10000 bits are neither N"),
        ({"workload": WORKLOADS, "lanes": [1 << 9999]}, SweepError, "lanes a number of 10000 bits is no number"),
        ({"workload": WORKLOADS, "lanes": ["4K"]}, SweepError, "lanes '4K' is no number"),
        (
            {"workload": WORKLOADS, "scratchpad": ["4G"]},
            SweepError,
            r"scratchpad '4G' is no number of bytes, KiB \(K\)",
        ),
        ({"workload": WORKLOADS, "latency": [0]}, SweepError, "latency must be 1 to 2147483647, not 0"),
        ({"workload": WORKLOADS, "latency": [1 << 31]}, SweepError, "latency must be 1 to 2147483647, not 2147483648"),
        (
            {"workload": WORKLOADS, "bandwidth": ["2147483648"]},
            SweepError,
            "bandwidth must be 0 to 2147483647, not 2147483648",
        ),
        ({"workload": WORKLOADS, "preset": "tiny", "config": "x"}, SweepError, "preset and config exclude each other"),
        (
            {"workload": ["random:1x8"], "latency": list(range(1, MAX_POINTS + 2))},
            SweepError,
            "100,001 points are more than the 100,000 of one sweep",
        ),
    ],
)
def test_options_that_cannot_be_run_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        points_of(options)


def test_a_list_has_no_empty_parts() -> None:
    assert parse_list("4, 8,6x10") == ["4", "8", "6x10"]
    with pytest.raises(SweepError, match="'4,,8' is no list of values separated by single commas"):
        parse_list("4,,8")


def test_a_file_holds_the_same_options(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    (tmp_path / "base.toml").write_text(preset("tiny").to_toml())
    path.write_text('dims = [2, "2x4"]\nworkload = ["random:1x5@16/2/24"]\nlatency = [30]\nconfig = "base.toml"\n')
    points = points_of(read_file(path))
    assert [(p.rows, p.cols) for p in points] == [(2, 2), (2, 4)]
    assert all(p.config and p.config.axi_data_width == 64 for p in points)


@pytest.mark.parametrize(
    ("kept", "given", "options"),
    [
        ({"preset": "tiny", "dims": [4]}, {"config": "mine.toml"}, {"config": "mine.toml", "dims": [4]}),
        ({"config": "mine.toml", "synth": "ecp5"}, {"preset": "tiny"}, {"preset": "tiny", "synth": "ecp5"}),
        ({"preset": "tiny"}, {"preset": "small"}, {"preset": "small"}),
        ({"preset": "tiny", "dims": [4]}, {"dims": ["8"]}, {"preset": "tiny", "dims": ["8"]}),
        ({}, {"preset": "tiny", "config": "mine.toml"}, {"preset": "tiny", "config": "mine.toml"}),
    ],
)
def test_options_replace_those_of_a_file_preset_and_config_each_other(
    kept: dict[str, Any], given: dict[str, Any], options: dict[str, Any]
) -> None:
    assert replaced(kept, given) == options


def test_a_file_with_both_preset_and_config_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('workload = ["bert-tiny:1x8"]\npreset = "tiny"\nconfig = "mine.toml"\n')
    with pytest.raises(SweepError, match="preset and config exclude each other"):
        points_of(replaced(read_file(path), {"dims": ["4"]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dims = [", "sweep.toml is not a TOML file: "),
        ("sizes = [4]", "sweep.toml: unknown key 'sizes'; the keys are dims, workload, axi"),
        ("dims = 4", "sweep.toml: dims must be a list of at least one value, not 4"),
        ("dims = []", "sweep.toml: dims must be a list of at least one value"),
        ("preset = 4", "sweep.toml: preset must be text, not 4"),
    ],
)
def test_another_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(SweepError, match=message):
        read_file(path)
