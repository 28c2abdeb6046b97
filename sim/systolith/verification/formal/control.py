"""The controller: one end for each start, and a quiet stop before a fault is shown."""

from amaranth.hdl import Const

from systolith.rtl.controller import Controller
from systolith.rtl.interfaces import Fault

from .harness import Harness, Proof


def _controller(h: Harness) -> None:
    """Nothing is assumed: CSRs, core and bus do what they like."""
    controller = Controller(sources=6)
    h.place(controller)
    c = controller
    h.always(~(c.done & c.fault), "done and fault at once")
    h.always(~(c.completed & c.faulted), "completed and faulted at once")
    h.always(~c.busy | ~(c.done | c.fault), "done or fault of the last program while one runs")
    h.always(~c.fault | (c.fault_code != Fault.NONE), "a fault without a code")
    h.always(~(c.launch | c.running) | c.busy, "working while not busy")
    h.always(~c.running | ~(c.halt | c.core_reset | c.launch), "halted, reset or launched while running")
    h.always(~c.launch | (h.past(c.length, "length_before") != 0), "an empty program is launched")

    started = h.past(c.start & ~c.busy, "started")
    h.always(~started | c.busy, "a start is lost")
    h.always(~h.past(c.launch, "launched") | c.running, "a launch that does not run")
    ended = c.completed | c.faulted
    h.always(~ended | c.busy, "an end without a start")
    h.always(~h.past(ended, "ended") | ~c.busy, "still busy after the end")
    h.always(~h.past(c.completed, "has_completed") | c.done, "completed, and not shown")
    h.always(~h.past(c.faulted, "has_faulted") | c.fault, "faulted, and not shown")
    # Between two starts there is one end at most: every end leaves the busy state, which only a start enters.
    entered = c.busy & ~h.past(c.busy, "was_busy")
    asked = h.past(~c.busy & (c.start | c.reset), "asked")
    h.always(~entered | asked, "busy on its own")
    # Halt stays until the core is reset; that is when it is idle, or when the host asks for it.
    halting, reset_before = h.past(c.halt, "halting"), h.past(c.core_reset, "core_reset_before")
    h.always(~halting | c.halt | c.core_reset | reset_before, "halt was lifted from a core that is not reset")
    quiet = h.past(h.past(c.idle | c.reset, "quiet_or_asked"), "quiet_then")
    begun = h.past(Const(1), "begun")
    h.always(begun | c.core_reset, "after a reset the core is not reset")
    h.always(~begun | ~c.core_reset | quiet | h.past(c.start, "start_before"), "reset before the bus was quiet")
    h.always(~c.launch | reset_before, "launched into a core that was not reset")
    h.cover(c.completed)
    h.cover(c.faulted & (c.fault_code == Fault.WATCHDOG))
    h.cover(c.faulted & c.idle & (c.fault_code == Fault.REGION))


PROOFS = (Proof(name="controller", build=_controller, depth=12, quick=True),)
