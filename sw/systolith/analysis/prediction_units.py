"""When MATRIX and VECTOR retire their instructions, for ``prediction``."""

import math
from collections import deque

from systolith.rtl.accumulator import Accumulator
from systolith.rtl.array import SystolicArray
from systolith.rtl.config import Config
from systolith.rtl.interfaces import READ_LATENCY
from systolith.rtl.isa import Function, Instruction
from systolith.rtl.matrix import MIN_TILE_PERIOD
from systolith.rtl.vector.lanes import Lanes
from systolith.rtl.vector.order import IN_FLIGHT
from systolith.rtl.vector.statistics import RowStatistics

from .prediction_memory import NEVER, Memory

#: Instructions between the dispatcher and what a unit has in hand: those of a relay (``rtl/queues.py``).
AHEAD = 2
#: MATRIX, from issue to the first row at the array's edge: the instruction's queue, the walk's register, that of the
#: request, the read, the row's queue.
_ROW_CYCLES = 4 + READ_LATENCY
#: VECTOR, from issue until the instruction can start: the register in which it is judged.
_HANDOVER_CYCLES = 1
#: From there to the first beat's read: ``start``, the loop's first beat, the beat held.
_BEAT_CYCLES = 3
#: Cycles without a beat between two instructions: the loop ends, and the same three less one.
_GAP_CYCLES = 2
#: From the lanes' result to the retirement: the result's queue, the count of completed instructions, ``retired``.
_RESULT_CYCLES = 4
#: The same from the last reciprocal.
_RECIPROCAL_CYCLES = 2
#: RESIDUAL: the skip operand is read when another function's beat would be, and counted a cycle after it arrives.
_SKIP_CYCLES = READ_LATENCY + 1

_RESIDUAL, _EXPONENT = int(Function.RESIDUAL), int(Function.EXPONENT)
_INVERSE = (int(Function.CONTEXT), int(Function.LAYERNORM))


class MatrixUnit:
    """Tiles follow each other at the array's edge; a tile's weights enter once the tile before has swapped its own."""

    def __init__(self, config: Config) -> None:
        self._rows, self._cols = config.rows, config.cols
        self._one_bank = config.scratchpad_banks == 1
        self._array = SystolicArray.latency_of(config)
        self._drain = self._array + Accumulator.latency_of(config)
        #: When the last tile was swapped in, and when its last row entered.
        self._swap = self._row = -MIN_TILE_PERIOD
        self._taken = [0] * AHEAD
        #: Of each instruction: first and last cycle of its additions, and the share of these that also reads.
        self.additions: deque[tuple[int, int, float]] = deque()

    def accepts(self) -> int:
        """From when on another instruction finds a place in front of the walks."""
        return self._taken[-AHEAD] + 1

    def execute(self, index: int, word: Instruction, issued: int) -> int:
        """The cycle in which ``word`` retires."""
        rows = word.rows
        weights = self._cols if word.transpose else self._rows
        tiles = word.k_tiles * word.n_tiles
        # One bank gives one row a cycle: weights or activations.
        period = max(rows + weights if self._one_bank else max(rows, weights), MIN_TILE_PERIOD)
        ready = issued + _ROW_CYCLES
        swap = max(max(ready, self._swap) + weights, self._row + 1, self._swap + MIN_TILE_PERIOD)
        self._taken.append(max(issued + 1, self._row - _ROW_CYCLES))
        self._swap = swap + (tiles - 1) * period
        self._row = self._swap + rows - 1
        reads = (word.k_tiles - 1 + word.accumulate) / word.k_tiles * rows / period
        self.additions.append((swap + self._array, self._row + self._array, reads))
        return self._row + self._drain


