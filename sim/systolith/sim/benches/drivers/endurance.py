"""Runs jobs one after the other without a reset: orders and memories are in files in the working directory."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout

from systolith.sim.axi_lite import Registers
from systolith.sim.benches.common import reset
from systolith.sim.dram import Shared
from systolith.sim.job import program_registers
from systolith.verification.endurance.batch import Files, Order, Report, own_bytes

#: Cycles without a retired instruction that count as a fault, and cycles after which a job is given up.
_WATCHDOG, _LONGEST = 1 << 18, 1 << 26
_BUSY, _DONE = 1, 2


async def _run(dut: Any, csr: Registers, shared: Shared, order: Order) -> Report:
    """One job, with every register that it depends on written anew."""
    shared.settle(*order.timing)
    shared.grant(
        [(base, base + size) for base, size in order.regions],
        (order.program_base, order.program_base + 32 * order.program_length),
    )
    await csr.prepare(program_registers(order.program_base, order.program_length, order.regions, _WATCHDOG))
    reads, writes, begin = shared.read_beats, shared.write_beats, time.perf_counter()
    await csr.write("CONTROL", 1)
    problem = ""
    try:
        await with_timeout(RisingEdge(dut.irq), _LONGEST, "ns")
    except SimTimeoutError:
        problem = f"no interrupt within {_LONGEST} cycles"
    seconds = time.perf_counter() - begin
    if not problem:
        status = await csr.read("STATUS")
        if status & (_BUSY | _DONE) != _DONE:
            problem = f"status {status}, fault {await csr.read('FAULT_CODE')} at {await csr.read('FAULT_INDEX')}"
        await csr.write("IRQ_STATUS", 3)
        if dut.irq.value:
            problem = problem or "the interrupt stayed after it was cleared"
    return Report(
        problem=problem or shared.violation or shared.unanswered,
        counters=await csr.counters(),
        read_beats=shared.read_beats - reads,
        write_beats=shared.write_beats - writes,
        seconds=seconds,
        resident=own_bytes(),
    )


@cocotb.test()
async def endurance(dut: Any) -> None:
    """Each job on what the ones before it left in the accelerator."""
    files = Files(Path())
    orders = [Order(**order) for order in json.loads(files.orders.read_text())]
    dram = np.memmap(files.dram, np.uint8, "r+")
    before = np.memmap(files.before, np.uint8, "r", shape=(len(orders), len(dram)))
    after = np.memmap(files.after, np.uint8, "r+", shape=(len(orders), len(dram)))
    shared, csr = Shared(files.status), Registers(dut)
    await reset(dut)
    with files.reports.open("a") as reports:
        for index, order in enumerate(orders):
            dram[:] = before[index]
            report = await _run(dut, csr, shared, order)
            after[index] = dram
            reports.write(json.dumps(asdict(report)) + "\n")
            reports.flush()
            if report.problem:
                break
