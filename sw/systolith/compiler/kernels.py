"""Programs of less than a layer: what all of them share, and a single product.

Their operations are of no layer: their ``layer`` is -1, and their tensors are ``input`` and ``output`` (for attention
``input`` is the queries, and ``key`` and ``value`` lie beside it).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from systolith.models.quantized import Projection
from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Layout, assemble

from .arena import Arena
from .emit import Emitter, Operand, Weights, pack_columns, pack_weights
from .hazards import ProgramError, synchronize
from .plan import CapacityError, Geometry, Plan, Shape, blocks_of, ceil_div, round_up
from .program import CONSTANTS, INPUT, NO_LAYER, OBSERVED, OUTPUT, Program, Tensor

#: Output tiles whose sums are made together: the first ones share each load of activations, which takes as long as
#: one tile's product, and still leave the bus half free.
_GROUP_TILES = 4
#: Weight tiles of one LOAD at most.
_CHUNK_TILES = 24


class Kernel:
    """DRAM tensors, the emitter and the finished program of one kernel."""

    def __init__(self, config: Config, tokens: int, ring_rows: int) -> None:
        if ring_rows < config.rows:
            raise CapacityError(f"{config.scratchpad_rows} scratchpad rows leave {ring_rows} rows for weights")
        self.config, self.tokens = config, tokens
        chunk = max(config.rows, min(_CHUNK_TILES * config.rows, ring_rows // 3 // config.rows * config.rows))
        self.e = Emitter(
            config=config,
            plan=Plan(
                project_rows=tokens, query_rows=tokens, block_rows=tokens, ffn_tiles=1, x_resident=True,
                context_resident=False, ring_rows=ring_rows, chunk_rows=chunk, cycles=0.0,
            ),
            ring=Arena("weight ring", config.scratchpad_rows - ring_rows, ring_rows),
            accumulator=Arena("accumulator", 0, config.accumulator_rows),
            parameters=Arena("parameters", 0, config.parameter_rows),
            statistics=Arena("statistics", 0, config.statistics_rows),
        )  # fmt: skip
        self.sizes = [0] * (OBSERVED + 1)
        self.tensors: dict[str, Tensor] = {}

    def tensor(self, name: str, region: int, groups: int, columns: int, width: int) -> Tensor:
        """A new DRAM tensor (tokens, groups x columns) in blocks of ``width``."""
        tensor = Tensor(region, self.sizes[region], self.tokens, groups, columns, width, self.config.row_pitch)
        self.sizes[region] += tensor.size
        self.tensors[name] = tensor
        return tensor

    def finish(self) -> Program:
        e = self.e
        self.sizes[CONSTANTS] = len(e.constants)
        region_bytes = tuple(max(size, self.config.row_pitch) for size in self.sizes)
        constants = np.zeros(region_bytes[CONSTANTS], np.uint8)
        constants[: len(e.constants)] = np.frombuffer(bytes(e.constants), np.uint8)
        program = Program(
            config=self.config,
            image=assemble(synchronize(e.instructions, self.config, region_bytes)),
            constants=constants,
            region_bytes=region_bytes,
            operations=tuple(e.operations),
            operation_of=np.array(e.operation_of, np.int32),
            tensors=self.tensors,
        )
        program.verify()
        return program


def regions_of(program: Program, inputs: Mapping[str, npt.NDArray[np.int8]]) -> list[npt.NDArray[np.uint8]]:
    """DRAM regions ready to run on ``inputs``, int8 (tokens, groups x columns) by the names of their tensors.

    Raises
    ------
    ProgramError
        If an input is of another shape than its tensor.
    """
    regions = [np.zeros(size, np.uint8) for size in program.region_bytes]
    regions[CONSTANTS][:] = program.constants
    for name, values in inputs.items():
        place = program.tensors[name]
        shape = (place.tokens, place.groups * place.columns)
        if values.shape != shape:
            raise ProgramError(f"{name} of shape {values.shape}; the program takes {shape}")
        regions[place.region][place.offset : place.offset + place.size] = place.pack(values)
    return regions


def compile_gemm(config: Config, projection: Projection, tokens: int) -> Program:
    """``requantize(x @ weight)`` of int8 ``x`` (tokens, inputs) → int8 (tokens, outputs).

    Sums of a few output tiles are made at a time, over pieces of the contraction: the array starts as soon as the
    first activations and weights are there, and the last results are few.

    Raises
    ------
    CapacityError
        If the memories are too small for a single row and tile.
    """
    inputs, outputs = projection.weight.shape
    g = Geometry(Shape(tokens, inputs, 1, outputs), config.rows, config.cols)
    k, _, _, blocks_in = g.outputs(inputs)
    _, n, v, _ = g.outputs(outputs)
    group = min(round_up(_GROUP_TILES, g.granule), round_up(v, g.granule), config.parameter_rows)
    group -= group % g.granule
    if group == 0:
        raise CapacityError(f"{g.granule} parameter rows are needed, {config.parameter_rows} are there")
    most = min(tokens, config.accumulator_rows // (2 * group))
    if most == 0:
        raise CapacityError(f"{config.accumulator_rows} accumulator rows hold no two groups of {group} tiles")
    rows = ceil_div(tokens, ceil_div(tokens, most))
    staged = ceil_div(group * config.cols, config.rows)
    half = config.scratchpad_rows // 2
    # All of a row block of x (two in turn if there are more), or two pieces of it in turn.
    places = 1 if rows == tokens else 2
    resident = (places * blocks_in + 2 * staged) * rows <= half * 3 // 2
    piece = k if resident else max(1, (half - 2 * staged * rows) // (2 * rows))
    held = (places * blocks_in if resident else 2 * piece) * rows
    # Where each group loads x again, one tile's product takes no longer than that load.
    least = g.granule if resident else max(g.granule, group // 2 // g.granule * g.granule)
    kernel = Kernel(config, tokens, config.scratchpad_rows - held - 2 * staged * rows)
    e = kernel.e
    x_tensor = kernel.tensor("input", INPUT, 1, inputs, config.rows)
    y_tensor = kernel.tensor("output", OUTPUT, 1, outputs, config.rows)
    results = [Operand(held + i * staged * rows, rows) for i in range(2)]
    weights = pack_weights("gemm", projection.weight, config)
    columns = pack_columns(
        "gemm.columns", config, v, bias=projection.bias, a=projection.multiplier
    )  # fmt: skip
    e.operation(NO_LAYER, "product", tokens * inputs * outputs)
    turn = 0
    for block, (token, count) in enumerate(blocks_of(tokens, rows)):
        place = block % places * blocks_in * rows
        for number, tiles in enumerate(_groups(v, group, least)):
            sums = e.accumulator.take(len(tiles) * count)
            row = e.load_columns(columns, tiles.start, len(tiles))
            fresh = number == 0 or not resident
            for start, stop in _pieces(k, piece, growing=number == block == 0) if fresh else [(0, k)]:
                x = Operand(place + start * rows if resident else (turn % 2) * piece * rows, rows)
                if fresh:
                    e.load_tensor(x_tensor, token, count, start, stop - start, x)
                    turn += 1
                part = Weights(f"gemm.{start}.{stop}", weights.tiles[:, start:stop])
                product = range(tiles.start, min(tiles.stop, n))
                if len(product):
                    e.product(x, count, part, product, sums, accumulate=start > 0)
            out = results[number % 2]
            e.vector(
                Function.REQUANTIZE, count, len(tiles), outputs - tiles.start * config.cols, sums,
                out=out, layout=Layout.ROWS, param_address=row, shift_a=projection.shift,
            )  # fmt: skip
            e.accumulator.free(sums)
            e.parameters.free(row)
            first = tiles.start * config.cols // config.rows
            last = min(first + ceil_div(len(tiles) * config.cols, config.rows), y_tensor.blocks)
            if last > first:
                e.store_tensor(y_tensor, token, count, first, last - first, out)
    return kernel.finish()


def _groups(tiles: int, size: int, least: int) -> list[range]:
    """Output tiles in groups of ``size``; the last group is halved down to ``least``, as nothing hides its end."""
    groups = [range(a, a + b) for a, b in blocks_of(tiles, size)]
    while len(groups[-1]) > least:
        last = groups.pop()
        middle = last.start + max(least, len(last) // 2 // least * least)
        groups += [range(last.start, middle), range(middle, last.stop)]
    return groups


def _pieces(tiles: int, size: int, *, growing: bool) -> list[tuple[int, int]]:
    """(start, stop) of consecutive contraction tiles, at most ``size``; ``growing``: 1, 1, 2, 4, ... at first."""
    pieces, start, length = [], 0, 1 if growing else size
    while start < tiles:
        stop = min(tiles, start + min(length, size))
        pieces.append((start, stop))
        length = max(length, stop)
        start = stop
    return pieces
