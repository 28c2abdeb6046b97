"""What a design can be synthesised for: the Yosys commands of each target, and what its cells are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What is counted, and how tables call it.
RESOURCES = {
    "lut": "LUT",
    "ff": "FF",
    "dsp": "DSP",
    "bram": "block RAM",
    "gates": "gates",
    "memory_bits": "memory bits",
}


class SynthesisError(ValueError):
    """A synthesis that cannot be done; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A family of devices.

    Attributes
    ----------
    name, title : str
        As on the command line, and in tables.
    commands : str
        Yosys commands from ``read_verilog`` to a mapped netlist; ``{options}`` are the top module and whether the
        hierarchy is kept.
    hierarchical : str
        The option by which the hierarchy is kept.
    columns : tuple of str
        Keys of :data:`RESOURCES` that this target has.
    cells : mapping
        Cell type to what one of them counts as. Cells that are not here cost nothing (wide multiplexers, carries
        beside their LUT, buffers).
    """

    name: str
    title: str
    commands: str
    columns: tuple[str, ...]
    hierarchical: str = "-noflatten"
    cells: Mapping[str, Mapping[str, float]] = field(repr=False)

    def resources(self, cell: str) -> Mapping[str, float]:
        """What one cell of this type counts as.

        Raises
        ------
        SynthesisError
            For one of Yosys' own gates or registers that the target does not know: it would be left out.
        """
        if cell.startswith("$_") and cell not in self.cells:
            raise SynthesisError(f"cells {cell} of Yosys are left in the netlist, which {self.name} does not count")
        return self.cells.get(cell, {})


def _each(names: str, **resources: float) -> dict[str, dict[str, float]]:
    return dict.fromkeys(names.split(), resources)


#: A carry cell is two LUTs, a 16x4 memory four; a DSP is one 18x18 multiplier, a block RAM 18 kbit.
_ECP5 = {
    **_each("LUT4", lut=1),
    **_each("CCU2C", lut=2),
    **_each("TRELLIS_DPR16X4", lut=4),
    **_each("TRELLIS_FF", ff=1),
    **_each("MULT18X18D", dsp=1),
    **_each("DP16KD PDPW16KD", bram=1),
}
#: A block RAM is half a RAMB36; LUTs are those of 6 inputs, or two of 5.
_XC7 = {
    **_each("LUT1 LUT2 LUT3 LUT4 LUT5 LUT6 SRL16E SRLC32E RAM32X1S RAM64X1S RAM32X1D", lut=1),
    **_each("RAM64X1D", lut=2),
    **_each("RAM32M RAM64M RAM128X1D", lut=4),
    **_each("RAM32M16 RAM64M8", lut=8),
    **_each("FDRE FDSE FDCE FDPE", ff=1),
    **_each("DSP48E1", dsp=1),
    **_each("RAMB18E1", bram=1),
    **_each("RAMB36E1", bram=2),
}
#: A carry lies in the logic cell of its LUT; a block RAM is 4 kbit.
_ICE40 = {
    **_each("SB_LUT4", lut=1),
    **_each(
        " ".join(f"SB_DFF{edge}{kind}" for edge in ("", "N") for kind in ("", "E", "SR", "R", "SS", "S", "ESR", "ESS")),
        ff=1,
    ),
    **_each("SB_MAC16", dsp=1),
    **_each("SB_RAM40_4K", bram=1),
}
#: Transistors of Yosys's gates in static CMOS (its ``stat -tech cmos``); a NAND gate has four.
_TRANSISTORS = {
    "NOT": 2, "NAND": 4, "NOR": 4, "AND": 6, "OR": 6, "ANDNOT": 6, "ORNOT": 6, "XNOR": 12, "XOR": 12,
    "AOI3": 6, "OAI3": 6, "AOI4": 8, "OAI4": 8, "MUX": 12, "NMUX": 10,
}  # fmt: skip
_GENERIC = {
    **{f"$_{name}_": {"gates": count / _TRANSISTORS["NAND"]} for name, count in _TRANSISTORS.items()},
    **_each("$_DFF_P_ $_DFFE_PP_", ff=1),
}


def _mapped(synthesis: str, last: str) -> str:
    """A target's own script of Yosys, up to the label ``last``.

    Nets are split in between, as ABC9 otherwise fails where a name has a number at its end (YosysHQ/yosys#4349).
    """
    return "\n".join(
        [f"{synthesis} {{options}} -run begin:map_luts", "splitnets", f"{synthesis} {{options}} -run map_luts:{last}"]
    )


TARGETS = {
    target.name: target
    for target in (
        Target(
            name="ecp5",
            title="Lattice ECP5: LUT4, 18x18 multipliers, 18 kbit memories",
            commands=_mapped("synth_lattice -family ecp5", "edif"),
            columns=("lut", "ff", "dsp", "bram"),
            cells=_ECP5,
        ),
        Target(
            name="xc7",
            title="Xilinx 7 series: LUT6, DSP48E1, 18 kbit memories",
            commands=_mapped("synth_xilinx -family xc7 -noiopad -noclkbuf", "edif"),
            columns=("lut", "ff", "dsp", "bram"),
            hierarchical="",
            cells=_XC7,
        ),
        Target(
            name="ice40",
            title="Lattice iCE40 UltraPlus: LUT4, 16x16 multipliers, 4 kbit memories",
            commands=_mapped("synth_ice40 -dsp -device u", "blif"),
            columns=("lut", "ff", "dsp", "bram"),
            cells=_ICE40,
        ),
        Target(
            name="generic",
            title="no technology: NAND gate equivalents without registers, registers, bits of memories",
            commands=(
                "synth {options} -run begin:fine\nopt -fast -full\nmemory_map -rom-only\nopt -fast\n"
                # No opt_dff after dfflegalize: it would make registers with resets again, which are not counted.
                "techmap\nopt -fast\ndfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01\nopt_expr\nopt_merge\n"
                "opt_clean\nabc -g cmos\nopt_clean\nmemory_unpack"
            ),
            columns=("gates", "ff", "memory_bits"),
            hierarchical="",
            cells=_GENERIC,
        ),
    )
}


def target_named(name: str) -> Target:
    """The target; ``SynthesisError`` lists the names if there is none such."""
    if name not in TARGETS:
        raise SynthesisError(f"unknown target {name!r}; the targets are {', '.join(TARGETS)}")
    return TARGETS[name]
