"""The SystemVerilog around the accelerator, for a configuration's widths."""

from enum import Enum

from amaranth.hdl import Shape
from amaranth.lib.wiring import Flow, Signature

from systolith.rtl.config import Config
from systolith.rtl.csr_map import ADDRESS_BITS
from systolith.rtl.interfaces import INDEX_BITS, Axi, AxiLite
from systolith.rtl.isa import Unit

#: Name of the top module.
TOP = "testbench"


class MemoryPort(Enum):
    """What the AXI4 master meets: the C++ memory, or the top's own ports for peers written in Python."""

    DRAM = "dram"
    PORTS = "ports"


def _declaration(kind: str, width: int, name: str) -> str:
    return f"{kind} {f'[{width - 1}:0] ' if width > 1 else ''}{name}"


def _members(signature: Signature) -> list[tuple[str, int, bool]]:
    """Name, width in bits and whether the initiator drives it, of each member of a flat signature."""
    return [
        (name, Shape.cast(member.shape).width, member.flow is Flow.Out) for name, member in signature.members.items()
    ]


def _top_ports(config: Config, memory: MemoryPort) -> list[tuple[str, int, bool]]:
    """Name, width and direction (True: output) of the top's ports."""
    ports = [("clk", 1, False), ("rst", 1, False), ("irq", 1, True)]
    ports += [(f"s_axi_{name}", width, not driven) for name, width, driven in _members(AxiLite(ADDRESS_BITS))]
    if memory is MemoryPort.PORTS:
        ports += [(f"m_axi_{name}", width, driven) for name, width, driven in _members(Axi(config))]
    return ports


def control_file(config: Config, memory: MemoryPort) -> str:
    """The Verilator control file that makes the top's ports, and nothing else, visible to cocotb."""
    ports = "".join(f'public_flat_rw -module "{TOP}" -var "{name}"\n' for name, _, _ in _top_ports(config, memory))
    return f"`verilator_config\n{ports}"


def testbench(config: Config, memory: MemoryPort) -> str:
    """Source of the top module: ``clk``, ``rst``, ``irq``, ``s_axi_*``, and with ``PORTS`` also ``m_axi_*``."""
    units, indices = len(Unit), len(Unit) * INDEX_BITS
    ports = ",\n".join(
        "    " + _declaration("output wire" if output else "input wire", width, name)
        for name, width, output in _top_ports(config, memory)
    )
    wires = [
        _declaration("wire", width, name)
        for name, width in (
            ("trace_issue", units),
            ("trace_retire", units),
            ("trace_issue_index", indices),
            ("trace_retire_index", indices),
        )
    ]
    if memory is MemoryPort.DRAM:
        wires += [_declaration("wire", width, f"m_axi_{name}") for name, width, _ in _members(Axi(config))]
    connections = [("clk", "clk"), ("rst", "reset"), ("irq", "irq")]
    connections += [(f"s_axi__{name}", f"s_axi_{name}") for name, _, _ in _members(AxiLite(ADDRESS_BITS))]
    connections += [(f"m_axi__{name}", f"m_axi_{name}") for name, _, _ in _members(Axi(config))]
    connections += [(name, name) for name in ("trace_issue", "trace_retire", "trace_issue_index", "trace_retire_index")]
    lines = [f"module {TOP} (\n{ports}\n);"]
    lines += [f"  {wire};" for wire in wires]
    # Logic that depends on a port is evaluated at every clock edge, whether the port changed or not: registered,
    # the reset takes half of the accelerator out of that (7 % of the time of a 16x16 array).
    lines += ["  reg reset;", "  always @(posedge clk) reset <= rst;"]
    lines += ["  systolith dut (\n" + ",\n".join(f"    .{port}({net})" for port, net in connections) + "\n  );"]
    if memory is MemoryPort.DRAM:
        lines += [_dram(config, units, indices)]
    return "\n".join([*lines, "endmodule", ""])


def _dram(config: Config, units: int, indices: int) -> str:
    """The calls into ``dram.cpp``: the packing of ``flags`` and of the outputs is documented there."""
    width = config.axi_data_width
    return f"""\
  import "DPI-C" function void dram_open(input int bus_bytes, input int longest);
  import "DPI-C" function int unsigned dram_tick(
    input int unsigned flags,
    input longint unsigned araddr, input int unsigned arinfo,
    input longint unsigned awaddr, input int unsigned awinfo,
    input bit [{width - 1}:0] wdata, input longint unsigned wstrb, output bit [{width - 1}:0] rdata);
  import "DPI-C" function void dram_trace(
    input int unsigned issue, input int unsigned retire,
    input bit [{indices - 1}:0] issued, input bit [{indices - 1}:0] retired);
  int unsigned driven;
  int unsigned next;
  bit [{width - 1}:0] beat;
  bit [{width - 1}:0] next_beat;
  initial dram_open({config.bus_bytes}, {config.axi_burst_beats});
  always @(posedge clk) begin
    if ({{trace_issue, trace_retire}} != {2 * units}'d0)
      dram_trace({{{32 - units}'d0, trace_issue}}, {{{32 - units}'d0, trace_retire}},
                 trace_issue_index, trace_retire_index);
    next = dram_tick(
      {{25'd0, m_axi_awvalid, m_axi_arvalid, m_axi_bready, m_axi_rready, m_axi_wlast, m_axi_wvalid, reset}},
      64'(m_axi_araddr), {{18'd0, m_axi_arid, m_axi_arburst, m_axi_arsize, m_axi_arlen}},
      64'(m_axi_awaddr), {{18'd0, m_axi_awid, m_axi_awburst, m_axi_awsize, m_axi_awlen}},
      m_axi_wdata, 64'(m_axi_wstrb), next_beat);
    driven <= next;
    beat <= next_beat;
  end
  assign {{m_axi_bresp, m_axi_bid, m_axi_bvalid, m_axi_rresp, m_axi_rlast, m_axi_rid, m_axi_rvalid,
           m_axi_wready, m_axi_awready, m_axi_arready}} = driven[11:0];
  assign m_axi_rdata = beat;"""
