"""Where a program whose tokens do not add up comes to rest."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from systolith.rtl.config import Config
from systolith.rtl.isa import Instruction, Unit


@dataclass(frozen=True)
class Rest:
    """The oldest instruction that never retires, and the value of FAULT_WAITING: who waits for whose token."""

    oldest: int
    waiting: int


def come_to_rest(instructions: Sequence[Instruction], config: Config) -> Rest | None:
    """The state in which nothing can move any more; None if all instructions retire.

    The units and their queues are a network of processes that take what they need from channels (Kahn 1974): where
    it comes to rest does not depend on any timing, so each unit may run an instruction in no time. What a queue
    holds is part of it: an instruction behind a full one is not dispatched.
    """
    depth = {unit: getattr(config, f"{unit.name.lower()}_queue") for unit in Unit}
    queues: dict[Unit, deque[int]] = {unit: deque() for unit in Unit}
    tokens = {(a, b): 0 for a in Unit for b in Unit}
    dispatched = 0

    def missing(unit: Unit) -> int:
        wait = instructions[queues[unit][0]].wait if queues[unit] else 0
        return sum(1 << other for other in Unit if wait >> other & 1 and not tokens[other, unit])

    moved = True
    while moved:
        moved = False
        while dispatched < len(instructions) and len(queues[unit := instructions[dispatched].unit]) < depth[unit]:
            queues[unit].append(dispatched)
            dispatched += 1
            moved = True
        for unit in Unit:
            while queues[unit] and not missing(unit):
                instruction = instructions[queues[unit].popleft()]
                for other in Unit:
                    tokens[other, unit] -= instruction.wait >> other & 1
                    tokens[unit, other] += instruction.give >> other & 1
                moved = True
    if dispatched == len(instructions) and not any(queues.values()):
        return None
    oldest = min([dispatched, *(queue[0] for queue in queues.values() if queue)])
    return Rest(oldest, sum(missing(unit) << len(Unit) * unit for unit in Unit))
