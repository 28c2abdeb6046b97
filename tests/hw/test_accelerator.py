"""The whole tiny accelerator: programs from DRAM to DRAM, faults and recovery, driven through its registers."""

from collections import deque

import numpy as np
from amaranth.sim import Simulator

from systolith.analysis.causes import causes
from systolith.numerics import integer
from systolith.rtl.accelerator import Accelerator
from systolith.rtl.config import PRESETS
from systolith.rtl.csr_map import COUNTERS, OFFSETS
from systolith.rtl.interfaces import Fault
from systolith.rtl.isa import Function, Instruction, Layout, Memory, Opcode, Unit, assemble

CONFIG = PRESETS["tiny"]
LOAD, MATRIX, VECTOR, STORE = (1 << unit for unit in Unit)
PROGRAM, WEIGHTS, ACTIVATIONS, PARAMETERS, RESULT = 0x0, 0x1000, 0x2000, 0x3000, 0x4000
TOKENS, INPUTS, OUTPUTS = 8, 8, 8


class AxiMemory:
    """DRAM behind the top's AXI port: in order, always ready, ``latency`` cycles; DECERR beyond its end."""

    def __init__(self, bus, size=0x8000, latency=5):
        self.bus = bus
        self.bytes = bytearray(size)
        self.latency = latency
        #: Addresses whose reads (writes) answer SLVERR; a silent memory answers no read at all.
        self.bad_reads = set()
        self.bad_writes = set()
        self.silent = False
        #: Reset in this cycle, together with the accelerator.
        self.reset = False

    async def serve(self, ctx):
        bus, width = self.bus, CONFIG.bus_bytes
        reads, writes, responses = deque(), deque(), deque()
        names = ["arvalid", "araddr", "arlen", "arid", "rvalid", "rready"]
        names += ["awvalid", "awaddr", "awlen", "wvalid", "wdata", "wstrb", "wlast", "bvalid", "bready"]
        for ready in (bus.arready, bus.awready, bus.wready):
            ctx.set(ready, 1)
        cycle = 0
        async for sample in ctx.tick().sample(*(getattr(bus, name) for name in names)):
            s = dict(zip(names, sample[2:], strict=True))
            cycle += 1
            if self.reset:
                self.reset = False
                for waiting in (reads, writes, responses):
                    waiting.clear()
                ctx.set(bus.rvalid, 0)
                ctx.set(bus.bvalid, 0)
                continue
            if s["rvalid"] and s["rready"]:
                reads.popleft()
            if s["bvalid"] and s["bready"]:
                responses.popleft()
            if s["arvalid"] and not self.silent:
                for beat in range(s["arlen"] + 1):
                    address = s["araddr"] + beat * width
                    reads.append((cycle + self.latency, s["arid"], address, beat == s["arlen"]))
            if s["awvalid"]:
                writes.append([s["awaddr"], s["awlen"], 0])
            if s["wvalid"]:
                self._write(writes, responses, s, cycle + self.latency)
            due = bool(reads) and reads[0][0] <= cycle
            ctx.set(bus.rvalid, due)
            if due:
                _, identifier, address, last = reads[0]
                value = int.from_bytes(self.bytes[address : address + width], "little")
                ctx.set(bus.rid, identifier)
                ctx.set(bus.rdata, value)
                ctx.set(bus.rlast, last)
                ctx.set(bus.rresp, 3 if address >= len(self.bytes) else 2 if address in self.bad_reads else 0)
            ctx.set(bus.bvalid, bool(responses) and responses[0][0] <= cycle)
            if responses:
                ctx.set(bus.bresp, responses[0][1])

    def _write(self, writes, responses, s, due):
        burst = writes[0]
        for lane in range(CONFIG.bus_bytes):
            if s["wstrb"] >> lane & 1:
                self.bytes[burst[0] + lane] = s["wdata"] >> 8 * lane & 0xFF
        burst[2] |= 2 if burst[0] in self.bad_writes else 0
        burst[0] += CONFIG.bus_bytes
        assert bool(s["wlast"]) == (burst[1] == 0)
        burst[1] -= 1
        if s["wlast"]:
            responses.append((due, burst[2]))
            writes.popleft()


