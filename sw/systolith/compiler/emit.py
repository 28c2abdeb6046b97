"""Emission: constants packed in the order of use, and the instructions that stream them through the array."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Layout, Memory, Opcode
from systolith.rtl.parameters import PLANES, RECORD_DTYPE

from .arena import Arena
from .plan import Plan, ceil_div
from .program import CONSTANTS, Operation, Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Operand:
    """Activations in the scratchpad: block b of token row m is row ``address + b * stride + m``."""

    address: int
    stride: int

    def at(self, token: int = 0, block: int = 0) -> "Operand":
        return Operand(self.address + block * self.stride + token, self.stride)


@dataclass(frozen=True)
class Weights:
    """Weight tiles (n, k, rows, pitch) int8, ready for DRAM; ``key`` names them."""

    key: str
    tiles: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Columns:
    """Vector parameters: byte planes (blocks, 8, pitch) uint8, ready for DRAM; ``key`` names them."""

    key: str
    planes: npt.NDArray[np.uint8]


def pack_weights(key: str, weight: Array, config: Config, row_of: npt.NDArray[np.int64] | None = None) -> Weights:
    """Cut an int8 matrix (inputs, outputs) into tiles, zero-padded.

    ``row_of`` gives for each contraction position the matrix row that it multiplies, or -1 for padding.
    """
    source = weight if row_of is None else np.where(row_of[:, None] >= 0, weight[row_of], 0)
    k, n = ceil_div(source.shape[0], config.rows), ceil_div(source.shape[1], config.cols)
    padded = np.zeros((k * config.rows, n * config.cols), np.int8)
    padded[: source.shape[0], : source.shape[1]] = source
    tiles = np.zeros((n, k, config.rows, config.row_pitch), np.int8)
    tiles[..., : config.cols] = padded.reshape(k, config.rows, n, config.cols).transpose(2, 0, 1, 3)
    return Weights(key, tiles)


def pack_columns(
    key: str, config: Config, blocks: int, *, bias: Array | None = None, a: Array | None = None, b: Array | None = None
) -> Columns:
    """Pack per-column ``bias`` int32, multiplier ``a`` uint16 and ``b`` int16 for ``blocks`` column blocks."""
    records = np.zeros(blocks * config.cols, RECORD_DTYPE)
    for name, values in (("bias", bias), ("multiplier_a", a), ("multiplier_b", b)):
        if values is not None:
            records[name][: len(values)] = values
    planes = np.zeros((blocks, PLANES, config.row_pitch), np.uint8)
    planes[..., : config.cols] = records.view(np.uint8).reshape(blocks, config.cols, PLANES).transpose(0, 2, 1)
    return Columns(key, planes)


@dataclass
class Emitter:
    """Collects instructions and constants; every instruction belongs to the current operation."""

    config: Config
    plan: Plan
    ring: Arena
    accumulator: Arena
    parameters: Arena
    statistics: Arena
    instructions: list[Instruction] = field(default_factory=list)
    operation_of: list[int] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    constants: bytearray = field(default_factory=bytearray)
    _places: dict[tuple[str, int, int, int, int], int] = field(default_factory=dict)
    _current: int = 0

    def operation(self, layer: int, name: str, macs: int = 0) -> None:
        """Make ``name`` of ``layer`` the current operation; ``macs`` counts at its first mention."""
        for index, known in enumerate(self.operations):
            if (known.layer, known.name) == (layer, name):
                self._current = index
                return
        self._current = len(self.operations)
        self.operations.append(Operation(layer, name, macs))

    def emit(self, opcode: Opcode, **values: int) -> None:
        self.instructions.append(Instruction(opcode, {k: int(v) for k, v in values.items()}))
        self.operation_of.append(self._current)

    def take_statistics(self) -> int:
        """The first of the rows for one block's maxima, sums and reciprocals; at most two blocks have theirs at once.

        Always half of the memory, which a block's rows never exceed: runs of one size leave no gaps between them.
        """
        return self.statistics.take(self.config.statistics_rows // 2)

    def constant(self, key: tuple[str, int, int, int, int], data: Array) -> int:
        """DRAM offset of constant ``data``, placed at its first use."""
        if key not in self._places:
            self._places[key] = len(self.constants)
            self.constants += np.ascontiguousarray(data).tobytes()
        return self._places[key]

    def load_columns(self, columns: Columns, first: int, count: int) -> int:
        """LOAD parameter blocks ``first`` .. ``first + count``; returns their parameter row."""
        row = self.parameters.take(count)
        offset = self.constant((columns.key, first, count, -1, -1), columns.planes[first : first + count])
        self.emit(
            Opcode.LOAD,
            region=CONSTANTS,
            memory=Memory.PARAMETERS,
            rows=PLANES * count,
            blocks=1,
            address=PLANES * row,
            offset=offset,
        )
        return row

    def load_tensor(self, tensor: Tensor, token: int, rows: int, first: int, blocks: int, target: Operand) -> None:
        """LOAD ``rows`` tokens of ``blocks`` blocks of a DRAM tensor."""
        self._transfer(Opcode.LOAD, tensor, token, rows, first, blocks, target)

    def store_tensor(self, tensor: Tensor, token: int, rows: int, first: int, blocks: int, source: Operand) -> None:
        """STORE the same way."""
        self._transfer(Opcode.STORE, tensor, token, rows, first, blocks, source)

    def _transfer(
        self, opcode: Opcode, tensor: Tensor, token: int, rows: int, first: int, blocks: int, chip: Operand
    ) -> None:
        self.emit(
            opcode,
            region=tensor.region,
            rows=rows,
            blocks=blocks,
            address=chip.address,
            stride=chip.stride,
            offset=tensor.row(token, first),
            dram_stride=tensor.tokens * tensor.pitch,
        )

    def load_weights(self, weights: Weights, n: int, n_tiles: int, k: int, k_tiles: int, address: int) -> None:
        """LOAD ``n_tiles`` output tiles from ``n`` on, of ``k_tiles`` contraction tiles from ``k`` on each."""
        offset = self.constant((weights.key, n, n_tiles, k, k_tiles), weights.tiles[n : n + n_tiles, k : k + k_tiles])
        rows = n_tiles * k_tiles * self.config.rows
        self.emit(Opcode.LOAD, region=CONSTANTS, rows=rows, blocks=1, address=address, offset=offset)

    def product(
        self,
        x: Operand,
        rows: int,
        weights: Weights,
        tiles: range,
        accumulator: int,
        *,
        accumulate: bool = False,
    ) -> None:
        """Stream output tiles ``tiles`` of a constant matrix: LOAD and MATRIX for each chunk of weights.

        Tile ``tiles[0]`` goes to accumulator row ``accumulator``, the next ``rows`` further.
        """
        for n, n_tiles, k, k_tiles in self.chunks(weights, tiles):
            size = n_tiles * k_tiles * self.config.rows
            address = self.ring.take(size)
            self.load_weights(weights, n, n_tiles, k, k_tiles, address)
            self.emit(
                Opcode.MATRIX,
                rows=rows,
                k_tiles=k_tiles,
                n_tiles=n_tiles,
                a_address=x.at(block=k).address,
                a_stride=x.stride,
                w_address=address,
                w_k_stride=self.config.rows,
                w_n_stride=k_tiles * self.config.rows,
                acc_address=accumulator + (n - tiles.start) * rows,
                acc_stride=rows,
                accumulate=accumulate or k > 0,
            )
            self.ring.free(address)

    def chunks(self, weights: Weights, tiles: range) -> Iterator[tuple[int, int, int, int]]:
        depth = weights.tiles.shape[1]
        most = self.plan.chunk_rows // self.config.rows
        if depth <= most:
            together = most // depth
            for n in range(tiles.start, tiles.stop, together):
                yield n, min(together, tiles.stop - n), 0, depth
            return
        # Even parts, so that no chunk is too short to hide the next one's latency.
        size = ceil_div(depth, ceil_div(depth, most))
        for n in tiles:
            for k in range(0, depth, size):
                yield n, 1, k, min(size, depth - k)

    def vector(
        self,
        function: Function,
        rows: int,
        blocks: int,
        valid: int,
        accumulator: int,
        *,
        out: Operand | None = None,
        layout: Layout = Layout.ROWS,
        residual: Operand | None = None,
        **values: int,
    ) -> None:
        """One VECTOR instruction over ``blocks`` blocks whose accumulator rows are consecutive."""
        if out is not None:
            values |= {"out_address": out.address, "out_stride": out.stride}
        if residual is not None:
            values |= {"residual_address": residual.address, "residual_stride": residual.stride}
        self.emit(
            Opcode.VECTOR,
            function=function,
            rows=rows,
            blocks=blocks,
            valid=max(valid, 0),
            acc_address=accumulator,
            acc_stride=rows,
            layout=layout,
            **values,
        )
