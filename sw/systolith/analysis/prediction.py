"""Predicts the cycles of a program from its instructions and the configuration, without simulating data.

Events in the order of time: bursts on the read bus, instructions dispatched, issued and retired. Each unit is in order;
what an instruction of MATRIX, VECTOR or STORE takes follows from its fields alone. Depths of queues come from the
configuration and the RTL's own constants; the pipelines' depths (``_*_CYCLES``) were read off traces of single
instructions on the RTL. Left out, and so the source of the error: conflicts on banks, and the bursts' exact lengths at
the 4 KiB boundaries.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from systolith.rtl.array import SystolicArray
from systolith.rtl.config import Config
from systolith.rtl.dma.bursts import longest_burst
from systolith.rtl.dma.fetch import BURSTS, QUEUE
from systolith.rtl.dma.runs import beats_per_row, rows_per_beat
from systolith.rtl.interfaces import IN_FLIGHT
from systolith.rtl.isa import INSTRUCTION_BYTES, Function, Instruction, Unit
from systolith.rtl.matrix import MIN_TILE_PERIOD

from .bench_cases import MemoryTiming

#: From the launch to the fetch's first burst on the bus, and from an instruction's last beat to its dispatch.
_LAUNCH_CYCLES, _FETCH_CYCLES = 3, 4
#: From a LOAD's issue to its first burst; from a burst's last beat to the instruction's retirement.
_LOAD_ISSUE_CYCLES, _LOAD_WRITE_CYCLES = 5, 5
#: From a MATRIX instruction's issue to its retirement beyond its tiles, one tile's weights and the array's latency.
_MATRIX_CYCLES = 13
#: The same of VECTOR beyond its beats; and until the last reciprocal is written.
_VECTOR_CYCLES, _RECIPROCAL_CYCLES = 28, 50
#: Between the last beat of a VECTOR instruction and the first of the next.
_VECTOR_GAP_CYCLES = 2
#: From a STORE's issue to its retirement beyond its rows and the memory's latency.
_STORE_CYCLES = 11
#: From the last retirement to the end of the program.
_END_CYCLES = 3

_SUMMED = (Function.EXPONENT, Function.RESIDUAL)
_INVERSE = (Function.CONTEXT, Function.LAYERNORM)


@dataclass(frozen=True)
class Prediction:
    """Predicted cycles of a program, and of each instruction's issue and retirement."""

    cycles: int
    issued: tuple[int, ...]
    retired: tuple[int, ...]


def predict(instructions: Sequence[Instruction], config: Config, timing: MemoryTiming) -> Prediction:
    """Predict the cycles that the RTL of ``config`` takes for a program that its verifier accepts.

    Raises
    ------
    ValueError
        If the program cannot come to its end (a token that never comes).
    """
    return _Machine(instructions, config, timing).run()


