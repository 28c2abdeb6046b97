"""When LOAD and STORE retire their instructions, for ``prediction``."""

import math
from collections import deque
from collections.abc import Iterator

from systolith.rtl.config import Config
from systolith.rtl.dma.bursts import longest_burst
from systolith.rtl.dma.runs import rows_per_beat
from systolith.rtl.dma.store import RUNS_AHEAD
from systolith.rtl.isa import Instruction

from .prediction_memory import NEVER, Memory
from .prediction_units import AHEAD

#: From a LOAD's issue to its first address on the bus: the queue in front of the unit, three stages of the walker and
#: their queue, the cutter, the issuer, the arbiter.
_LOAD_CYCLES = 9
#: Blocks between the walker's first stage and the cutter, and the cycles from the cutter to the address on the bus.
_WALKED, _CUT_CYCLES = 5, 4
#: From a STORE's issue until the cutter takes its first run; from there to the first address and the first beat.
_STORE_CYCLES, _ADDRESS_CYCLES, _BEAT_CYCLES = 5, 3, 7
#: From the address of a burst to its first beat at the least; from the request of a row to its beat.
_LENGTH_CYCLES, _ROW_CYCLES = 3, 5
#: From a burst's response to an address that had to wait for it, and from the last response to the retirement.
_REISSUE_CYCLES, _ANSWER_CYCLES = 2, 1


class LoadUnit:
    """Its runs, one for each block; their bursts and the retirement follow from :class:`Memory`."""

    def __init__(self, config: Config, memory: Memory) -> None:
        self._memory = memory
        self._pitch, self._bus = config.row_pitch, config.bus_bytes
        self._rows_beat = rows_per_beat(config)
        #: Runs asked for, and those before each of the last instructions.
        self._runs = 0
        self._before = [0] * AHEAD

    def accepts(self) -> int:
        """From when on another instruction finds a place in front of the walker, or -1 if that is not known yet."""
        run = self._before[-AHEAD] - _WALKED
        if run < 0:
            return 0
        begun = self._memory.runs
        return begun[run] - _CUT_CYCLES + 2 if run < len(begun) else -1

    def execute(self, index: int, word: Instruction, issued: int) -> int:
        """Ask for the runs; -1, as the retirement is not known yet."""
        memory, bus, blocks, rows = self._memory, self._bus, word.blocks, word.rows
        size, offset = rows * self._pitch, word.offset
        self._before.append(self._runs)
        self._runs += blocks
        loads = memory.loads
        look = not loads
        short = 0
        for left in range(blocks, 0, -1):
            first, last = offset // bus, (offset + size - 1) // bus
            if self._rows_beat > 1:
                short = (last - first + 1) * self._rows_beat - rows
            loads.append([issued + _LOAD_CYCLES, first, last, short, index if left == 1 else -1])
            offset += word.dram_stride
        if look:
            memory.look()
        return -1


class StoreUnit:
    """Its runs, one for each block, cut into bursts; an instruction retires with its last response.

    Where writes and reads share the memory's bandwidth its bursts take turns with those of the reads.
    """

    def __init__(self, config: Config, memory: Memory) -> None:
        self._memory = memory
        self._pitch, self._bus = config.row_pitch, config.bus_bytes
        self._burst = longest_burst(config)
        self._rows_beat = rows_per_beat(config)
        #: First cycles in which the cutter, the address channel and the data channel are free.
        self._cut = self._address = 0
        self._data: float = 0
        self._responses = deque([-_REISSUE_CYCLES] * config.axi_outstanding, config.axi_outstanding)
        #: When the reader took the last runs, and the last retirement.
        self._read = [0] * (RUNS_AHEAD + 1)
        self._retired = 0
        #: Instructions at hand, and the turns of their bursts.
        self._pending: deque[tuple[int, Iterator[float]]] = deque()
        self.next: float = NEVER
        if memory.shared:
            memory.others.append(self)

    def accepts(self) -> int:
        """It never holds an instruction up beyond what its slots do."""
        return 0

    def execute(self, index: int, word: Instruction, issued: int) -> int:
        """The cycle in which ``word`` retires, or -1 if that follows from its turns."""
        bursts = self._bursts(word, issued)
        if not self._memory.shared:
            for _ in bursts:
                pass
            return self._retired
        self._pending.append((index, bursts))
        if len(self._pending) == 1:
            self.next = next(bursts)
            self._memory.look()
        return -1

    def step(self) -> tuple[int, int]:
        """Put the next burst on the bus; the instruction that it completes, or -1, and when that retires."""
        index, bursts = self._pending[0]
        self.next = next(bursts, NEVER)
        if self.next < NEVER:
            return -1, 0
        self._pending.popleft()
        retired = self._retired
        if self._pending:
            self.next = next(self._pending[0][1])
        return index, retired

    def _bursts(self, word: Instruction, issued: int) -> Iterator[float]:
        """Yields when each burst's first beat can go out, and then puts it on the bus."""
        memory, bus, burst, pace = self._memory, self._bus, self._burst, self._memory.pace
        size, offset = word.rows * self._pitch, word.offset
        cut = issued + _STORE_CYCLES
        for _ in range(word.blocks):
            cut = max(cut, self._cut, self._read[-RUNS_AHEAD - 1])
            beat, last = offset // bus, (offset + size - 1) // bus
            address = max(cut + _ADDRESS_CYCLES, self._address)
            data = max(cut + _BEAT_CYCLES, self._data)
            self._read.append(int(data) - _ROW_CYCLES)
            left = word.rows
            while beat <= last:
                until = min(last + 1, (beat // burst + 1) * burst)
                cycles = (until - beat) * pace
                if self._rows_beat > 1:
                    # It reads a row a cycle.
                    rows = min(left, (until - beat) * self._rows_beat)
                    left -= rows
                    cycles = max(cycles, rows)
                address = max(address, self._responses[0] + _REISSUE_CYCLES)
                data = max(data, address + _LENGTH_CYCLES)
                yield data
                if memory.shared:
                    cycles += memory.share(data, cycles)
                data += cycles
                self._responses.append(math.ceil(data) - 1 + memory.latency)
                address += 1
                beat = until
            self._address, self._data, self._cut = address, data, address - _ADDRESS_CYCLES + 1
            offset += word.dram_stride
        self._retired = self._responses[-1] + _ANSWER_CYCLES
