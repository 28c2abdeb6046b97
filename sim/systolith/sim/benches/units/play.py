"""Whole arrays in, whole arrays out: a block driven with a row of inputs for each cycle, as fast as it simulates."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.lib.data import Layout
from cocotb.triggers import RisingEdge

from systolith.sim.block import PORTS_VARIABLE, RESPONSE, STIMULUS, row_bits

Array = npt.NDArray[Any]
#: Cycles that are packed at once.
_CHUNK = 1 << 15


def bits(values: npt.ArrayLike, width: int) -> npt.NDArray[np.uint8]:
    """The lower ``width`` (up to 64) bits of integers: shape (...) to (..., width), least significant first."""
    words = np.ascontiguousarray(np.asarray(values).astype(np.int64, copy=False))
    octets = words.view(np.uint8).reshape(*words.shape, 8)
    return np.unpackbits(octets, axis=-1, count=width, bitorder="little")


def struct(layout: Layout, cycles: int, values: Mapping[str, Any]) -> "Bits":
    """One word of ``layout`` for each cycle; fields left out are 0, nested ones are mappings."""
    word = np.zeros((cycles, Layout.cast(layout).size), np.uint8)
    for name, value in values.items():
        field = layout[name]
        if isinstance(value, Mapping):
            word[:, field.offset : field.offset + field.width] = struct(field.shape, cycles, value).word
        else:
            word[:, field.offset : field.offset + field.width] = bits(value, field.width)
    return Bits(word)


class Bits:
    """Bits of a port as they are: uint8 of shape (cycles, width)."""

    def __init__(self, word: npt.NDArray[np.uint8]) -> None:
        self.word = word


class Response:
    """What the block's outputs were: ``response.read("sums", 18)`` is int64 of shape (cycles, elements)."""

    def __init__(self, rows: npt.NDArray[np.uint8], places: dict[str, tuple[int, int]]) -> None:
        self._rows = rows
        self._places = places

    def read(self, port: str, width: int | None = None, *, signed: bool = False) -> npt.NDArray[np.int64]:
        """The elements, ``width`` bits each, of a port: (cycles, elements); without ``width`` it is one: (cycles,)."""
        first, size = self._places[port]
        each = width or size
        octets = self._rows[:, first // 8 : -(-(first + size) // 8)]
        parts = []
        for start in range(0, len(octets), _CHUNK):
            chunk = np.unpackbits(octets[start : start + _CHUNK], axis=1, bitorder="little")
            chunk = chunk[:, first % 8 : first % 8 + size].reshape(len(chunk), size // each, each)
            wide = np.zeros((*chunk.shape[:2], 64), np.uint8)
            wide[..., :each] = chunk
            if signed:
                wide[..., each:] = chunk[..., -1:]
            parts.append(np.packbits(wide, axis=-1, bitorder="little").view(np.int64)[..., 0])
        values = np.concatenate(parts)
        return values if width else values[:, 0]


async def play(dut: Any, cycles: int, inputs: Mapping[str, Any]) -> Response:
    """Drive every input port for ``cycles`` cycles and record the outputs of each of them.

    ``inputs`` holds, by port, an integer, integers of shape (cycles,) or (cycles, elements), or :class:`Bits`;
    ports left out are 0.
    """
    ports = json.loads(Path(os.environ[PORTS_VARIABLE]).read_text())
    widths = {name: width for name, width, output in ports if not output}
    unknown = inputs.keys() - widths.keys()
    if unknown:
        raise ValueError(f"the block has no inputs {sorted(unknown)}")
    size = row_bits(sum(widths.values()), 8)
    with Path(STIMULUS).open("wb") as file:
        for start in range(0, cycles, _CHUNK):
            count = min(_CHUNK, cycles - start)
            word = np.zeros((count, size), np.uint8)
            first = 0
            for name, width in widths.items():
                word[:, first : first + width] = _port(inputs.get(name, 0), start, count, width)
                first += width
            file.write(np.packbits(word, axis=1, bitorder="little")[:, ::-1].tobytes())
    dut.play.value = 1
    await RisingEdge(dut.done)
    dut.play.value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    places, first = {}, 0
    for name, width, output in ports:
        if output:
            places[name] = (first, width)
            first += width
    rows = np.fromfile(RESPONSE, np.uint8).reshape(-1, row_bits(first, 32) // 8)
    if len(rows) != cycles:
        raise ValueError(f"{len(rows)} of {cycles} cycles were played")
    return Response(rows, places)


def _port(value: Any, start: int, count: int, width: int) -> Array:
    """The bits of a port in some cycles."""
    if isinstance(value, Bits):
        return value.word[start : start + count]
    values = np.asarray(value)
    if values.ndim == 0:
        return np.broadcast_to(bits(values[None], width), (count, width))
    values = values[start : start + count]
    elements = values.shape[1] if values.ndim == 2 else 1
    return bits(values, width // elements).reshape(count, width)
