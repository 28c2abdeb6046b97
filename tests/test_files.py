"""Files read within bounds and written whole: each refusal in one sentence that names the file."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from systolith.files import (
    FileError,
    check_outputs,
    check_writable,
    error_sentence,
    read_bytes,
    read_json,
    read_text,
    shown,
    write_lines,
    write_whole,
)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, reason in (
        ("pipe", "it is no regular file"),
        (".", "is a directory"),
        ("loop", "too many levels of symbolic links"),
        ("nothing", "no such file or directory"),
        ("x" * 300, "file name too long"),
    ):
        with pytest.raises(FileError, match=f"cannot read .*: {reason}$"):
            read_bytes(tmp_path / name, 100)
    with pytest.raises(FileError, match="cannot read /dev/zero: it is no regular file"):
        read_bytes("/dev/zero", 100)


def test_a_file_of_terabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(FileError, match="sparse is too large: 4,398,046,511,104 bytes; at most 100 are read"):
        read_bytes(tmp_path / "sparse", 100)


def test_text_and_json(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(FileError, match=r"file\.json is no UTF-8 text: byte 7 is 0xff"):
        read_text(path, 100)
    for text, reason in (("[" * 9999, "it is nested too deeply"), ("3", "it is 3"), ("", "Expecting value")):
        path.write_text(text)
        with pytest.raises(FileError, match=f"file.json holds no JSON object: {reason}"):
            read_json(path, 9999)
    path.write_text('{"a": "ü"}', encoding="utf-8")
    assert read_json(path, 100) == {"a": "ü"}


def test_any_value_is_shown_in_short() -> None:
    assert shown(1 << 20000) == "a number of 20001 bits"
    assert shown("\x1b[2J\n") == r"'\x1b[2J\n'"
    assert len(shown("x" * 10**6)) < 50
    assert len(shown([[["x" * 99] * 99] * 99] * 99)) < 9999
    assert error_sentence(FileNotFoundError(2, "No such file", "a.txt")) == "a.txt: no such file"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.json"
    write_whole(path, "one")
    (tmp_path / "link").symlink_to(path)
    write_whole(tmp_path / "link", b"two")
    assert (tmp_path / "link").is_symlink()
    assert path.read_text() == "two"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FileError, match=r"cannot write .*out\.json: no space left on device"):
        write_whole(path, "three")
    assert path.read_text() == "two"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "out.json"]


def test_lines_are_written_as_they_come_and_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    line = "ü" * (1 << 20)
    sizes = []

    def lines(last: Exception | None) -> Iterator[str]:
        for _ in range(3):
            sizes.append(max((file.stat().st_size for file in tmp_path.glob("*.partial")), default=0))
            yield line
        if last is not None:
            raise last

    assert write_lines(path, lines(None)) == 3
    assert sizes == [0, 2**21 + 1, 2 * (2**21 + 1)]
    assert path.read_text() == 3 * f"{line}\n"
    with pytest.raises(ValueError, match="no more"):
        write_lines(path, lines(ValueError("no more")))
    with pytest.raises(FileError, match="cannot write /dev/null: it is no regular file"):
        write_lines("/dev/null", ["text"])
    assert path.stat().st_size == 3 * (2**21 + 1)
    assert list(tmp_path.iterdir()) == [path]
    assert write_lines(path, []) == path.stat().st_size == 0


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    check_writable(None)
    check_writable(tmp_path / "new")
    for name, reason in (
        (".", "it is a directory"),
        ("no/where", "there is no directory"),
        ("pipe", "it is no regular file"),
        ("loop", "it is no regular file"),
    ):
        with pytest.raises(FileError, match=f"cannot write .*: {reason}"):
            check_writable(tmp_path / name)
    with pytest.raises(FileError, match="cannot write /dev/null: it is no regular file"):
        write_whole("/dev/null", "text")


def test_writers_of_one_path_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with ThreadPoolExecutor(8) as pool:
        for written in [pool.submit(write_whole, path, f"{number}") for number in range(200)]:
            written.result()
    assert path.read_text().isdigit()
    assert list(tmp_path.iterdir()) == [path]


def test_no_output_replaces_another_or_what_is_read(tmp_path: Path) -> None:
    here, there, link = tmp_path / "here", tmp_path / "there", tmp_path / "link"
    link.symlink_to(here)
    check_outputs({"--json": here, "--trace": None, "--vcd": None}, {"--config": None, "--program": there})
    check_outputs({"--json": here, "--trace": there}, {"--config": tmp_path / "nowhere"})
    with pytest.raises(FileError, match=r"^cannot write \S+link: both --json and --trace name it$"):
        check_outputs({"--json": here, "--trace": link})
    with pytest.raises(FileError, match=r"^cannot write \S+here: --config reads it$"):
        check_outputs({"--json": here}, {"--config": link})
    with pytest.raises(FileError, match="no directory"):
        check_outputs({"--json": tmp_path / "no" / "where"})
