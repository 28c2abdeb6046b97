"""Simulators of accelerators, built when first needed and kept in a cache.

Generated Verilog is keyed by the configuration and the sources that generate it; a simulator by that Verilog, the
testbench, the C++, the tools and their options.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from systolith.rtl.config import Config

from .block import Block, block_sources
from .cache import cache_directory, new_entry
from .testbench import PARTS, MemoryPort, control_file, testbench
from .toolchain import CPP, SimulationError, Sources, Toolchain

_EXECUTABLE = "simulator"
#: What makes a block's files, beside the block.
_BLOCK_SOURCES = ("block.py", "testbench.py", "sv/axi_watch.sv", "benches/units/blocks.py")


@dataclass(frozen=True)
class Simulator:
    """A built simulator: the executable, and the kind of waveform that it can write (None: none)."""

    executable: Path
    tracing: str | None


def build(
    config: Config,
    *,
    verilog: str | None = None,
    memory: MemoryPort = MemoryPort.DRAM,
    tracing: str | None = None,
    peek: bool = False,
    cache: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> Simulator:
    """The simulator of a configuration, from the cache or built now.

    Parameters
    ----------
    verilog : str or None
        A module ``systolith`` with the accelerator's ports, to use instead of the generated one.
    memory : MemoryPort
        Whether the AXI4 master meets the C++ memory or the top's ports.
    tracing : str or None
        Build to write this kind of waveform, ``vcd`` or ``fst``, which is slower even when none is written.
    peek : bool
        Build so that a bench can read and write the memories on the chip (``memories.ChipMemories``).
    cache : Path or None
        Where builds are kept; :func:`cache_directory` if None.
    report : function of str, or None
        Called at the start of each step of a build with its description.

    Raises
    ------
    SimulationError
        If there is no C++ compiler, if Verilator or the compiler fails, or the cache cannot be written.
    """
    cache = (cache or cache_directory()).absolute()
    step = report or (lambda _: None)
    inputs = {"testbench.sv": testbench(config, memory), "control.vlt": control_file(config, memory, peek=peek)}
    inputs |= {path.name: path.read_text(encoding="utf-8") for path in sorted(PARTS.glob("*.sv"))}

    def design() -> dict[str, str]:
        return {**inputs, "systolith.v": verilog or _verilog(cache, config, step)}

    return _simulator(cache, f"{config.rows}x{config.cols}", design, Toolchain(tracing=tracing), step)


def build_block(
    block: Block, config: Config, *, cache: Path | None = None, report: Callable[[str], None] | None = None
) -> Simulator:
    """The simulator of one block of the accelerator of ``config``, like :func:`build`'s of the whole.

    ``ports.json`` beside the executable lists the block's ports.

    Raises
    ------
    SimulationError
        As :func:`build`.
    """
    cache = (cache or cache_directory()).absolute()
    step = report or (lambda _: None)
    name = f"{block.name}-{config.rows}x{config.cols}"
    tools = Toolchain(tracing=None, bare_loop=False)
    return _simulator(cache, name, lambda: _block_sources(cache, block, config, step), tools, step)


def _simulator(
    cache: Path, prefix: str, design: Callable[[], dict[str, str]], tools: Toolchain, step: Callable[[str], None]
) -> Simulator:
    """The entry of the simulator made of the files, by their names, that ``design`` gives."""
    own = [path.read_text(encoding="utf-8") for path in sorted(CPP.rglob("*.*")) if path.is_file()]
    try:
        inputs = design()
        name = f"{prefix}-{_hash(tools.fingerprint, *inputs.values(), *own)}"
        with new_entry(cache, name) as work:
            if work is not None:
                for file, text in inputs.items():
                    (work / file).write_text(text, encoding="utf-8")
                step(f"{prefix}: translating Verilog to C++")
                sources = tools.verilate(work, [file for file in inputs if not file.endswith(".json")])
                step(f"{prefix}: compiling the simulator")
                library = _library(cache, tools, sources)
                objects = tools.compile_design(sources, work / "objects")
                tools.link([*objects, *library], work / _EXECUTABLE)
                shutil.rmtree(work / "objects")
    except OSError as error:
        raise SimulationError(f"cannot build in the cache {cache}: {error}") from error
    return Simulator(cache / name / _EXECUTABLE, tools.tracing)


def _verilog(cache: Path, config: Config, step: Callable[[str], None]) -> str:
    """The accelerator's Verilog, generated once for the same configuration and sources."""
    amaranth = importlib.metadata.version("amaranth")
    name = f"verilog-{_hash(config.to_toml(), amaranth, _source('rtl'), _source('numerics'))}"
    with new_entry(cache, name) as work:
        if work is not None:
            step("generating Verilog")
            text: str = importlib.import_module("systolith.rtl.verilog").generate(config)
            (work / "systolith.v").write_text(text, encoding="utf-8")
    return (cache / name / "systolith.v").read_text(encoding="utf-8")


def _block_sources(cache: Path, block: Block, config: Config, step: Callable[[str], None]) -> dict[str, str]:
    """The files of a block's simulator, generated once for the same configuration and sources."""
    amaranth = importlib.metadata.version("amaranth")
    here = Path(__file__).parent
    own = [(here / path).read_text(encoding="utf-8") for path in _BLOCK_SOURCES]
    sources = (_source("rtl"), _source("numerics"), *own)
    name = f"block-{_hash(block.name, str(block.played), config.to_toml(), amaranth, *sources)}"
    with new_entry(cache, name) as work:
        if work is not None:
            step(f"{block.name}: generating Verilog")
            for file, text in block_sources(block, config).items():
                (work / file).write_text(text, encoding="utf-8")
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((cache / name).iterdir())}


def _library(cache: Path, tools: Toolchain, sources: Sources) -> list[Path]:
    """Objects of Verilator's run-time library, compiled once for all designs."""
    name = f"library-{_hash(tools.fingerprint, *map(str, sources.library))}"
    with new_entry(cache, name) as work:
        if work is not None:
            tools.compile_library(sources, work)
    return sorted((cache / name).glob("*.o"))


def _source(package: str) -> str:
    """The text of every module of ``systolith.<package>``: what generated Verilog may depend on."""
    spec = importlib.util.find_spec(f"systolith.{package}")
    places = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    paths = sorted(path for place in places for path in Path(place).rglob("*.py"))
    return "".join(path.read_text(encoding="utf-8") for path in paths)


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]
