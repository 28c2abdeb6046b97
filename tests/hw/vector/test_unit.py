"""The vector unit, its memories modelled in Python with random stalls, against the integer arithmetic."""

import dataclasses
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from systolith.numerics import integer
from systolith.rtl.config import Config
from systolith.rtl.interfaces import READ_LATENCY, Fault
from systolith.rtl.isa import Function, Instruction, Layout, Opcode
from systolith.rtl.vector import VectorUnit
from systolith.rtl.vector.arithmetic import supported
from systolith.rtl.vector.lanes import Lanes

#: Index of a matrix of elements into a memory: their rows, and their columns in them.
Places = tuple[np.ndarray, np.ndarray]


def sized(rows: int, cols: int, lanes: int, **kwargs: Any) -> Config:
    """A small configuration: 128 accumulator, 192 scratchpad, 12 parameter and 24 statistics rows."""
    return Config(
        rows=rows, cols=cols, lanes=lanes, scratchpad_bytes=192 * max(rows, cols), accumulator_bytes=128 * 4 * cols,
        parameter_bytes=12 * 8 * cols, statistics_rows=24, **kwargs,
    )  # fmt: skip


SIZES = [sized(4, 4, 4), sized(4, 4, 2), sized(6, 4, 2), sized(4, 6, 2)]
SMALLEST = sized(2, 2, 1)


