"""Single elements of memory, looked at in every cycle of a part of a run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What to look at, and when.

    Parameters
    ----------
    first, last : int, cycles
        From the program's first.
    chip : dict of str to list of int
        Elements of the memories on the chip: their places in the flattened fields of ``chip_state``.
    dram : list of int
        Bytes of the simulated memory, counted from its begin.
    """

    first: int
    last: int
    chip: dict[str, list[int]] = field(default_factory=dict)
    dram: list[int] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Watched:
    """What was there.

    ``cycles`` int64 (samples,), from the program's first; ``values`` of each field of the chip, and ``dram`` of bytes,
    (samples, elements): what was written by the end of the cycle before.
    """

    cycles: npt.NDArray[np.int64]
    values: Mapping[str, npt.NDArray[np.int64]]


def read_watched(path: Path, start: int) -> Watched:
    """What a bench saved with :func:`save_watched`; the program began in cycle ``start`` of the simulation."""
    with np.load(path) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    return Watched(values.pop("cycles") - start, values)


def save_watched(path: Path, cycles: list[int], samples: Mapping[str, list[npt.NDArray[np.int64]]]) -> None:
    """Save samples of each field, of which each is int64 (elements,), and their cycles of the simulation."""
    arrays = {name: np.array(rows, np.int64) for name, rows in samples.items()}
    np.savez(path, cycles=np.array(cycles, np.int64), **arrays)  # type: ignore[arg-type]
