# amaranth: UnusedElaboratable=no
"""Peers of the DMA engines for pysim: an AXI memory that checks the protocol, and the two ends of a scratchpad."""

from collections import deque
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from systolith.rtl.config import Config
from systolith.rtl.interfaces import READ_LATENCY
from systolith.rtl.isa import Instruction, Opcode

#: Beats of the longest burst and bursts in flight of the test configurations: small, so that limits are met.
LIMITS = {"axi_burst_beats": 8, "axi_outstanding": 4}
REGION_SIZE = 6144
REGION_BASES = (0x0C00, 0x2F40)
MEMORY_BYTES = 0x6000


def make_config(rows: int, cols: int, width: int, **more: Any) -> Config:
    """A small accelerator on a bus of ``width`` bits."""
    wide = max(rows, cols)
    limits = LIMITS | more
    return Config(
        rows=rows, cols=cols, lanes=1, axi_data_width=width, scratchpad_bytes=128 * wide, accumulator_bytes=4096,
        parameter_bytes=8 * 8 * cols, statistics_rows=16, **limits,
    )  # fmt: skip


#: Row pitch below, at and above the bus width.
CONFIGS = {
    f"{rows}x{cols} on {width}": make_config(rows, cols, width)
    for rows, cols, width in ((4, 4, 32), (4, 4, 64), (4, 4, 128), (6, 4, 64), (6, 4, 32), (16, 16, 64), (16, 16, 256))
}


