"""What the accelerator wires together has one width on both sides: an assignment would cut it in silence."""

import dataclasses

import pytest
from amaranth.hdl import Shape, Value

from systolith.rtl.config import preset
from systolith.rtl.controller import Controller
from systolith.rtl.core import Core
from systolith.rtl.counters import Counters
from systolith.rtl.csr import Csr

CONFIG = dataclasses.replace(preset("tiny"), axi_address_width=53)
PARTS = {
    "csr": Csr(CONFIG), "core": Core(CONFIG), "controller": Controller(sources=Core.SOURCES), "counters": Counters(),
}  # fmt: skip
WIRES = {
    "core.program_base": "csr.program_base", "core.program_length": "csr.program_length",
    "core.regions.region": "csr.regions.region", "core.launch": "controller.launch", "core.halt": "controller.halt",
    "controller.start": "csr.start", "controller.reset": "csr.reset", "controller.length": "csr.program_length",
    "controller.watchdog": "csr.watchdog", "controller.faults": "core.faults", "controller.finished": "core.finished",
    "controller.idle": "core.idle", "controller.oldest": "core.oldest", "controller.waiting": "core.waiting",
    "counters.clear": "controller.clear", "counters.enable": "controller.running", "counters.events": "core.events",
    "csr.busy": "controller.busy", "csr.done": "controller.done", "csr.fault": "controller.fault",
    "csr.fault_code": "controller.fault_code", "csr.fault_index": "controller.fault_index",
    "csr.fault_waiting": "controller.fault_waiting", "csr.unanswered": "controller.unanswered",
    "csr.completed": "controller.completed", "csr.faulted": "controller.faulted", "csr.counters": "counters.values",
}  # fmt: skip


def shape(name: str) -> Shape:
    part, *path = name.split(".")
    member = PARTS[part]
    for step in path:
        member = getattr(member, step)
    return Value.cast(member).shape()


@pytest.mark.parametrize(("sink", "source"), WIRES.items())
def test_both_ends_of_a_wire_have_one_shape(sink, source):
    assert shape(sink) == shape(source)
