"""Options that several commands have: which accelerator is meant."""

from pathlib import Path
from typing import Annotated

import typer

from systolith.rtl.config import Config, preset

Preset = Annotated[str | None, typer.Option(help="Named configuration: tiny, small, default or large.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration in TOML.")]
Rows = Annotated[int | None, typer.Option(help="Array rows.")]
Cols = Annotated[int | None, typer.Option(help="Array columns.")]
Dim = Annotated[int | None, typer.Option(help="Array rows and columns.")]


class UsageError(ValueError):
    """Options that contradict each other or name what is not there."""


def configuration(name: str | None, file: Path | None, rows: int | None, cols: int | None, dim: int | None) -> Config:
    """The accelerator that the options name.

    Raises
    ------
    UsageError, ConfigError
        If they exclude each other, or name none.
    """
    if name is not None and file is not None:
        raise UsageError("--preset and --config exclude each other")
    if dim is not None and (rows is not None or cols is not None):
        raise UsageError("--dim excludes --rows and --cols")
    config = Config.from_toml(file) if file is not None else preset(name or "default")
    if dim is not None:
        rows = cols = dim
    if rows is not None or cols is not None:
        config = config.resized(config.rows if rows is None else rows, config.cols if cols is None else cols)
    return config