class AxiMemory:
    """An AXI subordinate over ``bytes``, that asserts what the protocol asks of the initiator.

    ``latency`` is the least cycles from an address to its first beat (for writes, from the last beat to the
    response); ``stall`` the probability that a channel pauses in a cycle. Read data of different identifiers
    interleave at random. ``bad`` holds beat addresses answered with an error. ``reads`` and ``writes`` log
    (identifier, address, beats); ``read_cycles`` and ``write_cycles`` the cycle of each beat taken, ``strobes``
    those of each beat written; ``outstanding`` the bursts in flight.
    """

    def __init__(self, config: Config, *, seed: int = 0, latency: int = 3, stall: float = 0.3) -> None:
        self.config, self.latency, self.stall = config, latency, stall
        self.rng = np.random.default_rng(seed)
        self.bytes = self.rng.integers(0, 256, MEMORY_BYTES, dtype=np.uint8)
        self.bad: set[int] = set()
        self.reads: list[tuple[int, int, int]] = []
        self.writes: list[tuple[int, int, int]] = []
        self.read_cycles: list[int] = []
        self.write_cycles: list[int] = []
        self.strobes: list[int] = []
        self.outstanding = 0

    def ready(self) -> int:
        return int(self.stall == 0 or self.rng.random() >= self.stall)

    def check_address(self, address: int, length: int, size: int, burst: int) -> int:
        """Assert that a burst is legal; return its beats."""
        beats, bus = length + 1, self.config.bus_bytes
        assert 1 << size == bus
        assert burst == 1
        assert address % bus == 0
        assert beats <= self.config.axi_burst_beats
        assert address // 4096 == (address + beats * bus - 1) // 4096, "burst crosses 4 KiB"
        self.outstanding += 1
        assert self.outstanding <= self.config.axi_outstanding
        return beats

    async def serve_reads(self, ctx: Any, axi: Any) -> None:
        queues: dict[int, deque[tuple[int, int, int]]] = {0: deque(), 1: deque()}
        offered: int | None = None
        held = None
        cycle, bus = 0, self.config.bus_bytes
        while True:
            ctx.set(axi.arready, self.ready())
            if offered is None:
                due = [i for i, queue in queues.items() if queue and queue[0][0] <= cycle]
                if due and self.ready():
                    offered = int(self.rng.choice(due))
                    _, address, last = queues[offered][0]
                    ctx.set(axi.rid, offered)
                    ctx.set(axi.rdata, int.from_bytes(self.bytes[address : address + bus].tobytes(), "little"))
                    ctx.set(axi.rresp, 2 if address in self.bad else 0)
                    ctx.set(axi.rlast, last)
            ctx.set(axi.rvalid, offered is not None)
            *_, valid, ready, rready, identifier, address, length, size, burst = await ctx.tick().sample(
                axi.arvalid, axi.arready, axi.rready, axi.arid, axi.araddr, axi.arlen, axi.arsize, axi.arburst
            )
            cycle += 1
            now = (identifier, address, length)
            assert held is None or (valid and held == now), "AR changed before it was taken"
            held = now if valid and not ready else None
            if valid and ready:
                beats = self.check_address(address, length, size, burst)
                self.reads.append((identifier, address, beats))
                for beat in range(beats):
                    queues[identifier].append((cycle + self.latency, address + beat * bus, int(beat == beats - 1)))
            if offered is not None and rready:
                self.outstanding -= queues[offered].popleft()[2]
                self.read_cycles.append(cycle)
                offered = None

    async def serve_writes(self, ctx: Any, axi: Any) -> None:
        addresses: deque[tuple[int, int]] = deque()
        beats: deque[tuple[int, int, int]] = deque()
        responses: deque[tuple[int, int]] = deque()
        held_address = held_beat = None
        cycle, bus, offered = 0, self.config.bus_bytes, False
        while True:
            ctx.set(axi.awready, self.ready())
            ctx.set(axi.wready, self.ready())
            if not offered and responses and responses[0][0] <= cycle and self.ready():
                offered = True
                ctx.set(axi.bresp, responses[0][1])
            ctx.set(axi.bvalid, offered)
            *_, awvalid, awready, address, length, size, burst, wvalid, wready, word, strobe, last, bready = (
                await ctx.tick().sample(
                    axi.awvalid, axi.awready, axi.awaddr, axi.awlen, axi.awsize, axi.awburst,
                    axi.wvalid, axi.wready, axi.wdata, axi.wstrb, axi.wlast, axi.bready,
                )
            )  # fmt: skip
            cycle += 1
            now, beat = (address, length), (word, strobe, last)
            assert held_address is None or (awvalid and held_address == now), "AW changed before it was taken"
            assert held_beat is None or (wvalid and held_beat == beat), "W changed before it was taken"
            held_address = now if awvalid and not awready else None
            held_beat = beat if wvalid and not wready else None
            if awvalid and awready:
                count = self.check_address(address, length, size, burst)
                self.writes.append((0, address, count))
                addresses.append((address, count))
            if wvalid and wready:
                beats.append(beat)
                self.write_cycles.append(cycle)
                self.strobes.append(strobe)
            while addresses and len(beats) >= addresses[0][1]:
                address, count = addresses.popleft()
                failed = address in self.bad
                for index in range(count):
                    word, strobe, last = beats.popleft()
                    assert last == (index == count - 1), "WLAST in the wrong place"
                    if not failed:
                        for byte in range(bus):
                            if strobe >> byte & 1:
                                self.bytes[address + index * bus + byte] = word >> (8 * byte) & 0xFF
                responses.append((cycle + self.latency, 2 if failed else 0))
            if offered and bready:
                responses.popleft()
                self.outstanding -= 1
                offered = False


class Bench:
    """A design with its peers, an instruction queue for each unit's control, and what the units reported."""

    def __init__(self, design: Module, memory: AxiMemory) -> None:
        self.design, self.memory = design, memory
        self.simulator = Simulator(design)
        self.simulator.add_clock(1e-8)
        self.reports: list[str | int] = []

    def background(self, function: Any, *arguments: Any) -> None:
        async def process(ctx: Any) -> None:
            await function(ctx, *arguments)

        self.simulator.add_testbench(process, background=True)

    def set_regions(self, ctx: Any, regions: Any) -> None:
        for index, base in enumerate(REGION_BASES):
            ctx.set(regions.region[index].base, base)
            ctx.set(regions.region[index].size, REGION_SIZE)

    async def queue(self, ctx: Any, control: Any, program: list[Instruction]) -> None:
        """Offer the program's instructions; log each ``"retired"`` and each fault code."""
        waiting = deque(program)
        while True:
            ctx.set(control.instruction.valid, bool(waiting))
            if waiting:
                ctx.set(control.instruction.payload, waiting[0].encode())
            *_, ready, retired, fault = await ctx.tick().sample(
                control.instruction.ready, control.retired, control.fault
            )
            if waiting and ready:
                waiting.popleft()
            if retired:
                self.reports.append("retired")
            if fault:
                self.reports.append(fault)

    async def wait(self, ctx: Any, condition: Any, cycles: int = 5000) -> None:
        for _ in range(cycles):
            await ctx.tick()
            if condition():
                return
        raise AssertionError(f"nothing after {cycles} cycles; reports: {self.reports}")

    def run(self, testbench: Any) -> None:
        self.simulator.add_testbench(testbench)
        self.simulator.run()


