"""What each non-linear unit takes in silicon: added alone, and as look-ups or polynomials."""

from dataclasses import replace
from typing import Any

from systolith.numerics.approximation import DEFAULT, POLYNOMIAL
from systolith.rtl.config import Config, preset
from systolith.synthesis.flow import FUNCTIONS, Synthesis, measure_area
from systolith.synthesis.targets import RESOURCES, SynthesisError, Target, target_named

from .figure import Figure, FigureTable, Options, Report, SurveyError
from .hybrid import bare

#: What is synthesised for.
_TARGET = "ecp5"
#: The row of all units, two of them polynomials; and the units that differ.
_POLYNOMIAL = "all, polynomial"
_IN_LANES = ("softmax units", "GELU units")
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
    subjects[_POLYNOMIAL] = replace(config, approximation=POLYNOMIAL)
    found: dict[str, Synthesis] = {}
    for name, chosen in subjects.items():
        report(f"area of 4x4 with units: {name}")
        try:
            found[name] = measure_area(chosen, target, report)
        except SynthesisError as error:
            raise SurveyError(str(error)) from error
    areas = {name: dict(synthesis.total) for name, synthesis in found.items()}
    lanes = {
        name: {area.unit: dict(area.resources) for area in found[subject].areas if area.unit in _IN_LANES}
        for name, subject in ((DEFAULT, "all"), (POLYNOMIAL, _POLYNOMIAL))
    }
    return Figure(
        tables=(_whole_table(areas, target), _lane_table(lanes, config.lanes, target)),
        data={"target": target.name, "area": areas, "lanes": lanes},
    )


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


def _lane_table(found: dict[str, dict[str, dict[str, float]]], lanes: int, target: Target) -> FigureTable:
    return FigureTable(
        title="Look-ups and polynomials: area in one lane on ECP5",
        columns=("unit", *(RESOURCES[column] for column in target.columns)),
        rows=tuple(
            (f"{unit}, {name}", *(f"{units[unit][column] / lanes:,.0f}" for column in target.columns))
            for unit in _IN_LANES
            for name, units in found.items()
        ),
        note="Of the same two syntheses, all units: that of all lanes, shared out among them.",
    )