@dataclass
class Memories:
    """Everything that the unit reads and writes, and the definition of what an instruction does to it."""

    config: Config
    seed: int = 0
    sums: dict[int, tuple[int, int]] = field(default_factory=dict)
    reciprocals: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        c = self.config
        self.accumulator = rng.integers(-4000, 4000, (c.accumulator_rows, c.cols))
        self.scratchpad = rng.integers(-128, 128, (c.scratchpad_rows, c.row_bytes))
        self.maximum = rng.integers(2000, 4000, c.statistics_rows)
        shape = (c.parameter_rows, c.cols)
        self.bias = rng.integers(-1000, 1000, shape)
        self.multiplier_a = rng.integers(0, 65536, shape)
        self.multiplier_b = rng.integers(-32768, 32768, shape)

    def _places(self, address: int, stride: int, width: int, rows: int, columns: int) -> Places:
        element = np.arange(columns)
        return address + (element // width) * stride + np.arange(rows)[:, None], np.tile(element % width, (rows, 1))

    def execute(self, i: Instruction) -> np.ndarray:
        """One instruction on whole matrices, by docs/architecture.md; its result, (rows, columns)."""
        c = self.config
        columns = i.blocks * c.cols
        stats = [i.stat_address + row for row in range(i.rows)]
        source = self._places(i.acc_address, i.acc_stride, c.cols, i.rows, columns)
        skip = self._places(i.residual_address, i.residual_stride, c.rows, i.rows, columns)
        parameters = slice(i.param_address, i.param_address + i.blocks)
        function = Function(i.function)
        reciprocal = None
        if function in (Function.CONTEXT, Function.LAYERNORM):
            reciprocal = integer.Reciprocal(*np.array([self.reciprocals[row] for row in stats]).T)
        result = Lanes.model(
            function, self.accumulator[source],
            bias=self.bias[parameters].ravel()[None],
            multiplier_a=self.multiplier_a[parameters].ravel()[None],
            multiplier_b=self.multiplier_b[parameters].ravel()[None],
            skip=self.scratchpad[skip] if function is Function.RESIDUAL else 0,
            maximum=self.maximum[stats] if function is Function.EXPONENT else 0,
            reciprocal=reciprocal, multiplier=i.multiplier, shift_a=i.shift_a, shift_b=i.shift_b, offset=i.offset,
            grid=i.grid,
        )  # fmt: skip
        result = np.where(np.arange(columns) < i.valid, result, 0)
        memory, places = self.destination(i)
        memory[places] = result
        if function in (Function.EXPONENT, Function.RESIDUAL):
            self._add_up(i, function, stats, result)
        return result

    def destination(self, i: Instruction) -> tuple[np.ndarray, Places]:
        """The memory that the instruction writes, and where it writes its elements."""
        c = self.config
        columns = i.blocks * c.cols
        if i.function == Function.RESIDUAL:
            return self.accumulator, self._places(i.acc_address, i.acc_stride, c.cols, i.rows, columns)
        width = c.rows if i.layout == Layout.ROWS else c.cols
        return self.scratchpad, self._places(i.out_address, i.out_stride, width, i.rows, columns)

    def _add_up(self, i: Instruction, function: Function, stats: list[int], result: np.ndarray) -> None:
        for row, values in zip(stats, result, strict=True):
            total, squares = (0, 0) if i.first else self.sums[row]
            total, squares = total + int(values.sum()), squares + int((values * values).sum())
            self.sums[row] = total, squares
            if i.last and function is Function.EXPONENT:
                self.reciprocals[row] = tuple(int(v) for v in integer.softmax_reciprocal(total))
            elif i.last:
                r = integer.layernorm_reciprocal(total, squares, i.multiplier, i.mean_multiplier)
                self.reciprocals[row] = tuple(int(v) for v in r)


def pack(values: Any, bits: int) -> int:
    mask = (1 << bits) - 1
    return sum((int(v) & mask) << (bits * n) for n, v in enumerate(values))


def unpack(word: int, bits: int, count: int) -> list[int]:
    values = [(word >> (bits * n)) & ((1 << bits) - 1) for n in range(count)]
    return [v - (1 << bits) if v >> (bits - 1) else v for v in values]


@dataclass
class Trace:
    """What a run showed: cycles of each retirement and of each beat, the faults, and what each instruction had
    left in memory when it retired."""

    retired: list[int] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    results: list[np.ndarray] = field(default_factory=list)


class Bench:
    """Runs instructions on the unit; ``grant`` is the probability that a request is accepted in a cycle."""

    def __init__(self, memories: Memories, grant: float = 1.0) -> None:
        self.memories = memories
        self.grant = grant
        self.random = random.Random(memories.seed)
        self.dut = VectorUnit(memories.config)

    def run(self, program: list[Instruction], limit: int = 3000, faulty: bool = False) -> Trace:
        trace = Trace()

        async def bench(ctx):
            await self._bench(ctx, program, trace, limit, faulty)

        sim = Simulator(self.dut)
        sim.add_clock(1e-6)
        sim.add_testbench(bench)
        sim.run()
        return trace

    async def _bench(self, ctx, program, trace, limit, faulty):
        dut, mem, c = self.dut, self.memories, self.memories.config
        requests = {
            "read": dut.accumulator_read.request, "skip": dut.residual.request,
            "result": dut.result.request, "write": dut.accumulator_write.request,
        }  # fmt: skip
        records = [
            pack(((int(a) << 32) | (int(b) & 0xFFFF) << 48 | (int(bias) & 0xFFFFFFFF) for bias, a, b in rows), 64)
            for rows in (
                zip(mem.bias[n], mem.multiplier_a[n], mem.multiplier_b[n], strict=True) for n in range(c.parameter_rows)
            )
        ]
        pending = {"read": [None] * READ_LATENCY, "skip": [None] * READ_LATENCY}
        ports = {"read": (dut.accumulator_read, 32), "skip": (dut.residual, 8)}
        words = [i.encode() for i in program]
        maximum_address = parameter_address = quiet = 0
        for cycle in range(limit):
            if self.grant < 1:
                for request in requests.values():
                    ctx.set(request.ready, self.random.random() < self.grant)
            elif cycle == 0:
                for request in requests.values():
                    ctx.set(request.ready, 1)
            for name, (port, bits) in ports.items():
                row = pending[name].pop(0)
                ctx.set(port.valid, row is not None)
                data = Value.cast(port.data)
                # A row is there for one cycle.
                ctx.set(data, self.random.getrandbits(len(data)) if row is None else pack(row, bits))
            ctx.set(dut.maximum.data, int(mem.maximum[maximum_address % c.statistics_rows]))
            ctx.set(Value.cast(dut.parameters.data), records[parameter_address % c.parameter_rows])
            ctx.set(dut.control.instruction.valid, bool(words))
            if words:
                ctx.set(dut.control.instruction.payload, words[0])

            maximum_address, parameter_address = ctx.get(dut.maximum.address), ctx.get(dut.parameters.address)
            moved = {name: ctx.get(r.valid) and ctx.get(r.ready) for name, r in requests.items()}
            pending["read"].append(mem.accumulator[ctx.get(requests["read"].payload)].copy() if moved["read"] else None)
            pending["skip"].append(mem.scratchpad[ctx.get(requests["skip"].payload)].copy() if moved["skip"] else None)
            for name, memory, bits in (("result", mem.scratchpad, 8), ("write", mem.accumulator, 32)):
                if moved[name]:
                    payload = requests[name].payload
                    data = unpack(ctx.get(Value.cast(payload.data)), bits, memory.shape[1])
                    mask, address = ctx.get(payload.mask), ctx.get(payload.address)
                    for column in range(memory.shape[1]):
                        if mask >> column & 1:
                            memory[address, column] = data[column]
            if ctx.get(dut.beat):
                trace.beats.append(cycle)
            if ctx.get(dut.control.retired):
                memory, places = mem.destination(program[len(trace.retired)])
                trace.results.append(memory[places])
                trace.retired.append(cycle)
            if fault := ctx.get(dut.control.fault):
                trace.faults.append(Fault(fault))
            if words and ctx.get(dut.control.instruction.ready):
                words.pop(0)
            quiet = quiet + 1 if trace.faults or len(trace.retired) == len(program) else 0
            if quiet > 20:
                return
            await ctx.tick()
        assert faulty, f"{len(trace.retired)} of {len(program)} instructions retired within {limit} cycles"


def vector(function: int, **fields: int) -> Instruction:
    """A VECTOR instruction with plausible constants; ``fields`` override them."""
    defaults = {
        "rows": 5, "blocks": 2, "valid": 1000, "acc_stride": 16, "out_stride": 16, "residual_stride": 16,
        "shift_a": 20, "shift_b": 15, "multiplier": 3000, "offset": -7, "grid": 1,
    }  # fmt: skip
    if function == Function.EXPONENT:
        defaults["shift_a"] = 15
    if function == Function.CONTEXT:
        defaults["shift_b"] = 23
    if function == Function.LAYERNORM:
        defaults["shift_b"] = 21
    return Instruction(Opcode.VECTOR, {**defaults, "function": function, **fields})


def program(config: Config) -> list[Instruction]:
    """Every function, and every order in which one instruction needs the effects of another."""
    F, cols = Function, config.cols
    hidden = 3 * cols - 1
    columns = {"multiplier": hidden, "mean_multiplier": integer.mean_multiplier(hidden)}
    norm = {"valid": hidden, **columns}
    return [
        vector(F.REQUANTIZE, valid=2 * cols - 1, out_address=3),
        vector(F.GELU, rows=1, blocks=3, param_address=1, acc_address=2, out_address=70, layout=1),
        vector(F.REQUANTIZE, rows=1, blocks=1, acc_address=9, out_address=9, layout=1),
        # Softmax of one instruction, and of two of single rows whose sums follow each other immediately.
        vector(F.EXPONENT, first=1, last=1, stat_address=2, valid=cols + 1, out_address=80),
        vector(F.GELU, rows=2, blocks=1, out_address=104, param_address=5),
        vector(F.CONTEXT, stat_address=2, acc_address=40, out_address=110),
        vector(F.EXPONENT, rows=1, blocks=3, first=1, stat_address=9, acc_address=5),
        vector(F.EXPONENT, rows=1, blocks=2, last=1, stat_address=9, acc_address=7, out_address=60),
        vector(F.REQUANTIZE, rows=1, blocks=1, acc_address=30, out_address=9),
        vector(F.CONTEXT, rows=1, stat_address=9, acc_address=40, out_address=120, param_address=1),
        # LayerNorm over three blocks in two instructions; its result is the next skip operand.
        vector(F.RESIDUAL, first=1, stat_address=10, acc_address=48, residual_address=4),
        vector(F.RESIDUAL, blocks=1, last=1, stat_address=10, acc_address=80, residual_address=40, param_address=2,
               valid=cols - 1, **columns),
        vector(F.LAYERNORM, blocks=3, stat_address=10, acc_address=48, out_address=20, **norm),
        vector(F.RESIDUAL, blocks=3, first=1, last=1, acc_address=48, residual_address=20, **norm),
        vector(F.REQUANTIZE, blocks=3, acc_address=48, out_address=100, shift_a=16),
        vector(F.LAYERNORM, blocks=3, acc_address=48, out_address=20, **norm),
        vector(F.LAYERNORM, blocks=3, acc_address=48, out_address=96, param_address=4, **norm),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "grant"),
    [(SIZES[0], 1.0), *((config, 0.6) for config in SIZES), (SMALLEST, 0.8)],
    ids=lambda v: f"{v.rows}x{v.cols}-{v.lanes}" if isinstance(v, Config) else str(v),
)
def test_program_matches_its_definition(config, grant):
    instructions = program(config)
    memories, golden = Memories(config), Memories(config)
    results = [golden.execute(instruction) for instruction in instructions]
    trace = Bench(memories, grant).run(instructions)
    for instruction, result, expected in zip(instructions, trace.results, results, strict=True):
        np.testing.assert_array_equal(result, expected, err_msg=str(instruction))
    np.testing.assert_array_equal(memories.scratchpad, golden.scratchpad)
    np.testing.assert_array_equal(memories.accumulator, golden.accumulator)
    assert len(trace.retired) == len(instructions)
    assert not trace.faults
    assert len(trace.beats) == sum(i.rows * i.blocks for i in instructions) * config.cols // config.lanes


