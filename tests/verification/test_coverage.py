"""Coverage: what is counted, how files of points merge, and that a share below its floor fails."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from systolith.rtl.config import preset
from systolith.rtl.interfaces import TOKEN_BITS
from systolith.rtl.tokens import UNITS
from systolith.sim.counting import countable
from systolith.verification.coverage.campaign import FLOOR, judge
from systolith.verification.coverage.holes import Explanation, Holes, sort_holes
from systolith.verification.coverage.points import (
    LIBRARY,
    LINES,
    TOGGLES,
    Point,
    by_source,
    read_points,
    registers,
    sources,
    total,
)
from systolith.verification.evidence import Options, run_campaign

VERILOG = """\
module top(clk, i, o);
  reg \\$auto$verilog_backend.cc:1:dump_module$1  = 0;
  input clk;
  wire [3:0] middle;
  reg [3:0] state = 4'h0;
  reg \\$2 ;
  output reg [3:0] o;
  reg [7:0] \\table  [3:0];
  always @(posedge clk)
    state <= middle;
  always @(posedge clk) \\table [0] <= state;
  always @* begin
    if (\\$auto$verilog_backend.cc:1:dump_module$1 ) begin end
    \\$2  = state;
  end
endmodule
"""


def test_toggles_of_registers_alone_are_counted():
    text = countable(VERILOG)
    counted = [line for line in text.splitlines() if line.startswith(("  reg", "  wire", "  input", "  output"))]
    assert counted == ["  reg [3:0] state = 4'h0;"]
    assert "begin end" not in text
    assert text.count("coverage_off") == text.count("coverage_on") == 6


def write(path: Path, *points: tuple[dict[str, str], int]) -> Path:
    lines = ["C '" + "".join(f"\x01{k}\x02{v}" for k, v in entry.items()) + f"' {count}" for entry, count in points]
    path.write_text("\n".join(["# SystemC::Coverage-3", *lines, ""]))
    return path


def toggle(name: str, file: str = "systolith.v") -> dict[str, str]:
    return {"f": file, "l": "7", "page": "v_toggle/systolith.core", "o": name, "h": "testbench.dut"}


def test_files_add_up_by_point_and_the_testbench_is_left_out(tmp_path: Path):
    branch = {"f": "systolith.v", "l": "30", "page": "v_branch/systolith.core___05Fx", "o": "if"}
    one = write(tmp_path / "1.dat", (toggle("a[3]:0->1"), 2), (toggle("b:1->0"), 0), (branch, 1))
    two = write(tmp_path / "2.dat", (toggle("a[3]:0->1"), 5), (toggle("clk:0->1", "testbench.sv"), 9))
    assert read_points(one) + read_points(two) == Counter({
        Point(TOGGLES, "systolith.core", "a[3]:0->1"): 7,
        Point(LINES, "systolith.core_x", "30 if"): 1,
    })  # fmt: skip
    assert read_points(one)[Point(TOGGLES, "systolith.core", "b:1->0")] == 0
    assert len(read_points(one)) == 3, "points never reached count among all"


def test_points_are_sorted_by_source_and_holes_named():
    counts = {
        Point(TOGGLES, "systolith.core$12", "a[0]:0->1"): 1,
        Point(TOGGLES, "systolith.core$12", "a[1]:0->1"): 0,
        Point(TOGGLES, "systolith.core$12", "a[1]:1->0"): 0,
        Point(TOGGLES, "systolith.core$12", "b:1->0"): 0,
        Point(LINES, "unknown", "3 else"): 0,
    }
    table = by_source(counts, {"systolith.core": "core"})
    assert (table["core"][TOGGLES].hit, table["core"][TOGGLES].total) == (1, 4)
    assert table["core"][TOGGLES].share == 25.0
    assert table[LIBRARY][LINES].share == 0.0
    assert registers(total(table.values(), TOGGLES).holes) == {
        ("systolith.core$12", "a"): ["1"],
        ("systolith.core$12", "b"): ["0 1->0"],
    }


def test_modules_are_named_after_what_made_them():
    made_by = sources(preset("tiny"))
    assert made_by["systolith"] == "accelerator"
    assert made_by["systolith.core"] == "core"
    assert made_by["systolith.core.load.walker"] == "dma.runs"
    assert made_by["systolith.core.vector.lanes"] == "vector.lanes"
    assert made_by["processing_element"] == "array"
    assert any(name.startswith("memory_") and source == "verilog_memory" for name, source in made_by.items())


@pytest.mark.parametrize(
    ("floors", "below"),
    [
        ({LINES: 50.0, TOGGLES: 50.0, "sources": {"core": 50.0}}, []),
        ({LINES: 50.1, TOGGLES: 50.0}, ["lines: 50.0 %, not 50.1 %"]),
        ({LINES: 0.0, TOGGLES: 50.5}, ["toggles: 50.0 %, not 50.5 %"]),
        ({LINES: 0.0, TOGGLES: 0.0, "sources": {"core": 60.0}}, ["lines of core: 50.0 %, not 60.0 %"]),
        ({LINES: 0.0, TOGGLES: 0.0, "sources": {"gone": 1.0}}, ["lines of gone: 100.0 %, not 1.0 %"]),
    ],
)
def test_a_share_below_its_floor_fails(floors, below):
    counts = {Point(kind, "systolith.core", what): what == "x" for kind in (LINES, TOGGLES) for what in ("x", "y:0->1")}
    evidence = judge(by_source(counts, {"systolith.core": "core"}), None, floors, Holes())
    assert evidence.details["below"] == below
    assert evidence.passed is not bool(below)


WALK = """\
  always @* begin
    \\$5  = behind;
    if (\\$17 ) begin
      \\$5  = 1'h1;
    end else if (other) begin
      \\$5  = 1'h0;
    end
  end
