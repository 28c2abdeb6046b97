"""What a result depends on, as one name: that of a point on its configuration and workload, that of a synthesis on its
configuration and target, both on the sources and the tools that make them."""

import functools
import hashlib
import importlib.util
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path

from systolith.analysis.report import versions
from systolith.models.minilm import PACKAGE
from systolith.sim.toolchain import Toolchain
from systolith.synthesis.tools import NEXTPNR_ECP5, YOSYS

from .space import Point

#: Packages whose every file counts, and single modules: a point depends on all that generates, simulates, compiles,
#: runs, checks and records.
_SOURCES = (
    "rtl", "numerics", "models", "compiler", "runtime", "sim",
    "analysis/bounds.py", "analysis/causes.py", "analysis/workloads.py", "analysis/fusion_workloads.py",
    "sweep/record.py", "sweep/workload.py",
)  # fmt: skip
#: The same for an area and its clock.
_SYNTHESIS_SOURCES = ("rtl", "numerics", "synthesis", "sweep/synthesis.py")


@functools.cache
def sources() -> str:
    """Digest of the sources, the same on every machine that has the same."""
    return sources_of(*_SOURCES)


@functools.cache
def sources_of(*parts: str) -> str:
    """Digest of every file of some packages, and of single modules, ``package/module.py``."""
    digest = hashlib.sha256()
    for part in parts:
        package, _, module = part.partition("/")
        for place in _places(package):
            for path in [place / module] if module else sorted(place.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    digest.update(path.relative_to(place).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _places(package: str) -> list[Path]:
    spec = importlib.util.find_spec(f"systolith.{package}")
    return [Path(place) for place in (spec.submodule_search_locations or [] if spec else [])]


@functools.cache
def tools() -> dict[str, str]:
    """Versions of Python, the packages, the model's weights and the C++ compiler, and the processor's kind.

    Raises
    ------
    SimulationError
        If there is no C++ compiler.
    """
    compiler = subprocess.run(
        [*Toolchain(tracing=None).compiler, "--version"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = versions() | {"compiler": compiler.stdout.partition("\n")[0], "machine": platform.machine()}
    return found | _installed(PACKAGE)


@functools.cache
def synthesis_tools() -> dict[str, str]:
    """Versions of what generates Verilog, synthesises, and places and routes; those of them that are installed."""
    return _installed("amaranth", YOSYS.package, NEXTPNR_ECP5.package)


def _installed(*packages: str) -> dict[str, str]:
    return {name: metadata.version(name) for name in packages if any(True for _ in metadata.distributions(name=name))}


@functools.cache
def origin() -> str:
    """Digest of :func:`sources` and :func:`tools`: records of one origin may be compared."""
    return _digest(sources(), *_listed(tools()))


@functools.cache
def synthesis_origin() -> str:
    """The same for areas and clocks, of :func:`synthesis_tools` and the sources of what is synthesised and how."""
    return _digest(sources_of(*_SYNTHESIS_SOURCES), *_listed(synthesis_tools()))


def key(point: Point) -> str:
    """The name under which the point's record is kept."""
    config = point.config.to_toml() if point.config else f"{point.rows}x{point.cols} {point.refusal}"
    return _digest(origin(), config, point.workload.name, str(point.latency), str(point.bandwidth))


def synthesis_key(config_toml: str, target: str) -> str:
    """The name under which the area of a configuration is kept."""
    return _digest(synthesis_origin(), config_toml, target)


def check_same(name: str, expected: str) -> None:
    """Refuse work under another name, of a point or a synthesis, than the same has where the sweep was started.

    Raises
    ------
    RuntimeError
        If ``name``, made here, is not ``expected``: sources or tools differ, so something else would be measured.
    """
    if name != expected:
        raise RuntimeError(f"{socket.gethostname()} has other sources or tools than where the sweep was started")


def _listed(versions: dict[str, str]) -> list[str]:
    return [f"{name} {version}" for name, version in versions.items()]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
