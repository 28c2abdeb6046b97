"""Layouts of a waveform for GTKWave and Surfer, signals grouped by unit, and how large a waveform becomes."""

from pathlib import Path

from amaranth.hdl import Shape

from systolith.files import write_whole
from systolith.rtl.config import Config
from systolith.rtl.core import CAUSE_BITS
from systolith.rtl.interfaces import INDEX_BITS, Axi
from systolith.rtl.isa import Unit
from systolith.rtl.tokens import UNITS
from systolith.sim.testbench import TOP

#: Bytes that a waveform takes at the most if nobody chose its cycles.
LIMIT = 1 << 30
#: Bytes of a busy cycle: of any configuration, and for each PE. As measured (docs/trace.md), and some 5 % more for VCD
#: and 15 % for FST, whose compression depends on the data.
_CYCLE_BYTES = {"vcd": (7_500, 260), "fst": (400, 30)}

_CORE = f"{TOP}.dut.core"
#: GTKWave's flags of a line: binary, hexadecimal, decimal; a group's first and last line.
_BINARY, _HEXADECIMAL, _DECIMAL, _OPEN, _CLOSE = "28", "22", "24", "800200", "1000200"

Signals = list[tuple[str, int]]


def groups(config: Config) -> dict[str, Signals]:
    """Full names of signals and their bits, by the group in which they are shown."""
    axi = {name: Shape.cast(member.shape).width for name, member in Axi(config).members.items()}
    chosen: dict[str, Signals] = {
        "run": [(f"{TOP}.{name}", bits) for name, bits in (("clk", 1), ("trace_run", 1), ("irq", 1))],
        "registers": [
            (f"{TOP}.s_axi_{name}", bits)
            for name, bits in (
                ("awaddr", 12), ("awvalid", 1), ("wdata", 32), ("wvalid", 1), ("araddr", 12), ("arvalid", 1),
                ("rdata", 32), ("rvalid", 1),
            )
        ],
    }  # fmt: skip
    for unit in Unit:
        queue = f"{_CORE}.dispatch.{unit.name.lower()}_queue"
        depth = getattr(config, f"{unit.name.lower()}_queue")
        signals = [("issued", 1), ("issued_index", INDEX_BITS), ("retired", 1), ("retired_index", INDEX_BITS)]
        signals += [("busy", 1), ("queued", 1), ("waiting", UNITS), ("queue.level", depth.bit_length())]
        chosen[unit.name] = [(f"{queue}.{name}", bits) for name, bits in signals]
    matrix = ("row_streamed", "bank_wait", "weight_wait", "rows_left")
    chosen["systolic array"] = [(f"{TOP}.trace_array", CAUSE_BITS), *((f"{_CORE}.matrix.{n}", 1) for n in matrix)]
    for title, channel in (
        ("read addresses", "ar"),
        ("read data", "r"),
        ("write addresses", "aw"),
        ("write data", "w"),
    ):
        names = [name for name in axi if name.startswith(channel) and name[len(channel) :] in _BUS]
        chosen[title] = [(f"{TOP}.m_axi_{name}", axi[name]) for name in names]
    chosen["write responses"] = [(f"{TOP}.m_axi_{name}", axi[name]) for name in ("bvalid", "bready")]
    return chosen


#: Members of an AXI channel that a layout shows.
_BUS = ("valid", "ready", "id", "addr", "len", "data", "strb", "last", "resp")


def layout_paths(waves: Path) -> tuple[Path, Path]:
    """The layouts beside a waveform, for GTKWave and for Surfer."""
    return waves.with_name(f"{waves.name}.gtkw"), waves.with_name(f"{waves.name}.sucl")


def write_layouts(waves: Path, config: Config) -> tuple[Path, Path]:
    """Write the layouts beside a waveform; their paths.

    The first is a save file of GTKWave (``gtkwave FILE.gtkw``), the second commands for Surfer
    (``surfer --command-file FILE.sucl``); both name the waveform.
    """
    saved, commands = layout_paths(waves)
    write_whole(saved, gtkwave_layout(waves, config))
    write_whole(commands, surfer_layout(waves, config))
    return saved, commands


def gtkwave_layout(waves: Path, config: Config) -> str:
    """The text of GTKWave's save file for ``waves``."""
    lines = [f'[dumpfile] "{waves.absolute()}"', "[timestart] 0"]
    for title, signals in groups(config).items():
        lines += [f"@{_OPEN}", f"-{title}"]
        for name, bits in signals:
            decimal = name.endswith(("_index", ".level"))
            lines.append(f"@{_BINARY if bits == 1 else _DECIMAL if decimal else _HEXADECIMAL}")
            lines.append(name if bits == 1 else f"{name}[{bits - 1}:0]")
        lines += [f"@{_CLOSE}", f"-{title}"]
    return "\n".join(lines) + "\n"


def surfer_layout(waves: Path, config: Config) -> str:
    """The text of Surfer's command file for ``waves``."""
    lines = [f"load_file {waves.absolute()}"]
    for title, signals in groups(config).items():
        lines += [f"divider_add {title}", *(f"variable_add {name}" for name, _ in signals)]
    return "\n".join([*lines, "zoom_fit"]) + "\n"


def cycle_bytes(kind: str, config: Config) -> int:
    """About how many bytes a busy cycle takes in a waveform of ``kind`` (``vcd`` or ``fst``)."""
    fixed, element = _CYCLE_BYTES[kind]
    return fixed + element * config.rows * config.cols


def affordable_cycles(kind: str, config: Config) -> int:
    """Cycles that fit :data:`LIMIT`."""
    return LIMIT // cycle_bytes(kind, config)
