"""Dispatch: decode, the four queues and their tokens, with units that take and retire at random."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from systolith.rtl.interfaces import IN_FLIGHT, INDEX_BITS, Fault
from systolith.rtl.isa import FIELDS, HEADER, Instruction, Opcode, Unit
from systolith.sim.benches.common import checked, effort, random, reset
from systolith.sim.benches.units.streams import Stalls, give

#: Tokens that a pair of units may have outstanding in program order: whatever the timing, a counter has room.
_TOKENS = 200
#: Cycles that an instruction may take on average.
_PATIENCE = 200


@cocotb.test()
@cocotb.parametrize(eagerness=[0.1, 0.5, 0.9], waiting=[0.2, 0.8])
async def random_programs(dut: Any, eagerness: float, waiting: float) -> None:
    """Each unit gets its instructions in order, none before its tokens; indices and states are those of the model."""
    rng = random(int(10 * eagerness), int(10 * waiting))
    program = _program(rng, effort(2000), waiting)
    dut.halt.value = 0
    await reset(dut)
    units = _Units(dut, program, rng, eagerness)
    feeding = cocotb.start_soon(give(dut, "instructions", [i.encode() for i in program], Stalls(rng, 0.9)))
    for _ in range(_PATIENCE * len(program)):
        await units.cycle()
        if units.finished:
            break
    assert units.finished, f"{units.handed} of {len(program)} handed over"
    await feeding
    assert not dut.pending.value
    assert not dut.busy.value
    assert int(dut.dispatched.value) == len(program)
    checked("instructions", len(program))
    checked("tokens", int(units.taken.sum()))


@cocotb.test()
async def illegal_headers(dut: Any) -> None:
    """Every header with an unknown opcode or a token of the unit's own: a fault, at its index, and nothing goes on."""
    rng = random()
    dut.halt.value = 0
    count = 0
    for header in range(1 << HEADER.size):
        opcode, wait, given = header & 0xF, header >> 4 & 0xF, header >> 8 & 0xF
        own = 1 << (opcode - 1) if 1 <= opcode <= len(Unit) else 0
        legal = own and not (wait | given) & own
        # What lies above the header is of no matter.
        word = header | int.from_bytes(rng.bytes(30), "little") << HEADER.size
        dut.instructions__payload.value = word & ((1 << 256) - 1)
        dut.instructions__valid.value = not legal
        if legal:
            continue
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        assert int(dut.fault.value) == Fault.ILLEGAL_INSTRUCTION, f"header {header:#x}"
        assert not dut.instructions__ready.value
        count += 1
    dut.instructions__valid.value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    assert not int(dut.fault.value)
    checked("illegal headers", count)


def _program(rng: np.random.Generator, count: int, waiting: float) -> list[Instruction]:
    """Instructions that wait only for tokens which earlier ones give, all other fields random."""
    free = np.zeros((len(Unit), len(Unit)), int)
    program = []
    for _ in range(count):
        unit = Unit(int(rng.integers(len(Unit))))
        wait = sum(1 << u for u in Unit if u != unit and free[u, unit] and rng.random() < waiting)
        given = sum(1 << u for u in Unit if u != unit and free[unit, u] < _TOKENS and rng.random() < 0.5)
        for other in Unit:
            free[other, unit] -= wait >> other & 1
            free[unit, other] += given >> other & 1
        opcode = Opcode(unit + 1)
        values = {f.name: int(rng.integers(f.low, f.high + 1)) for f in FIELDS[opcode] if f.name != "opcode"}
        program.append(Instruction(opcode, {**values, "wait": wait, "give": given}))
    return program


class _Units:
    """The four units, seen at every clock edge with what went on in the cycle before it."""

    def __init__(self, dut: Any, program: list[Instruction], rng: np.random.Generator, eagerness: float) -> None:
        self._dut, self._program = dut, program
        self._expected = {unit: deque(i for i, x in enumerate(program) if x.unit == unit) for unit in Unit}
        self._in_flight: dict[Unit, deque[int]] = {unit: deque() for unit in Unit}
        # Units differ in speed, so that queues fill and tokens pile up.
        self._accepts = [Stalls(rng, eagerness * share) for share in rng.uniform(0.3, 1.0, len(Unit))]
        self._retires = [Stalls(rng, eagerness * share) for share in rng.uniform(0.3, 1.0, len(Unit))]
        self._ready, self._retired = [False] * len(Unit), [False] * len(Unit)
        self.given, self.taken = np.zeros((2, len(Unit), len(Unit)), int)  # giver, taker
        self.handed = 0
        for unit in Unit:
            getattr(dut, f"units__{unit}__fault").value = 0

    @property
    def finished(self) -> bool:
        return self.handed == len(self._program) and not any(self._in_flight.values()) and not any(self._retired)

    async def cycle(self) -> None:
        dut = self._dut
        for unit in Unit:
            # A unit that is ready stays so until an instruction comes: the queues count on it.
            self._ready[unit] = self._ready[unit] or self._accepts[unit].willing()
            self._retired[unit] = bool(self._in_flight[unit]) and self._retires[unit].willing()
            getattr(dut, f"units__{unit}__instruction__ready").value = self._ready[unit]
            getattr(dut, f"units__{unit}__retired").value = self._retired[unit]
        await RisingEdge(dut.clk)
        issued, retired = int(dut.issued.value), int(dut.retired.value)
        assert int(dut.busy.value) == sum(1 << unit for unit in Unit if self._in_flight[unit])
        assert retired == sum(1 << unit for unit in Unit if self._retired[unit])
        for unit in Unit:
            moved = self._ready[unit] and bool(getattr(dut, f"units__{unit}__instruction__valid").value)
            assert issued >> unit & 1 == moved
            if moved:
                self._hand_over(unit)
                self._ready[unit] = False
        for unit in Unit:
            if self._retired[unit]:
                index = self._in_flight[unit].popleft()
                assert self._index(dut.retired_index, unit) == index
                for taker in Unit:
                    self.given[unit, taker] += self._program[index].give >> taker & 1
        assert not dut.fault.value

    def _hand_over(self, unit: Unit) -> None:
        """Its word, its index, and tokens that were given in earlier cycles."""
        dut = self._dut
        index = self._expected[unit].popleft()
        instruction = self._program[index]
        assert int(getattr(dut, f"units__{unit}__instruction__payload").value) == instruction.encode()
        assert self._index(dut.issued_index, unit) == index
        for giver in Unit:
            self.taken[giver, unit] += instruction.wait >> giver & 1
        assert (self.taken[:, unit] <= self.given[:, unit]).all(), f"instruction {index} went before its tokens"
        self._in_flight[unit].append(index)
        assert len(self._in_flight[unit]) <= IN_FLIGHT
        self.handed += 1

    @staticmethod
    def _index(signal: Any, unit: Unit) -> int:
        return int(signal.value) >> (INDEX_BITS * unit) & ((1 << INDEX_BITS) - 1)
