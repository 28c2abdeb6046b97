"""What the result of a point depends on, as one name: its configuration and workload, the sources and the tools."""

import functools
import hashlib
import importlib.util
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from systolith.analysis.report import versions
from systolith.models.minilm import PACKAGE
from systolith.sim.toolchain import Toolchain

from .space import Point

#: Packages whose every file counts, and single modules: a result depends on all that generates, simulates, compiles,
#: runs, checks and records.
_PACKAGES = ("rtl", "numerics", "models", "compiler", "runtime", "sim")
_MODULES = (
    "analysis/bounds.py", "analysis/causes.py", "analysis/workloads.py", "analysis/fusion_workloads.py",
    "sweep/record.py", "sweep/workload.py",
)  # fmt: skip


@functools.cache
def sources() -> str:
    """Digest of the sources, the same on every machine that has the same."""
    digest = hashlib.sha256(sources_of(*_PACKAGES).encode())
    for module in _MODULES:
        package, name = module.split("/")
        digest.update(b"".join((place / name).read_bytes() for place in _places(package) if (place / name).exists()))
    return digest.hexdigest()[:16]


@functools.cache
def sources_of(*packages: str) -> str:
    """Digest of every file of some packages."""
    digest = hashlib.sha256()
    for package in packages:
        for place in _places(package):
            for path in sorted(place.rglob("*")):
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
    if any(True for _ in metadata.distributions(name=PACKAGE)):
        found[PACKAGE] = metadata.version(PACKAGE)
    return found


@functools.cache
def origin() -> str:
    """Digest of :func:`sources` and :func:`tools`: records of one origin may be compared."""
    return _digest(sources(), *(f"{name} {version}" for name, version in tools().items()))


def key(point: Point) -> str:
    """The name under which the point's record is kept."""
    config = point.config.to_toml() if point.config else f"{point.rows}x{point.cols} {point.refusal}"
    return _digest(origin(), config, point.workload.name, str(point.latency), str(point.bandwidth))


def synthesis_key(config_toml: str, target: str) -> str:
    """The name under which the area of a configuration is kept."""
    return _digest(origin(), config_toml, target)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