"""


def test_a_line_that_nothing_explains_fails_and_so_does_an_explanation_of_none():
    counts = {Point(LINES, "systolith.core", what): what == "1 block" for what in ("1 block", "3 if", "5 if")}
    table = by_source(counts, {"systolith.core": "core"})
    floors = {LINES: 0.0, TOGGLES: 0.0}
    given = Explanation("core", "core if: .*= behind; >> if", "no program does that")
    holes = sort_holes(table, WALK.splitlines(), [given, Explanation("other", "if", ""), Explanation("core", "x", "")])
    assert holes.explained == {"systolith.core: 3 if": "no program does that"}
    (line,) = holes.unexplained
    assert line == (
        "core, line 5: systolith.core if: "
        r"\$5 = behind; if (\$17 ) begin \$5 = 1'h1; >> end else if (other) begin << \$5 = 1'h0;"
    )
    assert holes.stale == ["other: if", "core: x"]
    evidence = judge(table, None, floors, holes)
    assert not evidence.passed
    assert [row[0] for row in evidence.listing[-3:]] == [
        f"unexplained: {line}",
        "explains nothing: other: if",
        "explains nothing: core: x",
    ]
    holes.unexplained.clear()
    assert not judge(table, None, floors, holes).passed
    holes.stale.clear()
    assert judge(table, None, floors, holes).passed


def test_explanations_are_of_sources_that_there_are():
    entries = [Explanation(**entry) for entry in tomllib.loads(FLOOR.read_text(encoding="utf-8"))["explained"]]
    assert {entry.source for entry in entries} <= set(sources(preset("tiny")).values())
    assert all(entry.reason and re.compile(entry.pattern) for entry in entries)


def test_the_token_counters_are_covered_by_their_bench():
    (evidence,) = run_campaign("coverage", Options(quick=True), lambda _: None)
    assert evidence.passed, evidence.details
    # Each pair of units has a counter and two flags: not 0, full; every bit goes both ways.
    pairs = UNITS * (UNITS - 1)
    assert evidence.details["sources"]["tokens"][TOGGLES] == [2 * pairs * (TOKEN_BITS + 2)] * 2
