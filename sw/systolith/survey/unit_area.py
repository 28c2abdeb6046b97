"""What each non-linear unit takes in silicon when it is added alone."""

from dataclasses import replace

from systolith.rtl.config import preset
from systolith.synthesis.flow import FUNCTIONS, measure_area
from systolith.synthesis.targets import RESOURCES, SynthesisError, target_named

from .figure import Figure, FigureTable, Options, Report, SurveyError
from .hybrid import bare

#: What is synthesised for.
_TARGET = "ecp5"
_NOTE = "Measured by synthesis of each configuration, hierarchy kept. Added: LUTs beyond those of no unit."


def figure(options: Options, report: Report) -> Figure:
    """Area of the 4x4 accelerator with no, one and all units: a synthesis of minutes each, kept by content.

    ``options.quick`` leaves out those with one unit.

    Raises
    ------
    SurveyError
        If a package of the extra ``synth`` is missing or a synthesis fails.
    """
    target = target_named(_TARGET)
    single = {} if options.quick else {name: (name,) for name in FUNCTIONS}
    found: dict[str, dict[str, float]] = {}
    for name, units in ({"none": ()} | single | {"all": FUNCTIONS}).items():
        report(f"area of 4x4 with units: {name}")
        config = replace(bare(preset("tiny")), **dict.fromkeys(units, True))
        try:
            found[name] = dict(measure_area(config, target, report).total)
        except SynthesisError as error:
            raise SurveyError(str(error)) from error
    least = found["none"]["lut"]
    rows = tuple(
        (name, *(f"{area[column]:,.0f}" for column in target.columns), f"{area['lut'] / least - 1:+.1%}")
        for name, area in found.items()
    )
    table = FigureTable(
        title="Each unit alone: area of a 4x4 on ECP5 (survey: I-BERT's units add 14 % to a 16x16 Gemmini)",
        columns=("units", *(RESOURCES[column] for column in target.columns), "added"),
        rows=rows,
        note=_NOTE,
    )
    return Figure(tables=(table,), data={"target": target.name, "area": found})
