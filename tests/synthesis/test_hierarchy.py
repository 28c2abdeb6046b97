import pytest

from systolith.synthesis.hierarchy import Area, areas, total, unit_of
from systolith.synthesis.targets import TARGETS, SynthesisError, target_named

ECP5 = TARGETS["ecp5"]


def dotted(name):
    return name.replace("__", ".")


def module(memory_bits=0, **cells):
    return {"num_memory_bits": memory_bits, "num_cells_by_type": {dotted(name): n for name, n in cells.items()}}


def statistics(**modules):
    return {"modules": {f"\\{dotted(name)}": cells for name, cells in modules.items()}}


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("systolith", "top"),
        ("systolith.core", "core glue"),
        ("systolith.core.matrix.array", "array"),
        ("systolith.core.matrix.activation_walk", "MATRIX walks and queues"),
        ("systolith.core.vector.lanes$130", "VECTOR lanes"),
        ("systolith.core.vector.lanes$130.gelu_11", "GELU units"),
        ("systolith.core.vector.statistics", "row statistics"),
        ("systolith.core.vector.statistics.invert", "row reciprocals"),
        ("systolith.counters$158", "counters"),
        ("processing_element", ""),
        ("systolithic", ""),
    ],
)
def test_units_follow_from_the_names_of_modules(name, unit):
    assert unit_of(name) == unit


def test_a_shared_module_counts_where_it_is_placed_and_as_often():
    counted = areas(
        statistics(
            systolith=module(systolith__core=1, TRELLIS_FF=2),
            systolith__core=module(systolith__core__matrix__array=1, systolith__core__scratchpad=1, LUT4=7),
            systolith__core__matrix__array=module(processing_element=4, TRELLIS_FF=3),
            systolith__core__scratchpad=module(memory=2, CCU2C=5, PFUMX=9),
            processing_element=module(MULT18X18D=1, TRELLIS_FF=20, LUT4=1),
            memory=module(DP16KD=3, TRELLIS_DPR16X4=1),
        ),
        ECP5,
    )
    assert counted == [
        Area(unit="array", resources={"lut": 4, "ff": 83, "dsp": 4, "bram": 0}),
        Area(unit="scratchpad", resources={"lut": 18, "ff": 0, "dsp": 0, "bram": 6}),
        Area(unit="core glue", resources={"lut": 7, "ff": 0, "dsp": 0, "bram": 0}),
        Area(unit="top", resources={"lut": 0, "ff": 2, "dsp": 0, "bram": 0}),
    ]
    assert total(counted, ECP5) == {"lut": 29, "ff": 85, "dsp": 4, "bram": 6}


def test_bits_of_memories_and_gates_of_four_transistors():
    generic = TARGETS["generic"]
    counted = areas(
        statistics(
            systolith=module(systolith__core__parameters=1),
            systolith__core__parameters=module(**{"$_NAND_": 4, "$_XOR_": 2, "$_DFFE_PP_": 5}, memory_bits=640),
        ),
        generic,
    )
    assert counted == [Area(unit="parameter memory", resources={"gates": 10, "ff": 5, "memory_bits": 640})]


def test_refuses_a_gate_or_register_that_would_not_be_counted():
    for target in TARGETS.values():
        with pytest.raises(SynthesisError, match=rf"cells \$_SDFF_PP0_ .* which {target.name} does not count"):
            areas(statistics(systolith=module(**{"$_SDFF_PP0_": 3})), target)


def test_refuses_statistics_of_something_else():
    with pytest.raises(SynthesisError, match="the statistics hold no module systolith"):
        areas(statistics(other=module()), ECP5)


def test_names_the_targets():
    with pytest.raises(SynthesisError, match="unknown target 'asic'; the targets are ecp5, xc7, ice40, generic"):
        target_named("asic")
