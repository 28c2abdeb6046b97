"""Memories that hold where each value came from: two orders agree only if every instruction met the same values.

What an instruction reads and writes is written down once more here, address by address from docs/architecture.md,
so that a slip in ``compiler.footprint`` shows as a disagreement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Layout, Memory, Opcode
from systolith.rtl.parameters import PLANES

#: The name of a memory and addresses in it.
Rows = tuple[str, npt.NDArray[np.int64]]
Outcome = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Access:
    """Rows read when operands are; written; and read and written at once when results are."""

    reads: tuple[Rows, ...] = ()
    writes: tuple[Rows, ...] = ()
    updates: tuple[Rows, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Access):
            return NotImplemented
        sides = [(side.reads, side.writes, side.updates) for side in (self, other)]
        return all(
            len(here) == len(there)
            and all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(here, there, strict=True))
            for here, there in zip(*sides, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]


def _blocks(base: int, count: int, stride: int, rows: int) -> npt.NDArray[np.int64]:
    return (base + stride * np.arange(count)[:, None] + np.arange(rows)).ravel()


def access(i: Instruction, config: Config) -> Access:
    """What ``i`` reads and writes; memories are named, the regions ``region 0`` and so on."""
    if i.opcode in (Opcode.LOAD, Opcode.STORE):
        pitch = config.row_pitch
        chip = "parameters" if i.opcode == Opcode.LOAD and i.memory == Memory.PARAMETERS else "scratchpad"
        inside = (chip, _blocks(i.address, i.blocks, i.stride, i.rows))
        outside = (f"region {i.region}", _blocks(i.offset // pitch, i.blocks, i.dram_stride // pitch, i.rows))
        return Access((outside,), (inside,)) if i.opcode == Opcode.LOAD else Access((inside,), (outside,))
    if i.opcode == Opcode.MATRIX:
        return _matrix(i, config)
    return _vector(i, config)


def _matrix(i: Instruction, config: Config) -> Access:
    activations = ("scratchpad", _blocks(i.a_address, i.k_tiles, i.a_stride, i.rows))
    tiles = (i.w_address + i.w_n_stride * np.arange(i.n_tiles)[:, None] + i.w_k_stride * np.arange(i.k_tiles)).ravel()
    depth = config.cols if i.transpose else config.rows
    weights = ("scratchpad", (tiles[:, None] + np.arange(depth)).ravel())
    sums = ("accumulator", _blocks(i.acc_address, i.n_tiles, i.acc_stride, i.rows))
    writes, updates = ([], [sums]) if i.accumulate else ([sums], [])
    if i.track_max:
        maxima = ("maxima", i.stat_address + np.arange(i.rows))
        (writes if i.max_first else updates).append(maxima)
    return Access((activations, weights), tuple(writes), tuple(updates))


def _vector(i: Instruction, config: Config) -> Access:
    rows = np.arange(i.rows)
    reads: list[Rows] = [("accumulator", _blocks(i.acc_address, i.blocks, i.acc_stride, i.rows))]
    writes: list[Rows] = []
    updates: list[Rows] = []
    elements = i.blocks * config.cols
    if i.function != Function.EXPONENT:
        reads.append(("parameters", np.arange(PLANES * i.param_address, PLANES * (i.param_address + i.blocks))))
    else:
        reads.append(("maxima", i.stat_address + rows))
    if i.function in (Function.CONTEXT, Function.LAYERNORM):
        reads.append(("reciprocals", i.stat_address + rows))
    if i.function in (Function.EXPONENT, Function.RESIDUAL):
        (writes if i.first else updates).append(("row sums", i.stat_address + rows))
        if i.last:
            # The reciprocal also depends on the sums, which its instruction updates in the same moment.
            updates.append(("reciprocals", i.stat_address + rows))
    if i.function == Function.RESIDUAL:
        blocks = -(-elements // config.rows)
        reads.append(("scratchpad", _blocks(i.residual_address, blocks, i.residual_stride, i.rows)))
        writes.append(reads[0])
    else:
        width = config.rows if i.layout == Layout.ROWS else config.cols
        writes.append(("scratchpad", _blocks(i.out_address, -(-elements // width), i.out_stride, i.rows)))
    return Access(tuple(reads), tuple(writes), tuple(updates))


class Symbols:
    """The rows of a program, those that the same instructions use in the same way taken together as one cell.

    Parameters
    ----------
    instructions : the program; it may leave its memories, which are as large as it says.
    """

    def __init__(self, instructions: Sequence[Instruction], config: Config) -> None:
        uses = [access(i, config) for i in instructions]
        parts = [(use.reads, use.writes, use.updates) for use in uses]
        signatures: dict[str, npt.NDArray[np.uint64]] = {}
        sizes: dict[str, int] = {}
        for name, rows in (entry for part in parts for kind in part for entry in kind):
            sizes[name] = max(sizes.get(name, 0), int(rows.max()) + 1)
        random = np.random.default_rng(len(parts))
        for name, size in sizes.items():
            signatures[name] = np.zeros(size, np.uint64)
        for part in parts:
            for kind in part:
                label = np.uint64(random.integers(1, 1 << 63))
                for name, rows in kind:
                    signatures[name][np.unique(rows)] += label
        cells: dict[tuple[str, int], int] = {}
        self._reads, self._writes, self._updates = (
            [self._cells(part[kind], signatures, cells) for part in parts] for kind in range(3)
        )
        self._size = len(cells)
        self.reset()

    @staticmethod
    def _cells(
        entries: tuple[Rows, ...], signatures: dict[str, npt.NDArray[np.uint64]], cells: dict[tuple[str, int], int]
    ) -> list[int]:
        found = []
        for name, rows in entries:
            for signature in np.unique(signatures[name][rows]).tolist():
                found.append(cells.setdefault((name, signature), len(cells)))
        return found

    def reset(self) -> None:
        """The memories before the program: each cell holds a value of its own."""
        self.cells = list(range(1, self._size + 1))
        self.held = [0] * len(self._reads)

    def read(self, index: int) -> None:
        cells = self.cells
        self.held[index] = hash((index, *[cells[c] for c in self._reads[index]]))

    def write(self, index: int) -> None:
        cells = self.cells
        value = hash((self.held[index], *[cells[c] for c in self._updates[index]]))
        for cell in self._updates[index] + self._writes[index]:
            cells[cell] = hash((value, cell))
        self.held[index] = value

    def outcome(self) -> Outcome:
        """Every cell at the end, and what every instruction computed on the way."""
        return (*self.cells, *self.held)

    def save(self) -> Outcome:
        return self.outcome()

    def restore(self, state: Outcome) -> None:
        self.cells, self.held = list(state[: self._size]), list(state[self._size :])
