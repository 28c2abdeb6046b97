"""Ways to spoil a file: truncated, bits flipped, other numbers, other types, claims of terabytes."""

import io
import random
import re
import zipfile
from collections.abc import Callable

#: What a length, a shape, an index or a name in a file may be replaced with, as text.
_TEXTS = (
    b"-1", b"0", b"1", b"3", b"7", b"255", b"65536", b"4294967296", b"1099511627776", b"9" * 30, b"9" * 5000,
    b"0x" + b"f" * 5000, b"1e400", b"-1e400", b"NaN", b"Infinity", b"true", b"null", b'""', b'"x"', b"[]", b"{}",
    b"[" * 2000, b'{"a":' * 2000, b"[" * 3000 + b"]" * 3000, b"\xff\xfe", b"\0", b'"\\u0000"', b'"\\ud800"',
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_WORD = re.compile(rb'"[^"]{0,40}"')


def _truncate(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _flip_early(content: bytes, draw: random.Random) -> bytes:
    """Where headers are."""
    changed = bytearray(content)
    changed[draw.randrange(min(len(changed), 512))] = draw.randrange(256)
    return bytes(changed)


def _fill(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    length = draw.choice((1, 4, 8, 64))
    return content[:start] + bytes([draw.choice((0, 0xFF, 0x7F, 0x80))]) * length + content[start + length :]


def _remove(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.choice((1, 3, 100)) :]


def _repeat(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    piece = content[start : start + draw.choice((1, 16, 200))]
    return content[:start] + piece * draw.choice((2, 50)) + content[start:]


def _replace(pattern: re.Pattern[bytes]) -> Callable[[bytes, random.Random], bytes]:
    def replace(content: bytes, draw: random.Random) -> bytes:
        """Another text in the place of one that the pattern matches; the file's length changes."""
        places = list(pattern.finditer(content))
        if not places:
            return _flip(content, draw)
        place = draw.choice(places)
        return content[: place.start()] + draw.choice(_TEXTS) + content[place.end() :]

    return replace


def _digits(content: bytes, draw: random.Random) -> bytes:
    """Another number of as many digits: shapes, offsets and sizes that lie in an otherwise whole file."""
    places = list(_NUMBER.finditer(content))
    if not places:
        return _flip(content, draw)
    place = draw.choice(places)
    number = "".join(draw.choice("0123456789") for _ in range(place.end() - place.start()))
    return content[: place.start()] + number.encode() + content[place.end() :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _truncate, _flip, _flip_early, _fill, _remove, _repeat, _replace(_NUMBER), _replace(_WORD), _digits,
)  # fmt: skip


def mutate(content: bytes, draw: random.Random) -> bytes:
    """``content`` spoiled in one way, or in up to three; of an archive often one entry, the archive itself whole."""
    if content[:2] == b"PK" and draw.random() < 0.75:
        return _mutate_entry(content, draw)
    return _mutate_bytes(content, draw)


def _mutate_entry(content: bytes, draw: random.Random) -> bytes:
    """Checksums and lengths fit, so that what reads the entry meets what is wrong with it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(packed, "w") as spoiled:
        chosen = draw.choice(archive.infolist())
        for entry in archive.infolist():
            inside = archive.read(entry)
            kind = draw.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED)) if draw.random() < 0.02 else None
            spoiled.writestr(
                entry.filename,
                _mutate_bytes(inside, draw) if entry is chosen else inside,
                entry.compress_type if kind is None else kind,
            )
    return packed.getvalue()


def _mutate_bytes(content: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        if content:
            content = draw.choice(MUTATIONS)(content, draw)
    return content
