"""Files that others wrote, read within bounds, and files of our own that appear whole or not at all."""

import hashlib
import json
import os
import reprlib
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class FileError(OSError):
    """A file that cannot be read or written, or is not what it should be; the sentence begins with its path."""


def shown(value: object) -> str:
    """``repr`` of a value that somebody else wrote: one line, printable, some 40 characters, however large it is."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    return reprlib.repr(value)


@contextmanager
def open_regular(path: str | Path, limit: int) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file of at most ``limit`` bytes, open for reading, and its size.

    A pipe or a device is refused without waiting for what it may never say.

    Raises
    ------
    FileError
        If it cannot be read, is no regular file or is larger.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FileError(f"cannot read {path}: it is no regular file")
            if status.st_size > limit:
                raise FileError(f"{path} is too large: {status.st_size:,} bytes; at most {limit:,} are read")
            yield file, status.st_size
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {path}: {_reason(error)}") from error


def read_bytes(path: str | Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; ``FileError`` as :func:`open_regular`."""
    with open_regular(path, limit) as (file, size):
        return file.read(size)


def read_text(path: str | Path, limit: int) -> str:
    """The content of a UTF-8 file of at most ``limit`` bytes; ``FileError`` as :func:`read_bytes`, or if it is not."""
    try:
        return read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is no UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from error


def read_json(path: str | Path, limit: int) -> dict[str, Any]:
    """The object that a JSON file of at most ``limit`` bytes holds; ``FileError`` as :func:`read_text`, or if none."""
    text = read_text(path, limit)
    try:
        return parse_object(text)
    except ValueError as error:
        raise FileError(f"{path} holds no JSON object: {brief(error)}") from error


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The object of a JSON text; ``ValueError`` if it is none, however it fails to be."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"it is {shown(value)}")
    return value


def digest(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def check_writable(path: str | Path | None) -> None:
    """Refuse an output path now rather than after minutes of work; ``FileError`` says why."""
    if path is None:
        return
    target = Path(path)
    folder = Path(os.path.realpath(target)).parent
    if target.is_dir():
        raise FileError(f"cannot write {path}: it is a directory")
    if not folder.is_dir():
        raise FileError(f"cannot write {path}: there is no directory {folder}")
    if os.path.lexists(os.path.realpath(target)) and not target.is_file():
        raise FileError(f"cannot write {path}: it is no regular file")
    if not os.access(target if target.exists() else folder, os.W_OK):
        raise FileError(f"cannot write {path}: permission denied")


def check_outputs(
    outputs: Mapping[str, str | Path | None], inputs: Mapping[str, str | Path | None] | None = None
) -> None:
    """Refuse output paths, each by the option that names it, that would replace one another or what a command reads.

    Raises
    ------
    FileError
        As :func:`check_writable`, or if two outputs, or an output and one of ``inputs``, are the same file.
    """
    read = {os.path.realpath(path): option for option, path in (inputs or {}).items() if path is not None}
    written: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        check_writable(path)
        place = os.path.realpath(path)
        if place in read:
            raise FileError(f"cannot write {path}: {read[place]} reads it")
        if place in written:
            raise FileError(f"cannot write {path}: both {written[place]} and {option} name it")
        written[place] = option


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8, so that it appears whole or not at all; a link stays one.

    Raises
    ------
    FileError
        If it cannot be written; what was there before still is.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with _appearing(path) as file:
        file.write(data)


def write_lines(path: str | Path, lines: Iterable[str]) -> int:
    """Write lines (without their ends) as they come, otherwise as :func:`write_whole`; their number.

    Raises
    ------
    FileError
        As :func:`write_whole`. What ``lines`` raises leaves what was there before too.
    """
    count = 0
    with _appearing(path) as file:
        for line in lines:
            file.write(f"{line}\n".encode())
            count += 1
    return count


@contextmanager
def _appearing(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of ``path`` when the block ends, and is gone if it raises."""
    check_writable(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(8)}.partial")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    except OSError as error:
        raise FileError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def brief(error: BaseException) -> str:
    """What a library says of somebody else's file: one printable line of at most 160 characters."""
    said = " ".join((str(error) or type(error).__name__).split())[:160]
    return "".join(c if c.isprintable() else "?" for c in said)


def error_sentence(error: Exception) -> str:
    """What to tell a user: the message on one line, an error of the system without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {_reason(error)}" if error.filename else _reason(error)
    return str(error)


def _reason(error: Exception) -> str:
    """What the system says, without the path."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said[:1].lower() + said[1:]
