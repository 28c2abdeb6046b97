"""The registers: AXI4-Lite rules, one answer for each request, and what a running program reads cannot change."""

from typing import Any

from amaranth.hdl import Cat, Signal

from systolith.rtl.config import preset
from systolith.rtl.csr import Csr

from .harness import Harness, Proof


def _csr(h: Harness) -> None:
    """Assumed of the host: it offers address and data until they are taken (AXI's own rule)."""
    csr = Csr(preset("tiny"))
    dut = h.place(csr)
    bus = csr.bus
    for channel, payload in (("aw", bus.awaddr), ("w", bus.wdata), ("ar", bus.araddr)):
        _patient(h, getattr(bus, f"{channel}valid"), getattr(bus, f"{channel}ready"), payload, channel)
    h.stable(bus.bvalid, bus.bready, bus.bresp, "write response")
    h.stable(bus.rvalid, bus.rready, Cat(bus.rdata, bus.rresp), "read data")

    # Requests taken and not answered: one that waits and one whose answer does.
    for name, taken, answered, held in (
        ("address", bus.awvalid & bus.awready, bus.bvalid & bus.bready, ~bus.awready + bus.bvalid),
        ("data", bus.wvalid & bus.wready, bus.bvalid & bus.bready, ~bus.wready + bus.bvalid),
        ("read", bus.arvalid & bus.arready, bus.rvalid & bus.rready, ~bus.arready),
    ):
        owed = Signal(2, name=f"{name}_owed")
        h.m.d.sync += owed.eq(owed + taken - answered)
        h.always(owed == held, "a request forgotten, or answered twice")
        h.always(~answered | (owed != 0), "an answer that nobody asked for")
        h.cover(owed == 1)

    # An answer comes: to a write as soon as address and data are there, to a read after its steps.
    steps = dut["looking_up"]
    h.always(steps[0] == h.past(bus.arvalid & bus.arready, "read_taken"), "a read that is not looked up")
    for step in range(1, len(steps)):
        h.always(steps[step] == h.past(steps[step - 1], f"step_{step}"), "a read that stops on its way")
    h.always(sum(steps) + bus.rvalid <= 1, "two reads at once")
    h.always(~dut["decoded"] | ~bus.awready, "a write without an address")
    for name, asked, answer in (("write", dut["write"], bus.bvalid), ("read", steps[-1], bus.rvalid)):
        h.always(~h.past(asked, f"{name}_asked") | answer, f"{name}: no answer")

    watched = {
        "program_base": csr.program_base,
        "program_length": csr.program_length,
        **{f"region_{i}": region.as_value() for i, region in enumerate(csr.regions.region)},
    }
    running = h.past(csr.busy, "running")
    for name, value in watched.items():
        h.always(~running | (value == h.past(value, f"{name}_before")), "a register of a running program changed")
        h.cover(value != 0)
    h.always(~(csr.start | csr.reset) | h.past(dut["write"], "written"), "started or reset without a write")
    strobed = h.past(csr.completed, "completed_before")
    h.always(~strobed | dut["irq_status"][0], "an interrupt lost")
    h.always(~h.past(csr.faulted, "faulted_before") | dut["irq_status"][1], "an interrupt lost")
    h.cover(csr.irq)
    h.cover(csr.start)


def _patient(h: Harness, valid: Any, ready: Any, payload: Any, name: str) -> None:
    waiting = h.past(valid & ~ready, f"{name}_waiting")
    h.assume(~waiting | (valid & (payload == h.past(payload, f"{name}_payload"))))


PROOFS = (Proof(name="csr", build=_csr, depth=4, reach=8, quick=True),)
