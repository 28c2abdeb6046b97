"""A top for place and route: registers on every port, so that the accelerator needs four pins and all paths count."""

import re
from collections.abc import Iterator

from systolith.rtl.verilog import TOP

#: Name of the module.
PINS = "pins"
_PORT = re.compile(r"^  (input|output)(?: (?:wire|reg))?(?: \[(\d+):0\])? (\w+);", re.MULTILINE)
#: Outputs that a design leaves open unless it traces instructions.
_OPEN = "trace_"


def ports(verilog: str) -> Iterator[tuple[str, str, int]]:
    """Direction, name and bits of each port of the module ``systolith``, in the order of the text."""
    begin = verilog.index(f"module {TOP}(")
    body = verilog[begin : verilog.index("endmodule", begin)]
    for direction, high, name in _PORT.findall(body):
        yield direction, name, int(high or 0) + 1


def pinned(verilog: str) -> str:
    """Verilog of module ``pins``: inputs come from a shift register; outputs are sampled into one, and shifted out.

    So each path from and to a port is one between registers. The ``trace_*`` outputs stay open.
    """
    found = [port for port in ports(verilog) if port[1] not in ("clk", "rst") and not port[1].startswith(_OPEN)]
    sizes = {"input": 0, "output": 0}
    connections = []
    for direction, name, bits in found:
        low = sizes[direction]
        sizes[direction] += bits
        connections.append(f"    .{name}({direction}s[{low + bits - 1}:{low}])")
    joined = ",\n".join([*connections, "    .clk(clk)", "    .rst(rst_register)"])
    return (
        f"module {PINS}(input clk, input rst, input serial_in, output serial_out);\n"
        f"  reg [{sizes['input'] - 1}:0] inputs;\n"
        f"  wire [{sizes['output'] - 1}:0] outputs;\n"
        f"  reg [{sizes['output'] - 1}:0] sampled;\n"
        "  reg rst_register, sample;\n"
        "  assign serial_out = sampled[0];\n"
        "  always @(posedge clk) begin\n"
        "    rst_register <= rst;\n"
        "    sample <= serial_in;\n"
        "    inputs <= {inputs, serial_in};\n"
        "    sampled <= sample ? outputs : sampled >> 1;\n"
        "  end\n"
        f"  {TOP} accelerator (\n{joined}\n  );\n"
        "endmodule\n"
    )
