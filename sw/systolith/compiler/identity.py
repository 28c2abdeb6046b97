"""The only way of int8 rows into the accumulator: a product with the identity matrix."""

from dataclasses import dataclass

import numpy as np

from systolith.rtl.config import Config
from systolith.rtl.isa import Opcode

from .emit import Emitter, Operand, pack_weights
from .plan import ceil_div


def _reach(config: Config, tile: int) -> tuple[int, int]:
    """The first of the blocks of ``rows`` columns that output tile ``tile`` covers, and their number."""
    first = tile * config.cols // config.rows
    return first, ceil_div((tile + 1) * config.cols, config.rows) - first


@dataclass(frozen=True)
class Maxima:
    """Where MATRIX tracks row maxima, and whether they start anew with output tile 0."""

    address: int
    first: bool

    def fields(self, tile: int, valid: int) -> dict[str, int]:
        """Fields of the instruction that makes output tile ``tile``, ``valid`` of whose columns count."""
        return {
            "track_max": 1, "max_first": self.first and tile == 0, "stat_address": self.address, "valid": valid,
        }  # fmt: skip


class Identity:
    """Identity weights that stay in the scratchpad, from row ``address`` on, :meth:`rows` of them.

    An output tile of ``cols`` columns takes those of the blocks of ``rows`` columns that it covers: one for a square
    array. The pattern repeats after the granule of ``granule`` tiles.
    """

    def __init__(self, emitter: Emitter, granule: int, address: int) -> None:
        self.e, self.granule = emitter, granule
        config = emitter.config
        weights = pack_weights("identity", np.eye(granule * config.cols, dtype=np.int8), config)
        self._places = []
        for tile in range(granule):
            first, count = _reach(config, tile)
            self._places.append(address)
            emitter.load_weights(weights, tile, 1, first, count, address)
            address += count * config.rows

    @staticmethod
    def rows(config: Config, granule: int) -> int:
        """Scratchpad rows that the weights take."""
        return sum(_reach(config, tile)[1] for tile in range(granule)) * config.rows

    def product(
        self, x: Operand, rows: int, columns: int, tiles: range, accumulator: int, maxima: Maxima | None = None
    ) -> None:
        """Output tiles ``tiles`` of ``x``, ``columns`` of whose columns count, to accumulator row ``accumulator``."""
        config = self.e.config
        for tile in tiles:
            block, count = _reach(config, tile)
            tracked = {} if maxima is None else maxima.fields(tile, columns - tile * config.cols)
            self.e.emit(
                Opcode.MATRIX,
                rows=rows,
                k_tiles=min(count, ceil_div(columns, config.rows) - block),
                n_tiles=1,
                a_address=x.at(block=block).address,
                a_stride=x.stride,
                w_address=self._places[tile % self.granule],
                w_k_stride=config.rows,
                acc_address=accumulator + (tile - tiles.start) * rows,
                acc_stride=rows,
                **tracked,
            )
