"""The four units as a machine that a schedule drives: every order of events that the hardware allows, and no other.

Nothing here is shared with ``compiler.hazards``: what may happen next follows from the queues, the token counters and
the in-flight limits of the RTL, and whether orders disagree is seen by running them.
"""

import random
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from systolith.rtl.config import Config
from systolith.rtl.interfaces import IN_FLIGHT, TOKEN_BITS
from systolith.rtl.isa import Function, Instruction, Unit

_UNITS = len(Unit)
_FULL = (1 << TOKEN_BITS) - 1
#: VECTOR functions that read reciprocals.
_INVERSE = (Function.CONTEXT, Function.LAYERNORM)
#: States that an exhaustive search may visit.
_STATES = 400_000


class Stage(IntEnum):
    """What happens to an instruction, in this order.

    ``START`` takes the tokens, ``READ`` reads all operands, ``WRITE`` writes all results (sums that are added to are
    read here), retires and gives the tokens. That each is one moment loses nothing: if part of an instruction can
    meet a conflicting access in another order, so can the whole of it.
    """

    START = 0
    READ = 1
    WRITE = 2


#: An event is ``3 * unit + stage``: each unit starts, reads and writes its instructions in order.
EVENTS = len(Stage) * _UNITS


class Memory(Protocol):
    """Memories and datapaths, told when which instruction (index in the program) reads and writes."""

    def read(self, index: int) -> None: ...

    def write(self, index: int) -> None: ...

    def outcome(self) -> Hashable:
        """What two runs are compared by."""
        ...


class DeadlockError(Exception):
    """No event can happen, and instructions are left; the message names the units and what they wait for."""


