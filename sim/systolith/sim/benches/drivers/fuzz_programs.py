"""Runs batches of programs in one simulator process, each program after the other."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout

from systolith.rtl.chip_state import chip_state
from systolith.rtl.config import Config
from systolith.sim.axi_lite import HeldRegisters
from systolith.sim.benches.common import configuration, reset
from systolith.sim.dram import Shared
from systolith.sim.job import program_registers
from systolith.sim.memories import ChipMemories
from systolith.verification.fuzz.session import PIPE, Entry, Files, Outcome

#: Cycles without a retired instruction that count as a hang, and what the accelerator may take to say so.
_WATCHDOG = 1 << 18
_GRACE = 1 << 16
#: Cycles of the longest program.
_LONGEST = 1 << 26
_DONE = 2


class _Host:
    """Starts programs and tells how they end."""

    def __init__(self, dut: Any, shared: Shared) -> None:
        self.dut = dut
        self.csr = HeldRegisters(dut)
        self.shared = shared

    async def reset(self) -> None:
        await reset(self.dut)
        self.csr.forget()

    async def run(self, entry: Entry) -> Outcome:
        self.shared.settle(entry.latency, entry.bandwidth, entry.seed)
        self.shared.grant(
            [(low, high) for low, high in entry.grants],
            (entry.program_base, entry.program_base + entry.program_bytes),
        )
        await self.csr.prepare(program_registers(entry.program_base, entry.program_length, entry.regions, _WATCHDOG))
        start = self.shared.cycles
        await self.csr.write("CONTROL", 1)
        problem = await self._end()
        cycles = self.shared.cycles - start
        await self.csr.write("IRQ_STATUS", 3)
        return Outcome(cycles=cycles, problem=problem or self.shared.violation or self.shared.unanswered)

    async def _end(self) -> str:
        """Wait for the interrupt; what went wrong, or nothing."""
        if not self.dut.irq.value:
            passed = 0
            while True:
                retired = self.shared.retired
                try:
                    await with_timeout(RisingEdge(self.dut.irq), _WATCHDOG + _GRACE, "ns")
                    break
                except SimTimeoutError:
                    passed += _WATCHDOG + _GRACE
                    if self.shared.retired == retired or passed > _LONGEST:
                        return f"no end after {passed} cycles"
        if await self.csr.read("STATUS") & _DONE:
            return ""
        code, index = await self.csr.read("FAULT_CODE"), await self.csr.read("FAULT_INDEX")
        return f"fault {code} at instruction {index}"


@cocotb.test()
async def fuzz_programs(dut: Any) -> None:
    """Batch after batch, as the named pipe says, until it says nothing or whoever started the simulator ends it."""
    config = configuration()
    dram = np.memmap("dram", np.uint8, "r+")
    memories = ChipMemories(config, Path("memories"))
    host = _Host(dut, Shared("status"))
    with Path(PIPE).open() as batches:
        while place := batches.readline().strip():
            await _batch(config, Files(Path(place)), dram, memories, host)


async def _batch(config: Config, files: Files, dram: Any, memories: ChipMemories, host: _Host) -> None:
    """Each program with its memory, timing and, if given, contents of the chip; then a copy of all of it."""
    batch = [Entry(**entry) for entry in json.loads(files.entries.read_text())]
    before = np.memmap(files.before, np.uint8, "r").reshape(len(batch), -1)
    after = np.memmap(files.after, np.uint8, "r+", shape=before.shape)
    states = np.fromfile(files.states, chip_state(config))
    chips = np.memmap(files.chips, chip_state(config), "r+", shape=(len(batch),))
    used = before.shape[1]
    outcomes: list[Outcome] = []
    await host.reset()
    for index, entry in enumerate(batch):
        dram[:used], dram[used:] = before[index], 0
        if entry.reset:
            await host.reset()
        if entry.state is not None:
            memories.write(states[entry.state])
        outcome = await host.run(entry)
        if dram[used:].any():
            outcome = replace(outcome, problem="wrote beyond everything that there is in memory")
        outcomes.append(outcome)
        after[index] = dram[:used]
        chips[index] = memories.read()
        if outcome.problem:
            break
    partial = files.outcomes.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
    partial.rename(files.outcomes)