@pytest.mark.parametrize("left_out", [{"softmax": False, "gelu": False}, {"layernorm": False}])
def test_program_of_a_smaller_unit(left_out):
    config = dataclasses.replace(SMALLEST, **left_out)
    instructions = [i for i in program(config) if i.function in supported(config)]
    memories, golden = Memories(config), Memories(config)
    for instruction in instructions:
        golden.execute(instruction)
    trace = Bench(memories, 0.8).run(instructions)
    # With others left out, one instruction may write over the result of the one before, which has not retired yet.
    np.testing.assert_array_equal(memories.scratchpad, golden.scratchpad)
    np.testing.assert_array_equal(memories.accumulator, golden.accumulator)
    assert len(trace.retired) == len(instructions)
    assert not trace.faults


def test_results_use_the_range():
    """The constants above are no trivial ones: every function gives many different results."""
    golden = Memories(SIZES[0])
    for instruction in program(SIZES[0]):
        assert len(np.unique(golden.execute(instruction))) >= min(3 * instruction.rows, 8), instruction


def test_one_beat_a_cycle():
    config = SIZES[1]
    instructions = [
        vector(Function.GELU, rows=8, blocks=4),
        vector(Function.EXPONENT, rows=8, blocks=4, first=1, last=1),
        vector(Function.REQUANTIZE, rows=8, blocks=4),
        vector(Function.RESIDUAL, rows=8, blocks=4, first=1),
    ]
    trace = Bench(Memories(config)).run(instructions)
    beats = 8 * 4 * 2
    starts = [trace.beats[n * beats] for n in range(len(instructions))]
    ends = [trace.beats[(n + 1) * beats - 1] for n in range(len(instructions))]
    assert [end - start for start, end in zip(starts, ends, strict=True)] == [beats - 1] * 4
    assert starts[1] - ends[0] == starts[2] - ends[1] == 3
    assert trace.retired[-1] - ends[-1] == 27


