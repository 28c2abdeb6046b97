"""From a configuration to its area by unit, and on ECP5 to the clock that it reaches."""

import json
import re
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from systolith.rtl.config import Config
from systolith.rtl.verilog import TOP, generate

from .hierarchy import Area, areas, total
from .multipliers import absorb_registers
from .pins import PINS, pinned
from .targets import SynthesisError, Target
from .timing import Placement, read_report
from .tools import NEXTPNR_ECP5, YOSYS, run

#: Functions of the vector unit that a configuration may leave out.
FUNCTIONS = ("softmax", "gelu", "layernorm")
#: The device of place and route: the largest ECP5 in its slowest grade.
DEVICE = ("--85k", "--package", "CABGA756", "--speed", "6")
DEVICE_NAME = "LFE5U-85F, speed grade 6"
#: A line of Yosys that begins a pass of the script, and one of nextpnr that begins a step.
_PASS = re.compile(r"^[\d.]+ Executing (\w+) pass")
_STEP = re.compile(r"^Info: (Packing|Promoting|Placing|Routing|Running|Creating initial|Starting)\b.*")


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """The area of one configuration on one target, and its placements if there are any."""

    config: Config
    target: Target
    areas: tuple[Area, ...]
    placements: tuple[Placement, ...] = ()

    @property
    def total(self) -> dict[str, float]:
        return total(self.areas, self.target)

    @property
    def mhz(self) -> float:
        """Median of the placements."""
        return statistics.median(placement.mhz for placement in self.placements)

    @property
    def median(self) -> Placement:
        """The placement nearest to the median."""
        return min(self.placements, key=lambda placement: abs(placement.mhz - self.mhz))

    def per_mac(self, resource: str) -> float:
        """Of the whole accelerator, by each of its multiply-accumulates a cycle."""
        return self.total[resource] / (self.config.rows * self.config.cols)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the resolved configuration, tools, areas and placements."""
        record: dict[str, Any] = {
            "config": self.config.to_dict(),
            "target": self.target.name,
            "tools": {YOSYS.package: YOSYS.version},
            "total": self.total,
            "units": {area.unit: dict(area.resources) for area in self.areas},
        }
        if self.placements:
            record["tools"][NEXTPNR_ECP5.package] = NEXTPNR_ECP5.version
            record["device"] = DEVICE_NAME
            record["mhz"] = self.mhz
            record["placements"] = [asdict(placement) for placement in self.placements]
        return record


def without(config: Config, functions: tuple[str, ...]) -> Config:
    """``config`` without some :data:`FUNCTIONS`; ``SynthesisError`` for a name that is none of them."""
    for name in functions:
        if name not in FUNCTIONS:
            raise SynthesisError(f"unknown function {name!r}; the functions are {', '.join(FUNCTIONS)}")
    changes: dict[str, Any] = dict.fromkeys(functions, False)
    return replace(config, **changes)


def measure_area(
    config: Config,
    target: Target,
    report: Callable[[str], None],
    *,
    verilog: str | None = None,
    top: str = TOP,
    cache: Path | None = None,
) -> Synthesis:
    """Synthesise with the hierarchy kept and count each unit.

    Parameters
    ----------
    report : callable
        Told what is going on.
    verilog : str or None
        Text with the module ``top``; what :func:`~systolith.rtl.verilog.generate` gives if None.
    """
    text = generate(config) if verilog is None else verilog
    script = f"read_verilog -sv design.v\n{target.commands}\ntee -q -o areas.json stat -json\n"
    outputs = run(
        YOSYS,
        ["synth.ys"],
        {"design.v": text, "synth.ys": script.replace("{options}", f"-top {top} {target.hierarchical}")},
        ("areas.json",),
        _follow(report, _PASS, f"{target.name}, area"),
        cache,
    )
    return Synthesis(config=config, target=target, areas=tuple(areas(json.loads(outputs["areas.json"]), target, top)))


def measure_clock(
    synthesis: Synthesis,
    seeds: int,
    mhz: float,
    report: Callable[[str], None],
    cache: Path | None = None,
    *,
    verilog: str | None = None,
) -> Synthesis:
    """Place and route on ECP5, flattened and with registers on all ports, once for each of ``seeds`` seeds.

    Multipliers take in the registers around them (:mod:`.multipliers`).

    ``mhz`` is what the tools aim at; what they reach may be less or more. ``verilog`` is as in :func:`measure_area`,
    with :data:`~systolith.rtl.verilog.TOP` as its top.

    Raises
    ------
    SynthesisError
        If the target is another one, or the design does not fit the device.
    """
    target = synthesis.target
    if target.name != "ecp5":
        raise SynthesisError(f"place and route is for ecp5, not {target.name}")
    text = generate(synthesis.config) if verilog is None else verilog
    script = f"read_verilog -sv design.v\n{target.commands}\nwrite_json netlist.json\n"
    netlist = run(
        YOSYS,
        ["synth.ys"],
        {"design.v": text + pinned(text), "synth.ys": script.replace("{options}", f"-top {PINS}")},
        ("netlist.json",),
        _follow(report, _PASS, "ecp5, netlist"),
        cache,
    )
    packed = {"netlist.json": absorb_registers(netlist["netlist.json"], PINS)}
    placements = []
    for seed in range(1, seeds + 1):
        arguments = ["--json", "netlist.json", *DEVICE, "--freq", str(mhz), "--seed", str(seed)]
        outputs = run(
            NEXTPNR_ECP5,
            [*arguments, "--timing-allow-fail", "--lpf-allow-unconstrained", "--report", "report.json"],
            packed,
            ("report.json",),
            _follow(report, _STEP, f"ecp5, seed {seed} of {seeds}"),
            cache,
        )
        placements.append(read_report(json.loads(outputs["report.json"]), seed))
    return replace(synthesis, placements=tuple(placements))


def _follow(report: Callable[[str], None], pattern: re.Pattern[str], what: str) -> Callable[[str], None]:
    """A listener to a tool's lines that reports those of ``pattern``."""

    def line(text: str) -> None:
        if pattern.match(text):
            report(f"{what}: {text.removeprefix('Info: ')[:80]}")

    return line
