"""Random values for the fields of an instruction: edges, typical sizes, anything inside; mostly legal."""

import random
from collections.abc import Callable

from systolith.rtl.config import Config
from systolith.rtl.isa import FIELDS, Field, Function, Instruction, Layout, Memory, Opcode
from systolith.rtl.parameters import PLANES
from systolith.rtl.vector.arithmetic import supported

#: Rows that an instruction streams at most, by how often: short ones mostly, so that many can be run.
_BUDGETS = (64, 64, 64, 300, 300, 1500)
#: How often a MATRIX or VECTOR goes through a counter's whole range.
_LONG = 0.005
#: How often an instruction uses what the last one of another unit left.
_FOLLOW = 0.6


class InstructionMaker:
    """Draws instructions for ``config`` and DRAM regions of ``region_bytes`` from ``source``.

    Nearly all are legal by themselves; the caller has the verifier refuse the others.
    """

    def __init__(self, config: Config, source: random.Random, region_bytes: tuple[int, ...]) -> None:
        self.config = config
        self.random = source
        self.regions = {r: size // config.row_pitch for r, size in enumerate(region_bytes) if size >= config.row_pitch}
        self.functions = sorted(supported(config))
        self.makers: dict[Opcode, Callable[[], dict[str, int]]] = {
            Opcode.LOAD: self._load,
            Opcode.MATRIX: self._matrix,
            Opcode.VECTOR: self._vector,
            Opcode.STORE: self._store,
        }
        self.last: dict[Opcode, Instruction] = {}
        # Programs differ in how busy each unit is, and in how far apart addresses lie.
        self.weights = [source.choice([1, 2, 4]) for _ in self.makers]
        self.spread = source.choice([0.05, 0.3, 1.0])
        self.center = source.random()

    def make(self) -> Instruction:
        """One instruction without tokens; fields that it does not use hold anything."""
        (opcode,) = self.random.choices(list(self.makers), self.weights)
        values = self.makers[opcode]()
        for field in FIELDS[opcode][3:]:
            values.setdefault(field.name, self._any(field))
        return Instruction(opcode, values)

    def follow(self, instruction: Instruction) -> None:
        """Later instructions may use what ``instruction`` leaves."""
        self.last[instruction.opcode] = instruction

    def _any(self, field: Field) -> int:
        return self._edge(field.low, field.high)

    def _edge(self, low: int, high: int) -> int:
        """Within ``low`` to ``high``: an edge, a neighbour of one, a power of two, or anything."""
        if high <= low:
            return low
        pick = self.random.random()
        if pick < 0.15:
            return low
        if pick < 0.3:
            return high
        if pick < 0.4:
            return self.random.choice([low + 1, high - 1])
        if pick < 0.55:
            return min(high, max(low, 1 << self.random.randrange(max(1, high.bit_length()))))
        return self.random.randint(low, high)

    def _count(self, limit: int) -> int:
        """1 to ``limit``, often near the sizes of the array."""
        c = self.config
        near = self.random.choice([1, 1, 2, 3, c.rows, c.cols, c.rows + 1, max(1, c.cols - 1), 2 * c.rows, limit])
        pick = near if self.random.random() < 0.7 else self.random.randint(1, max(1, limit))
        return max(1, min(pick, limit))

    def _address(self, extent: int, rows: int) -> int:
        """Where ``extent`` rows lie in a memory of ``rows``: at either end, near the program's place, or anywhere."""
        room = max(0, rows - extent)
        pick = self.random.random()
        if pick < 0.1:
            return 0
        if pick < 0.2:
            return room
        reach = self.spread * rows
        return min(room, max(0, int(self.center * rows + (self.random.random() - 0.5) * reach)))

    def _strided(self, blocks: int, rows: int, memory: int, *, disjoint: bool) -> tuple[int, int]:
        """Address and stride, in rows, of ``blocks`` blocks of ``rows`` in a memory of ``memory`` rows."""
        if blocks == 1:
            return self._address(rows, memory), self._edge(0, (1 << 16) - 1)
        most = max(0, memory - rows) // (blocks - 1)
        least = min(rows if disjoint else 0, most)
        stride = self.random.choice([rows, rows, rows + 1, least, most, self.random.randint(least, most)])
        stride = min(most, max(least, stride))
        return self._address((blocks - 1) * stride + rows, memory), stride

    def _shape(self, rows_limit: int, blocks_limit: int) -> tuple[int, int]:
        """Rows and blocks whose product stays within a budget."""
        budget = self.random.choice(_BUDGETS)
        rows = self._count(min(rows_limit, budget))
        return rows, self._count(max(1, min(blocks_limit, budget // rows)))

    def _recent(self, opcode: Opcode) -> Instruction | None:
        """The last instruction of ``opcode``, if this one is to use what it left."""
        return self.last.get(opcode) if self.random.random() < _FOLLOW else None

    def _dram(self, blocks: int, rows: int, region: int, *, disjoint: bool) -> dict[str, int]:
        pitch = self.config.row_pitch
        offset, stride = self._strided(blocks, rows, self.regions[region], disjoint=disjoint)
        if blocks == 1:
            stride = self._edge(0, ((1 << 32) - 1) // pitch)
        return {"region": region, "offset": offset * pitch, "dram_stride": stride * pitch}

    def _load(self) -> dict[str, int]:
        c = self.config
        region = self.random.choice(list(self.regions))
        if self.random.random() < 0.3:
            memory, chip = Memory.PARAMETERS, PLANES * c.parameter_rows
            if self.random.random() < 0.7:
                return self._load_records()
        else:
            memory, chip = Memory.SCRATCHPAD, c.scratchpad_rows
        rows, blocks = self._shape(min(chip, self.regions[region]), chip)
        blocks = max(1, min(blocks, chip // rows))
        address, stride = self._strided(blocks, rows, chip, disjoint=True)
        place = {"memory": memory, "rows": rows, "blocks": blocks, "address": address, "stride": stride}
        return place | self._dram(blocks, rows, region, disjoint=False)

    def _load_records(self) -> dict[str, int]:
        """Whole parameter records from region 0, where well-formed ones lie."""
        held = self.regions[0] // PLANES
        count = self._count(min(held, self.config.parameter_rows))
        row = self._address(count, self.config.parameter_rows)
        offset = self.random.randint(0, held - count) * PLANES * self.config.row_pitch
        place = {"memory": Memory.PARAMETERS, "rows": PLANES * count, "blocks": 1, "address": PLANES * row}
        return place | {"region": 0, "offset": offset, "dram_stride": 0}

    def _store(self) -> dict[str, int]:
        chip = self.config.scratchpad_rows
        region = self.random.choice(list(self.regions))
        held = self.regions[region]
        rows, blocks = self._shape(min(chip, held), held)
        blocks = max(1, min(blocks, held // rows))
        address, stride = self._strided(blocks, rows, chip, disjoint=False)
        result = self._recent(Opcode.VECTOR)
        if result is not None and result.out_address + rows <= chip:
            address = result.out_address
        place = {"memory": Memory.SCRATCHPAD, "rows": rows, "blocks": blocks, "address": address, "stride": stride}
        return place | self._dram(blocks, rows, region, disjoint=True)

    def _matrix(self) -> dict[str, int]:
        c, pick = self.config, self.random
        tile = max(c.rows, c.cols, 8)
        budget = 4 * pick.choice(_BUDGETS)
        rows = self._count(min(c.scratchpad_rows, c.accumulator_rows, budget))
        tiles = max(1, budget // max(rows, tile))
        n_tiles = self._count(max(1, min(tiles, c.accumulator_rows // rows)))
        k_tiles = self._count(max(1, tiles // n_tiles))
        if pick.random() < _LONG:
            rows, n_tiles, k_tiles = 1, 1, pick.choice([4095, pick.randint(1024, 4095), pick.randint(64, 1024)])
        a_address, a_stride = self._strided(k_tiles, rows, c.scratchpad_rows, disjoint=False)
        source = self._recent(pick.choice([Opcode.VECTOR, Opcode.LOAD]))
        if source is not None:
            a_address = source.out_address if source.opcode == Opcode.VECTOR else source.address
            a_stride = min(a_stride, max(0, c.scratchpad_rows - rows - a_address) // max(1, k_tiles - 1))
        transpose = pick.randrange(2)
        values = {"rows": rows, "k_tiles": k_tiles, "n_tiles": n_tiles, "a_address": a_address, "a_stride": a_stride}
        values |= self._weights(k_tiles, n_tiles, c.cols if transpose else c.rows)
        acc_address, acc_stride = self._strided(n_tiles, rows, c.accumulator_rows, disjoint=True)
        track = int(rows <= c.statistics_rows and pick.random() < 0.5)
        if track:
            values["stat_address"] = self._address(rows, c.statistics_rows)
        columns = n_tiles * c.cols
        return values | {
            "acc_address": acc_address,
            "acc_stride": acc_stride,
            "transpose": transpose,
            "accumulate": pick.randrange(2),
            "track_max": track,
            "valid": pick.choice([columns, columns - 1, max(0, columns - c.cols), self._edge(0, (1 << 16) - 1)]),
        }

    def _weights(self, k_tiles: int, n_tiles: int, rows: int) -> dict[str, int]:
        memory = self.config.scratchpad_rows
        k_span = memory if n_tiles == 1 else max(rows, self.random.choice([memory // 2, memory]))
        _, k_stride = self._strided(k_tiles, rows, k_span, disjoint=False)
        depth = (k_tiles - 1) * k_stride + rows if k_tiles > 1 else rows
        address, n_stride = self._strided(n_tiles, depth, memory, disjoint=False)
        return {"w_address": address, "w_k_stride": k_stride, "w_n_stride": n_stride}

    def _vector(self) -> dict[str, int]:
        c, pick = self.config, self.random
        function = pick.choice(self.functions)
        statistical = function not in (Function.REQUANTIZE, Function.GELU)
        rows_limit = min(c.accumulator_rows, c.statistics_rows) if statistical else c.accumulator_rows
        blocks_limit = c.scratchpad_rows if function == Function.EXPONENT else c.parameter_rows
        rows, blocks = self._shape(min(rows_limit, c.scratchpad_rows), blocks_limit)
        if pick.random() < _LONG:
            rows, blocks = 1, min(blocks_limit, c.accumulator_rows, 4095)
        acc_address, acc_stride = self._strided(
            blocks, rows, c.accumulator_rows, disjoint=function == Function.RESIDUAL
        )
        stat_address = self._address(rows, c.statistics_rows)
        product = self._recent(pick.choice([Opcode.MATRIX, Opcode.VECTOR]))
        if product is not None:
            rows, acc_address, acc_stride = product.rows, product.acc_address, product.acc_stride
            blocks = product.n_tiles if product.opcode == Opcode.MATRIX else product.blocks
            stat_address = product.stat_address
        layout = Layout(pick.randrange(2))
        values = {"function": function, "rows": rows, "blocks": blocks, "layout": layout}
        values |= {"acc_address": acc_address, "acc_stride": acc_stride}
        if statistical:
            values["stat_address"] = stat_address
        if function != Function.EXPONENT:
            values["param_address"] = self._address(blocks, c.parameter_rows)
        columns = blocks * c.cols
        if function == Function.RESIDUAL:
            skip = self._strided(-(-columns // c.rows), rows, c.scratchpad_rows, disjoint=False)
            values["residual_address"], values["residual_stride"] = skip
            values |= {"multiplier": columns, "mean_multiplier": ((1 << 25) + columns) // (2 * columns)}
            if pick.random() < 0.3:
                values |= {"multiplier": self._edge(0, (1 << 16) - 1), "mean_multiplier": self._edge(0, (1 << 25) - 1)}
        else:
            width = c.rows if layout == Layout.ROWS else c.cols
            out = self._strided(-(-columns // width), rows, c.scratchpad_rows, disjoint=True)
            values["out_address"], values["out_stride"] = out
        return values | {
            "valid": pick.choice([columns, columns - 1, max(0, columns - c.cols), self._edge(0, (1 << 16) - 1)]),
            "shift_a": self._shift(),
            "shift_b": self._shift(),
        }

    def _shift(self) -> int:
        """Mostly one that leaves some bits of a product."""
        return self.random.randint(4, 30) if self.random.random() < 0.7 else self._edge(0, 63)
