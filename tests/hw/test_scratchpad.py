# amaranth: UnusedElaboratable=no
"""The scratchpad under random traffic on all six ports, and its banks."""

import dataclasses
from collections import deque
from typing import Any

import numpy as np
import pytest
from amaranth.lib.wiring import Signature
from amaranth.sim import Simulator

from systolith.rtl.banks import BankedMemory
from systolith.rtl.config import Config
from systolith.rtl.interfaces import RowWrite, ScratchpadRead
from systolith.rtl.scratchpad import Scratchpad

SQUARE = Config(
    rows=4, cols=4, lanes=4, scratchpad_bytes=256, accumulator_bytes=1024, parameter_bytes=256, statistics_rows=16
)
CONFIGS = {
    "4x4": SQUARE,
    "6x4": dataclasses.replace(SQUARE, rows=6, lanes=2, scratchpad_bytes=400, scratchpad_banks=2),
    "2x3 in one bank": dataclasses.replace(SQUARE, rows=2, cols=3, lanes=1, scratchpad_bytes=96, scratchpad_banks=1),
    "one row a bank": dataclasses.replace(SQUARE, rows=2, cols=4, lanes=2, scratchpad_bytes=64, scratchpad_banks=16),
}


def run(dut: Any, testbench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()


def granted(requests: list[int | None], banks: int, *, give_way: bool = False) -> list[bool]:
    """Which of the addresses, highest priority first, are served in this cycle; None asks for nothing.

    With ``give_way`` the second one has priority over the first.
    """
    taken: set[int] = set()
    grants = [False] * len(requests)
    for i in (1, 0, *range(2, len(requests))) if give_way else range(len(requests)):
        address = requests[i]
        grants[i] = address is not None and address % banks not in taken
        if grants[i]:
            taken.add(address % banks)
    return grants


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_random_traffic(config):
    rng = np.random.default_rng(config.row_bytes)
    rows, width, banks = config.scratchpad_rows, config.row_bytes, config.scratchpad_banks
    dut = Scratchpad(config)
    readers = [getattr(dut, name) for name in dut.READERS]
    writers = [getattr(dut, name) for name in dut.WRITERS]
    memory = np.zeros((rows, width), dtype=np.uint8)

    async def testbench(ctx):
        reads: list[int | None] = [None] * len(readers)
        writes: list[tuple[int, np.ndarray, np.ndarray] | None] = [None] * len(writers)
        due = [deque([None] * dut.latency) for _ in readers]
        transfers = 0
        for cycle in range(600):
            eagerness = 0.9 if cycle < 400 else 0.4
            for i, port in enumerate(readers):
                if reads[i] is None and rng.random() < eagerness:
                    reads[i] = int(rng.integers(rows))
                    ctx.set(port.request.payload, reads[i])
                ctx.set(port.request.valid, reads[i] is not None)
            for i, port in enumerate(writers):
                if writes[i] is None and rng.random() < eagerness:
                    address, mask = int(rng.integers(rows)), rng.integers(0, 2, width).astype(bool)
                    writes[i] = (address, mask, rng.integers(0, 256, width, dtype=np.uint8))
                    ctx.set(port.request.payload.address, address)
                    ctx.set(port.request.payload.mask, int.from_bytes(np.packbits(mask, bitorder="little"), "little"))
                    ctx.set(port.request.payload.data.as_value(), int.from_bytes(writes[i][2].tobytes(), "little"))
                ctx.set(port.request.valid, writes[i] is not None)

            for port, queue in zip(readers, due, strict=True):
                expected = queue.popleft()
                assert ctx.get(port.valid) == (expected is not None)
                if expected is not None:
                    assert ctx.get(port.data.as_value()) == int.from_bytes(expected, "little")

            give_way = bool(rng.integers(2))
            ctx.set(dut.give_way, give_way)
            for i, grant in enumerate(granted(reads, banks, give_way=give_way)):
                if reads[i] is not None:
                    assert ctx.get(readers[i].request.ready) == grant
                due[i].append(memory[reads[i]].tobytes() if grant else None)
                if grant:
                    reads[i] = None
                    transfers += 1
            # Granted writes go to different banks, so their order within the cycle is of no matter.
            for i, grant in enumerate(granted([w and w[0] for w in writes], banks)):
                if writes[i] is not None:
                    assert ctx.get(writers[i].request.ready) == grant
                if grant:
                    address, mask, row = writes[i]
                    memory[address, mask] = row[mask]
                    writes[i] = None
            await ctx.tick()
        assert transfers > 300

    run(dut, testbench)


def test_sequential_readers_fall_into_step():
    """Four streams that start in the same bank are delayed once, by at most a row each, then never again."""
    dut = Scratchpad(SQUARE)
    readers = [getattr(dut, name) for name in dut.READERS]
    length = 32

    async def testbench(ctx):
        position = [0] * len(readers)
        finished = [0] * len(readers)
        for cycle in range(length + 2 * len(readers)):
            for i, port in enumerate(readers):
                ctx.set(port.request.valid, position[i] < length)
                ctx.set(port.request.payload, 4 * i + position[i])
            for i, port in enumerate(readers):
                if position[i] < length and ctx.get(port.request.ready):
                    position[i] += 1
                    finished[i] = cycle + 1
            await ctx.tick()
        assert finished == [length, length + 1, length + 2, length + 3]

    run(dut, testbench)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"banks": 3}, "banks must be a power of two, not 3"),
        ({"rows": 66}, "rows must be a multiple of the 4 banks, not 66"),
        ({"write": RowWrite(64, 3)}, "a row of 32 bits cannot be written in 3 equal parts"),
    ],
)
def test_banks_refuse(changes: dict[str, int | Signature], message: str):
    arguments: dict[str, Any] = {
        "rows": 64, "banks": 4, "readers": 1, "writers": 1,
        "read": ScratchpadRead(SQUARE), "write": RowWrite(64, 4),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        BankedMemory(**arguments | changes)
