"""The memories of the simulated chip, read and written in place from a bench in the same process."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.rtl.chip_state import chip_state
from systolith.rtl.config import Config
from systolith.rtl.parameters import PLANES

_CORE = "dut.core."


class ChipMemories:
    """What a simulator built with ``peek`` and started with ``+memories=path`` holds in its memories.

    Parameters
    ----------
    config : Config
    path : Path
        The list that the simulator wrote at its start (``cpp/memories.h``).

    Raises
    ------
    KeyError
        If a memory of ``config`` is not in the list.
    """

    def __init__(self, config: Config, path: Path) -> None:
        self.config = config
        raw: dict[str, npt.NDArray[np.uint8]] = {}
        for line in path.read_text().splitlines():
            scope, address, size, rows = line.rsplit(maxsplit=3)
            place = (ctypes.c_uint8 * int(size)).from_address(int(address))
            raw[scope.partition(_CORE)[2]] = np.ctypeslib.as_array(place).reshape(int(rows), -1)
        self._views = list(self._map(raw))

    def _map(self, raw: dict[str, npt.NDArray[np.uint8]]) -> list[tuple[str, slice, npt.NDArray[Any]]]:
        """For each memory: field of the state, which of its rows, and these rows in place.

        A word lies in as many bytes as its C++ type has, at the low end.
        """
        c = self.config
        parts: list[tuple[str, str, int, str, int]] = [("maximum", "accumulator.maxima", 1, "<i4", 0)]
        for space, banks, kind in (
            ("scratchpad", c.scratchpad_banks, "i1"),
            ("accumulator", c.accumulator_banks, "<i4"),
        ):
            parts += [(space, f"{space}.banks.bank{bank}", banks, kind, bank) for bank in range(banks)]
        parts += [("parameters", f"parameters.plane{plane}", PLANES, "u1", plane) for plane in range(PLANES)]
        views = []
        for field, scope, step, kind, first in parts:
            width = chip_state(c)[field].itemsize // chip_state(c)[field].shape[0]
            view = raw[scope][:, :width].view(kind)
            views.append((field, slice(first, None, step), view[:, 0] if field == "maximum" else view))
        statistics: list[tuple[str, str, int, str]] = []
        if c.softmax or c.layernorm:
            statistics += [("total", "sums", 0, "<i4"), ("mean", "reciprocals", 0, "<i2")]
            statistics += [("mantissa", "reciprocals", 2, "<u2"), ("exponent", "reciprocals", 4, "u1")]
        if c.layernorm:
            statistics += [("squares", "sums", 4, "<u8")]
        for field, memory, first, kind in statistics:
            words = raw[f"vector.statistics.{memory}"][:, first : first + np.dtype(kind).itemsize]
            views.append((field, slice(None), words.view(kind)[:, 0]))
        return views

    def read(self) -> npt.NDArray[Any]:
        """All of it: a record (shape ()) of ``chip_state``; what the configuration does not have is 0."""
        state = np.zeros((), chip_state(self.config))
        for field, rows, view in self._views:
            state[field][rows] = view
        return state

    def write(self, state: npt.NDArray[Any]) -> None:
        """Begin with ``state``, a record of ``chip_state``; the accelerator must be idle."""
        for field, rows, view in self._views:
            view[...] = state[field][rows]
