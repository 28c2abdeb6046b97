"""Predicts the cycles of a program from its instructions and the configuration, without simulating data.

One pass over the program in its order. An instruction's times follow from those of earlier ones: it is dispatched when
it has been fetched and its queue has room, issued when its tokens, a slot and its unit are there, and retires when its
unit is done (``prediction_units``, ``prediction_transfers``). What shares the memory takes turns in the order of time
(``prediction_memory``); an instruction that depends on turns to come is left until they have been taken. All times are
cycles since the launch, as in a trace.

Depths of queues and latencies are those that the RTL declares; where it declares none, constants count the registers on
the way. ``tests/analysis/test_prediction.py`` compares both with the RTL, instruction by instruction.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from systolith.rtl.config import Config
from systolith.rtl.interfaces import IN_FLIGHT
from systolith.rtl.isa import Instruction, Unit

from .bench_cases import MemoryTiming
from .prediction_memory import ENTRY_CYCLES, NEVER, ROOM_CYCLES, Fetch, Memory
from .prediction_transfers import LoadUnit, StoreUnit
from .prediction_units import MatrixUnit, VectorUnit

#: What the errors of predicted cycles do not exceed, the mean and the worst of many programs:
#: ``systolith survey --figure cycle-model`` holds them against the RTL.
MEAN_ERROR, WORST_ERROR = 0.02, 0.05
#: From an instruction's dispatch to its place at the head of an empty queue.
_QUEUE_CYCLES = 2
#: From there, and all that it waits for being there, to the issue; and from an issue to the next one at the least.
_ISSUE_CYCLES, _ISSUE_PERIOD = 1, 2
#: From the last retirement to the end of the program: nothing pending, ``finished``, the controller's state.
_END_CYCLES = 3
#: The units in a ``wait`` or ``give`` mask.
_IN_MASK = [tuple(unit for unit in Unit if mask >> unit & 1) for mask in range(1 << len(Unit))]


@dataclass(frozen=True)
class Prediction:
    """Predicted cycles of a program, and of each instruction's issue and retirement."""

    cycles: int
    issued: tuple[int, ...]
    retired: tuple[int, ...]


def predict(instructions: Sequence[Instruction], config: Config, timing: MemoryTiming) -> Prediction:
    """Predict the cycles that the RTL of ``config`` takes for a program that its verifier accepts.

    Regions are taken to begin at multiples of 4 KiB, as the runtime places them.

    Raises
    ------
    ValueError
        If the program cannot come to its end (a token that never comes).
    """
    return _Run(instructions, config, timing).run()


def is_bounded(config: Config) -> bool:
    """Whether :data:`WORST_ERROR` holds for programs on ``config``.

    In a scratchpad of one bank STORE waits for every read of MATRIX, which the model leaves out.
    """
    return config.scratchpad_banks > 1


