"""The one description of an accelerator: sizes, buses, units; validated, frozen, TOML in and out."""

import dataclasses
import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systolith.files import brief, read_text, shown
from systolith.numerics.approximation import APPROXIMATIONS, DEFAULT

_KIB = 1024
#: Most bytes of a configuration file. Twenty keys take less than one KiB, and long dotted keys cubic time to parse.
_FILE_BYTES = 8 * _KIB
#: What the 16-bit row addresses, and the 12-bit parameter addresses, of an instruction reach.
_ADDRESSABLE_ROWS = 1 << 16
_ADDRESSABLE_PARAMETERS = 1 << 12
_AXI_DATA_WIDTHS = (32, 64, 128, 256, 512)


class ConfigError(ValueError):
    """A configuration value that no accelerator can have; the message names value and bound."""


def _power_of_two_at_least(value: int) -> int:
    return 1 << (value - 1).bit_length()


def _bounded(name: str, value: int, low: int, high: int, unit: str = "") -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be {low} to {high}{unit}, not {shown(value)}")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that the generator, the compiler and the functional device need to know.

    Parameters
    ----------
    rows, cols : int, processing elements
        Size of the array: ``rows`` is the contraction dimension of a tile, ``cols`` its outputs. 2 to 128.
    scratchpad_bytes, accumulator_bytes, parameter_bytes : int, bytes
        On-chip memories: int8 rows, int32 rows, and the per-column parameters of the vector unit.
    scratchpad_banks, accumulator_banks : int
        Power of two, 1 to 16. Consecutive rows lie in consecutive banks.
    statistics_rows : int
        Rows of the maximum, sum and reciprocal memories: the most token rows that softmax and
        LayerNorm can have in flight.
    axi_data_width, axi_address_width : int, bits
        Width of the memory bus (32 to 512) and of its addresses (32 to 64).
    axi_outstanding : int, bursts
        Read bursts, and write bursts, in flight at once.
    axi_burst_beats : int, beats
        Longest burst. 1 to 256.
    lanes : int, elements a cycle
        Width of the vector unit; divides both ``rows`` and ``cols``.
    load_queue, matrix_queue, vector_queue, store_queue : int, instructions
        Depth of each unit's queue. 2 to 64.
    softmax, gelu, layernorm : bool
        Which non-linear functions the vector unit has.
    approximation : str
        What computes softmax's exponential and GELU in the lanes: ``look-up`` (tables) or ``polynomial`` (I-BERT's).

    Raises
    ------
    ConfigError
        If a value, or a combination of values, cannot be built.
    """

    rows: int = 16
    cols: int = 16
    scratchpad_bytes: int = 176 * _KIB
    scratchpad_banks: int = 4
    accumulator_bytes: int = 128 * _KIB
    accumulator_banks: int = 4
    parameter_bytes: int = 8 * _KIB
    statistics_rows: int = 256
    axi_data_width: int = 128
    axi_address_width: int = 40
    axi_outstanding: int = 16
    axi_burst_beats: int = 16
    lanes: int = 16
    load_queue: int = 16
    matrix_queue: int = 16
    vector_queue: int = 16
    store_queue: int = 16
    softmax: bool = True
    gelu: bool = True
    layernorm: bool = True
    approximation: str = DEFAULT

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(value) is not field.type:
                wanted = getattr(field.type, "__name__", field.type)
                raise ConfigError(f"{field.name} must be {wanted}, not {shown(value)}")
        _bounded("rows", self.rows, 2, 128)
        _bounded("cols", self.cols, 2, 128)
        _bounded("axi_address_width", self.axi_address_width, 32, 64, " bits")
        _bounded("axi_outstanding", self.axi_outstanding, 1, 64, " bursts")
        _bounded("axi_burst_beats", self.axi_burst_beats, 1, 256, " beats")
        _bounded("statistics_rows", self.statistics_rows, 4, 4096)
        for name in ("load_queue", "matrix_queue", "vector_queue", "store_queue"):
            _bounded(name, getattr(self, name), 2, 64, " instructions")
        if self.axi_data_width not in _AXI_DATA_WIDTHS:
            raise ConfigError(
                f"axi_data_width must be one of {_AXI_DATA_WIDTHS} bits, not {shown(self.axi_data_width)}"
            )
        for name in ("scratchpad_banks", "accumulator_banks"):
            banks = getattr(self, name)
            if banks not in (1, 2, 4, 8, 16):
                raise ConfigError(f"{name} must be 1, 2, 4, 8 or 16, not {shown(banks)}")
        if self.approximation not in APPROXIMATIONS:
            raise ConfigError(f"approximation must be {' or '.join(APPROXIMATIONS)}, not {shown(self.approximation)}")
        shared = math.gcd(self.rows, self.cols)
        if self.lanes < 1 or shared % self.lanes:
            raise ConfigError(
                f"lanes must divide both rows and cols (their greatest common divisor is {shared}), "
                f"not {shown(self.lanes)}"
            )
        for name, rows, least, most in (
            ("scratchpad_bytes", self.scratchpad_rows, 4 * max(self.rows, self.cols), _ADDRESSABLE_ROWS),
            ("accumulator_bytes", self.accumulator_rows, 4 * self.rows, _ADDRESSABLE_ROWS),
            ("parameter_bytes", self.parameter_rows, 2, _ADDRESSABLE_PARAMETERS),
        ):
            if rows < least:
                raise ConfigError(
                    f"{name} of {shown(getattr(self, name))} holds {shown(rows)} rows; "
                    f"a {self.rows}x{self.cols} array needs at least {least}"
                )
            if rows > most:
                raise ConfigError(
                    f"{name} of {shown(getattr(self, name))} holds {shown(rows)} rows; an instruction addresses {most}"
                )

    @property
    def row_bytes(self) -> int:
        """Bytes of one scratchpad row: wide enough for an activation row and for a weight row."""
        return max(self.rows, self.cols)

    @property
    def row_pitch(self) -> int:
        """Bytes between rows in DRAM: :attr:`row_bytes` rounded up to a power of two."""
        return _power_of_two_at_least(self.row_bytes)

    @property
    def bus_bytes(self) -> int:
        """Bytes of one AXI beat."""
        return self.axi_data_width // 8

    @property
    def scratchpad_rows(self) -> int:
        rows = self.scratchpad_bytes // self.row_bytes
        return rows - rows % self.scratchpad_banks

    @property
    def accumulator_rows(self) -> int:
        rows = self.accumulator_bytes // (4 * self.cols)
        return rows - rows % self.accumulator_banks

    @property
    def parameter_rows(self) -> int:
        """Rows of the parameter memory, each one 8-byte record for every column."""
        return self.parameter_bytes // (8 * self.cols)

    @property
    def psum_width(self) -> int:
        """Bits of a partial sum: ``rows`` products of int8 by int8, each at most 2**14."""
        return 16 + (self.rows - 1).bit_length()

    def to_dict(self) -> dict[str, int | bool | str]:
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        # JSON writes integers, booleans and these plain strings as TOML does.
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in self.to_dict().items())

    @classmethod
    def from_toml(cls, path: str | Path) -> "Config":
        """Read a configuration; keys left out keep their defaults.

        Raises
        ------
        ConfigError
            If the file is not TOML, names an unknown key or holds a bad value.
        FileError
            If the file cannot be read, is larger than 8 KiB or no UTF-8 text.
        """
        try:
            return cls.from_table(tomllib.loads(read_text(path, _FILE_BYTES)))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is not a TOML file: {brief(error)}") from error

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> "Config":
        """The configuration of parsed TOML or JSON; ``ConfigError`` for an unknown key or a bad value."""
        known = {field.name for field in dataclasses.fields(cls)}
        for key in table:
            if key not in known:
                raise ConfigError(f"unknown key {shown(key)}; the keys are {', '.join(sorted(known))}")
        return cls(**table)

    def resized(self, rows: int, cols: int) -> "Config":
        """This configuration with another array size and as many lanes as that allows.

        The memories keep their bytes for a smaller array, as far as instructions can address the rows, and their
        rows for a larger one.
        """
        _bounded("rows", rows, 2, 128)
        _bounded("cols", cols, 2, 128)

        def fitted(size: int, held: int, row_bytes: int, addressable: int) -> int:
            return min(max(size, held * row_bytes), addressable * row_bytes)

        return dataclasses.replace(
            self,
            rows=rows,
            cols=cols,
            lanes=math.gcd(rows, cols),
            scratchpad_bytes=fitted(self.scratchpad_bytes, self.scratchpad_rows, max(rows, cols), _ADDRESSABLE_ROWS),
            accumulator_bytes=fitted(self.accumulator_bytes, self.accumulator_rows, 4 * cols, _ADDRESSABLE_ROWS),
            parameter_bytes=fitted(self.parameter_bytes, self.parameter_rows, 8 * cols, _ADDRESSABLE_PARAMETERS),
        )


#: Named starting points; plain values.
PRESETS = {
    "tiny": Config(
        rows=4, cols=4, lanes=4, axi_data_width=64,
        scratchpad_bytes=32 * _KIB, accumulator_bytes=16 * _KIB, parameter_bytes=2 * _KIB, statistics_rows=256,
    ),
    "small": Config(
        rows=8, cols=8, lanes=8, axi_data_width=64,
        scratchpad_bytes=64 * _KIB, accumulator_bytes=64 * _KIB, parameter_bytes=4 * _KIB, statistics_rows=256,
    ),
    "default": Config(),
    "large": Config(
        rows=32, cols=32, lanes=32, axi_data_width=256,
        scratchpad_bytes=384 * _KIB, accumulator_bytes=256 * _KIB, parameter_bytes=16 * _KIB, statistics_rows=512,
    ),
}  # fmt: skip


def preset(name: str) -> Config:
    """The named preset; ``ConfigError`` lists the names if there is none such."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]
