"""What belongs on one line of a figure, and what no other accelerator beats."""

from collections.abc import Callable

from systolith.sweep.record import Record
from systolith.sweep.series import (
    Area,
    area_of,
    intensity,
    pareto_front,
    point_titles,
    roof,
    series_of,
    settings_of_all,
)

Made = Callable[..., Record]


def test_sizes_are_on_one_line_whatever_memories_follow_from_them(made: Made) -> None:
    records = [made("4", 100), made("8", 50), made("64", 20)]
    assert len({record["config"]["scratchpad_bytes"] for record in records}) > 1
    assert list(series_of(records)) == ["random:1x8@16/2/24"]
    assert point_titles(records)[0] == "4x4, random:1x8@16/2/24"


def test_settings_that_vary_at_one_size_name_lines(made: Made) -> None:
    records = [made("4", 100), made("4", 120, latency=[100]), made("8", 50), made("4", 90, lanes=[2])]
    series = series_of(records)
    assert {name: len(members) for name, members in series.items()} == {
        "random:1x8@16/2/24, 4 lanes, latency 30": 1,
        "random:1x8@16/2/24, 4 lanes, latency 100": 1,
        "random:1x8@16/2/24, 8 lanes, latency 30": 1,
        "random:1x8@16/2/24, 2 lanes, latency 30": 1,
    }
    assert list(series_of(records, ("latency",))) == [
        "random:1x8@16/2/24, latency 30",
        "random:1x8@16/2/24, latency 100",
    ]


def test_settings_that_vary_between_sizes_name_lines_too(made: Made) -> None:
    records = [made("2x4", 100, axi=[32], latency=[200]), made("4", 50)]
    assert list(series_of(records)) == [
        "random:1x8@16/2/24, AXI 32 bit, latency 200",
        "random:1x8@16/2/24, AXI 64 bit, latency 30",
    ]
    assert settings_of_all(records) == "full bandwidth"
    assert settings_of_all(records[:1]) == "AXI 32 bit, latency 200, full bandwidth"


def test_any_other_field_of_a_configuration_names_lines(made: Made) -> None:
    one, other, refused = made("4", 100), made("4", 90), made("8", None)
    other["config"] |= {"approximation": "polynomial"}
    refused["config"] = None
    assert point_titles([one, other, refused]) == [
        "4x4, random:1x8@16/2/24, approximation look-up",
        "4x4, random:1x8@16/2/24, approximation polynomial",
        "8x8, random:1x8@16/2/24",
    ]


def test_intensity_counts_the_bytes_that_the_roof_limits(made: Made) -> None:
    full, narrow = made("4", 100), made("4", 100, bandwidth=[4])
    assert (roof(full), intensity(full)) == (8, 800 / 4000)
    assert (roof(narrow), intensity(narrow)) == (4, 800 / 4400)


def test_the_pareto_front_is_what_nothing_beats() -> None:
    assert pareto_front([(3, 5), (1, 9), (2, 9), (2, 4), (4, 3), (5, 3)]) == [(1, 9), (2, 4), (4, 3)]


def test_the_area_is_that_which_most_records_have(made: Made) -> None:
    lut, gates = {"ecp5": {"lut": 10.0, "ff": 3.0}}, {"generic": {"gates": 7}}
    records = [made("4", 1, lut), made("8", 1, lut), made("2", 1, gates), made("16", 1)]
    area = area_of(records)
    assert area == Area("ecp5", "lut")
    assert [area(record) for record in records] == [10.0, 10.0, None, None]
    assert area_of(records[3:]) is None
