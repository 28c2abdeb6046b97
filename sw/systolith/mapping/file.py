"""Mapping files: which accelerator, which computation, which mapping, and what it was found to take."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from systolith.compiler.mapping import MappingError, ProductMapping, ProductShape
from systolith.compiler.plan import Plan, Shape
from systolith.files import digest, read_json, shown, write_whole
from systolith.rtl.config import Config

#: What a mapping file begins with.
FORMAT = "systolith mapping 1"
#: Most bytes of a mapping file.
_FILE_BYTES = 1 << 16
_KINDS: dict[str, tuple[type[Any], type[Any]]] = {"layer": (Shape, Plan), "product": (ProductShape, ProductMapping)}
#: The planner's own estimate is no part of a mapping.
_ESTIMATE = "cycles"


def config_digest(config: Config) -> str:
    """The name of a configuration in mapping files."""
    return digest(config.to_toml().encode())[:16]


@dataclass(frozen=True, kw_only=True)
class MappingFile:
    """A mapping and what it is of.

    Attributes
    ----------
    config : digest of the configuration
    shape, mapping : a layer's or a product's
    results : how it was found and what it takes; for people
    """

    config: str
    shape: Shape | ProductShape
    mapping: Plan | ProductMapping
    results: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        kind = "layer" if isinstance(self.shape, Shape) else "product"
        values = {name: value for name, value in asdict(self.mapping).items() if name != _ESTIMATE}
        record = {
            "format": FORMAT, "config": self.config, "kind": kind, "shape": asdict(self.shape), "mapping": values,
            "results": self.results,
        }  # fmt: skip
        write_whole(path, json.dumps(record, indent=2) + "\n")


def read_mapping(path: Path, config: Config, shape: Shape | ProductShape) -> Plan | ProductMapping:
    """The mapping in a file, which must be of this configuration and shape. Whether it fits shows when it is compiled.

    Raises
    ------
    FileError
        If the file cannot be read or is no JSON object.
    MappingError
        If it is no mapping file, or one of another configuration or computation.
    """
    record = read_json(path, _FILE_BYTES)
    if record.get("format") != FORMAT:
        raise MappingError(f"{path} is no mapping file: its format is {shown(record.get('format'))}, not {FORMAT!r}")
    kind = next(name for name, (of, _) in _KINDS.items() if isinstance(shape, of))
    if record.get("kind") != kind:
        raise MappingError(f"{path} is a mapping of a {shown(record.get('kind'))}, not of a {kind}")
    if record.get("config") != config_digest(config):
        raise MappingError(
            f"{path} is a mapping for another configuration: {shown(record.get('config'))}; this one is "
            f"{config_digest(config)}"
        )
    if record.get("shape") != asdict(shape):
        raise MappingError(f"{path} is a mapping of {shown(record.get('shape'))}, not of {asdict(shape)}")
    kinds = {f.name: f.type for f in fields(_KINDS[kind][1]) if f.name != _ESTIMATE}
    values = record.get("mapping")
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        raise MappingError(f"{path}: a mapping of a {kind} has {', '.join(kinds)}")
    for name, value in values.items():
        if type(value) is not kinds[name]:
            wanted = getattr(kinds[name], "__name__", kinds[name])
            raise MappingError(f"{path}: {name} must be {wanted}, not {shown(value)}")
    if kind == "layer":
        values = values | {_ESTIMATE: 0.0}
    return cast(Plan | ProductMapping, _KINDS[kind][1](**values))
