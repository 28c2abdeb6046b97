# amaranth: UnusedElaboratable=no
"""The LOAD unit behind the read arbiter: placement, legal bursts, rate, halt and faults."""

import dataclasses

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from systolith.rtl.dma.arbiter import ReadArbiter
from systolith.rtl.dma.load import LoadUnit, RowPlacer
from systolith.rtl.dma.runs import run_layout
from systolith.rtl.interfaces import Fault
from systolith.rtl.isa import Instruction, Memory, Opcode


class LoadBench:
    """LOAD unit, arbiter, memory and both destinations; ``stall`` 0 makes every peer always ready."""

    def __init__(self, dma, config, program, *, seed=0, latency=3, stall=0.3):
        self.config, self.dma = config, dma
        m = Module()
        m.submodules.load = self.load = LoadUnit(config)
        m.submodules.arbiter = arbiter = ReadArbiter(config)
        wiring.connect(m, self.load.bus, arbiter.load)
        self.memory = dma.Memory(config, seed=seed, latency=latency, stall=stall)
        self.bench = dma.Bench(m, self.memory)
        self.scratchpad = np.zeros((config.scratchpad_rows, config.row_bytes), np.uint8)
        self.parameters = np.zeros((8 * config.parameter_rows, config.row_bytes), np.uint8)
        ready = self.memory.ready
        self.bench.background(self.memory.serve_reads, arbiter.axi)
        self.bench.background(dma.take_rows, self.load.scratchpad, self.scratchpad, ready)
        self.bench.background(dma.take_rows, self.load.parameters, self.parameters, ready)
        self.bench.background(self.start, program)

    async def start(self, ctx, program):
        self.bench.set_regions(ctx, self.load.regions)
        await self.bench.queue(ctx, self.load.control, program)

    def expected(self, program):
        """Scratchpad and parameter memory after the program."""
        memories = np.zeros_like(self.scratchpad), np.zeros_like(self.parameters)
        pitch, width = self.config.row_pitch, self.config.row_bytes
        for transfer in program:
            for source, row in self.dma.blocks_of(self.config, transfer):
                block = self.memory.bytes[source : source + transfer.rows * pitch].reshape(-1, pitch)
                memories[transfer.memory][row : row + transfer.rows] = block[:, :width]
        return memories

    def check(self, program):
        for actual, wanted in zip((self.scratchpad, self.parameters), self.expected(program), strict=True):
            np.testing.assert_array_equal(actual, wanted)


def random_program(dma, config, seed, length):
    rng = np.random.default_rng(seed)
    program = []
    for _ in range(length):
        memory = Memory(int(rng.integers(2)))
        rows = config.scratchpad_rows if memory == Memory.SCRATCHPAD else 8 * config.parameter_rows
        transfer = dma.random_transfer(config, Opcode.LOAD, rng, rows)
        program.append(Instruction(Opcode.LOAD, transfer.values | {"memory": memory}))
    return program


@pytest.mark.parametrize("stall", [0, 0.4])
def test_rows_arrive(dma, config, stall):
    program = random_program(dma, config, seed=1, length=8)
    bench = LoadBench(dma, config, program, stall=stall)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: len(bench.bench.reports) == len(program))
        assert ctx.get(bench.load.idle)

    bench.bench.run(testbench)
    assert bench.bench.reports == ["retired"] * len(program)
    assert bench.memory.outstanding == 0
    bench.check(program)


@pytest.mark.parametrize("limits", [{"axi_outstanding": 1, "axi_burst_beats": 1}, {"axi_burst_beats": 256}])
def test_burst_limits(dma, limits):
    config = dma.make_config(4, 4, 32, **limits)
    program = random_program(dma, config, seed=2, length=4)
    bench = LoadBench(dma, config, program)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: len(bench.bench.reports) == len(program))

    bench.bench.run(testbench)
    bench.check(program)


@pytest.mark.parametrize(("blocks", "rows"), [(1, 64), (4, 16)])
@pytest.mark.parametrize("shape", [(4, 4, 32), (16, 16, 64)])
def test_no_bubble_between_instructions(dma, shape, blocks, rows):
    """Latency 60 costs nothing when enough beats may be outstanding, however short the blocks."""
    config = dma.make_config(*shape, axi_outstanding=16, axi_burst_beats=16)
    fields = {"rows": rows, "blocks": blocks, "stride": rows, "offset": 0x400, "dram_stride": rows * config.row_pitch}
    program = [Instruction(Opcode.LOAD, fields)] * 6
    bench = LoadBench(dma, config, program, latency=60, stall=0)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: len(bench.bench.reports) == len(program))

    bench.bench.run(testbench)
    beats = 6 * rows * blocks * config.row_pitch // config.bus_bytes
    cycles = bench.memory.read_cycles
    assert len(cycles) == beats
    assert beats / (cycles[-1] - cycles[0] + 1) >= 0.95


LEGAL = {"rows": 8, "blocks": 2, "address": 0, "stride": 8, "offset": 0, "dram_stride": 256}