LAST = {"first": 1, "last": 1}


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (vector(6), Fault.ILLEGAL_INSTRUCTION),
        (vector(7), Fault.ILLEGAL_INSTRUCTION),
        (vector(Function.REQUANTIZE, rows=0), Fault.ILLEGAL_INSTRUCTION),
        (vector(Function.REQUANTIZE, blocks=0), Fault.ILLEGAL_INSTRUCTION),
        (vector(Function.REQUANTIZE, acc_address=124), Fault.ADDRESS),
        (vector(Function.REQUANTIZE, acc_stride=0xFFFF), Fault.ADDRESS),
        (vector(Function.REQUANTIZE, acc_address=0xFFFF, acc_stride=0xFFFF), Fault.ADDRESS),
        (vector(Function.REQUANTIZE, out_address=192), Fault.ADDRESS),
        (vector(Function.REQUANTIZE, out_address=172), Fault.ADDRESS),
        (vector(Function.GELU, param_address=11), Fault.ADDRESS),
        (vector(Function.EXPONENT, stat_address=20, **LAST), Fault.ADDRESS),
        (vector(Function.RESIDUAL, residual_address=188, **LAST), Fault.ADDRESS),
        (vector(Function.RESIDUAL, residual_address=172, **LAST), Fault.ADDRESS),
        (vector(Function.RESIDUAL, stat_address=4095, **LAST), Fault.ADDRESS),
    ],
    ids=str,
)
def test_faults_after_earlier_instructions(bad, fault):
    config = SMALLEST
    memories, golden = Memories(config), Memories(config)
    good = vector(Function.EXPONENT, stat_address=1, **LAST)
    golden.execute(good)
    before = golden.scratchpad[80:].copy()
    trace = Bench(memories).run([good, bad, vector(Function.REQUANTIZE)])
    assert trace.faults == [fault]
    assert len(trace.retired) == 1
    if fault is Fault.ILLEGAL_INSTRUCTION:
        np.testing.assert_array_equal(memories.scratchpad, golden.scratchpad)
    np.testing.assert_array_equal(memories.scratchpad[80:170], before[:90])


@pytest.mark.parametrize(
    "good",
    [
        vector(Function.REQUANTIZE, stat_address=4095),
        vector(Function.EXPONENT, param_address=4095, **LAST),
        vector(Function.RESIDUAL, out_address=0xFFFF, **LAST),
        vector(Function.REQUANTIZE, acc_address=107, out_address=171, param_address=10, out_stride=16),
    ],
    ids=str,
)
def test_unused_fields_do_not_fault(good):
    trace = Bench(Memories(SMALLEST)).run([good])
    assert (len(trace.retired), trace.faults) == (1, [])


@pytest.mark.parametrize("function", list(Function)[1:])
def test_functions_left_out_are_illegal(function):
    name = {Function.GELU: "gelu", Function.EXPONENT: "softmax", Function.CONTEXT: "softmax"}.get(function, "layernorm")
    config = dataclasses.replace(SMALLEST, **{name: False})
    trace = Bench(Memories(config)).run([vector(Function.REQUANTIZE), vector(function)])
    assert (len(trace.retired), trace.faults) == (1, [Fault.ILLEGAL_INSTRUCTION])
