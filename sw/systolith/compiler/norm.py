"""Lowering of residual addition and LayerNorm over whole rows of sums that lie in the accumulator."""

from systolith.models.quantized import AddNorm, Projection
from systolith.numerics.integer import mean_multiplier
from systolith.rtl.config import Config
from systolith.rtl.isa import Function

from .emit import Emitter, Operand, pack_columns
from .plan import Geometry, blocks_of, round_up

#: Output tiles of one vector instruction where the array can go on meanwhile.
_GROUP_TILES = 4


def column_group(config: Config, g: Geometry, tiles: int = _GROUP_TILES) -> int:
    """Output tiles, about ``tiles``, whose parameters are loaded, and whose sums the vector unit takes, at a time."""
    return min(round_up(tiles, g.granule), config.parameter_rows // g.granule * g.granule)


class AddNormLowering:
    """Residual addition and LayerNorm of one block of rows; ``name`` is their operation's.

    The sums of ``rows`` token rows lie in the accumulator from row ``sums`` on, a column block every ``rows`` rows;
    ``statistics`` is the first of their rows there. ``group`` output tiles go through the vector unit at a time.
    """

    def __init__(
        self,
        emitter: Emitter,
        geometry: Geometry,
        index: int,
        name: str,
        p: Projection,
        norm: AddNorm,
        *,
        rows: int,
        sums: int,
        statistics: int,
        group: int,
    ) -> None:
        self.e, self.index, self.name, self.p, self.norm = emitter, index, name, p, norm
        self.rows, self.sums, self.statistics = rows, sums, statistics
        self.columns = len(p.bias)
        _, self.n, self.v, _ = geometry.outputs(self.columns)
        self.group = group
        key = f"{index}.{name}"
        self.residual = pack_columns(
            f"{key}.residual", self.e.config, self.v, bias=p.bias, a=p.multiplier, b=norm.skip_multiplier
        )
        self.gain = pack_columns(f"{key}.gain", self.e.config, self.v, bias=norm.bias, b=norm.gain)

    def groups(self) -> list[range]:
        """The output tiles, a group after the other."""
        return [range(a, min(a + n, self.n)) for a, n in blocks_of(self.n, self.group)]

    def _blocks(self, tiles: range) -> int:
        """Column blocks of a group: the last one takes the padding blocks too."""
        return (self.v if tiles.stop == self.n else tiles.stop) - tiles.start

    def add(self, tiles: range, skip: Operand) -> None:
        """RESIDUAL over the column blocks of ``tiles``."""
        config, norm = self.e.config, self.norm
        blocks = self._blocks(tiles)
        self.e.operation(self.index, self.name)
        row = self.e.load_columns(self.residual, tiles.start, blocks)
        self.e.vector(
            Function.RESIDUAL, self.rows, blocks, self.columns - tiles.start * config.cols,
            self.sums + tiles.start * self.rows,
            residual=skip.at(block=tiles.start * config.cols // config.rows), param_address=row,
            stat_address=self.statistics, first=tiles.start == 0, last=tiles.stop == self.n,
            shift_a=self.p.shift, shift_b=norm.skip_shift,
            multiplier=self.columns, mean_multiplier=mean_multiplier(self.columns),
        )  # fmt: skip
        self.e.parameters.free(row)

    def normalize(self, out: Operand) -> None:
        """LAYERNORM over all column blocks."""
        config = self.e.config
        self.e.operation(self.index, self.name)
        for tiles in self.groups():
            blocks = self._blocks(tiles)
            row = self.e.load_columns(self.gain, tiles.start, blocks)
            self.e.vector(
                Function.LAYERNORM, self.rows, blocks, self.columns - tiles.start * config.cols,
                self.sums + tiles.start * self.rows, out=out.at(block=tiles.start * config.cols // config.rows),
                param_address=row, stat_address=self.statistics, shift_b=self.norm.shift,
            )  # fmt: skip
            self.e.parameters.free(row)
