import dataclasses
from pathlib import Path

import pytest

from systolith.rtl.config import PRESETS, Config, ConfigError, preset


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip_through_toml(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(preset(name).to_toml())
    assert Config.from_toml(path) == PRESETS[name]


def test_default_preset_keeps_its_memory_budget() -> None:
    c = PRESETS["default"]
    # Maximum 32 bits, sums 32 and 44, mean and mantissa 16 each, exponent 6.
    statistics = c.statistics_rows * (32 + 32 + 44 + 16 + 16 + 6) // 8
    assert c.scratchpad_bytes + c.accumulator_bytes + c.parameter_bytes + statistics <= 320 * 1024


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "rows must be 2 to 128, not 0"),
        ({"cols": 1}, "cols must be 2 to 128, not 1"),
        (
            {"rows": 6, "cols": 10},
            r"lanes must divide both rows and cols \(their greatest common divisor is 2\), not 16",
        ),
        ({"axi_data_width": 48}, r"axi_data_width must be one of \(32, 64, 128, 256, 512\) bits, not 48"),
        ({"scratchpad_banks": 3}, "scratchpad_banks must be 1, 2, 4, 8 or 16, not 3"),
        ({"scratchpad_bytes": 512}, "scratchpad_bytes of 512 holds 32 rows; a 16x16 array needs at least 64"),
        ({"accumulator_bytes": 64}, "accumulator_bytes of 64 holds 0 rows; a 16x16 array needs at least 64"),
        ({"matrix_queue": 1}, "matrix_queue must be 2 to 64 instructions, not 1"),
        ({"softmax": 1}, "softmax must be bool, not 1"),
        ({"approximation": "table"}, "approximation must be look-up or polynomial, not 'table'"),
        ({"approximation": True}, "approximation must be str, not True"),
    ],
)
def test_refuses(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(Config(), **changes)


def test_refuses_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown preset 'huge'; the presets are tiny, small, default, large"):
        preset("huge")
    path = tmp_path / "config.toml"
    path.write_text("row = 3\n")
    with pytest.raises(ConfigError, match="unknown key 'row'"):
        Config.from_toml(path)
    path.write_text("rows = ")
    with pytest.raises(ConfigError, match="is not a TOML file"):
        Config.from_toml(path)


def test_derived_sizes() -> None:
    config = Config().resized(6, 10)
    assert (config.row_bytes, config.row_pitch, config.lanes, config.psum_width) == (10, 16, 2, 19)


@pytest.mark.parametrize("size", [(2, 2), (2, 128), (128, 2), (97, 97), (128, 128)])
def test_any_size_has_memories_to_work_with(size: tuple[int, int]) -> None:
    config = Config().resized(*size)
    assert config.scratchpad_bytes >= Config().scratchpad_bytes or config.scratchpad_rows == 1 << 16
    assert config.accumulator_rows >= 2048


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("axi_address_width", 32, 64),
        ("axi_outstanding", 1, 64),
        ("axi_burst_beats", 1, 256),
        ("statistics_rows", 4, 4096),
        *[(f"{unit}_queue", 2, 64) for unit in ("load", "matrix", "vector", "store")],
    ],
)
def test_both_ends_of_each_range_are_accepted_and_nothing_beyond(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(dataclasses.replace(Config(), **{name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=f"{name} must be {low} to {high}.*, not {value}"):
            dataclasses.replace(Config(), **{name: value})


@pytest.mark.parametrize("name", ["rows", "cols"])
def test_arrays_have_2_to_128_rows_and_columns(name: str) -> None:
    for value in (2, 128):
        assert getattr(dataclasses.replace(Config(), lanes=1, **{name: value}), name) == value
    for value in (1, 129):
        with pytest.raises(ConfigError, match=f"{name} must be 2 to 128, not {value}"):
            dataclasses.replace(Config(), lanes=1, **{name: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = 0x" + "f" * 5000, "rows must be 2 to 128, not a number of 20000 bits"),
        ("scratchpad_bytes = 0x" + "f" * 5000, "scratchpad_bytes of a number of 20000 bits holds a number of"),
        ("rows = " + "9" * 5000, "is not a TOML file: Exceeds the limit"),
        ("a = " + "[" * 8000, "is not a TOML file: maximum recursion depth"),
        ("a." * 4000 + "a = 1", "unknown key 'a'"),
        ("rows = nan", "rows must be int, not nan"),
        ("rows = [[4]]", r"rows must be int, not \[\[4\]\]"),
        ("softmax = 1", "softmax must be bool, not 1"),
        (" " * 8193, "is too large: 8,193 bytes; at most 8,192 are read"),
        ("rows = \x00", "is not a TOML file"),
    ],
)
def test_hostile_toml(tmp_path, text, message):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises((ConfigError, OSError), match=rf"config\.toml.*{message}"):
        Config.from_toml(path)


def test_toml_that_is_no_text(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"rows = 4 # \xff")
    with pytest.raises(OSError, match=r"config\.toml is no UTF-8 text: byte 11 is 0xff"):
        Config.from_toml(path)
