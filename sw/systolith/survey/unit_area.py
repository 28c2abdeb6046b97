"""What each non-linear unit takes in silicon: added alone, and as look-ups or polynomials."""

from dataclasses import replace
from typing import Any

from systolith.numerics.approximation import POLYNOMIAL
from systolith.rtl.config import Config, preset
from systolith.rtl.vector.polynomials import PolynomialExponent, PolynomialGelu
from systolith.rtl.vector.tables import ExponentTable, GeluTable
from systolith.rtl.verilog import TOP, generate_block
from systolith.synthesis.flow import FUNCTIONS, measure_area, measure_clock
from systolith.synthesis.targets import RESOURCES, SynthesisError, Target, target_named

from .figure import Figure, FigureTable, Options, Report, SurveyError
from .hybrid import bare

#: What is synthesised for.
_TARGET = "ecp5"
#: The units of a lane that there are two of, by the rows' names.
_IN_LANE: dict[str, type[ExponentTable | PolynomialExponent | GeluTable | PolynomialGelu]] = {
    "softmax, look-up": ExponentTable,
    "softmax, polynomial": PolynomialExponent,
    "GELU, look-up": GeluTable,
    "GELU, polynomial": PolynomialGelu,
}
#: Placements of each, and what they aim at: more than any reaches.
_SEEDS, _MHZ = 3, 200
_NOTE = "Measured by synthesis of each configuration, hierarchy kept. Added: LUTs beyond those of no unit."


def figure(options: Options, report: Report) -> Figure:
    """Area of the 4x4 accelerator with no, one and all units, and with polynomials: minutes each, kept by content.

    ``options.quick`` leaves out those with one unit.

    Raises
    ------
    SurveyError
        If a package of the extra ``synth`` is missing or a synthesis fails.
    """
    target = target_named(_TARGET)
    config = preset("tiny")
    single = [] if options.quick else [(name,) for name in FUNCTIONS]
    subjects = {
        (units[0] if len(units) == 1 else "all" if units else "none"): _with(config, units)
        for units in ((), *single, FUNCTIONS)
    }
    subjects["all, polynomial"] = replace(config, approximation=POLYNOMIAL)
    try:
        lane = {name: _alone(name, config, target, report) for name in _IN_LANE}
        found: dict[str, dict[str, float]] = {}
        for name, chosen in subjects.items():
            report(f"area of 4x4 with units: {name}")
            found[name] = dict(measure_area(chosen, target, report).total)
    except SynthesisError as error:
        raise SurveyError(str(error)) from error
    return Figure(
        tables=(_whole_table(found, target), _lane_table(lane, target)),
        data={"target": target.name, "area": found, "lane": lane},
    )


def _alone(name: str, config: Config, target: Target, report: Report) -> dict[str, float]:
    """Area, latency and clock of one unit of one lane."""
    unit = _IN_LANE[name]()
    verilog = generate_block(unit, config, TOP)
    report(f"unit of a lane: {name}")
    area = measure_area(config, target, report, verilog=verilog)
    mhz = measure_clock(area, _SEEDS, _MHZ, report, verilog=verilog).mhz
    return {**area.total, "latency": unit.latency, "mhz": mhz}


def _with(config: Config, units: tuple[str, ...]) -> Config:
    changes: dict[str, Any] = dict.fromkeys(units, True)
    return replace(bare(config), **changes)


def _whole_table(found: dict[str, dict[str, float]], target: Target) -> FigureTable:
    least = found["none"]["lut"]
    return FigureTable(
        title="Each unit alone: area of a 4x4 on ECP5 (survey: I-BERT's units add 14 % to a 16x16 Gemmini)",
        columns=("units", *(RESOURCES[column] for column in target.columns), "added"),
        rows=tuple(
            (name, *(f"{area[column]:,.0f}" for column in target.columns), f"{area['lut'] / least - 1:+.1%}")
            for name, area in found.items()
        ),
        note=_NOTE,
    )


def _lane_table(found: dict[str, dict[str, float]], target: Target) -> FigureTable:
    return FigureTable(
        title="Look-ups and polynomials: one lane's unit alone on ECP5",
        columns=("unit", *(RESOURCES[column] for column in target.columns), "cycles", "MHz"),
        rows=tuple(
            (name, *(f"{unit[column]:,.0f}" for column in (*target.columns, "latency", "mhz")))
            for name, unit in found.items()
        ),
        note="Measured by synthesis of the unit alone, which takes an element a cycle, and place and route with a "
        "register on each port, the median of three.",
    )
