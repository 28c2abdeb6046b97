"""The cache of what takes long to make: simulators, Verilog, netlists and placements.

An entry is a directory or a file, made under another name and renamed into place, so that an interruption leaves
nothing that looks like a finished one. What nobody used for a month goes when something new is made.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

#: Entries of the cache, whole or interrupted, and how long one is kept unused, in seconds.
_ENTRY = re.compile(r".+-[0-9a-f]{16}|[0-9a-f]{64}\.json|partial-.+")
_KEPT = 30 * 24 * 3600


def cache_directory() -> Path:
    """``$SYSTOLITH_CACHE``, else ``systolith`` in the user's cache directory."""
    if chosen := os.environ.get("SYSTOLITH_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "systolith"


@contextlib.contextmanager
def locked(cache: Path, name: str) -> Iterator[None]:
    """Another process that wants the same entry waits for this one instead of making it again."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{name}.lock"
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Who held it has removed it, and somebody else may have made a new one.
            if os.fstat(lock.fileno()).st_nlink == 0:
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def touch(entry: Path) -> None:
    """Note that an entry is used."""
    with contextlib.suppress(OSError):
        os.utime(entry)


@contextlib.contextmanager
def new_entry(cache: Path, name: str) -> Iterator[Path | None]:
    """A directory to fill, which becomes ``cache/name`` when all went well; None if that exists already.

    :func:`locked` meanwhile.
    """
    if (cache / name).exists():
        touch(cache / name)
        yield None
        return
    with locked(cache, name):
        if (cache / name).exists():
            yield None
            return
        work = Path(tempfile.mkdtemp(prefix="partial-", dir=cache))
        try:
            yield work
            work.rename(cache / name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        prune(cache)


def prune(cache: Path) -> None:
    """Remove entries that nothing used for :data:`_KEPT`, each whole: whoever wants one again makes it again."""
    for entry in cache.iterdir():
        with contextlib.suppress(OSError):
            if _ENTRY.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > _KEPT:
                gone = entry.rename(cache / f"partial-{entry.name}")
                if gone.is_dir():
                    shutil.rmtree(gone)
                else:
                    gone.unlink()
