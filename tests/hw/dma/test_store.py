# amaranth: UnusedElaboratable=no
"""The STORE unit: bytes written, legal bursts, rate, halt and faults."""

import dataclasses

import numpy as np
import pytest
from amaranth.hdl import Module

from systolith.rtl.dma.store import StoreUnit
from systolith.rtl.interfaces import Fault
from systolith.rtl.isa import Instruction, Memory, Opcode


class StoreBench:
    """STORE unit, memory and scratchpad; ``stall`` 0 makes every peer always ready."""

    def __init__(self, dma, config, program, *, seed=0, latency=3, stall=0.3):
        self.config, self.dma = config, dma
        m = Module()
        m.submodules.store = self.store = StoreUnit(config)
        self.memory = dma.Memory(config, seed=seed, latency=latency, stall=stall)
        self.before = self.memory.bytes.copy()
        self.bench = dma.Bench(m, self.memory)
        rng = np.random.default_rng(seed)
        self.scratchpad = rng.integers(0, 256, (config.scratchpad_rows, config.row_bytes), dtype=np.uint8)
        self.bench.background(self.memory.serve_writes, self.store.axi)
        self.bench.background(dma.give_rows, self.store.scratchpad, self.scratchpad, self.memory.ready)
        self.bench.background(self.start, program)

    async def start(self, ctx, program):
        self.bench.set_regions(ctx, self.store.regions)
        await self.bench.queue(ctx, self.store.control, program)

    def expected(self, program):
        """DRAM after the program."""
        memory = self.before.copy()
        pitch, width = self.config.row_pitch, self.config.row_bytes
        for transfer in program:
            for target, row in self.dma.blocks_of(self.config, transfer):
                block = np.zeros((transfer.rows, pitch), np.uint8)
                block[:, :width] = self.scratchpad[row : row + transfer.rows]
                memory[target : target + block.size] = block.reshape(-1)
        return memory


def random_program(dma, config, seed, length):
    rng = np.random.default_rng(seed)
    return [dma.random_transfer(config, Opcode.STORE, rng, config.scratchpad_rows) for _ in range(length)]


@pytest.mark.parametrize("stall", [0, 0.4])
def test_bytes_arrive(dma, config, stall):
    program = random_program(dma, config, seed=1, length=8)
    bench = StoreBench(dma, config, program, stall=stall)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: len(bench.bench.reports) == len(program))
        assert ctx.get(bench.store.idle)
        assert bench.memory.outstanding == 0

    bench.bench.run(testbench)
    assert bench.bench.reports == ["retired"] * len(program)
    np.testing.assert_array_equal(bench.memory.bytes, bench.expected(program))


def test_retires_with_the_last_response(dma):
    config = dma.make_config(4, 4, 32)
    program = [Instruction(Opcode.STORE, {"rows": 20, "blocks": 1})]
    bench = StoreBench(dma, config, program, latency=50, stall=0)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: len(bench.memory.write_cycles) == 20)
        await ctx.tick().repeat(48)
        assert not ctx.get(bench.store.idle)
        assert bench.bench.reports == []
        await bench.bench.wait(ctx, lambda: bench.bench.reports, cycles=10)
        assert ctx.get(bench.store.idle)

    bench.bench.run(testbench)
    assert bench.bench.reports == ["retired"]


@pytest.mark.parametrize("limits", [{"axi_outstanding": 1, "axi_burst_beats": 1}, {"axi_burst_beats": 256}])
def test_burst_limits(dma, limits):
    config = dma.make_config(4, 4, 32, **limits)
    program = random_program(dma, config, seed=2, length=4)
    bench = StoreBench(dma, config, program)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: len(bench.bench.reports) == len(program))

    bench.bench.run(testbench)
    np.testing.assert_array_equal(bench.memory.bytes, bench.expected(program))


