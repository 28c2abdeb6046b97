"""Runs one program: the job is read from the file that ``$SYSTOLITH_JOB`` names."""

import os
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout

from systolith.sim.axi_lite import Registers
from systolith.sim.benches.common import configuration, reset
from systolith.sim.dram import Shared
from systolith.sim.job import JOB_VARIABLE, Job, Outcome, program_registers
from systolith.sim.memories import ChipMemories
from systolith.sim.watch import Watch, save_watched

#: Cycles between looks at the number of retired instructions when there is no watchdog to say how long is long.
_SLICE = 1 << 24
#: Cycles that the accelerator's own watchdog may take to drain the bus and interrupt.
_GRACE = 1 << 16
#: Cycles of a watch before and after those asked for: the bench does not know the program's first cycle exactly.
_MARGIN = 16
_DONE, _FAULT = 2, 4


@cocotb.test()
async def run_program(dut: Any) -> None:
    """Write the registers, start, wait for the interrupt, read status and counters."""
    job = Job.load(os.environ[JOB_VARIABLE])
    csr = Registers(dut)
    await reset(dut)
    await csr.prepare(program_registers(job.program_base, job.program_length, job.regions, job.watchdog))
    outcome = Outcome()
    begin = time.perf_counter()
    await csr.write("CONTROL", 1)
    watching = cocotb.start_soon(_watch(dut, job)) if job.watch is not None else None
    outcome.hang = await _interrupt(dut, job)
    outcome.seconds = time.perf_counter() - begin
    if not outcome.hang:
        end = Shared(job.status).cycles
        status = await csr.read("STATUS")
        outcome.done = bool(status & _DONE)
        if status & _FAULT:
            outcome.fault_code = await csr.read("FAULT_CODE")
            outcome.fault_index = await csr.read("FAULT_INDEX")
            outcome.fault_waiting = await csr.read("FAULT_WAITING")
        outcome.counters = await csr.counters()
        outcome.start = end - outcome.counters["cycles"]
    if watching is not None:
        await watching
    if job.chip:
        ChipMemories(configuration(), Path("memories")).read().tofile(job.chip)
    outcome.save(job.result)


async def _watch(dut: Any, job: Job) -> None:
    """Sample the elements that the job names, from a little before its first cycle to a little after its last."""
    watch = Watch(**(job.watch or {}))
    memories, dram = ChipMemories(configuration(), Path("memories")), np.memmap("dram", np.uint8, "r")
    shared = Shared(job.status)
    cycles: list[int] = []
    samples: dict[str, list[Any]] = {name: [] for name in (*watch.chip, "dram")}
    if watch.first > _MARGIN:
        await ClockCycles(dut.clk, watch.first - _MARGIN)
    for _ in range(min(watch.first, _MARGIN) + watch.last - watch.first + 2 * _MARGIN):
        await RisingEdge(dut.clk)
        cycles.append(shared.cycles)
        state = memories.read()
        for name, places in watch.chip.items():
            samples[name].append(state[name].ravel()[places].astype(np.int64))
        samples["dram"].append(dram[watch.dram].astype(np.int64))
    save_watched(Path("watched.npz"), cycles, samples)


async def _interrupt(dut: Any, job: Job) -> str:
    """Wait for the interrupt; why there will be none, or an empty string.

    One await spans many cycles: it costs nothing while the simulation runs.
    """
    shared = Shared(job.status)
    passed, retired = 0, -1
    while not dut.irq.value:
        span = job.watchdog + _GRACE if job.watchdog else _SLICE
        if job.max_cycles is not None:
            span = min(span, job.max_cycles - passed)
            if span <= 0:
                return f"no end within {job.max_cycles} cycles ({retired} instructions retired)"
        try:
            await with_timeout(RisingEdge(dut.irq), span, "ns")
        except SimTimeoutError:
            passed += span
            before, retired = retired, shared.retired
            if span > job.watchdog > 0 and retired == before:
                return f"neither instruction nor interrupt for {span} cycles ({retired} instructions retired)"
    return ""
