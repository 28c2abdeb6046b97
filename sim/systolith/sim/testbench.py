"""The SystemVerilog around the accelerator, for a configuration's widths."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from systolith.rtl.config import Config
from systolith.rtl.core import CAUSE_BITS
from systolith.rtl.csr_map import ADDRESS_BITS
from systolith.rtl.interfaces import INDEX_BITS, Axi, AxiLite, members
from systolith.rtl.isa import Unit

#: Name of the top module.
TOP = "testbench"
#: Fixed modules that the top may place.
PARTS = Path(__file__).parent / "sv"


class MemoryPort(Enum):
    """What surrounds the accelerator.

    ``DRAM``: the C++ memory on the AXI4 master, and registers on the AXI4-Lite slave, for speed. ``PORTS``:
    nothing; all of its ports are the top's, for peers written in Python. The protocol is checked in both.
    """

    DRAM = "dram"
    PORTS = "ports"


def _top_ports(config: Config, memory: MemoryPort) -> list[tuple[str, int, bool]]:
    """Name, width and direction (True: output) of the top's ports."""
    ports = [("clk", 1, False), ("rst", 1, False), ("irq", 1, True)]
    ports += [(f"s_axi_{name}", width, not driven) for name, width, driven in members(AxiLite(ADDRESS_BITS))]
    if memory is MemoryPort.PORTS:
        ports += [(f"m_axi_{name}", width, driven) for name, width, driven in members(Axi(config))]
    return ports


def control_file(config: Config, memory: MemoryPort, *, peek: bool = False) -> str:
    """The Verilator control file that makes the top's ports, and with ``peek`` the memories, visible to a bench.

    Outputs are for reading only: what reads a signal that others may write is evaluated at every clock edge.
    """
    ports = "".join(
        f'public_flat_{"rd" if output else "rw"} -module "{TOP}" -var "{name}"\n'
        for name, _, output in _top_ports(config, memory)
    )
    memories = 'public_flat_rw -module "memory_*" -var "memory"\n' if peek else ""
    return f"`verilator_config\n{ports}{memories}"


def testbench(config: Config, memory: MemoryPort) -> str:
    """Source of the top module: ``clk``, ``rst``, ``irq``, ``s_axi_*``, and with ``PORTS`` also ``m_axi_*``."""
    lite, axi = members(AxiLite(ADDRESS_BITS)), members(Axi(config))
    trace = {"trace_issue": len(Unit), "trace_retire": len(Unit)}
    trace |= {f"{name}_index": width * INDEX_BITS for name, width in trace.items()}
    trace |= {"trace_queue": len(Unit), "trace_array": CAUSE_BITS, "trace_run": 1}
    wires, parts = dict(trace), []
    dut = {"clk": "clk", "rst": "rst", "irq": "irq", **{name: name for name in trace}}
    dut |= {f"s_axi__{name}": f"s_axi_{name}" for name, _, _ in lite}
    dut |= {f"m_axi__{name}": f"m_axi_{name}" for name, _, _ in axi}
    bus = {name: f"m_axi_{name}" for name, _, _ in axi}
    if memory is MemoryPort.PORTS:
        parts.append(watch(config, bus, "irq"))
    else:
        wires |= {f"m_axi_{name}": width for name, width, _ in axi}
        wires |= {"inner_rst": 1} | {f"inner_{name}": width for name, width, _ in lite}
        dut |= {"rst": "inner_rst"} | {f"s_axi__{name}": f"inner_{name}" for name, _, _ in lite}
        registers = {"clk": "clk", "i_rst": "rst", "o_rst": "inner_rst"}
        registers |= {f"i_{name}": f"s_axi_{name}" for name, _, _ in lite}
        registers |= {f"o_{name}": f"inner_{name}" for name, _, _ in lite}
        port = {"clk": "clk", "rst": "inner_rst", "irq": "irq", **{name: name for name in trace}, **bus}
        port["register_write"] = "inner_wvalid & inner_wready"
        sizes = {**_limits(config), "UNITS": len(Unit), "INDEX": INDEX_BITS, "CAUSES": CAUSE_BITS}
        parts.append(instance("axi_lite_slice", "registers", registers, {"ADDRESS": ADDRESS_BITS}))
        parts.append(instance("dram_port", "dram", port, sizes))
    parts.append(instance("systolith", "dut", dut))
    ports = ",\n".join(
        "  " + declaration("output wire" if output else "input wire", width, name)
        for name, width, output in _top_ports(config, memory)
    )
    declarations = "".join(f"  {declaration('wire', width, name)};\n" for name, width in wires.items())
    return f"module {TOP} (\n{ports}\n);\n{declarations}{''.join(parts)}endmodule\n"


def watch(config: Config, bus: Mapping[str, str], quiet: str) -> str:
    """The checker of an AXI4 bus, given the net of each of its signals; no burst may be open while ``quiet`` is high.

    Channels that are not there are left out of ``bus``.
    """
    nets = {name: bus.get(name, "'0") for name, _, _ in members(Axi(config))}
    return instance("axi_watch", "watch", {"clk": "clk", "rst": "rst", "irq": quiet, **nets}, _limits(config))


def _limits(config: Config) -> dict[str, int]:
    """Parameters of whatever checks the bus: widths in bits, and what the configuration declares."""
    return {
        "WIDTH": config.axi_data_width, "ADDRESS": config.axi_address_width, "BEATS": config.axi_burst_beats,
        "OUTSTANDING": config.axi_outstanding,
    }  # fmt: skip


def declaration(kind: str, width: int, name: str) -> str:
    return f"{kind} {f'[{width - 1}:0] ' if width > 1 else ''}{name}"


def instance(module: str, name: str, nets: Mapping[str, str], parameters: Mapping[str, int] | None = None) -> str:
    chosen = ", ".join(f".{key}({value})" for key, value in (parameters or {}).items())
    connections = ",\n".join(f"    .{port}({net})" for port, net in nets.items())
    return f"  {module} {f'#({chosen}) ' if chosen else ''}{name} (\n{connections}\n  );\n"