@pytest.mark.parametrize("shape", [(4, 4, 32), (16, 16, 64)])
def test_no_bubble_between_instructions(dma, shape):
    config = dma.make_config(*shape, axi_outstanding=16, axi_burst_beats=16)
    fields = {"rows": 16, "blocks": 4, "stride": 16, "offset": 0x400, "dram_stride": 16 * config.row_pitch}
    program = [Instruction(Opcode.STORE, fields)] * 6
    bench = StoreBench(dma, config, program, latency=60, stall=0)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: len(bench.bench.reports) == len(program))

    bench.bench.run(testbench)
    beats = 6 * 64 * config.row_pitch // config.bus_bytes
    cycles = bench.memory.write_cycles
    assert len(cycles) == beats
    assert beats / (cycles[-1] - cycles[0] + 1) >= 0.95


LEGAL = {"rows": 8, "blocks": 2, "address": 0, "stride": 8, "offset": 0, "dram_stride": 256}


@pytest.mark.parametrize(("change", "fault"), [
    ({"memory": Memory.PARAMETERS}, Fault.ILLEGAL_INSTRUCTION),
    ({"rows": 0}, Fault.ILLEGAL_INSTRUCTION),
    ({"address": 121}, Fault.ADDRESS),
    ({"stride": 121}, Fault.ADDRESS),
    ({"offset": 6144 - 28}, Fault.REGION),
    ({"dram_stride": 6144 - 28}, Fault.REGION),
])  # fmt: skip
def test_faults_come_after_what_is_before(dma, change, fault):
    """The instructions before have retired, the blocks before are written, nothing else is."""
    config = dma.make_config(4, 4, 64)
    good = Instruction(Opcode.STORE, LEGAL)
    bad = Instruction(Opcode.STORE, LEGAL | change)
    bench = StoreBench(dma, config, [good, good, bad, good])

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: fault in bench.bench.reports)
        await ctx.tick().repeat(60)
        assert ctx.get(bench.store.idle)

    bench.bench.run(testbench)
    assert bench.bench.reports == ["retired", "retired", fault]
    np.testing.assert_array_equal(bench.memory.bytes, bench.expected([good, good]))


@pytest.mark.parametrize("shape", [(4, 4, 128), (6, 4, 64), (16, 16, 64)])
def test_bus_error(dma, shape):
    config = dma.make_config(*shape)
    offset = 128 * config.row_pitch
    fields = LEGAL | {"dram_stride": 8 * config.row_pitch}
    program = [Instruction(Opcode.STORE, fields | {"offset": offset * (i == 1)}) for i in range(4)]
    bench = StoreBench(dma, config, program)
    bench.memory.bad.add(0x0C00 + offset)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: Fault.BUS_WRITE in bench.bench.reports)
        await bench.bench.wait(ctx, lambda: ctx.get(bench.store.idle))

    bench.bench.run(testbench)
    assert bench.bench.reports == ["retired", Fault.BUS_WRITE]
    assert bench.memory.outstanding == 0


@pytest.mark.parametrize("shape", [(4, 4, 128), (6, 4, 64), (16, 16, 64)])
@pytest.mark.parametrize("cycle", [12, 25, 40, 61])
def test_halt(dma, shape, cycle):
    """Bursts under way are completed without writing; at most the beat that waited is written."""
    config = dataclasses.replace(dma.make_config(*shape), axi_outstanding=8)
    program = random_program(dma, config, seed=cycle, length=20)
    bench = StoreBench(dma, config, program, seed=cycle, latency=10)

    async def testbench(ctx):
        await ctx.tick().repeat(cycle)
        ctx.set(bench.store.halt, 1)
        issued, sent = len(bench.memory.writes), len(bench.memory.strobes)
        await bench.bench.wait(ctx, lambda: ctx.get(bench.store.idle))
        assert bench.memory.outstanding == 0
        await ctx.tick().repeat(40)
        # The unit sees it a cycle later, and a burst that it has taken by then still goes.
        assert len(bench.memory.writes) <= issued + 2
        assert len(bench.memory.strobes) == sum(beats for _, _, beats in bench.memory.writes)
        assert sum(strobe != 0 for strobe in bench.memory.strobes[sent:]) <= 2

    bench.bench.run(testbench)
    assert len(bench.bench.reports) < len(program)
