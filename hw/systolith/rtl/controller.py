"""Run state: start, end, faults, watchdog, and the quiet stop that a fault needs."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .interfaces import FAULT_BITS, INDEX_BITS, WAITING_BITS, Fault

#: One fault report: a ``Fault`` code (0 is none) and the index of the instruction.
FAULT_REPORT = data.StructLayout({"code": FAULT_BITS, "index": INDEX_BITS})
#: Cycles from ``halt`` until ``idle`` is believed. With ``halt`` high from cycle 0 on, the core's register of it is so
#: from cycle 1 on and the units' ``stop`` from cycle 2 on. The last burst may be issued in cycle 1 and counts as in
#: flight from cycle 2 on, so what is quiet then stays quiet. A register of the core shows that as ``idle`` in cycle 3:
#: three suffice, and the others are to spare.
_SETTLE = 6


class Controller(wiring.Component):
    """Runs one program at a time and stops it cleanly.

    - ``start`` clears the results of the last program, resets the core and then launches the fetch.
      A program of length 0 is done at once. While busy, ``start`` is ignored.
    - The program is done when ``finished``.
    - The first fault (of several in one cycle, the first in ``faults``; the watchdog last) is kept and ``halt``
      rises. When the core is ``idle`` on its buses it is reset, and only then is the fault reported.
    - The watchdog is a fault after that many cycles without a retirement. If the bus is not quiet that long
      after a fault either (or ``reset`` is pulsed meanwhile), the fault is reported all the same: ``halt``
      stays and the core keeps its state, so that late responses are still taken, until the next start or
      reset. With the watchdog off a dead bus is waited for until the host writes the reset bit.
    - ``reset`` while a program runs stops it in the same way, but ends in the idle state: neither done nor
      fault. When not busy it clears done and fault and resets the core.

    Parameters
    ----------
    sources : int
        Number of fault reports.

    Members
    -------
    start, reset : pulses from the CSRs; ``start`` wins when not busy.
    length : instructions of the program. watchdog : cycles, 0 is never.
    faults : ``In(ArrayLayout(FAULT_REPORT, sources))``.
    retired : some instruction retired in this cycle.
    finished : everything was fetched, dispatched and retired, and the buses are quiet.
    idle : nothing was outstanding on a bus in the cycle before.
    oldest : index of the oldest unretired instruction, for the watchdog's report.
    waiting : the units for whose tokens each unit's next instruction waits (``WAITING_BITS``).
    core_reset : the core returns to its initial state. A register: it drives all of the core. High after a reset of the
        controller, so that the core needs no other.
    clear : a program starts, perhaps of length 0: counters return to 0.
    launch : the fetch starts.
    halt : the core is to hand over no more instructions and to issue no more bursts, see its ``halt``.
    running : from the launch to the end; cycles count.
    busy, done, fault, fault_code, fault_index : what the CSRs show.
    fault_waiting : ``waiting`` in the cycle of the fault.
    unanswered : the core stays halted because its bus is not quiet yet.
    completed, faulted : one pulse at the end, the one or the other.
    """

    start: Signal
    reset: Signal
    length: Signal
    watchdog: Signal
    faults: Any
    retired: Signal
    finished: Signal
    idle: Signal
    oldest: Signal
    waiting: Signal
    core_reset: Signal
    clear: Signal
    launch: Signal
    halt: Signal
    running: Signal
    busy: Signal
    done: Signal
    fault: Signal
    fault_code: Signal
    fault_index: Signal
    fault_waiting: Signal
    unanswered: Signal
    completed: Signal
    faulted: Signal

    def __init__(self, *, sources: int) -> None:
        self.sources = sources
        super().__init__({
            "start": In(1), "reset": In(1), "length": In(32), "watchdog": In(32),
            "faults": In(data.ArrayLayout(FAULT_REPORT, sources)),
            "retired": In(1), "finished": In(1), "idle": In(1), "oldest": In(INDEX_BITS),
            "waiting": In(WAITING_BITS),
            "core_reset": Out(1, init=1), "clear": Out(1), "launch": Out(1), "halt": Out(1), "running": Out(1),
            "busy": Out(1), "done": Out(1), "fault": Out(1),
            "fault_code": Out(FAULT_BITS), "fault_index": Out(INDEX_BITS),
            "fault_waiting": Out(WAITING_BITS), "unanswered": Out(1),
            "completed": Out(1), "faulted": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Cycles since the last retirement, this one included; the comparison is long, so it is known one cycle ahead.
        quiet = Signal(32)
        expired = Signal()
        settling = Signal(range(_SETTLE + 1))
        # The bus did not become quiet: the core must stay halted and alive.
        stuck = Signal()
        restart = Signal()
        m.d.sync += self.core_reset.eq(restart)
        empty = Signal()
        m.d.sync += [quiet.eq(quiet + 1), empty.eq(self.length == 0)]

        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.halt.eq(stuck)
                with m.If(self.start | self.reset):
                    m.d.sync += [self.done.eq(0), self.fault.eq(0), self.fault_code.eq(0), self.fault_index.eq(0)]
                    m.d.sync += self.fault_waiting.eq(0)
                with m.If(self.start):
                    m.d.comb += restart.eq(1)
                    m.next = "PREPARE"
                with m.Elif(self.reset):
                    m.next = "RESET"
            with m.State("PREPARE"):
                m.d.comb += self.halt.eq(stuck)
                m.next = "LAUNCH"
            with m.State("LAUNCH"):
                m.d.comb += self.clear.eq(1)
                m.d.sync += [quiet.eq(1), stuck.eq(0)]
                with m.If(empty):
                    m.d.comb += self.completed.eq(1)
                    m.d.sync += self.done.eq(1)
                    m.next = "IDLE"
                with m.Else():
                    m.d.comb += self.launch.eq(1)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += self.running.eq(1)
                m.d.sync += settling.eq(_SETTLE)
                with m.If(self.retired):
                    m.d.sync += quiet.eq(1)
                with m.If(self._select_fault(m, expired) | self.reset):
                    m.next = "QUIESCE"
                with m.Elif(self.finished):
                    m.d.comb += self.completed.eq(1)
                    m.d.sync += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("QUIESCE"):
                m.d.comb += self.halt.eq(1)
                with m.If(settling != 0):
                    m.d.sync += [settling.eq(settling - 1), quiet.eq(1)]
                with m.Elif(self.idle):
                    m.next = "RESET"
                with m.Elif(expired | self.reset):
                    m.d.sync += stuck.eq(1)
                    self._report(m)
            with m.State("RESET"):
                m.d.comb += [restart.eq(1), self.halt.eq(1)]
                m.d.sync += stuck.eq(0)
                self._report(m)
        watching = (fsm.ongoing("RUN") & ~self.retired) | fsm.ongoing("QUIESCE")
        m.d.sync += expired.eq(watching & (self.watchdog != 0) & (quiet >= self.watchdog))
        m.d.comb += [self.busy.eq(~fsm.ongoing("IDLE")), self.unanswered.eq(stuck & ~self.idle)]
        return m

    def _select_fault(self, m: Module, expired: Signal) -> Signal:
        """Stores the first report into the fault registers; returns whether there is one."""
        found = Signal()
        with m.If(expired):
            m.d.comb += found.eq(1)
            m.d.sync += [self.fault_code.eq(Fault.WATCHDOG), self.fault_index.eq(self.oldest)]
        for source in reversed(range(self.sources)):
            report = self.faults[source]
            with m.If(report.code != Fault.NONE):
                m.d.comb += found.eq(1)
                m.d.sync += [self.fault_code.eq(report.code), self.fault_index.eq(report.index)]
        with m.If(found):
            m.d.sync += self.fault_waiting.eq(self.waiting)
        return found

    def _report(self, m: Module) -> None:
        """The stop is over: show the fault, or nothing if the host asked for the stop."""
        with m.If(self.fault_code != Fault.NONE):
            m.d.comb += self.faulted.eq(1)
            m.d.sync += self.fault.eq(1)
        m.next = "IDLE"
