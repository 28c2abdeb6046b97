"""The accumulator: additions at full rate beside waiting reads and writes, and the running maxima."""

from collections import deque
from typing import Any

import cocotb
import numpy as np

from systolith.rtl.accumulator import LOWEST, Accumulator
from systolith.rtl.config import Config
from systolith.rtl.interfaces import READ_LATENCY, AccumulatorWrite
from systolith.sim.benches.common import checked, configuration, effort, random, reset
from systolith.sim.benches.units.play import bits, play, struct

#: Rows of a tile of additions; the same rows come again no earlier (MIN_TILE_PERIOD).
_TILE = 8
#: Cycles from an addition until its row is written.
_LANDING = READ_LATENCY + 1


@cocotb.test()
@cocotb.parametrize(eagerness=[0.3, 0.8, 1.0])
async def random_traffic(dut: Any, eagerness: float) -> None:
    """Tiles of additions in the lower half of the rows, reads anywhere, writes in the upper half."""
    config = configuration()
    await reset(dut)
    cycles = effort(20_000)
    traffic = _Traffic(config, random(int(10 * eagerness)), cycles, eagerness)
    response = await play(dut, cycles, traffic.inputs())

    for name, asked, granted in (
        ("read", traffic.read >= 0, traffic.read_granted), ("write", traffic.write >= 0, traffic.write_granted),
    ):  # fmt: skip
        ready = response.read(f"{name}__request__ready").astype(bool)
        np.testing.assert_array_equal(ready[asked], granted[asked], err_msg=f"ready of {name}")
    late = READ_LATENCY
    moved = traffic.read_granted[:-late]
    np.testing.assert_array_equal(response.read("read__valid")[late:].astype(bool), moved)
    found = response.read("read__data", 32, signed=True)[late:]
    np.testing.assert_array_equal(found[moved], traffic.seen[:-late][moved])
    # The maxima are known from `latency` cycles after the last addition on, one cycle after their address.
    found = response.read("maximum__data", 32, signed=True)[:, 0]
    found = found[-config.statistics_rows :]
    np.testing.assert_array_equal(found[traffic.started], traffic.maxima[traffic.started])
    retired = response.read("add__retired").astype(bool)
    expected = np.zeros(cycles, bool)
    latency = Accumulator(config).latency
    expected[latency:] = (traffic.add["valid"] & traffic.add["last"])[:-latency]
    np.testing.assert_array_equal(retired[latency:], expected[latency:])
    checked("rows added", int(traffic.add["valid"].sum()))
    checked("rows read", int(moved.sum()))
    checked("rows written", int(traffic.write_granted.sum()))
    checked("maxima", int(traffic.started.sum()))


class _Traffic:
    """Each cycle's additions, reads and writes (-1 is none), and what the model makes of them."""

    def __init__(self, config: Config, rng: np.random.Generator, cycles: int, eagerness: float) -> None:
        self.config, self.cycles = config, cycles
        cols, banks, stats = config.cols, config.accumulator_banks, config.statistics_rows
        half = config.accumulator_rows // 2 // _TILE * _TILE
        limit = 1 << (config.psum_width - 1)
        # The simulated memory keeps its rows from test to test; the first tile of each row overwrites.
        memory = np.zeros((config.accumulator_rows, cols), np.int32)
        known = np.zeros(config.accumulator_rows, bool)
        maxima = np.full(stats, LOWEST, np.int64)
        started = np.zeros(stats, bool)
        # The last cycles read the maxima, when the last addition has reached them.
        end = cycles - stats - 2 * Accumulator(config).latency
        names = ("valid", "overwrite", "track_max", "max_first", "last", "address", "stat_address")
        self.add = {name: np.zeros(cycles, np.int64) for name in names}
        self.data = rng.integers(-limit, limit, (cycles, cols))
        self.data[rng.random(cycles) < 0.05] = -limit
        self.mask = rng.integers(0, 2, (cycles, cols), np.uint8)
        self.read, self.write = np.full(cycles, -1), np.full(cycles, -1)
        self.read_granted, self.write_granted = np.zeros(cycles, bool), np.zeros(cycles, bool)
        self.seen = np.zeros((cycles, cols), np.int64)
        self.write_data = rng.integers(-(1 << 31), 1 << 31, (cycles, cols))
        self.write_mask = rng.integers(0, 2, (cycles, cols), np.uint8)
        self.maximum_address = rng.integers(0, stats, cycles)
        self.maximum_address[-stats - 1 : -1] = np.arange(stats)
        landing: deque[tuple[int, np.ndarray] | None] = deque([None] * _LANDING)
        read = write = begun = -1
        for cycle in range(cycles):
            lands = landing.popleft()
            if cycle % _TILE == 0:
                start = int(rng.integers(half // _TILE)) * _TILE
                stat = int(rng.integers(stats // _TILE)) * _TILE
                overwrite, first, track = rng.random(3) < (0.3, 0.3, 0.7)
            row, place = start + cycle % _TILE, stat + cycle % _TILE
            replaces = bool(overwrite or not known[row])
            adding = cycle < end and rng.random() < max(eagerness, 0.5)
            if adding:
                fresh = bool(first or not started[place])
                values = {"valid": 1, "overwrite": replaces, "track_max": track, "max_first": fresh,
                          "last": rng.random() < 0.1, "address": row, "stat_address": place}  # fmt: skip
                for name, value in values.items():
                    self.add[name][cycle] = value
                new = Accumulator.model(memory[row], self.data[cycle], replaces)
                if track:
                    maxima[place] = Accumulator.maximum_model(int(maxima[place]), new, self.mask[cycle], fresh)
                    started[place] = True
            landing.append((row, new) if adding else None)

            if read < 0 and rng.random() < eagerness:
                read = int(rng.choice(np.flatnonzero(known))) if known.any() else -1
            self.read[cycle] = read
            if read >= 0 and not (adding and not replaces and row % banks == read % banks):
                self.read_granted[cycle], self.seen[cycle], read = True, memory[read], -1
            if write < 0 and rng.random() < eagerness:
                write, begun = int(rng.integers(half, config.accumulator_rows)), cycle
                if not known[write]:
                    self.write_mask[begun] = 1
            self.write[cycle] = write
            self.write_data[cycle], self.write_mask[cycle] = self.write_data[begun], self.write_mask[begun]
            if write >= 0 and not (lands is not None and lands[0] % banks == write % banks):
                chosen = self.write_mask[cycle].astype(bool)
                memory[write, chosen] = self.write_data[cycle, chosen]
                known[write], self.write_granted[cycle], write = True, True, -1
            if lands is not None:
                memory[lands[0]], known[lands[0]] = lands[1], True
        self.maxima, self.started = maxima, started

    def inputs(self) -> dict[str, Any]:
        layout = AccumulatorWrite(self.config).members["request"].signature.members["payload"].shape
        payload = struct(layout, self.cycles, {"address": np.maximum(self.write, 0)})
        for name, words in (("mask", self.write_mask), ("data", bits(self.write_data, 32))):
            place = layout[name]
            payload.word[:, place.offset : place.offset + place.width] = words.reshape(self.cycles, -1)
        return {
            **{f"add__{name}": values for name, values in self.add.items()},
            "add__data": self.data,
            "add__mask": self.mask,
            "read__request__valid": self.read >= 0,
            "read__request__payload": np.maximum(self.read, 0),
            "write__request__valid": self.write >= 0,
            "write__request__payload": payload,
            "maximum__address": self.maximum_address,
        }
