"""One block of the accelerator as a design of its own: its Verilog, and the top module around it."""

import importlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Value
from amaranth.lib.wiring import Component, Flow

from systolith.rtl.config import Config

from .testbench import PARTS, TOP, declaration, instance, watch

#: Name of the block's Verilog module.
MODULE = "block"
#: The checker of a block's bus, and the name of that port.
WATCH = PARTS / "axi_watch.sv"
_BUS = "axi"
#: Environment variable with the path of the file that lists the block's ports: [name, width, output].
PORTS_VARIABLE = "SYSTOLITH_PORTS"
#: Files in the simulation's directory: a row of bits for each cycle, inputs (first byte at the most significant
#: end) and outputs (32-bit words, the first at the least significant end).
STIMULUS, RESPONSE = "stimulus.bin", "response.bin"

#: Plays the stimulus from the cycle after ``play`` rises, a row a cycle, and records the outputs of each of these
#: cycles; then inputs return to 0 and ``done`` rises.
_PLAYER = f"""module player #(parameter INPUTS = 8, OUTPUTS = 32) (
  input wire clk, input wire play, output reg done, output reg [INPUTS-1:0] inputs, input wire [OUTPUTS-1:0] outputs
);
  int stimulus, response;
  bit playing;
  bit [INPUTS-1:0] row;
  initial done = 0;
  always @(posedge clk) begin
    if (!play) done <= 0;
    else if (!done) begin
      if (playing) $fwrite(response, "%u", outputs);
      else begin
        stimulus = $fopen("{STIMULUS}", "rb");
        response = $fopen("{RESPONSE}", "wb");
      end
      playing = $fread(row, stimulus) == INPUTS / 8;
      if (playing) inputs <= row;
      else begin
        $fclose(stimulus);
        $fclose(response);
        inputs <= 0;
        done <= 1;
      end
    end
  end
endmodule
"""


@dataclass(frozen=True)
class Block:
    """What a unit bench drives.

    Parameters
    ----------
    name, description : str
        The bench's: what it drives, and against what.
    component : function of a configuration
        The block: an Amaranth component.
    played : bool
        Its inputs are not the top's but come, a row for each cycle, from a file, and so go its outputs.
    sized : bool
        Whether the block differs with the array's size.
    bus : bool
        It has an AXI4 master ``axi``, or half of one, whose protocol is checked, and is ``idle`` when none of its
        bursts is open.
    """

    name: str
    description: str
    component: Callable[[Config], Any]
    played: bool = False
    sized: bool = True
    bus: bool = False


@dataclass(frozen=True)
class Port:
    """A port of a block: name, width in bits, direction."""

    name: str
    width: int
    output: bool


def block_sources(block: Block, config: Config) -> dict[str, str]:
    """The files of a block's simulator, by name: Verilog, top, control file and ``ports.json``."""
    component = block.component(config)
    ports = _ports(component)
    # Not imported before it is needed: it brings Amaranth's back end with it.
    verilog = importlib.import_module("systolith.rtl.verilog").generate_block(component, config, MODULE)
    header = re.search(rf"module {MODULE}\(([^)]*)\)", verilog)
    clocked = [name for name in ("clk", "rst") if header and re.search(rf"\b{name}\b", header[1])]
    checker = ""
    if block.bus:
        prefix = f"{_BUS}__"
        nets = {port.name.removeprefix(prefix): port.name for port in ports if port.name.startswith(prefix)}
        checker = watch(config, nets, "idle")
    top = _played_top(ports, clocked) + _PLAYER if block.played else _bare_top(ports, clocked, checker)
    visible = [Port("rst", 1, False), *([_PLAY, _DONE] if block.played else ports)]
    control = "".join(
        f'public_flat_{"rd" if port.output else "rw"} -module "{TOP}" -var "{port.name}"\n'
        for port in (Port("clk", 1, False), *visible)
    )
    return {
        **({WATCH.name: WATCH.read_text(encoding="utf-8")} if block.bus else {}),
        "block.v": verilog,
        "testbench.sv": top,
        "control.vlt": f"`verilator_config\n{control}",
        "ports.json": json.dumps([[port.name, port.width, port.output] for port in ports]),
    }


_PLAY, _DONE = Port("play", 1, False), Port("done", 1, True)


def _ports(component: Component) -> list[Port]:
    """The ports of a component, with the names that its Verilog gives them."""
    members = component.signature.flatten(component)
    ports = [
        Port("__".join(map(str, path)), len(Value.cast(value)), member.flow is Flow.Out)
        for path, member, value in members
    ]
    return [port for port in ports if port.width]


def _header(ports: list[Port]) -> str:
    lines = (
        "  " + declaration("output wire" if port.output else "input wire", port.width, port.name)
        for port in (Port("clk", 1, False), Port("rst", 1, False), *ports)
    )
    return f"module {TOP} (\n" + ",\n".join(lines) + "\n);\n"


def _bare_top(ports: list[Port], clocked: list[str], checker: str) -> str:
    nets = {name: name for name in (*clocked, *(port.name for port in ports))}
    return f"{_header(ports)}{checker}{instance(MODULE, 'dut', nets)}endmodule\n"


def _played_top(ports: list[Port], clocked: list[str]) -> str:
    """Inputs and outputs each lie in one row, the first port at the least significant end."""
    nets = {name: name for name in clocked}
    used = {True: 0, False: 0}
    for port in ports:
        first = used[port.output]
        used[port.output] += port.width
        nets[port.name] = f"{'outputs' if port.output else 'inputs'}[{first + port.width - 1}:{first}]"
    widths = {"INPUTS": row_bits(used[False], 8), "OUTPUTS": row_bits(used[True], 32)}
    wires = f"  wire [{widths['INPUTS'] - 1}:0] inputs;\n  wire [{widths['OUTPUTS'] - 1}:0] outputs;\n"
    if widths["OUTPUTS"] > used[True]:
        wires += f"  assign outputs[{widths['OUTPUTS'] - 1}:{used[True]}] = 0;\n"
    player = instance("player", "player", {name: name for name in ("clk", "play", "done", "inputs", "outputs")}, widths)
    return f"{_header([_PLAY, _DONE])}{wires}{player}{instance(MODULE, 'dut', nets)}endmodule\n"


def row_bits(used: int, unit: int) -> int:
    """Bits of a row of whole ``unit`` bits that holds ``used`` bits."""
    return -(-max(used, 1) // unit) * unit
