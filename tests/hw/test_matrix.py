"""The MATRIX unit between a model scratchpad and a model accumulator: results, cycles, stalls and faults."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.sim import Simulator

from systolith.rtl.array import SystolicArray
from systolith.rtl.config import PRESETS, Config
from systolith.rtl.interfaces import READ_LATENCY, Fault
from systolith.rtl.isa import Instruction, Opcode
from systolith.rtl.matrix import ACTIVATION_AHEAD, MIN_TILE_PERIOD, MatrixUnit

#: Cycles from the last row of an instruction to its ``retired``, as an accumulator would take.
RETIRE_DELAY = 5
LOWEST = -(1 << 31)


def matrix(**values: int) -> Instruction:
    return Instruction(Opcode.MATRIX, {"rows": 1, "k_tiles": 1, "n_tiles": 1, **values})


@dataclass
class Memories:
    """Scratchpad, accumulator and maxima, and what a MATRIX instruction does to them."""

    config: Config
    seed: int = 0
    scratchpad: np.ndarray = field(init=False)
    accumulator: np.ndarray = field(init=False)
    maxima: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        config = self.config
        self.scratchpad = rng.integers(-128, 128, (config.scratchpad_rows, config.row_bytes))
        self.accumulator = rng.integers(-(2**20), 2**20, (config.accumulator_rows, config.cols))
        self.maxima = rng.integers(-(2**15), 2**15, config.statistics_rows)

    def execute(self, i: Instruction) -> None:
        config = self.config
        height, width = (config.cols, config.rows) if i.transpose else (config.rows, config.cols)
        for n in range(i.n_tiles):
            out = slice(i.acc_address + n * i.acc_stride, i.acc_address + n * i.acc_stride + i.rows)
            sums = self.accumulator[out] if i.accumulate else 0
            for k in range(i.k_tiles):
                a = i.a_address + k * i.a_stride
                w = i.w_address + n * i.w_n_stride + k * i.w_k_stride
                sums = sums + SystolicArray.model(
                    self.scratchpad[a : a + i.rows, : config.rows], self.scratchpad[w : w + height, :width], i.transpose
                )
            self.accumulator[out] = sums
            if i.track_max:
                stat = slice(i.stat_address, i.stat_address + i.rows)
                old = np.full(i.rows, LOWEST) if i.max_first and n == 0 else self.maxima[stat]
                columns = min(max(i.valid - n * config.cols, 0), config.cols)
                self.maxima[stat] = np.maximum(old, sums[:, :columns].max(axis=1, initial=LOWEST))


class Bench:
    """Runs instructions on the unit; collects the cycles of streamed rows, retirements, and the fault.

    Reads are refused with probability ``stall``, those of activations also in the cycles ``refused``, and those of
    weights, if ``banked``, where both want the same bank.
    """

    def __init__(
        self,
        config: Config,
        instructions: list[Instruction],
        *,
        stall: float = 0.0,
        seed: int = 0,
        refused: range = range(0),
        banked: bool = False,
    ) -> None:
        self.memories = Memories(config, seed)
        self.instructions = instructions
        self.stall = stall
        self.refused = refused
        self.banked = banked
        self.rng = np.random.default_rng(seed)
        self.streamed: list[int] = []
        self.accepted: list[int] = []
        self.retired: list[int] = []
        self.fault: tuple[int, Fault] | None = None
        self.weight_waits = self.bank_waits = self.rows_out = self.rows_left = 0
        self._dut = MatrixUnit(config)
        self.array_latency = self._dut.array.latency
        self._written: dict[int, int] = {}

    def run(self, cycles: int = 3000) -> "Bench":
        simulator = Simulator(self._dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._bench)
        self._cycles = cycles
        simulator.run()
        return self

    async def _bench(self, ctx) -> None:
        dut = self._dut
        ports = [(port, deque([None] * READ_LATENCY)) for port in (dut.activations, dut.weights)]
        waiting = deque(i.encode() for i in self.instructions)
        retiring: list[int] = []
        for cycle in range(self._cycles):
            for port, pipeline in ports:
                address = pipeline.popleft()
                ctx.set(port.valid, address is not None)
                row = self.rng.integers(-128, 128, 4) if address is None else self.memories.scratchpad[address]
                ctx.set(port.data, np.resize(row, dut.config.row_bytes).tolist())
                ready = self.rng.random() >= self.stall
                ready &= port is not dut.activations or not (cycle in self.refused or self._meet(ctx, give_way=1))
                ready &= port is not dut.weights or not (self.banked and self._meet(ctx, give_way=0))
                ctx.set(port.request.ready, ready)
                asked = ready and ctx.get(port.request.valid)
                pipeline.append(ctx.get(port.request.payload) if asked else None)
            retired = cycle in retiring
            ctx.set(dut.accumulator.retired, retired)
            offered = bool(waiting) and self.rng.random() >= self.stall
            ctx.set(dut.control.instruction.valid, offered)
            ctx.set(dut.control.instruction.payload, waiting[0] if offered else 0)
            if offered and ctx.get(dut.control.instruction.ready):
                waiting.popleft()
                self.accepted.append(cycle)
            self._observe(ctx, cycle, retiring)
            if retired:
                assert ctx.get(dut.control.retired)
                self.retired.append(cycle)
            if len(self.retired) == len(self.instructions):
                return
            await ctx.tick()
        assert self.fault is not None, "neither finished nor faulted"

    def _meet(self, ctx, *, give_way: int) -> bool:
        """Whether activations and weights are asked of the same bank, and the weights go first or, if 0, do not."""
        requests = [port.request for port in (self._dut.activations, self._dut.weights)]
        banks = [ctx.get(request.payload) % self._dut.config.scratchpad_banks for request in requests]
        both = all(ctx.get(request.valid) for request in requests)
        return both and banks[0] == banks[1] and ctx.get(self._dut.give_way) == give_way

    def _observe(self, ctx, cycle: int, retiring: list[int]) -> None:
        dut, out = self._dut, self._dut.accumulator
        self.weight_waits += ctx.get(dut.weight_wait)
        self.bank_waits += ctx.get(dut.bank_wait)
        self.rows_left += ctx.get(dut.rows_left)
        causes = [ctx.get(cause) for cause in (dut.row_streamed, dut.bank_wait, dut.weight_wait)]
        assert sum(causes) <= ctx.get(dut.rows_left)
        if ctx.get(dut.row_streamed):
            self.streamed.append(cycle)
        if code := ctx.get(dut.control.fault):
            assert self.fault is None, "a fault is raised once"
            self.fault = (cycle, Fault(code))
        if not ctx.get(out.valid):
            return
        self.rows_out += 1
        address = ctx.get(out.address)
        sums = np.array([ctx.get(out.data[c]) for c in range(dut.config.cols)])
        if not ctx.get(out.overwrite):
            assert cycle - self._written.get(address, -MIN_TILE_PERIOD) >= MIN_TILE_PERIOD
            sums = sums + self.memories.accumulator[address]
        self._written[address] = cycle
        self.memories.accumulator[address] = sums
        if ctx.get(out.track_max):
            stat, mask = ctx.get(out.stat_address), ctx.get(out.mask)
            old = LOWEST if ctx.get(out.max_first) else self.memories.maxima[stat]
            chosen = [s for c, s in enumerate(sums.tolist()) if mask >> c & 1]
            self.memories.maxima[stat] = max([old, *chosen])
        if ctx.get(out.last):
            retiring.append(cycle + RETIRE_DELAY)


def random_instruction(rng: np.random.Generator, config: Config) -> Instruction:
    """Anything in range; accumulator windows of 16 rows, so that consecutive ones coincide or are far apart."""
    rows, k_tiles, n_tiles = (int(rng.integers(1, high)) for high in (13, 4, 4))
    return matrix(
        rows=rows, k_tiles=k_tiles, n_tiles=n_tiles,
        a_address=int(rng.integers(100)), a_stride=int(rng.integers(100)),
        w_address=int(rng.integers(100)), w_k_stride=int(rng.integers(100)), w_n_stride=int(rng.integers(100)),
        acc_address=16 * int(rng.integers(5)), acc_stride=16 * int(rng.integers(1, 4)),
        transpose=int(rng.integers(2)), accumulate=int(rng.integers(2)),
        track_max=int(rng.integers(2)), max_first=int(rng.integers(2)),
        stat_address=16 * int(rng.integers(3)), valid=int(rng.integers(config.cols * n_tiles + 3)),
    )  # fmt: skip


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (3, 5), (6, 4), (9, 2)])
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_random_instructions(size, stall):
    config = PRESETS["tiny"].resized(*size)
    rng = np.random.default_rng(size)
    instructions = [random_instruction(rng, config) for _ in range(6)]
    bench = Bench(config, instructions, stall=stall, seed=3).run()
    expected = Memories(config, seed=3)
    for instruction in instructions:
        expected.execute(instruction)
    np.testing.assert_array_equal(bench.memories.accumulator, expected.accumulator)
    np.testing.assert_array_equal(bench.memories.maxima, expected.maxima)
    assert bench.fault is None
    assert len(bench.streamed) == bench.rows_out == sum(i.rows * i.k_tiles * i.n_tiles for i in instructions)
    assert (bench.bank_waits > 0) == (stall > 0)


@pytest.mark.parametrize(("size", "transpose"), [((8, 8), 0), ((8, 8), 1), ((10, 4), 0), ((6, 10), 1)])
def test_no_bubble_within_or_between_instructions(size, transpose):
    config = PRESETS["small"].resized(*size)
    period = size[1] if transpose else size[0]
    shape = {"rows": period, "w_k_stride": 16, "w_n_stride": 32, "acc_stride": 16, "a_stride": 16}
    instructions = [
        matrix(**shape, k_tiles=2, n_tiles=2, transpose=transpose),
        matrix(**shape, k_tiles=1, transpose=transpose),
        matrix(**shape, k_tiles=1, transpose=transpose),
        matrix(**shape, k_tiles=3, transpose=transpose),
    ]
    bench = Bench(config, instructions).run()
    rows = 9 * period
    assert bench.streamed == list(range(bench.streamed[0], bench.streamed[0] + rows))
    # Hand-over and walk 2, prefetch 4, a weight tile; then the rows, the array's depth and retirement.
    fill = bench.streamed[0] - bench.accepted[0]
    assert fill == 2 + 4 + period
    assert bench.retired[-1] - bench.accepted[0] == fill + rows - 1 + bench.array_latency + RETIRE_DELAY
    assert bench.weight_waits == fill - (2 + 4)
    assert bench.rows_left == bench.streamed[-1] - bench.accepted[0]


@pytest.mark.parametrize("rows", [8, 10, pytest.param(16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("step", range(4))
def test_weights_and_activations_that_meet_in_a_bank_part_for_good(rows, step):
    """Tiles of as many activation rows as weight rows leave no time to catch up what a meeting cost."""
    config = PRESETS["small"].resized(rows, rows)
    instruction = matrix(rows=rows, k_tiles=30, n_tiles=2, a_address=step, a_stride=16, w_k_stride=16, acc_stride=16)
    bench = Bench(config, [instruction], banked=True).run()
    assert bench.streamed == list(range(bench.streamed[0], bench.streamed[0] + 60 * rows))


def test_every_bubble_of_a_busy_bank_counts_as_its_wait():
    refused = range(60, 73)
    bench = Bench(PRESETS["tiny"], [matrix(rows=100)], refused=refused).run()
    bubbles = bench.streamed[-1] - bench.streamed[0] + 1 - len(bench.streamed)
    assert bench.bank_waits == bubbles > 0
    # The rows ahead hide what the credit's round trip of 4 cycles leaves of them.
    assert bubbles == len(refused) - (ACTIVATION_AHEAD - 4)


def test_short_tiles_follow_at_the_minimum_period():
    bench = Bench(PRESETS["tiny"], [matrix(rows=2, k_tiles=6, a_stride=4, w_k_stride=4)]).run()
    assert np.diff(bench.streamed[::2]).tolist() == [MIN_TILE_PERIOD] * 5


def test_last_rows_of_every_memory_are_in_range():
    config = PRESETS["tiny"]
    last = matrix(
        rows=5, track_max=1, max_first=1, valid=4,
        a_address=config.scratchpad_rows - 5, w_address=config.scratchpad_rows - config.rows,
        acc_address=config.accumulator_rows - 5, stat_address=config.statistics_rows - 5,
    )  # fmt: skip
    bench = Bench(config, [last]).run()
    expected = Memories(config)
    expected.execute(last)
    np.testing.assert_array_equal(bench.memories.accumulator, expected.accumulator)
    np.testing.assert_array_equal(bench.memories.maxima, expected.maxima)


TINY = PRESETS["tiny"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"rows": 0}, Fault.ILLEGAL_INSTRUCTION),
        ({"k_tiles": 0}, Fault.ILLEGAL_INSTRUCTION),
        ({"n_tiles": 0}, Fault.ILLEGAL_INSTRUCTION),
        ({"rows": 5, "a_address": TINY.scratchpad_rows - 4}, Fault.ADDRESS),
        ({"rows": 65535, "a_address": 65535}, Fault.ADDRESS),
        ({"k_tiles": 3, "a_stride": 65535}, Fault.ADDRESS),
        ({"w_address": TINY.scratchpad_rows - 3}, Fault.ADDRESS),
        ({"w_address": 65535}, Fault.ADDRESS),
        ({"k_tiles": 2, "w_k_stride": TINY.scratchpad_rows - 3}, Fault.ADDRESS),
        ({"n_tiles": 2, "w_n_stride": 65535}, Fault.ADDRESS),
        ({"rows": 2, "acc_address": TINY.accumulator_rows - 1}, Fault.ADDRESS),
        ({"n_tiles": 2, "acc_stride": TINY.accumulator_rows}, Fault.ADDRESS),
        ({"rows": 2, "track_max": 1, "stat_address": TINY.statistics_rows - 1}, Fault.ADDRESS),
    ],
)
def test_faults_wait_for_the_instructions_before(values, code):
    good = matrix(rows=4, k_tiles=3)
    bench = Bench(TINY, [good, good, matrix(**values), good]).run(cycles=130)
    cycle, raised = bench.fault
    assert raised == code
    assert len(bench.retired) == 2
    assert cycle > bench.retired[-1]


def test_the_statistics_row_only_counts_when_tracking():
    bench = Bench(TINY, [matrix(rows=2, stat_address=4095)]).run()
    assert bench.fault is None