async def take_rows(ctx: Any, port: Any, rows: np.ndarray, ready: Any) -> None:
    """The far end of a ``RowWrite``: writes into ``rows``, uint8 of shape (rows, row bytes)."""
    request = port.request
    while True:
        ctx.set(request.ready, ready())
        *_, valid, taken, address, mask, word = await ctx.tick().sample(
            request.valid, request.ready, request.payload.address, request.payload.mask, request.payload.data.as_value()
        )
        if valid and taken:
            assert mask == (1 << rows.shape[1]) - 1
            rows[address] = np.frombuffer(word.to_bytes(rows.shape[1], "little"), dtype=np.uint8)


async def give_rows(ctx: Any, port: Any, rows: np.ndarray, ready: Any) -> None:
    """The far end of a ``ScratchpadRead``: data ``READ_LATENCY`` cycles after each transfer."""
    arriving: deque[int | None] = deque([None] * (READ_LATENCY - 1))
    while True:
        ctx.set(port.request.ready, ready())
        *_, valid, taken, address = await ctx.tick().sample(
            port.request.valid, port.request.ready, port.request.payload
        )
        arriving.append(address if valid and taken else None)
        due = arriving.popleft()
        ctx.set(port.valid, due is not None)
        word = 0 if due is None else int.from_bytes(rows[due].tobytes(), "little")
        ctx.set(port.data.as_value(), word)


def random_transfer(config: Config, opcode: Opcode, rng: np.random.Generator, memory_rows: int) -> Instruction:
    """A legal LOAD or STORE of scratchpad rows within the test's regions."""
    pitch = config.row_pitch
    region_rows = REGION_SIZE // pitch
    rows = int(rng.integers(1, 25))
    blocks = int(rng.integers(1, 5))
    stride = int(rng.integers(0, (memory_rows - rows) // blocks + 1))
    dram_stride = int(rng.integers(0, (region_rows - rows) // blocks + 1))
    return Instruction(opcode, {
        "region": int(rng.integers(2)),
        "rows": rows,
        "blocks": blocks,
        "address": int(rng.integers(0, memory_rows - rows - (blocks - 1) * stride + 1)),
        "stride": stride,
        "offset": int(rng.integers(0, region_rows - rows - (blocks - 1) * dram_stride + 1)) * pitch,
        "dram_stride": dram_stride * pitch,
    })  # fmt: skip


def blocks_of(config: Config, transfer: Instruction) -> list[tuple[int, int]]:
    """For each block of a transfer, its byte address in DRAM and its first row on the chip."""
    base = REGION_BASES[transfer.region] + transfer.offset
    return [(base + b * transfer.dram_stride, transfer.address + b * transfer.stride) for b in range(transfer.blocks)]


class Tools:
    """What the tests of this directory share."""

    Memory, Bench, configs = AxiMemory, Bench, CONFIGS
    make_config = staticmethod(make_config)
    take_rows, give_rows = staticmethod(take_rows), staticmethod(give_rows)
    random_transfer, blocks_of = staticmethod(random_transfer), staticmethod(blocks_of)


@pytest.fixture(scope="session")
def dma() -> type[Tools]:
    return Tools


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request: pytest.FixtureRequest) -> Config:
    return request.param