class _Machine:
    """All state of one prediction; times are cycles since the launch."""

    def __init__(self, instructions: Sequence[Instruction], config: Config, timing: MemoryTiming) -> None:
        self.instructions, self.config, self.timing = instructions, config, timing
        self.now = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self.issued = [-1] * len(instructions)
        self.retired = [-1] * len(instructions)
        self._depth = (config.load_queue, config.matrix_queue, config.vector_queue, config.store_queue)
        self._queue: list[deque[int]] = [deque() for _ in Unit]
        self._in_flight = [0] * len(Unit)
        self._tokens: dict[tuple[int, int], int] = defaultdict(int)
        self._dispatched = 0
        self._free_from = [0] * len(Unit)
        self._bus = _ReadBus(self)
        self._array_latency = SystolicArray.latency_of(config)
        self._matrix_done = self._vector_done = self._vector_free = self._store_done = 0
        self._residual_until = self._exponent_until = 0
        self._retiring: dict[int, int] = {}

    def at(self, time: int, action: Callable[[], None]) -> None:
        """Let ``action`` happen at ``time``, after what was asked for earlier at that time."""
        heapq.heappush(self._events, (max(time, self.now), self._order, action))
        self._order += 1

    def run(self) -> Prediction:
        self.at(_LAUNCH_CYCLES, self._bus.start)
        while self._events:
            self.now, _, action = heapq.heappop(self._events)
            action()
        if min(self.retired, default=0) < 0:
            raise ValueError(f"instruction {self.retired.index(-1)} never retires")
        return Prediction(max(self.retired, default=0) + _END_CYCLES, tuple(self.issued), tuple(self.retired))

    def dispatch(self) -> None:
        """Move the next instruction, if it was fetched, to its unit's queue, if there is room: one a cycle."""
        index = self._dispatched
        if index == len(self.instructions) or self._bus.available(index) is None:
            return
        ready = self._bus.available(index) or 0
        if ready > self.now:
            return
        unit = self.instructions[index].unit
        # One more than the queue's depth: its output is a register of its own.
        if len(self._queue[unit]) > self._depth[unit]:
            return
        self._queue[unit].append(index)
        self._dispatched += 1
        self._bus.freed()
        self.at(self.now, partial(self.issue, unit))
        self.at(self.now + 1, self.dispatch)

    def issue(self, unit: Unit) -> None:
        """Hand the head of the queue over if its tokens, a slot and the unit are there."""
        queue = self._queue[unit]
        if not queue or self._in_flight[unit] == IN_FLIGHT or self.now < self._free_from[unit]:
            return
        index = queue[0]
        word = self.instructions[index]
        waits = [other for other in Unit if word.wait >> other & 1]
        if any(self._tokens[other, unit] == 0 for other in waits):
            return
        if unit == Unit.LOAD and not self._bus.accepts():
            return
        for other in waits:
            self._tokens[other, unit] -= 1
        queue.popleft()
        self.issued[index] = self.now
        self._in_flight[unit] += 1
        self._free_from[unit] = self.now + 1
        self.at(self.now + 1, partial(self.issue, unit))
        self.at(self.now + 1, self.dispatch)
        if unit == Unit.LOAD:
            self._bus.load(index, word)
        else:
            time = {Unit.MATRIX: self._matrix, Unit.VECTOR: self._vector, Unit.STORE: self._store}[unit](word)
            self.at(time, partial(self.retire, index))

    def retire(self, index: int) -> None:
        """Give the instruction's tokens; they can be taken in the next cycle."""
        word = self.instructions[index]
        unit = word.unit
        self.retired[index] = self.now
        self._in_flight[unit] -= 1
        for other in Unit:
            if word.give >> other & 1:
                self._tokens[unit, other] += 1
                self.at(self.now + 1, partial(self.issue, other))
        self.at(self.now + 1, partial(self.issue, unit))

    def _matrix(self, word: Instruction) -> int:
        """Tiles follow each other without bubbles; the first one's weights come before it unless the array is busy."""
        weights = self.config.cols if word.transpose else self.config.rows
        period = max(word.rows, weights, MIN_TILE_PERIOD)
        begin = max(self.now + _MATRIX_CYCLES + weights + self._array_latency, self._matrix_done)
        self._matrix_done = begin + word.k_tiles * word.n_tiles * period
        return self._matrix_done

    def _vector(self, word: Instruction) -> int:
        """One beat a cycle; *drain before start* as in ``rtl/vector/order.py``."""
        function = Function(word.function)
        begin = max(self.now, self._vector_free)
        if function == Function.RESIDUAL or self._residual_until > begin:
            begin = max(begin, self._vector_done)
        if function in _INVERSE:
            begin = max(begin, self._exponent_until)
        beats = word.rows * word.blocks * (self.config.cols // self.config.lanes)
        inverted = _RECIPROCAL_CYCLES if function in _SUMMED and word.last else 0
        done = max(begin + beats + _VECTOR_CYCLES + inverted, self._vector_done + 1)
        self._vector_free = begin + beats + _VECTOR_GAP_CYCLES
        self._vector_done = done
        if function == Function.RESIDUAL:
            self._residual_until = done
        if function == Function.EXPONENT:
            self._exponent_until = done
        return done

    def _store(self, word: Instruction) -> int:
        """A row or a beat a cycle, and the memory's answer."""
        work = word.rows * word.blocks * beats_per_row(self.config)
        begin = max(self.now + self.timing.latency + _STORE_CYCLES, self._store_done)
        if self.timing.bandwidth:
            beats = -(-word.rows // rows_per_beat(self.config)) * beats_per_row(self.config) * word.blocks
            begin = max(begin, self._bus.share(beats))
        self._store_done = begin + work
        return self._store_done


class _ReadBus:
    """The read side of the memory: bursts of the fetch, which go first, and of LOADs, answered in their order."""

    def __init__(self, machine: _Machine) -> None:
        config = machine.config
        self._machine, self._config = machine, config
        entry = max(INSTRUCTION_BYTES, config.bus_bytes)
        self._fetch_beats = longest_burst(config, QUEUE * INSTRUCTION_BYTES // BURSTS)
        self._per_burst = max(1, self._fetch_beats * config.bus_bytes // INSTRUCTION_BYTES)
        self._room = QUEUE * INSTRUCTION_BYTES // entry * entry // INSTRUCTION_BYTES
        self._fetched = 0
        self._taken = 0
        self._arrived: list[int] = []
        self._outstanding = 0
        self._busy_until = 0
        self._address_free = 0
        self._load_beats = longest_burst(config)
        #: Bursts that LOADs still ask for: (earliest time, cycles on the bus, instruction that they complete or -1).
        self._asked: deque[tuple[int, int, int]] = deque()
        self._runs: deque[bool] = deque()
        self._pending_runs = 0
        self._loaded = 0

    def start(self) -> None:
        self._ask()

    def available(self, index: int) -> int | None:
        """When the instruction was fetched; None if it is not on its way yet."""
        return self._arrived[index] if index < len(self._arrived) else None

    def freed(self) -> None:
        """An instruction has left the fetch."""
        self._taken += 1
        self._ask()

    def accepts(self) -> bool:
        """LOAD takes another instruction: the runs of those before have entered its queue."""
        return self._pending_runs <= self._config.axi_outstanding + 2

    def share(self, beats: int) -> int:
        """Put ``beats`` of a STORE on a memory whose bandwidth both directions share; when they are through."""
        self._busy_until = max(self._busy_until, self._machine.now) + self._cycles(beats)
        return self._busy_until

    def load(self, index: int, word: Instruction) -> None:
        """Ask for the bursts of a LOAD."""
        config, machine = self._config, self._machine
        rows_beat, beats_row = rows_per_beat(config), beats_per_row(config)
        joined = word.blocks == 1 or word.dram_stride == word.rows * config.row_pitch
        runs = [word.rows * word.blocks] if joined and rows_beat == 1 else [word.rows] * word.blocks
        begin = machine.now + _LOAD_ISSUE_CYCLES
        for number, rows in enumerate(runs):
            beats = -(-rows // rows_beat) * beats_row
            # The chip takes a row a cycle, the bus gives a beat.
            cycles = max(rows, beats)
            bursts = -(-beats // self._load_beats)
            for burst in range(bursts):
                part = cycles * (burst + 1) // bursts - cycles * burst // bursts
                last = burst == bursts - 1
                final = index if last and number == len(runs) - 1 else -1
                self._asked.append((begin, max(part, self._cycles(min(beats, self._load_beats))), final))
                self._runs.append(last)
            self._pending_runs += 1
        self._ask()

    def _cycles(self, beats: int) -> int:
        bandwidth = self._machine.timing.bandwidth
        return -(-beats * self._config.bus_bytes // bandwidth) if bandwidth else beats

    def _ask(self) -> None:
        """Put bursts on the address channel while there are any and the memory may hold more."""
        machine = self._machine
        while self._outstanding < self._config.axi_outstanding:
            begin = max(machine.now, self._address_free)
            left = len(machine.instructions) - self._fetched
            if left > 0 and self._fetched - self._taken + self._per_burst <= self._room:
                count = min(self._per_burst, left)
                self._fetched += count
                beats = -(-count * INSTRUCTION_BYTES // self._config.bus_bytes)
                self._answer(begin, self._cycles(beats), partial(self._deliver, count))
            elif self._asked and self._asked[0][0] <= begin:
                _, cycles, index = self._asked.popleft()
                last = self._runs.popleft()
                self._answer(begin, cycles, partial(self._place, index, last))
            else:
                if self._asked:
                    machine.at(self._asked[0][0], self._ask)
                return

    def _answer(self, begin: int, cycles: int, then: Callable[[int], None]) -> None:
        """A burst is taken at ``begin``; its data take ``cycles`` on the bus, in turn."""
        machine = self._machine
        self._address_free = begin + 1
        self._outstanding += 1
        end = max(begin + machine.timing.latency, self._busy_until) + cycles
        self._busy_until = end

        def over() -> None:
            self._outstanding -= 1
            then(end)
            self._ask()

        machine.at(end, over)

    def _deliver(self, count: int, end: int) -> None:
        """Instructions arrive as fast as their beats."""
        beats = max(1, INSTRUCTION_BYTES // self._config.bus_bytes)
        for number in range(count):
            time = end - (count - 1 - number) * beats + _FETCH_CYCLES
            self._arrived.append(time)
            self._machine.at(time, self._machine.dispatch)

    def _place(self, index: int, last: bool, end: int) -> None:
        """A burst's rows are written; the last one retires its instruction."""
        if last:
            self._pending_runs -= 1
            self._machine.at(self._machine.now, partial(self._machine.issue, Unit.LOAD))
        if index >= 0:
            self._loaded = max(self._loaded, end + _LOAD_WRITE_CYCLES)
            self._machine.at(self._loaded, partial(self._machine.retire, index))
