"""What the benches of LOAD, STORE and fetch share: random transfers, and pauses for cocotbext-axi's peers."""

from typing import Any

import numpy as np

from systolith.rtl.config import Config
from systolith.rtl.isa import Instruction, Memory, Opcode

#: Bytes of the memory behind the bus, and (base, size) of the regions in it: neither at 4 KiB boundaries.
MEMORY_BYTES = 1 << 16
REGIONS = [(0x0C00, 0x5000), (0x6F40, 0x5000)]


class Pauses:
    """A pattern of pauses for a channel of cocotbext-axi, without end."""

    def __init__(self, rng: np.random.Generator, eagerness: float) -> None:
        self._bits = (rng.random(4093) >= eagerness).tolist()
        self._next = 0

    def __iter__(self) -> "Pauses":
        return self

    def __next__(self) -> bool:
        self._next = (self._next + 1) % len(self._bits)
        return bool(self._bits[self._next])


def pause(channels: tuple[Any, ...], rng: np.random.Generator, eagerness: float) -> None:
    """Let each channel pause at random."""
    for channel in channels:
        channel.set_pause_generator(Pauses(rng, eagerness))


def random_transfer(config: Config, opcode: Opcode, rng: np.random.Generator) -> Instruction:
    """A legal LOAD or STORE within :data:`REGIONS`, often of a single row or at an end of a memory."""
    memory = Memory(int(rng.integers(2))) if opcode is Opcode.LOAD else Memory.SCRATCHPAD
    chip_rows = config.scratchpad_rows if memory is Memory.SCRATCHPAD else 8 * config.parameter_rows
    region = int(rng.integers(len(REGIONS)))
    dram_rows = REGIONS[region][1] // config.row_pitch
    rows = 1 if rng.random() < 0.1 else int(rng.integers(1, 41))
    rows = min(rows, chip_rows, dram_rows)
    blocks = int(rng.integers(1, 1 + min(4, chip_rows // rows, dram_rows // rows)))
    values: dict[str, int] = {"region": region, "memory": memory, "rows": rows, "blocks": blocks}
    for name, stride_name, most, unit in (
        ("address", "stride", chip_rows, 1), ("offset", "dram_stride", dram_rows, config.row_pitch),
    ):  # fmt: skip
        stride = int(rng.integers(rows, rows + 1 + (most - blocks * rows) // blocks))
        last = most - rows - (blocks - 1) * stride
        place = int(rng.choice([0, last])) if rng.random() < 0.2 else int(rng.integers(last + 1))
        values |= {name: place * unit, stride_name: stride * unit}
    return Instruction(opcode, values)
