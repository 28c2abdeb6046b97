"""numpy archives (``.npz``) read within bounds: what a header claims is checked before anything is allocated."""

import io
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from systolith.files import FileError, brief, open_regular, shown


class ArchiveError(FileError):
    """A file that is truncated, corrupted or no archive of plain numbers; ``reason`` says it without the path."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path} is truncated or no archive of arrays: {reason}")
        self.reason = reason


#: Most arrays in an archive.
_ENTRIES = 1024
#: Most bytes of the directory at the end of an archive.
_DIRECTORY_BYTES = 256 * _ENTRIES
#: The record that ends an archive: signature, disks, entries, size and place of the directory, length of a comment.
_END = struct.Struct("<4s4H2LH")
#: Kinds of numpy type that hold plain numbers.
_KINDS = "biuf"
#: What reading an archive raises if it is none.
_UNREADABLE = (
    ValueError, KeyError, EOFError, SyntaxError, OverflowError, RecursionError, MemoryError, NotImplementedError,
    RuntimeError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error, OSError,
)  # fmt: skip


def read_arrays(path: str | Path, limit: int, *, inflated: int = 0) -> dict[str, npt.NDArray[Any]]:
    """The arrays, read-only and by name, of an archive of at most ``limit`` bytes.

    ``inflated`` is the most bytes that compressed arrays may take together; by default none may be compressed, so
    that an archive needs no more memory than its size.

    Raises
    ------
    FileError
        If the file cannot be read; :class:`ArchiveError` if it is none.
    """
    with open_regular(path, limit) as (file, size):
        try:
            _check_directory(file, size)
            with zipfile.ZipFile(file) as archive:
                return _arrays(archive, size, inflated)
        except _UNREADABLE as error:
            raise ArchiveError(path, brief(error)) from error


def _check_directory(file: BinaryIO, size: int) -> None:
    """The archive's directory is short enough to be parsed."""
    file.seek(max(0, size - _END.size))
    tail = file.read(_END.size)
    if len(tail) < _END.size or tail[:4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        raise ValueError("it does not end as an archive does")
    _, _, _, _, entries, length, _, _ = _END.unpack(tail)
    if entries > _ENTRIES or length > _DIRECTORY_BYTES:
        raise ValueError(f"it claims {entries} entries in {length} bytes; at most {_ENTRIES} are read")
    file.seek(max(0, size - _END.size - 20))
    if file.read(4) == b"PK\6\7":
        raise ValueError("it is of the kind beyond 4 GiB")


def _arrays(archive: zipfile.ZipFile, size: int, inflated: int) -> dict[str, npt.NDArray[Any]]:
    stored = compressed = 0
    for entry in archive.infolist():
        if entry.compress_type == zipfile.ZIP_STORED:
            stored += entry.file_size
        elif entry.compress_type == zipfile.ZIP_DEFLATED and inflated:
            compressed += entry.file_size
        else:
            raise ValueError(f"{shown(entry.filename)} is compressed (method {entry.compress_type})")
    if stored > size:
        raise ValueError(f"it claims {stored:,} bytes of arrays in a file of {size:,}")
    if compressed > inflated:
        raise ValueError(f"it claims {compressed:,} bytes of compressed arrays; at most {inflated:,} are read")
    found = {}
    for entry in archive.infolist():
        with archive.open(entry) as member:
            # With a size, the decompressor stops there; without, it inflates whatever there is.
            content = member.read(entry.file_size + 1) if entry.file_size else b""
        name = entry.filename.removesuffix(".npy")
        try:
            found[name] = _array(content)
        except _UNREADABLE as error:
            raise ValueError(f"array {shown(name)}: {brief(error)}") from error
    return found


def _array(content: bytes) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file, of exactly the bytes that its header claims."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"npy version {version[0]}.{version[1]} is not 1.0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in _KINDS or dtype.subdtype is not None:
        raise ValueError(f"type {dtype.str} is no plain number")
    start = stream.tell()
    claimed = math.prod(shape) * dtype.itemsize
    if any(n < 0 for n in shape) or claimed != len(content) - start:
        raise ValueError(f"shape {shape} of {dtype.itemsize}-byte numbers does not fit {len(content) - start} bytes")
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
