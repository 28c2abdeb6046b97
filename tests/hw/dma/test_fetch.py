# amaranth: UnusedElaboratable=no
"""Instruction fetch behind the read arbiter, alone and beside the LOAD unit."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from systolith.rtl.dma.arbiter import ReadArbiter
from systolith.rtl.dma.channels import connect_axi
from systolith.rtl.dma.fetch import Fetch
from systolith.rtl.dma.load import LoadUnit
from systolith.rtl.dma.store import StoreUnit
from systolith.rtl.interfaces import Axi, Fault
from systolith.rtl.isa import INSTRUCTION_BYTES, Instruction, Opcode

WIDTHS = (32, 64, 128, 256, 512)
BASE = 0x1F40


class FetchBench:
    """Fetch, arbiter, memory, and a consumer that collects the words; a LOAD unit too if there are ``loads``."""

    def __init__(self, dma, config, *, loads=(), seed=0, latency=5, stall=0.3, consumer_stall=0.3):
        m = Module()
        m.submodules.fetch = self.fetch = Fetch(config)
        m.submodules.arbiter = arbiter = ReadArbiter(config)
        wiring.connect(m, self.fetch.bus, arbiter.fetch)
        self.memory = dma.Memory(config, seed=seed, latency=latency, stall=stall)
        self.consumer_stall = consumer_stall
        self.words = []
        self.faults = []
        if loads:
            m.submodules.load = self.load = LoadUnit(config)
            wiring.connect(m, self.load.bus, arbiter.load)
        self.bench = dma.Bench(m, self.memory)
        self.bench.background(self.memory.serve_reads, arbiter.axi)
        self.bench.background(self.consume)
        if loads:
            self.scratchpad = np.zeros((config.scratchpad_rows, config.row_bytes), np.uint8)
            self.bench.background(dma.take_rows, self.load.scratchpad, self.scratchpad, self.memory.ready)
            self.bench.background(self.start_loads, loads)

    async def start_loads(self, ctx, loads):
        self.bench.set_regions(ctx, self.load.regions)
        await self.bench.queue(ctx, self.load.control, list(loads))

    async def consume(self, ctx):
        fetch = self.fetch
        while True:
            ctx.set(fetch.instruction.ready, bool(self.memory.rng.random() >= self.consumer_stall))
            *_, valid, ready, word, fault = await ctx.tick().sample(
                fetch.instruction.valid, fetch.instruction.ready, fetch.instruction.payload, fetch.fault
            )
            if valid and ready:
                self.words.append(word)
            if fault:
                self.faults.append(fault)

    async def start(self, ctx, base, length):
        ctx.set(self.fetch.base, base)
        ctx.set(self.fetch.length, length)
        ctx.set(self.fetch.start, 1)
        await ctx.tick()
        ctx.set(self.fetch.start, 0)
        ctx.set(self.fetch.base, 0)
        ctx.set(self.fetch.length, 0)

    async def finish(self, ctx):
        await self.bench.wait(ctx, lambda: ctx.get(self.fetch.done))

    def expected(self, base, length):
        image = self.memory.bytes[base : base + length * INSTRUCTION_BYTES].tobytes()
        return [
            int.from_bytes(image[i : i + INSTRUCTION_BYTES], "little") for i in range(0, len(image), INSTRUCTION_BYTES)
        ]


@pytest.mark.parametrize("width", WIDTHS)
def test_delivers_programs(dma, width):
    """One after the other, of odd and even length, longer than the queue, from a base inside an instruction."""
    config = dma.make_config(4, 4, width)
    bench = FetchBench(dma, config)
    programs = [(BASE, 1), (BASE + width // 8, 3), (0, 2), (width // 8, 90), (BASE, 33)]
    wanted = [word for base, length in programs for word in bench.expected(base, length)]

    async def testbench(ctx):
        assert ctx.get(bench.fetch.done)
        for base, length in programs:
            await bench.start(ctx, base, length)
            assert not ctx.get(bench.fetch.done)
            await bench.finish(ctx)
            assert ctx.get(bench.fetch.idle)

    bench.bench.run(testbench)
    assert bench.words == wanted
    assert all(identifier == 1 for identifier, _, _ in bench.memory.reads)


@pytest.mark.parametrize("width", WIDTHS)
def test_never_reads_more_than_it_has_room_for(dma, width):
    """With nobody taking instructions it stops at 64 of them, and all its data have been taken."""
    config = dma.make_config(4, 4, width, axi_burst_beats=16)
    bench = FetchBench(dma, config, consumer_stall=1.1, stall=0)

    async def testbench(ctx):
        await bench.start(ctx, 0, 200)
        await ctx.tick().repeat(800)
        assert bench.memory.outstanding == 0
        assert not ctx.get(bench.fetch.done)

    bench.bench.run(testbench)
    assert sum(beats for _, _, beats in bench.memory.reads) * width // 8 == 64 * INSTRUCTION_BYTES


def test_rate(dma):
    """A beat a cycle at a latency of 30: two instructions in four beats of 128 bits."""
    config = dma.make_config(4, 4, 128, axi_burst_beats=16, axi_outstanding=16)
    bench = FetchBench(dma, config, consumer_stall=0, stall=0, latency=30)

    async def testbench(ctx):
        await bench.start(ctx, 0, 200)
        await bench.finish(ctx)

    bench.bench.run(testbench)
    cycles = bench.memory.read_cycles
    assert len(cycles) / (cycles[-1] - cycles[0] + 1) >= 0.95


@pytest.mark.parametrize("width", WIDTHS)
def test_bus_error_comes_in_order(dma, width):
    config = dma.make_config(4, 4, width)
    bench = FetchBench(dma, config)
    bench.memory.bad.add(BASE + 12 * INSTRUCTION_BYTES)

    async def testbench(ctx):
        await bench.start(ctx, BASE, 40)
        await bench.bench.wait(ctx, lambda: bench.faults)
        await ctx.tick().repeat(200)
        assert ctx.get(bench.fetch.idle)
        assert not ctx.get(bench.fetch.done)

    bench.bench.run(testbench)
    assert bench.faults == [Fault.BUS_FETCH]
    assert bench.words == bench.expected(BASE, 12)
    assert bench.memory.outstanding == 0


def test_halt(dma):
    config = dma.make_config(4, 4, 64)
    bench = FetchBench(dma, config, latency=20)

    async def testbench(ctx):
        await bench.start(ctx, 0, 100)
        await ctx.tick().repeat(40)
        ctx.set(bench.fetch.halt, 1)
        words = len(bench.words)
        await bench.bench.wait(ctx, lambda: ctx.get(bench.fetch.idle))
        reads = len(bench.memory.reads)
        assert bench.memory.outstanding == 0
        await ctx.tick().repeat(60)
        assert len(bench.memory.reads) == reads
        assert len(bench.words) == words

    bench.bench.run(testbench)


@pytest.mark.parametrize("shape", [(4, 4, 128), (16, 16, 64)])
def test_shares_the_bus_with_load(dma, shape):
    """Responses of the two identifiers interleave; neither loses or delays the other for ever."""
    config = dma.make_config(*shape)
    rng = np.random.default_rng(3)
    loads = [dma.random_transfer(config, Opcode.LOAD, rng, config.scratchpad_rows) for _ in range(6)]
    bench = FetchBench(dma, config, loads=loads)

    async def testbench(ctx):
        await bench.start(ctx, BASE, 120)
        await bench.finish(ctx)
        await bench.bench.wait(ctx, lambda: len(bench.bench.reports) == len(loads))
        assert ctx.get(bench.load.idle)
        assert ctx.get(bench.fetch.idle)

    bench.bench.run(testbench)
    assert bench.words == bench.expected(BASE, 120)
    assert {identifier for identifier, _, _ in bench.memory.reads} == {0, 1}
    wanted = np.zeros_like(bench.scratchpad)
    for load in loads:
        for source, row in dma.blocks_of(config, load):
            block = bench.memory.bytes[source : source + load.rows * config.row_pitch].reshape(-1, config.row_pitch)
            wanted[row : row + load.rows] = block[:, : config.row_bytes]
    np.testing.assert_array_equal(bench.scratchpad, wanted)


def test_connects_to_the_flat_bus(dma):
    """Every signal of ``Axi`` is driven by, or reaches, the engine that owns its channel."""
    config = dma.make_config(4, 4, 64)
    m = Module()
    m.submodules.arbiter = arbiter = ReadArbiter(config)
    m.submodules.store = store = StoreUnit(config)
    bus = Axi(config).create()
    connect_axi(m, bus, arbiter.axi)
    connect_axi(m, bus, store.axi)
    parts = {**arbiter.axi.signature.members, **store.axi.signature.members}
    assert set(parts) == set(bus.signature.members)

    async def testbench(ctx):
        ctx.set(bus.awready, 1)
        assert ctx.get(store.axi.awready) == 1
        assert ctx.get(bus.arsize) == ctx.get(bus.awsize) == 3
        assert ctx.get(bus.arburst) == ctx.get(bus.awburst) == 1
        assert ctx.get(bus.bready) == 1

    dma.Bench(m, dma.Memory(config)).run(testbench)


def test_an_instruction_is_what_the_assembler_made(dma):
    config = dma.make_config(4, 4, 64)
    bench = FetchBench(dma, config)
    program = [Instruction(Opcode.LOAD, {"rows": i + 1, "blocks": 2}) for i in range(5)]
    image = b"".join(i.encode().to_bytes(INSTRUCTION_BYTES, "little") for i in program)
    bench.memory.bytes[BASE : BASE + len(image)] = np.frombuffer(image, np.uint8)

    async def testbench(ctx):
        await bench.start(ctx, BASE, len(program))
        await bench.finish(ctx)

    bench.bench.run(testbench)
    assert bench.words == [i.encode() for i in program]
