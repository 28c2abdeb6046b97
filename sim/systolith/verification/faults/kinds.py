"""Every kind of fault that is injected, and what the registers must say then."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from systolith.compiler.footprint import dram_span
from systolith.rtl.config import Config
from systolith.rtl.interfaces import Fault
from systolith.rtl.isa import Instruction, Opcode, Unit, assemble
from systolith.sim.dram import CHANNELS, READS, WRITES

from .batch import RESETS, Injection, Observation
from .fields import Values, illegal_values, outside_the_chip, outside_the_region
from .subjects import Subject
from .tokens import come_to_rest

#: Cycles without a retirement that no correct subject has on any timing of the memory.
WATCHDOG = 6000
_SLVERR, _DECERR = 2, 3
_RECOVERIES = ("late", "forget", "rst")


@dataclass(frozen=True)
class Expected:
    """What an injection must lead to.

    ``reports`` are the (code, index) of which one must be there, index None being the oldest instruction that has not
    retired; empty means no fault. ``done`` where the program may end, or must if there are no reports: then its
    results are right.
    """

    reports: frozenset[tuple[Fault, int | None]] = frozenset()
    waiting: int | None = None
    done: bool = False


Case = tuple[Injection, Expected]


class Maker:
    """Draws injections into one subject."""

    def __init__(self, config: Config, subject: Subject, number: int, subjects: int, source: random.Random) -> None:
        self.config, self.subject, self.source = config, subject, source
        self._plain = Injection(
            kind="", subject=number, good=source.randrange(subjects), program=_hex(subject.instructions),
            length=len(subject.instructions), program_base=subject.layout.program_base,
            regions=subject.layout.regions, latency=source.choice([1, 5, 30, source.randint(1, 60)]),
            seed=source.randrange(1 << 31), watchdog=WATCHDOG, interrupts=source.random() < 0.9, error=None, mute=0,
            action="", at=source.random(), recovery=source.choice(_RECOVERIES),
        )  # fmt: skip

    def plain(self, **changes: object) -> Injection:
        return replace(self._plain, **changes)  # type: ignore[arg-type]

    def changed(self, index: int, values: Values) -> Injection:
        """Instruction ``index`` with other values."""
        program = list(self.subject.instructions)
        program[index] = Instruction(program[index].opcode, {**program[index].values, **values})
        return self.plain(program=_hex(program))

    def pick(self, *opcodes: Opcode) -> int:
        """Some instruction, of one of these kinds; first any kind, as LOADs are many."""
        opcode = self.source.choice(opcodes)
        return self.source.choice([n for n, i in enumerate(self.subject.instructions) if i.opcode == opcode])

    def first_touching(self, opcode: Opcode, region: int, low: int, high: int) -> int | None:
        """The first instruction that moves one of the bytes ``low`` to ``high - 1`` of a region, in whole beats."""
        bus, pitch = self.config.bus_bytes, self.config.row_pitch
        for n, i in enumerate(self.subject.instructions):
            if i.opcode != opcode or i.region != region:
                continue
            span = dram_span(i, self.config)
            for block in range(span.shape[0]):
                start = (span.start + block * span.strides[0]) * pitch
                if start // bus * bus < high and low < -(-(start + i.rows * pitch) // bus) * bus:
                    return n
        return None


def _hex(instructions: list[Instruction] | tuple[Instruction, ...]) -> str:
    return assemble(list(instructions)).tobytes().hex()


def _one(code: Fault, index: int | None) -> Expected:
    return Expected(frozenset({(code, index)}))


def _opcode(m: Maker) -> Case:
    index = m.pick(*Opcode)
    image = bytearray.fromhex(m.plain().program)
    image[32 * index] = image[32 * index] & 0xF0 | m.source.choice([0, *range(5, 16)])
    return m.plain(program=image.hex()), _one(Fault.ILLEGAL_INSTRUCTION, index)


def _illegal_value(m: Maker) -> Case:
    index = m.pick(*Opcode)
    kinds = illegal_values(m.subject.instructions[index], m.config)
    name = m.source.choice(sorted(kinds))
    return m.changed(index, kinds[name]), _one(Fault.ILLEGAL_INSTRUCTION, index)


def _outside_chip(m: Maker) -> Case:
    index = m.pick(*Opcode)
    values = outside_the_chip(m.subject.instructions[index], m.config, m.source)
    return m.changed(index, values), _one(Fault.ADDRESS, index)


def _outside_region(m: Maker) -> Case:
    index = m.pick(Opcode.LOAD, Opcode.STORE)
    instruction = m.subject.instructions[index]
    size = m.subject.layout.regions[instruction.region][1]
    return m.changed(index, outside_the_region(instruction, m.config, size, m.source)), _one(Fault.REGION, index)


def _empty_region(m: Maker) -> Case:
    index = m.pick(Opcode.LOAD, Opcode.STORE)
    empty = next(n for n, (_, size) in enumerate(m.subject.layout.regions) if size == 0)
    return m.changed(index, {"region": empty}), _one(Fault.REGION, index)


def _last_byte(m: Maker) -> Case:
    """The host grants a region one byte short of what the program needs."""
    region = m.subject.instructions[m.pick(Opcode.LOAD, Opcode.STORE)].region
    pitch = m.config.row_pitch
    ends = {
        n: (dram_span(i, m.config).last + 1) * pitch
        for n, i in enumerate(m.subject.instructions)
        if i.opcode in (Opcode.LOAD, Opcode.STORE) and i.region == region
    }
    highest = max(ends.values())
    reaching = [n for n, end in ends.items() if end == highest]
    first = {m.subject.instructions[n].opcode: n for n in reversed(reaching)}
    regions = [list(r) for r in m.subject.layout.regions]
    regions[region][1] = highest - 1
    return m.plain(regions=regions), Expected(frozenset((Fault.REGION, n) for n in first.values()))


def _data_error(m: Maker, opcode: Opcode, kinds: int, code: Fault, response: int) -> Case:
    instruction = m.subject.instructions[m.pick(opcode)]
    base = m.subject.layout.regions[instruction.region][0]
    span = dram_span(instruction, m.config)
    row = span.start + m.source.randrange(span.shape[0]) * span.strides[0] + m.source.randrange(instruction.rows)
    beat = row * m.config.row_pitch // m.config.bus_bytes * m.config.bus_bytes
    error = [base + beat, base + beat + m.config.bus_bytes, response, kinds]
    first = m.first_touching(opcode, instruction.region, beat, beat + m.config.bus_bytes)
    return m.plain(error=error), _one(code, first)


def _fetch_error(m: Maker, response: int) -> Case:
    index = m.pick(*Opcode)
    per_beat = max(1, m.config.bus_bytes // 32)
    low = m.subject.layout.program_base + 32 * (index // per_beat * per_beat)
    return m.plain(error=[low, low + 1, response, READS]), _one(Fault.BUS_FETCH, index // per_beat * per_beat)


def _unmapped_region(m: Maker) -> Case:
    region = m.subject.instructions[m.pick(Opcode.LOAD, Opcode.STORE)].region
    regions = [list(r) for r in m.subject.layout.regions]
    regions[region][0] = m.subject.layout.dram_base - m.source.choice([1 << 12, 1 << 20, 1 << 30]) - (1 << 20)
    reports = set()
    for opcode, code in ((Opcode.LOAD, Fault.BUS_READ), (Opcode.STORE, Fault.BUS_WRITE)):
        first = m.first_touching(opcode, region, 0, 1 << 32)
        if first is not None:
            reports.add((code, first))
    return m.plain(regions=regions), Expected(frozenset(reports))


def _unmapped_program(m: Maker) -> Case:
    return m.plain(program_base=m.subject.layout.dram_base - (1 << 20)), _one(Fault.BUS_FETCH, 0)


def _silence(m: Maker, channel: int) -> Case:
    return m.plain(mute=1 << channel), Expected(frozenset({(Fault.WATCHDOG, None)}), done=True)


def _lost_token(m: Maker) -> Case:
    """A give is dropped, or a wait added, so that the program cannot end."""
    while True:
        index = m.source.randrange(len(m.subject.instructions))
        old = m.subject.instructions[index]
        if m.source.random() < 0.7:
            given = [u for u in Unit if old.give >> u & 1]
            if not given:
                continue
            values = {"give": old.give & ~(1 << m.source.choice(given))}
        else:
            values = {"wait": old.wait | 1 << m.source.choice([u for u in Unit if u != old.unit])}
        program = list(m.subject.instructions)
        program[index] = Instruction(old.opcode, {**old.values, **values})
        rest = come_to_rest(program, m.config)
        if rest is not None:
            report = frozenset({(Fault.WATCHDOG, rest.oldest)})
            return m.changed(index, values), Expected(report, waiting=rest.waiting)


def _doorbell(m: Maker) -> Case:
    return m.plain(action="doorbell", interrupts=True, at=0.6 * m.source.random()), Expected(done=True)


def _zero_length(m: Maker) -> Case:
    return m.plain(length=0), Expected()


def _polled(m: Maker) -> Case:
    return m.plain(interrupts=False), Expected(done=True)


def _host_reset(m: Maker) -> Case:
    return m.plain(action="reset"), Expected()


def _reset_of_a_dead_bus(m: Maker) -> Case:
    """Without a watchdog nothing but the host ends a program whose bus is dead."""
    return m.plain(mute=1 << m.source.randrange(len(CHANNELS)), watchdog=0, action="insist"), Expected()


def _pin_reset(m: Maker) -> Case:
    return m.plain(action="rst"), Expected()


def _kinds() -> dict[str, Callable[[Maker], Case]]:
    kinds: dict[str, Callable[[Maker], Case]] = {
        "illegal opcode": _opcode,
        "illegal field value": _illegal_value,
        "address outside a memory": _outside_chip,
        "address outside its region": _outside_region,
        "region of size 0": _empty_region,
        "region one byte short": _last_byte,
        "region where no memory is": _unmapped_region,
        "program where no memory is": _unmapped_program,
        "token that never comes": _lost_token,
        "doorbell while busy": _doorbell,
        "zero-length program": _zero_length,
        "no interrupt handler": _polled,
        "reset bit": _host_reset,
        "reset bit while the bus is dead": _reset_of_a_dead_bus,
        "reset pin": _pin_reset,
    }
    for name, response in (("SLVERR", _SLVERR), ("DECERR", _DECERR)):
        refused = {"read": (Opcode.LOAD, READS, Fault.BUS_READ), "write": (Opcode.STORE, WRITES, Fault.BUS_WRITE)}
        for access, (opcode, access_kind, code) in refused.items():
            kinds[f"{name} on a {access}"] = partial(
                _data_error, opcode=opcode, kinds=access_kind, code=code, response=response
            )
        kinds[f"{name} on a fetch"] = partial(_fetch_error, response=response)
    for number, channel in enumerate(CHANNELS):
        kinds[f"{channel} that never comes"] = partial(_silence, channel=number)
    return kinds


#: Name of a kind -> its injection into a maker's subject, and what is expected.
KINDS = _kinds()

_DONE, _FAULT, _UNANSWERED = 2, 4, 8


def verdict(injection: Injection, expected: Expected, seen: Observation, subject: Subject) -> str:
    """What is wrong with an observation, or nothing."""
    if seen.problem or seen.good:
        return seen.problem or f"the correct program afterwards: {seen.good}"
    if seen.strays:
        return f"{seen.strays} bursts outside the regions"
    if injection.action in RESETS:
        return "" if not seen.status & ~_UNANSWERED and not seen.code else f"status {seen.status}, code {seen.code}"
    if injection.interrupts != seen.interrupted:
        return f"interrupt is {seen.interrupted}"
    if seen.status == _DONE:
        if injection.length == 0:
            return "" if not any(seen.retired_of) else "instructions of a program of none"
        if not expected.done:
            return "done in spite of the fault"
        return "" if seen.exact else "done with wrong results"
    if seen.status & ~_UNANSWERED != _FAULT:
        return f"status {seen.status}"
    oldest = _oldest(subject, seen)
    reports = {(code, oldest if index is None else index) for code, index in expected.reports}
    if (seen.code, seen.index) not in reports:
        return f"fault {seen.code} at instruction {seen.index}, not one of {sorted(reports)}"
    if expected.waiting is not None and seen.waiting != expected.waiting:
        return f"waiting {seen.waiting:#06x}, not {expected.waiting:#06x}"
    return ""


def took_effect(injection: Injection, expected: Expected, seen: Observation) -> bool:
    """Whether the fault, or the host's action, came before the program had ended without it."""
    if injection.action:
        return seen.busy_at_action
    return not (expected.reports and seen.status == _DONE)


def _oldest(subject: Subject, seen: Observation) -> int:
    """The first instruction that has not retired, from the number that each unit has."""
    left = []
    for unit, retired in zip(Unit, seen.retired_of, strict=True):
        left += [n for n, i in enumerate(subject.instructions) if i.unit == unit][retired : retired + 1]
    return min(left, default=len(subject.instructions))
