"""When the bursts of program and LOAD get through the memory, for ``prediction``."""

import math
from collections import deque
from operator import sub
from typing import Protocol

from systolith.rtl.config import Config
from systolith.rtl.dma.bursts import longest_burst
from systolith.rtl.dma.fetch import BURSTS, QUEUE
from systolith.rtl.dma.runs import rows_per_beat
from systolith.rtl.isa import INSTRUCTION_BYTES

from .bench_cases import MemoryTiming

#: Later than any cycle.
NEVER = 1 << 62
#: From the launch to the fetch's first address on the bus.
_LAUNCH_CYCLES = 4
#: From an instruction's dispatch to the address of the burst that the fetch asks for because of its place.
ROOM_CYCLES = 4
#: From the dispatch of an entry of the fetch's queue to that of the next one at the least.
ENTRY_CYCLES = 2
#: From an instruction's last beat to its dispatch: the queue's memory, and the register behind it.
_FETCH_CYCLES = 3
#: From a burst's last beat to an address on the bus that had to wait for its end.
_REISSUE_CYCLES = 2
#: From a LOAD's last beat to its retirement: the queue of beats, the row's register, ``retired``.
_WRITE_CYCLES = 3
#: Fewest bursts that are worth being put on the bus at once.
_SEVERAL = 4


class Turns(Protocol):
    """A unit that takes turns with the bursts, as its instructions depend on what goes on beside them."""

    #: When its next turn is, or :data:`NEVER`.
    next: float

    def step(self) -> tuple[int, int]:
        """Take it; the instruction that is complete with it, or -1, and when that retires."""


