"""The systolic array: tiles from both sides at every legal spacing, garbage in between."""

from typing import Any

import cocotb
import numpy as np

from systolith.rtl.array import SystolicArray
from systolith.rtl.config import Config
from systolith.sim.benches.common import checked, configuration, effort, random
from systolith.sim.benches.units.play import play

#: Cycles of one play, about.
_CYCLES = 40_000


@cocotb.test()
@cocotb.parametrize(gap=[0.0, 0.02, 0.4])
async def tiles_match_the_model(dut: Any, gap: float) -> None:
    """Random tiles of 1 to twice ``rows`` activation rows; idle cycles with probability ``gap``."""
    rng = random(int(100 * gap))
    rows = effort(100_000)
    while rows > 0:
        tiles = _Tiles(configuration(), rng, gap, min(_CYCLES, 2 * rows + 100))
        await tiles.compare(dut)
        rows -= len(tiles.entries)


class _Tiles:
    """A schedule: the inputs of every cycle, and for each activation row its cycle and its sums."""

    def __init__(self, config: Config, rng: np.random.Generator, gap: float, cycles: int) -> None:
        self.config = config
        rows, cols = config.rows, config.cols
        self.cycles = cycles
        self.latency = SystolicArray(config).latency
        # Idle cycles carry garbage: only what is marked may matter.
        self.inputs = {
            "activations": rng.integers(-128, 128, (cycles, rows)),
            "weights": rng.integers(-128, 128, (cycles, config.row_bytes)),
            "swap": np.zeros(cycles, int),
            "shift": np.zeros(cycles, int),
            "first": rng.integers(0, 2, cycles),
            "transpose": rng.integers(0, 2, cycles),
        }
        entries, sums = [], []
        swap = weight_free = activation_free = 0
        while True:
            transpose = bool(rng.integers(2))
            count = int(rng.integers(1, 2 * rows + 1)) if rng.random() < 0.7 else rows
            activations, weights = (
                rng.choice([-128, 127], shape) if rng.random() < 0.1 else rng.integers(-128, 128, shape)
                for shape in ((count, rows), (cols, rows) if transpose else (rows, cols))
            )
            loading = self._free(rng, gap, max(swap, weight_free), len(weights))
            entering = self._free(rng, gap, max(loading[-1] + 1, activation_free), count)
            if entering[-1] + self.latency >= cycles:
                break
            swap, weight_free, activation_free = entering[0], loading[-1] + 1, entering[-1] + 1
            self.inputs["weights"][loading, : weights.shape[1]] = weights[::-1]
            self.inputs["shift"][loading] = 1
            self.inputs["first"][loading] = np.arange(len(loading)) == 0
            self.inputs["transpose"][loading] = transpose
            self.inputs["activations"][entering] = activations
            self.inputs["swap"][swap] = 1
            entries.append(entering)
            sums.append(SystolicArray.model(activations, weights, transpose))
        self.entries, self.sums = np.concatenate(entries), np.concatenate(sums)

    @staticmethod
    def _free(rng: np.random.Generator, gap: float, cycle: int, count: int) -> np.ndarray:
        """``count`` increasing cycles from ``cycle`` on, with geometric pauses."""
        pauses = rng.geometric(1 - gap, count) - 1
        return cycle + np.arange(count) + np.cumsum(pauses)

    async def compare(self, dut: Any) -> None:
        response = await play(dut, self.cycles, self.inputs)
        found = response.read("sums", self.config.psum_width, signed=True)[self.entries + self.latency]
        np.testing.assert_array_equal(found, self.sums)
        checked("sums", found.size)