class VectorUnit:
    """One beat a cycle; *drain before start* as in ``rtl/vector/order.py``.

    A row of the accumulator that is read more than once, for its groups of lanes, meets the additions of MATRIX in its
    bank again and again, and these come first. Such instructions wait for their turn (see
    :class:`~systolith.analysis.prediction_memory.Memory`), so that the additions beside them are known.
    """

    def __init__(self, config: Config, memory: Memory, matrix: MatrixUnit) -> None:
        self._groups = config.cols // config.lanes
        self._latency = READ_LATENCY + Lanes.latency_of(config)
        self._inversion = RowStatistics.latency_of(config) if config.softmax or config.layernorm else 0
        #: When the next instruction can be taken, and the retirements of the last ones.
        self._free = 0
        self._retired = [0] * IN_FLIGHT
        self._residual = self._exponent = 0
        self._taken = 0
        self._rate = beside_additions(self._groups, config.accumulator_banks)
        self._matrix = matrix
        self._memory = memory
        self._pending: deque[tuple[int, Instruction, int]] = deque()
        self.next: float = NEVER
        if self._rate < 1:
            memory.others.append(self)

    def accepts(self) -> int:
        """From when on another instruction finds a place in front of the unit, or -1 if that is not known yet."""
        return -1 if self._pending else self._taken + 1

    def execute(self, index: int, word: Instruction, issued: int) -> int:
        """The cycle in which ``word`` retires, or -1 if that follows from its turn."""
        start = self._start(word, issued)
        if self._rate == 1:
            return self._finish(word, start, self._beats(word))
        self._pending.append((index, word, start))
        self.next = start + self._beats(word)
        self._memory.look()
        return -1

    def step(self) -> tuple[int, int]:
        """The turn of the instruction at hand has come: its index, and when it retires."""
        index, word, start = self._pending.popleft()
        self.next = NEVER
        return index, self._finish(word, start, self._beside_matrix(start + _BEAT_CYCLES, self._beats(word)))

    def _beats(self, word: Instruction) -> int:
        return word.rows * word.blocks * self._groups

    def _start(self, word: Instruction, issued: int) -> int:
        function = word.function
        start = max(issued + _HANDOVER_CYCLES, self._free, self._retired[-IN_FLIGHT])
        if function == _RESIDUAL or self._residual > start or (function in _INVERSE and self._exponent > start):
            start = max(start, self._retired[-1])
        self._taken = start
        return start

    def _finish(self, word: Instruction, start: int, cycles: int) -> int:
        function, before = word.function, self._retired[-1]
        last = start + _BEAT_CYCLES + cycles - 1
        if function == _RESIDUAL:
            last += _SKIP_CYCLES
        result = last + self._latency
        retired = max(result + _RESULT_CYCLES, before + 1)
        if word.last and function in (_EXPONENT, _RESIDUAL):
            retired = max(retired, result + self._inversion + _RECIPROCAL_CYCLES)
        if function == _RESIDUAL:
            self._residual = retired
        elif function == _EXPONENT:
            self._exponent = retired
        self._free = last + _GAP_CYCLES + 1 - _BEAT_CYCLES
        self._retired.append(retired)
        return retired

    def _beside_matrix(self, time: int, beats: int) -> int:
        """Cycles that ``beats`` from ``time`` on take beside the additions known."""
        additions = self._matrix.additions
        while additions and additions[0][1] < time:
            additions.popleft()
        done, begin = 0.0, time
        for first, last, reads in additions:
            if first >= time + beats - done:
                break
            done += max(0, first - time)
            time = max(first, time)
            rate = 1 - reads * (1 - self._rate)
            possible = max(0, last + 1 - time) * rate
            if done + possible >= beats:
                return time - begin + math.ceil((beats - done) / rate)
            done += possible
            time = last + 1
        return time - begin + math.ceil(beats - done)


def beside_additions(groups: int, banks: int) -> float:
    """Beats a cycle of a VECTOR that reads each row ``groups`` times, while rows are added in every cycle.

    Both walk the banks in order. A beat waits while an addition wants its bank: never again after the first time, if
    each row is read once; never otherwise than between additions, if there is one bank.
    """
    if banks == 1:
        return 0.0
    # Bank of the addition less that of the row, in each cycle; the average over as many rows as there are phases.
    phase, cycles = 1, 0
    for _ in range(banks * groups):
        beats = 0
        while beats < groups:
            beats += phase % banks != 0
            phase += 1
            cycles += 1
        phase = (phase - 1) % banks
    return banks * groups * groups / cycles