class Memory:
    """The memory behind the bus, as the simulation's: reads answered in order, ``latency`` cycles after their address.

    Bursts take turns in the order of time: those of the program before those of LOAD, as at the arbiter, no more than
    ``axi_outstanding`` in flight. Where reads and writes share the bandwidth, a beat each in turn, data have turns of
    their own; otherwise they follow from the address.

    Attributes
    ----------
    pace : float
        Cycles that a beat takes.
    shared : bool
        Reads and writes slow each other down.
    next : cycle
        When the next turn is, :data:`NEVER` if nobody wants one. Whoever asks for a burst calls :meth:`look`.
    fetches : deque of (earliest address, first byte, end)
        What the fetch asks for.
    loads : deque of [earliest address, first beat, last beat, rows less than the beats hold, instruction]
        Runs that LOAD asks for; the instruction if it is complete with this run, or -1.
    runs : list of cycles
        When the first address of each of LOAD's runs went out.
    others : list of Turns
    """

    def __init__(self, config: Config, timing: MemoryTiming) -> None:
        bandwidth = timing.bandwidth
        self.latency = timing.latency
        self.pace: float = config.bus_bytes / bandwidth if 0 < bandwidth < config.bus_bytes else 1
        self.shared = 0 < bandwidth < 2 * config.bus_bytes
        self._bus = config.bus_bytes
        self._burst = longest_burst(config)
        self._rows = rows_per_beat(config)
        self.fetches: deque[tuple[int, int, int]] = deque()
        self.loads: deque[list[int]] = deque()
        self.runs: list[int] = []
        self.others: list[Turns] = []
        self.fetcher: Fetch | None = None
        #: Last beats of all bursts so far, behind as many of before as may be in flight: the end of burst k is that for
        #: whose place burst k + ``axi_outstanding`` waits, in the place of k here.
        self._ended = [-_REISSUE_CYCLES] * config.axi_outstanding
        self._sent = 0
        #: Bursts whose data have not had their turn: when they are ready, their cycles, and whose they are: first and
        #: end byte of the program, or -1 and the instruction of LOAD or -1.
        self._flight: deque[tuple[int, float, int, int]] = deque()
        #: First cycle in which the address channel is free, and when the read data channel is.
        self._address = 0
        self._reads: float = 0
        self._begun = False
        self._turn = self._fetch
        self._other: Turns | None = None
        self._done: tuple[int, int] | None = None
        self.next: float = NEVER

    def look(self) -> None:
        """Find out whose turn is next, and when."""
        soon: float = NEVER
        if self._sent < len(self._ended):
            slot = max(self._address, self._ended[self._sent] + _REISSUE_CYCLES)
            if self.fetches:
                soon, self._turn = max(slot, self.fetches[0][0]), self._fetch
            if self.loads:
                time = max(slot, self.loads[0][0])
                if time < soon:
                    soon, self._turn = time, self._load
        if self._flight:
            ready = max(self._flight[0][0], self._reads)
            if ready < soon:
                soon, self._turn = ready, self._data_turn
        for other in self.others:
            if other.next < soon:
                soon, self._turn, self._other = other.next, self._other_turn, other
        self.next = soon

    def advance(self, limit: int) -> tuple[int, int] | None:
        """Take the next turn, and LOAD's up to ``limit``; the instruction that retires after it, and when."""
        self._done = None
        self._turn(limit)
        self.look()
        return self._done

    def share(self, begin: float, cycles: float) -> float:
        """How much longer a write takes beside reads, a beat each in turn; the reads take as much longer."""
        reading = max(0, self._reads - begin) + sum(burst[1] for burst in self._flight)
        both = min(cycles, reading)
        self._reads += both
        return both

    def _fetch(self, limit: int) -> None:
        _, begin, end = self.fetches.popleft()
        self._send(-(-(end - begin) // self._bus) * self.pace, begin, end)

    def _load(self, limit: int) -> None:
        """LOAD's run at hand: one burst if others want their turns, else what goes out up to ``limit``."""
        run = self.loads[0]
        if not self._begun:
            self.runs.append(int(self.next))
            self._begun = True
        if self.shared:
            beats = min(run[2] + 1, (run[1] // self._burst + 1) * self._burst) - run[1]
            run[1] += beats
            over = run[1] > run[2]
            # It writes a row a cycle.
            rows = beats * self._rows - (run[3] if over else 0)
            self._send(max(rows, beats * self.pace), -1, run[4] if over else -1)
        else:
            over = self._load_alone(run, int(self.next) if self.fetches or self.others else limit)
        if over:
            self.loads.popleft()
            self._begun = False

    def _load_alone(self, run: list[int], limit: int) -> bool:
        """Put bursts on the bus, their data with them; whether the run is over."""
        start, beat, last, short, index = run
        ended, sent, reads, address = self._ended, self._sent, int(self._reads), self._address
        latency, burst, rows = self.latency, self._burst, self._rows
        full = burst * rows
        while beat <= last:
            begin = max(start, address, ended[sent] + _REISSUE_CYCLES)
            if begin > limit:
                break
            count = min((last + 1 - beat) // burst, len(ended) - sent)
            if count >= _SEVERAL and beat % burst == 0 and begin + latency <= reads:
                # Several whole ones, if the data channel is what they wait for and all may go out.
                waits = ended[sent : sent + count]
                issued = max(start, address + count - 1, waits[-1] + _REISSUE_CYCLES)
                latest = max(map(sub, waits, range(0, count * full, full))) + _REISSUE_CYCLES
                if issued <= limit and latest + latency <= reads:
                    ended.extend(range(reads + full - 1, reads + count * full, full))
                    reads += count * full
                    beat += count * burst
                    sent += count
                    address = issued + 1
                    continue
            until = min(last + 1, (beat // burst + 1) * burst)
            reads = max(begin + latency, reads) + (until - beat) * rows
            ended.append(reads - 1)
            beat = until
            sent += 1
            address = begin + 1
        run[1] = beat
        self._sent, self._reads, self._address = sent, reads, address
        if beat <= last:
            return False
        if short:
            # The last beat holds fewer rows.
            self._reads -= short
            ended[-1] -= short
        if index >= 0:
            self._done = index, ended[-1] + _WRITE_CYCLES
        return True

    def _send(self, cycles: float, begin: int, end: int) -> None:
        self._address = int(self.next) + 1
        self._sent += 1
        self._flight.append((int(self.next) + self.latency, cycles, begin, end))
        if not self.shared:
            self._data_turn(NEVER)

    def _data_turn(self, limit: int) -> None:
        ready, cycles, begin, end = self._flight.popleft()
        self._reads = max(ready, self._reads) + cycles
        last = math.ceil(self._reads) - 1
        self._ended.append(last)
        if begin < 0:
            self._done = (end, last + _WRITE_CYCLES) if end >= 0 else None
        elif self.fetcher:
            self.fetcher.arrive(begin, end, last)

    def _other_turn(self, limit: int) -> None:
        index, retired = self._other.step() if self._other else (-1, 0)
        self._done = (index, retired) if index >= 0 else None


class Fetch:
    """Reads the program ahead.

    ``arrivals`` are the cycles from which on the instructions can be dispatched; the dispatch of instruction ``next``
    makes room for another burst. An entry of its queue holds ``words`` instructions.
    """

    def __init__(self, config: Config, memory: Memory, length: int) -> None:
        self._memory = memory
        self._bus = config.bus_bytes
        entry = max(INSTRUCTION_BYTES, config.bus_bytes)
        self._burst = longest_burst(config, QUEUE * INSTRUCTION_BYTES // BURSTS) * config.bus_bytes
        self.words = entry // INSTRUCTION_BYTES
        self._length = length * INSTRUCTION_BYTES
        self._capacity = QUEUE * INSTRUCTION_BYTES // entry * entry
        self._requested = 0
        self.arrivals: list[int] = []
        self.next = 0
        memory.fetcher = self
        self._request(_LAUNCH_CYCLES, 0)

    def take(self, index: int, time: int) -> None:
        """Instruction ``index`` is dispatched."""
        self._request(time + ROOM_CYCLES, (index + 1) * INSTRUCTION_BYTES)

    def _request(self, time: int, taken: int) -> None:
        """Ask for all bursts that there is room for, and note which instruction makes room for the next."""
        while self._requested < self._length and self._requested + self._burst - taken <= self._capacity:
            end = min(self._requested + self._burst, self._length)
            self._memory.fetches.append((time, self._requested, end))
            self._requested += self._burst
        short = self._requested + self._burst - self._capacity
        self.next = max(0, -(-short // INSTRUCTION_BYTES) - 1) if self._requested < self._length else NEVER
        self._memory.look()

    def arrive(self, begin: int, end: int, last: int) -> None:
        """Bytes ``begin`` to ``end`` of the program have arrived, the last beat in cycle ``last``."""
        pace, bus = self._memory.pace, self._bus
        beats = -(-(end - begin) // bus)
        for whole in range(INSTRUCTION_BYTES * len(self.arrivals) + INSTRUCTION_BYTES, end + 1, INSTRUCTION_BYTES):
            beat = (whole - 1 - begin) // bus
            self.arrivals.append(last - int((beats - 1 - beat) * pace) + _FETCH_CYCLES)