class Machine:
    """Where a run of a program stands: instructions started, read, written, their tokens given, for each unit.

    As in the RTL: instructions are dispatched in program order, as long as the next one's queue has room; the head of
    a queue starts when it has a token of every unit in ``wait`` and fewer than ``IN_FLIGHT`` instructions have
    started and not given theirs; a written instruction gives its tokens, in order, once none of their counters is
    full; VECTOR drains before some instructions start (``vector.order``). Tokens are given as soon as
    they fit and instructions dispatched as soon as they can: doing so later allows nothing else.

    Parameters
    ----------
    instructions : the program. Tokens for or from an instruction's own unit count as they would in a counter of their
        own; the decoder refuses them.
    """

    def __init__(self, instructions: Sequence[Instruction], config: Config) -> None:
        queues = (config.load_queue, config.matrix_queue, config.vector_queue, config.store_queue)
        self.program = tuple(instructions)
        self.indices: list[list[int]] = [[] for _ in Unit]
        for index, i in enumerate(instructions):
            self.indices[i.unit].append(index)
        self._unit = [int(i.unit) for i in instructions]
        self._wait = [[_UNITS * u + i.unit for u in Unit if i.wait >> u & 1] for i in instructions]
        self._give = [[_UNITS * i.unit + u for u in Unit if i.give >> u & 1] for i in instructions]
        self._room = queues
        self._drain = self._drains()
        self.reset()

    def reset(self) -> None:
        """Back to the start of the program."""
        self.dispatched = 0
        self.queued = [0] * _UNITS
        self.done = [0] * EVENTS
        self.given = [0] * _UNITS
        self.tokens = [0] * (_UNITS * _UNITS)
        #: For each event, whether it can happen next.
        self.ready = [False] * EVENTS
        self._settle(0)
        self._refresh()

    def _drains(self) -> list[int]:
        """For each VECTOR, how many VECTORs before it must have retired before it starts."""
        drains, residual, exponent = [], 0, 0
        for count, index in enumerate(self.indices[Unit.VECTOR]):
            function = self.program[index].function
            drains.append(max(residual, exponent if function in _INVERSE else 0))
            if function == Function.RESIDUAL:
                drains[-1], residual = count, count + 1
            elif function == Function.EXPONENT:
                exponent = count + 1
        return drains

    def step(self, event: int, memory: Memory) -> None:
        """Let ``event``, which must be :attr:`ready`, happen, and what follows from it at once."""
        unit, stage = divmod(event, 3)
        done, ready = self.done, self.ready
        index = self.indices[unit][done[event]]
        done[event] += 1
        if stage == Stage.READ:
            memory.read(index)
            ready[event] = done[event] < done[event - 1]
            ready[event + 1] = True
            return
        if stage == Stage.START:
            for token in self._wait[index]:
                self.tokens[token] -= 1
            ready[event + 1] = True
        else:
            memory.write(index)
            ready[event] = done[event] < done[event - 1]
        self._settle(unit)

    def _refresh(self) -> None:
        """Which events can happen next."""
        done, ready = self.done, self.ready
        for unit in range(_UNITS):
            base = 3 * unit
            self._refresh_start(unit)
            ready[base + 1] = done[base + 1] < done[base]
            ready[base + 2] = done[base + 2] < done[base + 1]

    def _refresh_start(self, unit: int) -> None:
        started, startable = self.done[3 * unit], False
        if started < self.queued[unit] and started - self.given[unit] < IN_FLIGHT:
            startable = unit != Unit.VECTOR or self.done[3 * unit + 2] >= self._drain[started]
            for token in self._wait[self.indices[unit][started]]:
                startable = startable and self.tokens[token] > 0
        self.ready[3 * unit] = startable

    def _settle(self, unit: int) -> None:
        """Dispatch and give all that there is room for, after an event of ``unit``."""
        moved = False
        while self.dispatched < len(self._unit):
            next_unit = self._unit[self.dispatched]
            if self.queued[next_unit] - self.done[3 * next_unit] == self._room[next_unit]:
                break
            self.queued[next_unit] += 1
            self.dispatched += 1
            moved = True
        for giver in range(_UNITS):
            while self.given[giver] < self.done[3 * giver + 2]:
                give = self._give[self.indices[giver][self.given[giver]]]
                if any(self.tokens[token] == _FULL for token in give):
                    break
                for token in give:
                    self.tokens[token] += 1
                    moved = True
                self.given[giver] += 1
                moved = moved or giver != unit
        for other in range(_UNITS) if moved else (unit,):
            self._refresh_start(other)

    @property
    def finished(self) -> bool:
        return all(self.done[3 * unit + Stage.WRITE] == len(self.indices[unit]) for unit in range(_UNITS))

    def deadlock(self) -> DeadlockError:
        """What to raise when nothing can happen."""
        stuck = []
        for unit in Unit:
            started = self.done[3 * unit]
            if started < len(self.indices[unit]):
                index = self.indices[unit][started]
                missing = [Unit(t // _UNITS).name for t in self._wait[index] if not self.tokens[t]]
                stuck.append(f"{unit.name} {index} waits for {'+'.join(missing) or 'room'}")
        return DeadlockError("; ".join(stuck))

    def save(self) -> tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The state, hashable, for :meth:`restore`."""
        return self.dispatched, tuple(self.queued), tuple(self.done), tuple(self.given), tuple(self.tokens)

    def restore(self, state: tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> None:
        self.dispatched = state[0]
        self.queued, self.done, self.given, self.tokens = (list(part) for part in state[1:])
        self._refresh()


def run(machine: Machine, memory: Memory, priorities: Sequence[float], source: random.Random) -> Hashable:
    """Run a program to its end: always one of the possible events of the highest priority, drawn from ``source``.

    Parameters
    ----------
    priorities : one for each event; equal ones are a uniformly random interleaving.

    Raises
    ------
    DeadlockError
        If it has no end.
    """
    machine.reset()
    ready = machine.ready
    levels = [[e for e in range(EVENTS) if priorities[e] == p] for p in sorted(set(priorities), reverse=True)]
    going = True
    while going:
        going = False
        for level in levels:
            if events := [e for e in level if ready[e]]:
                machine.step(events[int(source.random() * len(events))], memory)
                going = True
                break
    if not machine.finished:
        raise machine.deadlock()
    return memory.outcome()


def in_program_order(machine: Machine, memory: Memory) -> Hashable:
    """What the program means: one instruction after the other, whatever its tokens."""
    for index in range(len(machine.program)):
        memory.read(index)
        memory.write(index)
    return memory.outcome()


def adversaries(source: random.Random, *, random_ones: int) -> Iterator[list[float]]:
    """Priorities of events: each unit, and each unit's writes, as late as can be, and each unit as early as can be;
    then ``random_ones``, uniform or with priorities of their own.

    A race is an instruction and a later one of another unit whose tokens do not order them. Delaying the first one's
    unit lets the later one overtake it unless some queue in between is full, so the first schedules alone show nearly
    every race.
    """
    for unit in Unit:
        for stages, priority in (((0, 1, 2), -1.0), ((Stage.WRITE,), -1.0), ((0, 1, 2), 1.0)):
            yield [priority if e // 3 == unit and e % 3 in stages else 0.0 for e in range(EVENTS)]
    for _ in range(random_ones):
        uniform = source.random() < 0.5
        yield [0.0 if uniform else float(source.randrange(4)) for _ in range(EVENTS)]


@dataclass(frozen=True)
class Exploration:
    """What an exhaustive search found: the distinct outcomes, a deadlock if there is one, the states visited."""

    outcomes: set[Hashable]
    deadlock: str
    states: int


class Forkable(Memory, Protocol):
    """A memory whose state can be kept and brought back."""

    def save(self) -> tuple[int, ...]: ...

    def restore(self, state: tuple[int, ...]) -> None: ...


def explore(machine: Machine, memory: Forkable) -> Exploration | None:
    """Every interleaving there is, depth first, each state once; None if there are more than :data:`_STATES`."""
    machine.reset()
    outcomes: set[Hashable] = set()
    deadlock = ""
    first = (machine.save(), memory.save())
    seen, todo = {first}, [first]
    while todo:
        if len(seen) > _STATES:
            return None
        state, contents = todo.pop()
        machine.restore(state)
        events = [event for event in range(EVENTS) if machine.ready[event]]
        if not events:
            memory.restore(contents)
            if machine.finished:
                outcomes.add(memory.outcome())
            else:
                deadlock = deadlock or str(machine.deadlock())
        for event in events:
            machine.restore(state)
            memory.restore(contents)
            machine.step(event, memory)
            reached = (machine.save(), memory.save())
            if reached not in seen:
                seen.add(reached)
                todo.append(reached)
    return Exploration(outcomes, deadlock, len(seen))