class Host:
    """Drives the registers of a running simulation."""

    def __init__(self, ctx, dut):
        self.ctx = ctx
        self.dut = dut

    async def write(self, name, value):
        ctx, bus = self.ctx, self.dut.s_axi
        ctx.set(bus.awaddr, OFFSETS[name])
        ctx.set(bus.wdata, value)
        ctx.set(bus.wstrb, 15)
        ctx.set(bus.bready, 1)
        ctx.set(bus.awvalid, 1)
        ctx.set(bus.wvalid, 1)
        await ctx.tick()
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        while not ctx.get(bus.bvalid):
            await ctx.tick()
        assert ctx.get(bus.bresp) == 0, name
        await ctx.tick()

    async def read(self, name):
        ctx, bus = self.ctx, self.dut.s_axi
        ctx.set(bus.araddr, OFFSETS[name])
        ctx.set(bus.arvalid, 1)
        ctx.set(bus.rready, 1)
        await ctx.tick()
        ctx.set(bus.arvalid, 0)
        while not ctx.get(bus.rvalid):
            await ctx.tick()
        value, response = ctx.get(bus.rdata), ctx.get(bus.rresp)
        await ctx.tick()
        assert response == 0, name
        return value

    async def prepare(self, watchdog=0):
        for i, base in enumerate((WEIGHTS, ACTIVATIONS, PARAMETERS, RESULT)):
            await self.write(f"REGION{i}_BASE_LO", base)
            await self.write(f"REGION{i}_SIZE", 0x100)
        await self.write("PROGRAM_BASE_LO", PROGRAM)
        await self.write("IRQ_ENABLE", 3)
        await self.write("WATCHDOG", watchdog)

    async def run(self, memory, program, limit=2000):
        """Put ``program`` in DRAM, ring the doorbell, await the interrupt, clear it; the STATUS."""
        image = assemble(program) if isinstance(program[0], Instruction) else np.concatenate(program)
        memory.bytes[PROGRAM : PROGRAM + len(image)] = image.tobytes()
        await self.write("PROGRAM_LENGTH", len(image) // 32)
        await self.write("CONTROL", 1)
        for _ in range(limit):
            if self.ctx.get(self.dut.irq):
                break
            await self.ctx.tick()
        else:
            raise AssertionError(f"no interrupt within {limit} cycles")
        status = await self.read("STATUS")
        assert await self.read("IRQ_STATUS") == (2 if status & 4 else 1)
        await self.write("IRQ_STATUS", 3)
        assert not self.ctx.get(self.dut.irq)
        return status


def instruction(opcode, **values):
    return Instruction(opcode, values)


def blocks(matrix, width):
    """Block layout of a matrix whose columns are a multiple of ``width`` (a row takes ``width`` bytes)."""
    rows, cols = matrix.shape
    return matrix.reshape(rows, cols // width, width).transpose(1, 0, 2).astype(np.int8).tobytes()


class Product:
    """``requantize(x @ w)`` of 8x8 by 8x8: data, program and expected result."""

    shift = 16

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.x = rng.integers(-128, 128, (TOKENS, INPUTS))
        self.w = rng.integers(-128, 128, (INPUTS, OUTPUTS))
        self.bias = rng.integers(-(2**15), 2**15, OUTPUTS)
        self.multiplier = rng.integers(0, 256, OUTPUTS)

    @property
    def result(self):
        return integer.requantize(integer.matmul(self.x, self.w), self.bias, self.multiplier, self.shift)

    def store_in(self, memory):
        records = np.zeros((OUTPUTS // CONFIG.cols, CONFIG.cols, 8), np.uint8)
        for column in range(OUTPUTS):
            record = int(self.bias[column]).to_bytes(4, "little", signed=True)
            record += int(self.multiplier[column]).to_bytes(2, "little") + bytes(2)
            records[divmod(column, CONFIG.cols)] = np.frombuffer(record, np.uint8)
        for base, image in (
            (WEIGHTS, blocks(self.w, CONFIG.cols)),
            (ACTIVATIONS, blocks(self.x, CONFIG.rows)),
            (PARAMETERS, records.transpose(0, 2, 1).tobytes()),
            (RESULT, bytes(TOKENS * OUTPUTS)),
        ):
            memory.bytes[base : base + len(image)] = image

    def program(self):
        block = {"rows": 8, "blocks": 2, "stride": 8, "dram_stride": 8 * CONFIG.row_pitch}
        return [
            instruction(Opcode.LOAD, region=0, address=0, **block),
            instruction(Opcode.LOAD, give=MATRIX, region=1, address=32, **block),
            instruction(Opcode.LOAD, give=VECTOR, region=2, memory=Memory.PARAMETERS, rows=16, blocks=1),
            instruction(
                Opcode.MATRIX, wait=LOAD, give=VECTOR, rows=TOKENS, k_tiles=2, n_tiles=2, a_address=32, a_stride=8,
                w_address=0, w_k_stride=4, w_n_stride=8, acc_address=16, acc_stride=8,
            ),
            instruction(
                Opcode.VECTOR, wait=LOAD | MATRIX, give=STORE, function=Function.REQUANTIZE, rows=TOKENS, blocks=2,
                valid=OUTPUTS, acc_address=16, acc_stride=8, out_address=64, out_stride=8, layout=Layout.ROWS,
                shift_a=self.shift,
            ),
            instruction(Opcode.STORE, wait=VECTOR, region=3, address=64, **block),
        ]  # fmt: skip

    def stored_in(self, memory):
        image = np.frombuffer(bytes(memory.bytes[RESULT : RESULT + TOKENS * OUTPUTS]), np.int8)
        return image.reshape(OUTPUTS // CONFIG.rows, TOKENS, CONFIG.rows).transpose(1, 0, 2).reshape(TOKENS, OUTPUTS)


def simulate(scenario):
    """Run ``scenario(host, memory)`` on a new accelerator."""
    dut = Accelerator(CONFIG)
    memory = AxiMemory(dut.m_axi)

    async def testbench(ctx):
        await scenario(Host(ctx, dut), memory)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_process(memory.serve)
    sim.add_testbench(testbench)
    sim.run()


async def check_product(host, memory, seed):
    product = Product(seed)
    product.store_in(memory)
    assert await host.run(memory, product.program()) == 0b010
    np.testing.assert_array_equal(product.stored_in(memory), product.result)


def test_programs_run_from_dram_to_dram_and_are_counted():
    async def scenario(host, memory):
        await host.prepare()
        for seed in range(2):
            await check_product(host, memory, seed)
            counters = {name: await host.read(f"{name.upper()}_LO") for name, _ in COUNTERS}
            assert counters["instructions"] == 6
            assert counters["array_busy"] == 4 * TOKENS
            assert counters["vector_beats"] == 2 * TOKENS
            assert counters["read_beats"] == (6 * 32 + 64 + 64 + 64) // 8
            assert counters["write_beats"] == TOKENS * OUTPUTS // 8
            for unit in Unit:
                assert 0 < counters[f"{unit.name.lower()}_busy"] < counters["cycles"]
            assert counters["store_token_wait"] > counters["matrix_token_wait"] > 0
            assert counters["load_token_wait"] == 0

    simulate(scenario)


def test_every_cycle_has_one_cause():
    good = Product(0).program()
    again = {"rows": TOKENS, "k_tiles": 1, "n_tiles": 1, "a_address": 32, "acc_address": 16}
    # The array waits for data, streams, waits for the vector unit and then for the store.
    program = [
        *good[:4],
        instruction(Opcode.VECTOR, **good[4].values | {"give": STORE | MATRIX}),
        instruction(Opcode.STORE, **good[5].values | {"give": MATRIX}),
        instruction(Opcode.MATRIX, wait=VECTOR, **again),
        instruction(Opcode.MATRIX, wait=STORE, **again),
    ]

    async def run(host, memory, program):
        Product(0).store_in(memory)
        assert await host.run(memory, program) == 0b010
        counters = {name: await host.read(f"{name.upper()}_LO") for name, _ in COUNTERS}
        assert sum(causes(counters).values()) == counters["cycles"]
        return counters

    async def scenario(host, memory):
        await host.prepare()
        counters = await run(host, memory, program)
        assert counters["array_busy"] == 6 * TOKENS
        for cause in ("weight_wait", "fill", "wait_load", "wait_vector", "wait_store", "wait_instruction", "drain"):
            assert counters[f"array_{cause}"] > 0, cause
        waits = sum(counters[f"array_wait_{unit}"] for unit in ("load", "vector", "store"))
        # The other waits for tokens passed while the array had rows left.
        assert 0 < waits <= counters["matrix_token_wait"]
        without = await run(host, memory, good[:3])
        assert without["array_drain"] == without["cycles"]

    simulate(scenario)


def test_a_reset_of_one_cycle_at_any_time_leaves_nothing_behind():
    async def scenario(host, memory):
        ctx, dut = host.ctx, host.dut
        image = assemble(Product(0).program())
        requests = [getattr(dut.m_axi, name) for name in ("arvalid", "awvalid", "wvalid")]
        for cycles in range(1, 120, 14):
            await host.prepare()
            memory.bytes[PROGRAM : PROGRAM + len(image)] = image.tobytes()
            await host.write("PROGRAM_LENGTH", len(image) // 32)
            await host.write("CONTROL", 1)
            await ctx.tick().repeat(cycles)
            ctx.set(dut.rst, 1)
            memory.reset = True
            await ctx.tick()
            ctx.set(dut.rst, 0)
            # The core is reset only now: without its silence some of these cycles would ask for something.
            assert not any(ctx.get(request) for request in requests)
            await host.prepare()
            await check_product(host, memory, cycles)

    simulate(scenario)


def test_an_empty_program_is_done_at_once():
    async def scenario(host, memory):
        await host.prepare()
        await host.write("PROGRAM_LENGTH", 0)
        await host.write("CONTROL", 1)
        # The first read may come before the end.
        assert [await host.read("STATUS") for _ in range(2)][1] == 0b010
        assert host.ctx.get(host.dut.irq)
        assert await host.read("READ_BEATS_LO") == 0

    simulate(scenario)


def with_words(program, *changes):
    """The program's 32-byte words, some replaced by other bytes."""
    words = [assemble([i]) for i in program]
    for index, word in changes:
        words[index] = np.frombuffer(word, np.uint8)
    return words


def _replaced(program, index, **values):
    return [
        *program[:index],
        Instruction(program[index].opcode, program[index].values | values),
        *program[index + 1 :],
    ]


GOOD = Product(0).program()
FAULTS = {
    "opcode": (with_words(GOOD, (4, bytes(32))), Fault.ILLEGAL_INSTRUCTION, 4),
    "first word": (with_words(GOOD, (0, b"\xff" * 32)), Fault.ILLEGAL_INSTRUCTION, 0),
    "load region": (_replaced(GOOD, 1, offset=0x100), Fault.REGION, 1),
    "load address": (_replaced(GOOD, 2, address=0xFFFF), Fault.ADDRESS, 2),
    "matrix address": (_replaced(GOOD, 3, acc_address=0xFFFF), Fault.ADDRESS, 3),
    "vector address": (_replaced(GOOD, 4, out_address=0xFFFF), Fault.ADDRESS, 4),
    "store region": (_replaced(GOOD, 5, offset=0x100), Fault.REGION, 5),
    "missing token": (_replaced(GOOD, 3, give=0), Fault.WATCHDOG, 4),
}


BUS_FAULTS = {
    "read": ({ACTIVATIONS + 24}, (), Fault.BUS_READ, 1),
    "fetch": ({PROGRAM + 3 * 32 + 8}, (), Fault.BUS_FETCH, 3),
    "write": ((), {RESULT + 8}, Fault.BUS_WRITE, 5),
}


def test_faults_name_their_instruction_and_good_programs_follow():
    """One device, never powered off: each fault in turn, with and without the reset bit, then a good program."""

    async def scenario(host, memory):
        await host.prepare(watchdog=300)
        for i, (name, (program, code, index)) in enumerate(FAULTS.items()):
            Product(0).store_in(memory)
            assert await host.run(memory, program) == 0b100, name
            assert (await host.read("FAULT_CODE"), await host.read("FAULT_INDEX")) == (code, index), name
            assert not any(memory.bytes[RESULT : RESULT + 0x100]), name
            if i % 2:
                await host.write("CONTROL", 2)
                assert await host.read("STATUS") == 0
            await check_product(host, memory, i)

    simulate(scenario)


def test_bus_errors_name_their_instruction_and_good_programs_follow():
    async def scenario(host, memory):
        await host.prepare()
        for name, (reads, writes, code, index) in BUS_FAULTS.items():
            Product(0).store_in(memory)
            memory.bad_reads.update(reads)
            memory.bad_writes.update(writes)
            assert await host.run(memory, Product(0).program()) == 0b100, name
            assert (await host.read("FAULT_CODE"), await host.read("FAULT_INDEX")) == (code, index), name
            memory.bad_reads.clear()
            memory.bad_writes.clear()
            await check_product(host, memory, 1)

    simulate(scenario)


def test_a_silent_bus_is_reported_and_the_next_start_runs():
    async def scenario(host, memory):
        await host.prepare(watchdog=100)
        memory.silent = True
        assert await host.run(memory, Product(0).program()) == 0b1100
        assert (await host.read("FAULT_CODE"), await host.read("FAULT_INDEX")) == (Fault.WATCHDOG, 0)
        memory.silent = False
        await host.write("WATCHDOG", 0)
        await check_product(host, memory, 1)

    simulate(scenario)
