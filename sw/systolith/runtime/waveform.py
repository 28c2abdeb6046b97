"""A waveform lies beside its place until it is whole and shows something: what was there before is worth more."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from systolith.files import FileError, check_writable, error_sentence

#: The end of a VCD's header; of one without a cycle it is the end of the file but for empty lines.
_VCD_HEADER_END = b"$enddefinitions $end"
#: How an FST begins, and where its header counts the blocks of value changes (64 bits, big endian).
_FST_HEADER = b"\0"
_FST_BLOCKS = slice(65, 73)


@contextmanager
def pending_waveform(target: Path | None) -> Iterator[Path | None]:
    """A path beside ``target`` for the simulator to write to; without a target, None.

    It is in a directory of its own, which is removed with all that is still in it when the block is left: the writer
    of FST has a second file beside its first.

    Raises
    ------
    FileError
        If nothing can be written there.
    """
    if target is None:
        yield None
        return
    check_writable(target)
    place = Path(os.path.realpath(target))
    try:
        directory = tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{place.name}.", suffix=".partial")
    except OSError as error:
        raise FileError(f"cannot write {target}: {error_sentence(error)}") from error
    with directory:
        yield Path(directory.name) / place.name


def take_place(written: Path, target: Path) -> Path:
    """Move a pending waveform to ``target``, which is returned; a link stays one.

    Raises
    ------
    FileError
        If it cannot be; what was there before still is.
    """
    try:
        written.replace(os.path.realpath(target))
    except OSError as error:
        raise FileError(f"cannot write {target}: {error_sentence(error)}") from error
    return target


def shows_a_cycle(path: Path) -> bool:
    """Whether a waveform, VCD or FST, exists and has more than its header."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        head = file.read(_FST_BLOCKS.stop)
        if head.startswith(_FST_HEADER):
            return any(head[_FST_BLOCKS])
        file.seek(max(0, path.stat().st_size - 2 * len(_VCD_HEADER_END)))
        return not file.read().rstrip().endswith(_VCD_HEADER_END)
