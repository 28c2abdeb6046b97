"""The cache: where it is, that entries are whole, and that unused ones go."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from systolith.sim.cache import cache_directory, locked, new_entry

DAY = 24 * 3600


def make(cache: Path, name: str, trouble: OSError | None = None) -> bool:
    """Whether the entry had to be made; ``trouble`` comes while it is."""
    with new_entry(cache, name) as work:
        if work is not None:
            (work / "file").write_text(name)
            if trouble:
                raise trouble
    return work is not None


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("SYSTOLITH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "systolith"


def test_an_entry_is_made_once_and_whole(tmp_path: Path) -> None:
    name = "verilog-0123456789abcdef"
    with pytest.raises(OSError, match="full"):
        make(tmp_path, name, OSError("disk full"))
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert make(tmp_path, name)
    assert not make(tmp_path, name)
    assert (tmp_path / name / "file").read_text() == name


def test_one_at_a_time_holds_a_lock_which_leaves_nothing(tmp_path: Path) -> None:
    def enter(_: int) -> None:
        with locked(tmp_path, "entry"):
            inside = tmp_path / "inside"
            inside.touch(exist_ok=False)
            inside.unlink()

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(enter, range(400)))) == 400
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_used_for_a_month_goes(tmp_path: Path) -> None:
    old, used, young = (f"4x4-{digit * 16}" for digit in "abc")
    for name in (old, used, young):
        make(tmp_path, name)
    for name in ("survey", "partial-killed"):
        (tmp_path / name).mkdir()
        age(tmp_path / name, 40)
    for name, days in ((old, 31), (used, 31), (young, 29)):
        age(tmp_path / name, days)
    assert not make(tmp_path, used)
    make(tmp_path, "4x4-dddddddddddddddd")
    kept = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert kept == {"survey", used, young, "4x4-dddddddddddddddd"}
    assert make(tmp_path, old)
