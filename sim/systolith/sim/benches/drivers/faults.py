"""Runs injections of faults, a correct program after each: the batch is in the working directory."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout

from systolith.sim.axi_lite import BusResponseError, HeldRegisters
from systolith.sim.benches.common import reset
from systolith.sim.dram import BusError, Shared
from systolith.sim.job import program_registers
from systolith.verification.faults.batch import (
    AFTER,
    BEFORE,
    DRAM,
    INJECTIONS,
    LAYOUTS,
    OBSERVATIONS,
    RESETS,
    SHARED,
    Injection,
    Observation,
)
from systolith.verification.faults.subjects import Layout

#: Cycles that a stopped machine is watched, more than any latency of the memory.
_WATCHED = 300
#: Cycles that the host gives a reset before it insists.
_PATIENCE = 200
#: Cycles in which a program must end that its watchdog does not watch.
_LONGEST = 200_000
_BUSY, _DONE, _FAULT, _UNANSWERED = 1, 2, 4, 8
#: Registers that a running program must refuse.
_LOCKED = ("PROGRAM_BASE_LO", "PROGRAM_LENGTH", "REGION0_SIZE", "REGION7_BASE_HI")


class _Host:
    """Drives one accelerator through a batch."""

    def __init__(self, dut: Any, layouts: list[Layout]) -> None:
        self.dut = dut
        self.csr = HeldRegisters(dut)
        self.shared = Shared(SHARED)
        self.layouts = layouts
        self.dram = np.memmap(DRAM, np.uint8, "r+")
        self.before, self.after = np.load(BEFORE), np.load(AFTER)
        self.cycles: dict[int, int] = {}
        self.hung = False

    async def rst(self) -> None:
        await reset(self.dut)
        self.csr.forget()

    async def prepare(self, base: int, length: int, regions: list[list[int]], watchdog: int, irq: bool) -> None:
        """Everything but the doorbell."""
        self.shared.grant([(low, low + size) for low, size in regions], (base, base + 32 * length))
        await self.csr.prepare(program_registers(base, length, regions, watchdog, 3 * irq))

    async def run_correct(self, subject: int) -> str:
        """Run a subject as it is; what went wrong, or nothing."""
        layout = self.layouts[subject]
        self.dram[:] = self.before[subject]
        await self.prepare(layout.program_base, layout.program_length, layout.regions, 0, irq=True)
        start = self.shared.cycles
        await self.csr.write("CONTROL", 1)
        problem = await self.stopped(irq=True, limit=_LONGEST)
        self.cycles.setdefault(subject, self.shared.cycles - start)
        if problem:
            await self.rst()
            return problem
        status = await self.csr.read("STATUS")
        await self.csr.write("IRQ_STATUS", 3)
        if status != _DONE:
            return f"ended with status {status}, fault {await self.csr.read('FAULT_CODE')}"
        if wrong := self.wrong(subject):
            return f"{wrong} bytes differ"
        return self.shared.unanswered or self.shared.pardon()

    async def stopped(self, *, irq: bool, limit: int) -> str:
        """Wait for the interrupt, or poll the status where there is none; ``hung`` if the machine does not stop."""
        if irq:
            try:
                if not self.dut.irq.value:
                    await with_timeout(RisingEdge(self.dut.irq), limit, "ns")
            except SimTimeoutError:
                self.hung = True
                return f"no interrupt within {limit} cycles"
            return ""
        end = self.shared.cycles + limit
        while await self.csr.read("STATUS") & _BUSY:
            if self.shared.cycles > end:
                self.hung = True
                return f"busy for {limit} cycles"
            await ClockCycles(self.dut.clk, 50)
        return ""

    async def inject(self, i: Injection) -> Observation:
        """One injection and what follows it."""
        self.dram[:] = self.before[i.subject]
        image = np.frombuffer(bytes.fromhex(i.program), np.uint8)
        place = self.layouts[i.subject].program_base - self.layouts[i.subject].dram_base
        self.dram[place : place + len(image)] = image
        initial = np.array(self.dram)
        self.shared.settle(i.latency, 0, i.seed)
        if i.error is not None:
            low, high, response, kinds = i.error
            self.shared.refuse(BusError(low=low, high=high, response=response), kinds)
        await self.prepare(i.program_base, i.length, i.regions, i.watchdog, i.interrupts)
        retired = self.shared.retired_of
        strays = self.shared.strays
        at = int(i.at * self.cycles[i.subject])
        if i.mute:
            self.shared.control["mute_from"] = self.shared.cycles + at
            self.shared.control["mute"] = i.mute
        seen = Observation(retired_of=[])
        self.hung = False
        await self.csr.write("CONTROL", 1)
        if i.action:
            await ClockCycles(self.dut.clk, max(1, at))
            seen.busy_at_action = bool(await self.csr.read("STATUS") & _BUSY)
            if seen.busy_at_action or i.action in RESETS:
                seen.problem = await self.act(i.action)
        silent = i.action in RESETS
        seen.problem = seen.problem or await self.stopped(
            irq=i.interrupts and not silent, limit=_LONGEST + 4 * i.watchdog
        )
        await self.look(i, seen)
        await self.revive(i, seen)
        outside = self.outside(i)
        if not np.array_equal(self.dram[outside], initial[outside]):
            seen.problem = seen.problem or "bytes outside the regions were written"
        seen.exact = not self.wrong(i.subject)
        seen.strays = self.shared.strays - strays
        seen.retired_of = [b - a for a, b in zip(retired, self.shared.retired_of, strict=True)]
        violation = self.shared.pardon()
        seen.problem = seen.problem or violation
        self.shared.refuse(None)
        self.shared.control["mute"] = 0
        await self.csr.write("IRQ_STATUS", 3)
        seen.good = await self.run_correct(i.good)
        seen.hung = self.hung
        return seen

    def wrong(self, subject: int) -> int:
        """Bytes of DRAM that are not what the subject makes of them."""
        after = self.after[subject]
        return int(np.count_nonzero((after >= 0) & (self.dram != after)))

    def outside(self, i: Injection) -> np.ndarray:
        """Which bytes of DRAM are in no region."""
        free = np.ones(len(self.dram), bool)
        for base, size in i.regions:
            low = base - self.layouts[i.subject].dram_base
            free[low : low + size] = False
        return free

    async def act(self, action: str) -> str:
        """What the host does while the program runs; what went wrong with it."""
        if action == "reset":
            await self.csr.write("CONTROL", 2)
        elif action == "insist":
            await self.csr.write("CONTROL", 2)
            await ClockCycles(self.dut.clk, _PATIENCE)
            if await self.csr.read("STATUS") & _BUSY:
                await self.csr.write("CONTROL", 2)
        elif action == "rst":
            await self.rst()
        else:
            await self.csr.write("CONTROL", 1)
            for name in _LOCKED:
                try:
                    await self.csr.write(name, 0)
                except BusResponseError:
                    continue
                if await self.csr.read("STATUS") & _BUSY:
                    return f"{name} could be written while busy"
                self.csr.forget(name)
        return ""

    async def look(self, i: Injection, seen: Observation) -> None:
        """Read the report, and watch that nothing moves any more."""
        ended = self.shared.cycles
        seen.interrupted = bool(self.dut.irq.value)
        seen.status = await self.csr.read("STATUS")
        seen.code = await self.csr.read("FAULT_CODE")
        seen.index = await self.csr.read("FAULT_INDEX")
        seen.waiting = await self.csr.read("FAULT_WAITING")
        if not i.interrupts and seen.status & (_DONE | _FAULT):
            await self.csr.set("IRQ_ENABLE", 3)
            await ClockCycles(self.dut.clk, 4)
            if not self.dut.irq.value:
                seen.problem = seen.problem or "the interrupt is lost that came before it was enabled"
        await ClockCycles(self.dut.clk, _WATCHED)
        if seen.status & _UNANSWERED:
            return
        if self.shared.last_request > ended:
            seen.problem = seen.problem or "bus traffic after the end"
        seen.problem = seen.problem or self.shared.unanswered

    async def revive(self, i: Injection, seen: Observation) -> None:
        """Deal with bursts that the memory has not answered."""
        if not seen.status & _UNANSWERED:
            return
        control = self.shared.control
        if i.recovery == "late":
            control["mute"] = 0
            for _ in range(100):
                if not await self.csr.read("STATUS") & _UNANSWERED:
                    break
                await ClockCycles(self.dut.clk, 50)
            ended = self.shared.cycles
            await ClockCycles(self.dut.clk, _WATCHED)
            late = self.shared.last_request > ended
            seen.problem = seen.problem or self.shared.unanswered or ("bus traffic after the end" if late else "")
        elif i.recovery == "forget":
            control["forget"] = 1
            await self.csr.write("CONTROL", 2)
            # The memory stays in reset until the accelerator has left its own.
            await self.csr.read("STATUS")
            control["forget"] = control["mute"] = 0
        else:
            await self.rst()


@cocotb.test()
async def inject_faults(dut: Any) -> None:
    """All of them, each observation in the order of its injection."""
    host = _Host(dut, [Layout(**layout) for layout in json.loads(Path(LAYOUTS).read_text())])
    await host.rst()
    for subject in range(len(host.layouts)):
        assert not (problem := await host.run_correct(subject)), problem
    observations = [
        asdict(await host.inject(Injection(**injection))) for injection in json.loads(Path(INJECTIONS).read_text())
    ]
    Path(OBSERVATIONS).write_text(json.dumps(observations))
