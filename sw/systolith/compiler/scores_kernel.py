"""A program of attention scores that leave the chip: Q K' of all heads as int8."""

from itertools import cycle

import numpy as np

from systolith.models.spilled import SpilledScores
from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Opcode

from .emit import Emitter, Operand, pack_columns
from .kernels import Kernel
from .norm import column_group
from .plan import CapacityError, Geometry, Shape, blocks_of, ceil_div, round_up
from .program import INPUT, NO_LAYER, OUTPUT, Program


def compile_scores(config: Config, spilled: SpilledScores, tokens: int, *, rows: int, keys: int) -> Program:
    """int8 scores (tokens, heads x tokens), given Q as ``input`` and K as ``key``, int8 (tokens, hidden) each.

    ``keys`` keys at a time, rounded up to whole tiles, meet ``rows`` queries at a time.

    Raises
    ------
    CapacityError
        If the memories are too small for that.
    """
    layer = spilled.layer
    g = Geometry(Shape(tokens, layer.hidden, layer.heads, layer.ffn), config.rows, config.cols)
    h_k, size = g.outputs(layer.head_size)[0], layer.head_size
    rows, keys = min(rows, tokens), round_up(min(keys, tokens), g.key_granule)
    group = column_group(config, g)
    staged = ceil_div(group * config.cols, config.rows) * rows
    held = 2 * (h_k * (rows + keys) + staged)
    if held + config.rows > config.scratchpad_rows or 2 * group * rows > config.accumulator_rows:
        raise CapacityError(
            f"{keys} keys and {rows} queries take {held} scratchpad rows of {config.scratchpad_rows} and "
            f"{2 * group * rows} accumulator rows of {config.accumulator_rows}"
        )
    kernel = Kernel(config, tokens, config.rows, config.rows)
    e = kernel.e
    query = kernel.tensor("input", INPUT, layer.heads, size, config.rows)
    key = kernel.tensor("key", INPUT, layer.heads, size, config.rows)
    scores = kernel.tensor("output", OUTPUT, layer.heads, tokens, config.rows)
    queries = cycle(Operand(i * h_k * rows, rows) for i in range(2))
    key_places = cycle(Operand(2 * h_k * rows + i * h_k * keys, keys) for i in range(2))
    results = cycle(Operand(2 * h_k * (rows + keys) + i * staged, rows) for i in range(2))
    e.operation(NO_LAYER, "scores", tokens * tokens * layer.hidden)
    for head in range(layer.heads):
        scale = np.full(group * config.cols, spilled.multiplier[head], np.uint16)
        row = e.load_columns(pack_columns(f"scores.{head}", config, group, a=scale), 0, group)
        for start, count in blocks_of(tokens, keys):
            w = next(key_places)
            e.load_tensor(key, start, count, head * h_k, h_k, w)
            for token, queried in blocks_of(tokens, rows):
                x = next(queries)
                e.load_tensor(query, token, queried, head * h_k, h_k, x)
                _, n, v, _ = g.outputs(count)
                for tile, tiles in blocks_of(v, group):
                    sums, out = e.accumulator.take(tiles * queried), next(results)
                    _product(e, x, w, queried, h_k, range(tile, min(tile + tiles, n)), sums)
                    e.vector(
                        Function.REQUANTIZE, queried, tiles, count - tile * config.cols, sums,
                        out=out, param_address=row, shift_a=spilled.shift,
                    )  # fmt: skip
                    e.accumulator.free(sums)
                    first = (start + tile * config.cols) // config.rows
                    stop = min(first + ceil_div(tiles * config.cols, config.rows), ceil_div(start + count, config.rows))
                    if stop > first:
                        e.store_tensor(scores, token, queried, head * scores.blocks + first, stop - first, out)
        e.parameters.free(row)
    return kernel.finish()


def _product(e: Emitter, x: Operand, w: Operand, rows: int, k_tiles: int, tiles: range, sums: int) -> None:
    """Output tiles ``tiles``, if any, of ``x`` and the keys ``w``, to accumulator row ``sums``."""
    if not len(tiles):
        return
    e.emit(
        Opcode.MATRIX,
        rows=rows,
        k_tiles=k_tiles,
        n_tiles=len(tiles),
        a_address=x.address,
        a_stride=x.stride,
        w_address=w.at(token=tiles.start * e.config.cols).address,
        w_k_stride=w.stride,
        w_n_stride=e.config.cols,
        acc_address=sums,
        acc_stride=rows,
        transpose=1,
    )
