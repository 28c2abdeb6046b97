"""Memories as Verilog: what their ports promise, and that nothing relies on what they do not."""

import dataclasses
import functools
import re

import pytest

from systolith.models.registry import load_model
from systolith.rtl.config import PRESETS
from systolith.rtl.verilog import generate
from systolith.runtime import rtl
from systolith.runtime.device import open_device
from systolith.runtime.session import run_encoder
from systolith.sim.build import build

UNCHECKED = "(* no_rw_check *)"
#: The lane groups of a row are written one by one here, as the others are still read.
CONFIG = dataclasses.replace(PRESETS["tiny"], lanes=2)


def modules(text):
    return re.findall(r"^module memory_.*?^endmodule\n", text, re.MULTILINE | re.DOTALL)


def spoilt(module):
    """The module with every enabled part of a row that is read as it is written inverted."""
    reads = re.findall(r"^ *(r\d+)_data <= memory\[\1_addr\];$", module, re.MULTILINE)
    writes = re.findall(r"^ *if \((w\d+)_en(\[\d+\])\) memory\[\1_addr\](\[\d+:\d+\])? <=", module, re.MULTILINE)
    assert reads
    assert writes
    lines = [
        f"  if ({read}_en && {write}_en{part} && {write}_addr == {read}_addr)\n"
        f"    {read}_data{bits} <= ~memory[{read}_addr]{bits};\n"
        for read in reads
        for write, part, bits in writes
    ]
    for read in reads:
        own = "".join(line for line in lines if f"{read}_data" in line)
        plain = f"{read}_data <= memory[{read}_addr];\n"
        module = module.replace(plain, plain + own)
    return module


def test_reads_that_see_no_write_of_their_cycle_are_left_to_the_device():
    found = modules(generate(CONFIG))
    unchecked = [module for module in found if UNCHECKED in module]
    assert len(found) > len(unchecked) > 5
    for module in found:
        name = module.split("(")[0]
        assert (UNCHECKED in module) == bool(re.search(r"_s$", name)), name


@pytest.mark.slow
def test_nothing_uses_a_row_that_is_read_in_the_cycle_of_its_write(monkeypatch: pytest.MonkeyPatch):
    text = generate(CONFIG)
    for module in modules(text):
        if UNCHECKED in module:
            text = text.replace(module, spoilt(module))
    monkeypatch.setattr(rtl, "build", functools.partial(build, verilog=text))
    model = load_model("random", tokens=21, hidden=32, heads=2, ffn=72, layers=1)
    outcome = run_encoder(model.quantized, model.prepare(), open_device(CONFIG, "rtl", seed=1))
    assert outcome.difference is None
