"""Archives that lie about sizes, types and compression are refused before anything is allocated."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from systolith.arrays import ArchiveError, read_arrays
from systolith.files import FileError


def entry(header: str, data: bytes = b"") -> bytes:
    """A ``.npy`` file of this header."""
    text = header.encode().ljust(118 - 1) + b"\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data


def archive(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a.npy", content)
    return path


def test_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.int32).reshape(2, 3), "b": np.asfortranarray(np.ones((2, 3), np.float32))}
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    for found in (read_arrays(tmp_path / "plain.npz", 4096), read_arrays(tmp_path / "small.npz", 4096, inflated=600)):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    with pytest.raises(FileError, match=r"is too large: .* bytes; at most 100 are read"):
        read_arrays(tmp_path / "plain.npz", 100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (entry("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}"), "does not fit 0 bytes"),
        (entry("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), "does not fit 0 bytes"),
        (entry("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", bytes(7)), "does not fit 7 bytes"),
        (entry("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8)), "is no plain number"),
        (entry("{'descr': '<f4', 'shape': (2,)}", bytes(8)), "array 'a': Header does not contain"),
        (entry("(" * 110), "array 'a'"),
        (b"\x93NUMPY\3\0", "npy version 3.0 is not 1.0"),
        (b"", "array 'a'"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=message) as refused:
        read_arrays(archive(tmp_path / "a.npz", content), 1 << 20)
    assert str(refused.value).startswith(f"{tmp_path}/a.npz is truncated or no archive of arrays: ")


def test_bombs(tmp_path: Path) -> None:
    zeros = entry("{'descr': '|u1', 'fortran_order': False, 'shape': (16777216,)}", bytes(1 << 24))
    bomb = archive(tmp_path / "bomb.npz", zeros, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 15
    with pytest.raises(ArchiveError, match=r"'a\.npy' is compressed \(method 8\)"):
        read_arrays(bomb, 1 << 20)
    with pytest.raises(ArchiveError, match="16,777,344 bytes of compressed arrays; at most 1,048,576 are read"):
        read_arrays(bomb, 1 << 20, inflated=1 << 20)
    with pytest.raises(ArchiveError, match=r"'a\.npy' is compressed \(method 12\)"):
        read_arrays(archive(bomb, zeros, zipfile.ZIP_BZIP2), 1 << 20, inflated=1 << 30)


def test_a_directory_too_long(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for index in range(1025):
            file.writestr(f"{index}.npy", b"")
    (tmp_path / "many.npz").write_bytes(packed.getvalue())
    with pytest.raises(ArchiveError, match=r"it claims 1025 entries in .* bytes; at most 1024 are read"):
        read_arrays(tmp_path / "many.npz", 1 << 20)
