"""Peers of a block's streams and row ports, one coroutine each, with random stalls."""

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import numpy as np
from cocotb.triggers import RisingEdge

from systolith.rtl.interfaces import READ_LATENCY, Regions
from systolith.sim.benches.common import configuration


class Stalls:
    """Random bits, drawn in advance: whether a peer is willing in a cycle, with probability ``eagerness``."""

    def __init__(self, rng: np.random.Generator, eagerness: float) -> None:
        self._bits = (rng.random(4093) < eagerness).tolist()
        self._next = int(rng.integers(4093))

    def willing(self) -> bool:
        self._next = (self._next + 1) % len(self._bits)
        return bool(self._bits[self._next])


async def give(dut: Any, stream: str, words: Iterable[int], stalls: Stalls) -> None:
    """Offer ``words`` on an input stream; each stays until taken."""
    valid, ready, payload = (getattr(dut, f"{stream}__{name}") for name in ("valid", "ready", "payload"))
    for word in words:
        while not stalls.willing():
            await RisingEdge(dut.clk)
        payload.value = word
        valid.value = 1
        await RisingEdge(dut.clk)
        while not ready.value:
            await RisingEdge(dut.clk)
        valid.value = 0


async def take(dut: Any, stream: str, taken: Callable[[int], None], stalls: Stalls) -> None:
    """Take words from an output stream for ever."""
    valid, ready, payload = (getattr(dut, f"{stream}__{name}") for name in ("valid", "ready", "payload"))
    offered = False
    while True:
        ready.value = offered = stalls.willing()
        await RisingEdge(dut.clk)
        if offered and valid.value:
            taken(int(payload.value))


async def serve_reads(dut: Any, port: str, memory: np.ndarray, stalls: Stalls) -> None:
    """The far end of a read port: rows of ``memory`` (rows, elements), ``READ_LATENCY`` cycles after each transfer.

    Each is there for one cycle, as from the memories' banks; in all others the data are random.
    """
    valid, ready, payload = (getattr(dut, f"{port}__request__{name}") for name in ("valid", "ready", "payload"))
    answer, data = getattr(dut, f"{port}__valid"), getattr(dut, f"{port}__data")
    arriving: deque[int | None] = deque([None] * (READ_LATENCY - 1))
    noise, bits = Random(port), len(data)
    answer.value = 0
    while True:
        offered = stalls.willing()
        ready.value = offered
        await RisingEdge(dut.clk)
        moved = offered and valid.value
        arriving.append(_word(memory[int(payload.value)]) if moved else None)
        word = arriving.popleft()
        answer.value = word is not None
        data.value = noise.getrandbits(bits) if word is None else word


async def serve_writes(dut: Any, port: str, memory: np.ndarray, stalls: Stalls) -> None:
    """The far end of a write port: masked elements of rows of ``memory`` (rows, elements)."""
    valid, ready, payload = (getattr(dut, f"{port}__request__{name}") for name in ("valid", "ready", "payload"))
    elements, size = memory.shape[1], memory.itemsize
    data_bits = 8 * size * elements
    address_bits = len(payload) - data_bits - elements
    while True:
        offered = stalls.willing()
        ready.value = offered
        await RisingEdge(dut.clk)
        if offered and valid.value:
            word = int(payload.value)
            address = word & ((1 << address_bits) - 1)
            mask = word >> address_bits & ((1 << elements) - 1)
            row = np.frombuffer((word >> address_bits + elements).to_bytes(size * elements, "little"), memory.dtype)
            for element in range(elements):
                if mask >> element & 1:
                    memory[address, element] = row[element]


def _word(row: np.ndarray) -> int:
    """A row as the port carries it, its first element at the least significant end."""
    return int.from_bytes(row.tobytes(), "little")


async def small_memory(dut: Any, address: str, data: str, words: list[int]) -> None:
    """A read port that is never busy: the word of the ``address`` of the cycle before."""
    asked, answer = getattr(dut, address), getattr(dut, data)
    while True:
        await RisingEdge(dut.clk)
        answer.value = words[int(asked.value) % len(words)]


class Reports:
    """What a unit's control says: retirements in ``retired``, the codes of its faults."""

    def __init__(self, dut: Any) -> None:
        self.retired = 0
        self.faults: list[int] = []
        self._dut = dut

    async def watch(self) -> None:
        dut = self._dut
        while True:
            await RisingEdge(dut.clk)
            if dut.control__retired.value:
                self.retired += 1
            if fault := int(dut.control__fault.value):
                self.faults.append(fault)

    async def wait(self, count: int, cycles: int) -> None:
        """Until ``count`` instructions have retired, ``cycles`` at most."""
        for _ in range(cycles):
            if self.retired >= count or self.faults:
                return
            await RisingEdge(self._dut.clk)
        raise AssertionError(f"{self.retired} of {count} instructions retired within {cycles} cycles")


def region_word(regions: list[tuple[int, int]]) -> int:
    """The word of a ``Regions`` port: base and size in bytes of each region."""
    layout = Regions(configuration()).members["region"].shape
    values = [{"base": base, "size": size} for base, size in regions]
    return int(layout.const(values + [{}] * (Regions.COUNT - len(values))).as_bits())