class _Run:
    """All state of one prediction."""

    def __init__(self, instructions: Sequence[Instruction], config: Config, timing: MemoryTiming) -> None:
        self.instructions = instructions
        self._memory = memory = Memory(config, timing)
        self._fetch = Fetch(config, memory, len(instructions))
        matrix = MatrixUnit(config)
        vector, store = VectorUnit(config, memory, matrix), StoreUnit(config, memory)
        self._unit = (LoadUnit(config, memory), matrix, vector, store)
        self._depth = (config.load_queue, config.matrix_queue, config.vector_queue, config.store_queue)
        self._issued = [0] * len(instructions)
        self._retired = [0] * len(instructions)
        #: For each unit: its issues and retirements so far, and what is dispatched but waits for what is not known yet.
        self._issues: tuple[list[int], ...] = tuple([] for _ in Unit)
        self._retirements: tuple[list[int], ...] = tuple([] for _ in Unit)
        self._waiting: tuple[deque[tuple[int, int]], ...] = tuple(deque() for _ in Unit)
        #: For each taker and giver, when tokens were given that are not taken yet.
        self._tokens: tuple[tuple[deque[int], ...], ...] = tuple(tuple(deque() for _ in Unit) for _ in Unit)
        #: Units (bits) for whose instructions something has become known.
        self._news = 0

    def run(self) -> Prediction:
        fetch, memory, depths, all_issues, all_waiting = (
            self._fetch, self._memory, self._depth, self._issues, self._waiting,
        )  # fmt: skip
        arrivals, words = fetch.arrivals, fetch.words
        dispatched = 0
        for index, word in enumerate(self.instructions):
            unit = word.opcode - 1
            issues, waiting = all_issues[unit], all_waiting[unit]
            while index >= len(arrivals):
                self._advance(NEVER - 1)
            dispatched = max(dispatched + (1 if index % words else ENTRY_CYCLES), arrivals[index])
            place = len(issues) + len(waiting) - depths[unit]
            if place >= 0:
                # Its queue is full until that instruction is issued.
                while place >= len(issues):
                    self._advance(NEVER - 1)
                dispatched = max(dispatched, issues[place] + 1)
            # The turns that come before those which this instruction's place in the fetch's queue makes room for.
            while memory.next < dispatched + ROOM_CYCLES:
                self._advance(dispatched + ROOM_CYCLES - 1)
            if index >= fetch.next:
                fetch.take(index, dispatched)
            if waiting or not self._issue(unit, index, dispatched + _QUEUE_CYCLES):
                waiting.append((index, dispatched + _QUEUE_CYCLES))
            elif self._news:
                self._issue_all()
        while memory.next < NEVER:
            self._advance(NEVER - 1)
        self._check()
        end = max(self._retired, default=0) + _END_CYCLES
        return Prediction(end, tuple(self._issued), tuple(self._retired))

    def _check(self) -> None:
        for waiting in self._waiting:
            if waiting:
                raise ValueError(f"instruction {waiting[0][0]} never starts: its token does not come")

    def _advance(self, limit: int) -> None:
        """Let the next turn be taken, and what waits for its outcome be issued."""
        if self._memory.next == NEVER:
            self._check()
        retired = self._memory.advance(limit)
        if retired is not None:
            word = self.instructions[retired[0]]
            self._retire(retired[0], word.opcode - 1, word.give, retired[1])
        # The first burst of a run makes room for another LOAD.
        if self._news or self._waiting[0]:
            self._news |= 1
            self._issue_all()

    def _issue_all(self) -> None:
        """Issue all instructions whose times have become known."""
        while self._news:
            unit = self._news.bit_length() - 1
            self._news ^= 1 << unit
            waiting = self._waiting[unit]
            while waiting:
                index, time = waiting[0]
                if not self._issue(unit, index, time):
                    break
                waiting.popleft()

    def _issue(self, unit: int, index: int, time: int) -> bool:
        """Issue an instruction that is at the head of its queue; False if what it waits for is not known yet."""
        word = self.instructions[index]
        issues, executor = self._issues[unit], self._unit[unit]
        if word.wait:
            tokens = self._tokens[unit]
            givers = _IN_MASK[word.wait]
            for giver in givers:
                if not tokens[giver]:
                    return False
        free = executor.accepts()
        if free < 0:
            return False
        if issues:
            time = max(time, issues[-1] + _ISSUE_PERIOD - _ISSUE_CYCLES, free)
            slot = len(issues) - IN_FLIGHT
            if slot >= 0:
                retirements = self._retirements[unit]
                if slot >= len(retirements):
                    return False
                time = max(time, retirements[slot] + 1)
        if word.wait:
            for giver in givers:
                # A token can be taken in the cycle after it was given.
                time = max(time, tokens[giver].popleft() + 1)
        time += _ISSUE_CYCLES
        self._issued[index] = time
        issues.append(time)
        retired = executor.execute(index, word, time)
        if retired >= 0:
            self._retire(index, unit, word.give, retired)
        return True

    def _retire(self, index: int, unit: int, give: int, time: int) -> None:
        self._retired[index] = time
        self._retirements[unit].append(time)
        self._news |= give | 1 << unit
        if give:
            for taker in _IN_MASK[give]:
                self._tokens[taker][unit].append(time)