@pytest.mark.parametrize(("change", "fault"), [
    ({"rows": 0}, Fault.ILLEGAL_INSTRUCTION),
    ({"blocks": 0}, Fault.ILLEGAL_INSTRUCTION),
    ({"offset": 2}, Fault.ILLEGAL_INSTRUCTION),
    ({"dram_stride": 258}, Fault.ILLEGAL_INSTRUCTION),
    ({"address": 121}, Fault.ADDRESS),
    ({"stride": 121}, Fault.ADDRESS),
    ({"stride": 0xFFFF, "address": 100}, Fault.ADDRESS),
    ({"memory": Memory.PARAMETERS, "address": 57}, Fault.ADDRESS),
    ({"offset": 6144}, Fault.REGION),
    ({"offset": 6116}, Fault.REGION),
    ({"dram_stride": 6116}, Fault.REGION),
    ({"dram_stride": 0xFFFFFFFC, "offset": 64}, Fault.REGION),
    ({"region": 5}, Fault.REGION),
])  # fmt: skip
def test_faults_come_after_what_is_before(dma, change, fault):
    config = dma.make_config(4, 4, 64)
    good = Instruction(Opcode.LOAD, LEGAL)
    program = [good, good, Instruction(Opcode.LOAD, LEGAL | change), good]
    bench = LoadBench(dma, config, program)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: fault in bench.bench.reports)
        await ctx.tick().repeat(60)
        assert ctx.get(bench.load.idle)

    bench.bench.run(testbench)
    assert bench.bench.reports == ["retired", "retired", fault]
    first_block_is_good = "stride" in change or ("dram_stride" in change and fault == Fault.REGION)
    beats = sum(count for _, _, count in bench.memory.reads)
    assert beats == (2 * 2 + first_block_is_good) * 4


@pytest.mark.parametrize("change", [{"address": 112}, {"offset": 6144 - 256 - 32}])
def test_last_legal_row(dma, change):
    config = dma.make_config(4, 4, 64)
    program = [Instruction(Opcode.LOAD, LEGAL | change)]
    bench = LoadBench(dma, config, program)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: bench.bench.reports)

    bench.bench.run(testbench)
    assert bench.bench.reports == ["retired"]


@pytest.mark.parametrize("shape", [(4, 4, 128), (6, 4, 64), (16, 16, 64)])
def test_bus_error(dma, shape):
    config = dma.make_config(*shape)
    offset = 4 * config.row_pitch * 32
    fields = LEGAL | {"dram_stride": 8 * config.row_pitch}
    program = [Instruction(Opcode.LOAD, fields | {"offset": offset * (i == 1)}) for i in range(4)]
    bench = LoadBench(dma, config, program)
    bench.memory.bad.add(0x0C00 + offset + 8 * config.row_pitch)

    async def testbench(ctx):
        await bench.bench.wait(ctx, lambda: Fault.BUS_READ in bench.bench.reports)
        await bench.bench.wait(ctx, lambda: ctx.get(bench.load.idle))

    bench.bench.run(testbench)
    assert bench.bench.reports == ["retired", Fault.BUS_READ]
    assert bench.memory.outstanding == 0


@pytest.mark.parametrize("cycle", [12, 25, 40, 61])
def test_halt(dma, cycle):
    """Nothing new is issued, what is outstanding arrives, and the scratchpad is left alone."""
    config = dataclasses.replace(dma.make_config(6, 4, 64), axi_outstanding=8)
    program = random_program(dma, config, seed=cycle, length=20)
    bench = LoadBench(dma, config, program, seed=cycle, latency=10)

    async def testbench(ctx):
        await ctx.tick().repeat(cycle)
        ctx.set(bench.load.halt, 1)
        await ctx.tick().repeat(3)
        issued = len(bench.memory.reads) + config.axi_outstanding
        before = bench.scratchpad.copy()
        await bench.bench.wait(ctx, lambda: ctx.get(bench.load.idle))
        assert bench.memory.outstanding == 0
        await ctx.tick().repeat(40)
        assert len(bench.memory.reads) <= issued
        assert bench.memory.outstanding == 0
        assert (before != bench.scratchpad).any(axis=1).sum() <= 1

    bench.bench.run(testbench)
    assert len(bench.bench.reports) < len(program)


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.REGION])
def test_a_beat_waits_for_its_run_and_none_belongs_to_a_faulty_one(dma, fault):
    """The placer alone: a beat that is there before any run is kept, and one beside a faulty run is not written."""
    config = dma.make_config(4, 4, 32)
    placer = RowPlacer(config, layout=run_layout(config, 16))
    written = []

    async def testbench(ctx):
        ctx.set(placer.scratchpad.request.ready, 1)
        ctx.set(placer.beat.valid, 1)
        ctx.set(placer.beat.payload, {"data": 0x04030201, "resp": 0})
        for _ in range(5):
            assert not ctx.get(placer.beat.ready)
            await ctx.tick()
        ctx.set(placer.run.valid, 1)
        ctx.set(placer.run.payload, {"rows": 1, "address": 9, "final": 1, "fault": fault})
        assert ctx.get(placer.run.ready)
        await ctx.tick()
        ctx.set(placer.run.valid, 0)
        for _ in range(8):
            if ctx.get(placer.scratchpad.request.valid):
                written.append((ctx.get(placer.scratchpad.request.payload.address),
                                list(ctx.get(placer.scratchpad.request.payload.data))))  # fmt: skip
            taken = ctx.get(placer.beat.ready)
            await ctx.tick()
            if taken:
                ctx.set(placer.beat.valid, 0)
        assert not ctx.get(placer.beat.valid)

    simulator = Simulator(placer)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert written == ([(9, [1, 2, 3, 4])] if fault == Fault.NONE else [])
