"""The top: registers and run state outside the core's reset, the core that runs programs inside it."""

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import Config
from .controller import Controller
from .core import CAUSE_BITS, Core
from .counters import Counters
from .csr import Csr
from .csr_map import ADDRESS_BITS
from .interfaces import INDEX_BITS, Axi, AxiLite
from .tokens import UNITS

#: What the core drives to ask something of ``m_axi``.
_REQUESTS = ("arvalid", "awvalid", "wvalid")


class Accelerator(wiring.Component):
    """A systolic-array accelerator, whole.

    The core's reset is one register, as it drives thousands: it follows ``rst`` a cycle later. No clock domain resets
    anything here.

    Members
    -------
    rst : ``In(1)``: all returns to its initial state; nothing is asked of ``m_axi`` from the next cycle on.
    s_axi : ``In(AxiLite)``: the registers of ``csr_map``.
    m_axi : ``Out(Axi)``: programs, weights, activations and results.
    irq : level interrupt.
    trace_issue, trace_retire : bit u: an instruction was handed to, retired by unit u in this cycle.
    trace_issue_index, trace_retire_index : its index in the program, at bits 24*u.
    trace_queue : bit u: an instruction, the next of the program, entered unit u's queue.
    trace_array : what the array did, one bit set (``core.TRACE``).
    trace_run : this cycle counts for the program.
    """

    rst: Signal
    s_axi: Any
    m_axi: Any
    irq: Signal
    trace_issue: Signal
    trace_issue_index: Signal
    trace_retire: Signal
    trace_retire_index: Signal
    trace_queue: Signal
    trace_array: Signal
    trace_run: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "rst": In(1),
                "s_axi": In(AxiLite(ADDRESS_BITS)),
                "m_axi": Out(Axi(config)),
                "irq": Out(1),
                "trace_issue": Out(UNITS),
                "trace_issue_index": Out(UNITS * INDEX_BITS),
                "trace_retire": Out(UNITS),
                "trace_retire_index": Out(UNITS * INDEX_BITS),
                "trace_queue": Out(UNITS),
                "trace_array": Out(CAUSE_BITS),
                "trace_run": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        csr, controller, counters = Csr(self.config), Controller(sources=Core.SOURCES), Counters()
        core = Core(self.config)
        host = ResetInserter(self.rst)
        m.submodules.csr = host(csr)
        m.submodules.controller = host(controller)
        m.submodules.counters = host(counters)
        m.submodules.core = ResetInserter(controller.core_reset)(core)
        connect(m, flipped(self.s_axi), csr.bus)
        for name, member in self.m_axi.signature.members.items():
            inner, outer = getattr(core.bus, name), getattr(self.m_axi, name)
            if member.flow is In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner & ~controller.core_reset if name in _REQUESTS else inner)
        m.d.comb += [
            controller.start.eq(csr.start),
            controller.reset.eq(csr.reset),
            controller.length.eq(csr.program_length),
            controller.watchdog.eq(csr.watchdog),
            controller.faults.eq(core.faults),
            controller.retired.eq(core.trace.retired.any()),
            controller.finished.eq(core.finished),
            controller.idle.eq(core.idle),
            controller.oldest.eq(core.oldest),
            controller.waiting.eq(core.waiting),
            core.launch.eq(controller.launch),
            core.halt.eq(controller.halt),
            core.program_base.eq(csr.program_base),
            core.program_length.eq(csr.program_length),
            core.regions.region.eq(csr.regions.region),
            counters.clear.eq(controller.clear),
            counters.enable.eq(controller.running),
            counters.events.eq(core.events),
            counters.events.cycles.eq(1),
            csr.busy.eq(controller.busy),
            csr.done.eq(controller.done),
            csr.fault.eq(controller.fault),
            csr.fault_code.eq(controller.fault_code),
            csr.fault_index.eq(controller.fault_index),
            csr.fault_waiting.eq(controller.fault_waiting),
            csr.unanswered.eq(controller.unanswered),
            csr.completed.eq(controller.completed),
            csr.faulted.eq(controller.faulted),
            csr.counters.eq(counters.values),
            self.irq.eq(csr.irq),
            self.trace_issue.eq(core.trace.issued),
            self.trace_issue_index.eq(core.trace.issued_index),
            self.trace_retire.eq(core.trace.retired),
            self.trace_retire_index.eq(core.trace.retired_index),
            self.trace_queue.eq(core.trace.queued),
            self.trace_array.eq(core.trace.array),
            self.trace_run.eq(controller.running),
        ]
        return m
