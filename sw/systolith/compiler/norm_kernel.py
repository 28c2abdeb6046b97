"""Programs of residual addition and LayerNorm: of a product's sums, or of int8 sums that come from DRAM."""

from collections.abc import Callable

from systolith.models.quantized import AddNorm, Projection
from systolith.rtl.config import Config

from .emit import Operand, Weights, pack_weights
from .identity import Identity
from .kernels import Kernel
from .norm import AddNormLowering, column_group
from .plan import CapacityError, Geometry, Shape, blocks_of, ceil_div, even_blocks
from .program import INPUT, NO_LAYER, OUTPUT, Program

#: Weight tiles that the ring should hold where several pieces of the input share the rest of the scratchpad.
_RING_TILES = 72
#: Weight tiles of one LOAD at most.
_CHUNK_TILES = 24
#: Output tiles of one vector instruction where no product hides what lies between two of them.
_IDENTITY_GROUP = 12
#: Pieces of the input of the first block of rows.
_FIRST_PIECES = 8


def compile_add_norm(
    config: Config, p: Projection, norm: AddNorm, tokens: int, *, rows: int, identity: bool = False
) -> Program:
    """LayerNorm of ``skip`` plus the projection ``p`` of ``input``, int8 (tokens, inputs) → int8 (tokens, outputs).

    Sums of ``rows`` whole token rows are made in the accumulator, where LayerNorm needs them. With ``identity`` the
    weights of ``p`` are the identity matrix, one tile of which stays on the chip: ``input`` are sums that were made
    before and have been to DRAM.

    Raises
    ------
    CapacityError
        If the memories are too small for ``rows`` rows.
    """
    inputs, outputs = p.weight.shape
    g = Geometry(Shape(tokens, inputs, 1, outputs), config.rows, config.cols)
    k, _, _, _ = g.outputs(inputs)
    _, _, v, b = g.outputs(outputs)
    if rows > config.statistics_rows // 2 or v * rows > config.accumulator_rows:
        raise CapacityError(
            f"{rows} whole rows of {outputs} sums take {v * rows} accumulator rows of {config.accumulator_rows} and "
            f"{rows} rows of statistics of {config.statistics_rows // 2}"
        )
    resident = Identity.rows(config, g.granule) if identity else 0
    # Two places each for the residual, which the output replaces, and for the input or two pieces of it in turn.
    ring = config.rows if identity else _RING_TILES * config.rows
    free = config.scratchpad_rows - resident - 2 * b * rows - ring
    piece = k if identity else min(k, free // (2 * rows))
    if free < 2 * piece * rows or piece < 1:
        raise CapacityError(f"{rows} rows of input and output do not fit {config.scratchpad_rows} scratchpad rows")
    ring = config.scratchpad_rows - resident - 2 * (b + piece) * rows
    # Three chunks of weights in the ring: one in use, one there, one on its way.
    chunk = max(config.rows, min(_CHUNK_TILES * config.rows, ring // 3 // config.rows * config.rows))
    kernel = Kernel(config, tokens, ring, chunk)
    e = kernel.e
    x_tensor = kernel.tensor("input", INPUT, 1, inputs, config.rows)
    skip_tensor = kernel.tensor("skip", INPUT, 1, outputs, config.rows)
    y_tensor = kernel.tensor("output", OUTPUT, 1, outputs, config.rows)
    places = [Operand(resident + i * b * rows, rows) for i in range(2)]
    inputs_at = [Operand(resident + (2 * b + i * piece) * rows, rows) for i in range(2)]
    for name, macs in (("product", 0 if identity else tokens * inputs * outputs), ("norm", 0), ("output store", 0)):
        e.operation(NO_LAYER, name, macs)
    e.operation(NO_LAYER, "product")
    # Parameters of one group are loaded while another's are used.
    group = column_group(config, g, _IDENTITY_GROUP) if identity else column_group(config, g)
    first_pieces = 1 if identity else _FIRST_PIECES
    emit = _identity(Identity(e, g.granule, 0), inputs) if identity else _product(kernel, p)
    turn = 0
    for number, (token, count) in enumerate(even_blocks(tokens, rows)):
        place, statistics = places[number % 2], e.take_statistics()
        sums = e.accumulator.take(v * count)
        lowering = AddNormLowering(
            e, g, NO_LAYER, "norm", p, norm, rows=count, sums=sums, statistics=statistics, group=group
        )  # fmt: skip
        # The first block in short pieces, so that the array starts early.
        for start, length in blocks_of(k, min(piece, ceil_div(k, first_pieces)) if number == 0 else piece):
            stop = start + length
            e.operation(NO_LAYER, "product")
            x = inputs_at[turn % 2]
            turn += 1
            e.load_tensor(x_tensor, token, count, start, length, x)
            if stop == k:
                e.load_tensor(skip_tensor, token, count, 0, skip_tensor.blocks, place)
            for tiles in lowering.groups():
                e.operation(NO_LAYER, "product")
                emit(x, count, (start, stop), tiles, sums + tiles.start * count)
                if stop == k:
                    lowering.add(tiles, place)
        lowering.normalize(place)
        e.accumulator.free(sums)
        e.statistics.free(statistics)
        e.operation(NO_LAYER, "output store")
        e.store_tensor(y_tensor, token, count, 0, y_tensor.blocks, place)
    return kernel.finish()


#: Emits the sums of output tiles from a piece (start, stop) of the contraction: x, its rows, piece, tiles, place.
_Sums = Callable[[Operand, int, tuple[int, int], range, int], None]


def _product(kernel: Kernel, p: Projection) -> _Sums:
    weights = pack_weights("product", p.weight, kernel.config)

    def emit(x: Operand, rows: int, piece: tuple[int, int], tiles: range, sums: int) -> None:
        start, stop = piece
        part = Weights(f"product.{start}.{stop}", weights.tiles[:, start:stop])
        kernel.e.product(x, rows, part, tiles, sums, accumulate=start > 0)

    return emit


def _identity(identity: Identity, columns: int) -> _Sums:
    def emit(x: Operand, rows: int, _piece: tuple[int, int], tiles: range, sums: int) -> None:
        identity.product(x, rows, columns, tiles, sums)

    return emit
