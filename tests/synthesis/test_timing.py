import pytest

from systolith.synthesis.targets import SynthesisError
from systolith.synthesis.timing import Path, Placement, read_report, signal_of

LANES = "accelerator.core.vector.lanes"


def end(cell, port="D"):
    return {"cell": cell, "loc": [3, 4], "port": port}


def step(kind, delay, begin, finish, net=None):
    return {"type": kind, "delay": delay, "from": begin, "to": finish} | ({"net": net} if net else {})


def report(mhz=97.5):
    """What nextpnr 0.11 writes, cut to one path and one other clock relation."""
    register = end(f"{LANES}.operand_a_0_TRELLIS_FF_Q_3", "Q")
    carry = end(f"{LANES}.product_a_0_CCU2C_S0", "A0")
    return {
        "fmax": {"$glbnet$clk": {"achieved": mhz, "constraint": 100.0}},
        "critical_paths": [
            {"from": "<async>", "to": "posedge $glbnet$clk", "path": []},
            {
                "from": "posedge $glbnet$clk",
                "to": "posedge $glbnet$clk",
                "path": [
                    step("clk-to-q", 0.52, register, register),
                    step("routing", 1.25, register, carry, f"{LANES}.operand_a_0[17]"),
                    step("logic", 0.44, carry, carry),
                    step("routing", 0.0, carry, carry, "$PACKER_VCC_NET"),
                    step("logic", 0.66, carry, end(f"{LANES}.product_a_0_CCU2C_S0_1", "S0")),
                    step("routing", 0.5, carry, carry, f"{LANES}.total_0_LUT4_Z_D[3]"),
                    step("setup", 0.1, carry, end(f"{LANES}.product_a_0_TRELLIS_FF_Q_40", "DI")),
                ],
            },
        ],
        "utilization": {"TRELLIS_COMB": {"used": 41234, "available": 83640}},
    }


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("accelerator.core.x.total_LUT4_D_1_Z_PFUMX_C0", "core.x.total"),
        ("accelerator.core.matrix.array.pe_0_3.active_TRELLIS_FF_Q", "core.matrix.array.pe_0_3.active"),
        ("accelerator.core.scratchpad.banks.bank0.memory.0.0_DP16KD", "core.scratchpad.banks.bank0.memory.0.0"),
        ("accelerator.core.fetch.room[8]", "core.fetch.room"),
        ("serial_in", "serial_in"),
    ],
)
def test_cells_are_called_after_the_signals_that_they_make(name, signal):
    assert signal_of(name) == signal


def test_reads_clock_critical_path_and_cells():
    assert read_report(report(), seed=2) == Placement(
        seed=2,
        mhz=97.5,
        path=Path(
            start="core.vector.lanes.operand_a_0",
            end="core.vector.lanes.product_a_0",
            through=("core.vector.lanes.total_0",),
            levels=2,
            logic=1.72,
            routing=1.75,
        ),
        used={"TRELLIS_COMB": (41234, 83640)},
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fmax": {}}, "names 0 clocks; the design has one"),
        ({"critical_paths": []}, r"holds no path of \$glbnet\$clk"),
    ],
)
def test_refuses_a_report_without_its_clock(change, message):
    with pytest.raises(SynthesisError, match=message):
        read_report(report() | change, seed=1)
