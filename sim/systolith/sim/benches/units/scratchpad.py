"""The scratchpad: random traffic on all six ports, every grant, read and written byte."""

from typing import Any

import cocotb
import numpy as np

from systolith.rtl.interfaces import RowWrite
from systolith.rtl.scratchpad import Scratchpad
from systolith.sim.benches.common import checked, configuration, effort, random
from systolith.sim.benches.units.play import bits, play, struct


@cocotb.test()
@cocotb.parametrize(eagerness=[0.3, 0.7, 1.0], rows=[16, 0])
async def random_traffic(dut: Any, eagerness: float, rows: int) -> None:
    """Requests that stay until granted; in the first ``rows`` rows (so that reads meet writes), or in all of them.

    Which of the two first readers goes before the other is drawn anew in every cycle.
    """
    config = configuration()
    cycles = config.scratchpad_rows + effort(20_000)
    rng = random(int(10 * eagerness), rows)
    traffic = _Traffic(rng, cycles, eagerness, rows or config.scratchpad_rows)
    inputs: dict[str, Any] = {"give_way": traffic.give_way}
    for port, name in enumerate(Scratchpad.READERS):
        inputs[f"{name}__request__valid"] = traffic.reads[:, port] >= 0
        inputs[f"{name}__request__payload"] = np.maximum(traffic.reads[:, port], 0)
    layout = RowWrite(config.scratchpad_rows, config.row_bytes).members["request"].signature.members["payload"].shape
    for port, name in enumerate(Scratchpad.WRITERS):
        address = np.maximum(traffic.writes[:, port], 0)
        payload = struct(layout, cycles, {"address": address})
        place = layout["mask"].offset
        payload.word[:, place : place + config.row_bytes] = traffic.masks[:, port]
        place = layout["data"].offset
        payload.word[:, place:] = bits(traffic.data[:, port], 8).reshape(cycles, -1)
        inputs[f"{name}__request__valid"] = traffic.writes[:, port] >= 0
        inputs[f"{name}__request__payload"] = payload
    response = await play(dut, cycles, inputs)

    for port, name in enumerate((*Scratchpad.READERS, *Scratchpad.WRITERS)):
        asked = (traffic.reads if port < 4 else traffic.writes)[:, port % 4] >= 0
        ready = response.read(f"{name}__request__ready").astype(bool)
        np.testing.assert_array_equal(ready[asked], traffic.granted[asked, port], err_msg=f"ready of {name}")
    late = Scratchpad.latency
    for port, name in enumerate(Scratchpad.READERS):
        moved = traffic.granted[:, port]
        valid = response.read(f"{name}__valid").astype(bool)
        np.testing.assert_array_equal(valid[late:], moved[:-late], err_msg=f"valid of {name}")
        found = response.read(f"{name}__data", 8)[late:][moved[:-late]]
        np.testing.assert_array_equal(found, traffic.seen[:-late, port][moved[:-late]], err_msg=f"data of {name}")
    checked("transfers", int(traffic.granted.sum()))


class _Traffic:
    """Each cycle's requests (-1 is none) and ``give_way``, what is granted, and the rows that granted reads see.

    First every row is cleared: the memory keeps its rows from test to test.
    """

    def __init__(self, rng: np.random.Generator, cycles: int, eagerness: float, rows: int) -> None:
        config = configuration()
        width, banks = config.row_bytes, config.scratchpad_banks
        readers, writers = len(Scratchpad.READERS), len(Scratchpad.WRITERS)
        memory = np.zeros((config.scratchpad_rows, width), np.uint8)
        self.reads, self.writes = np.full((cycles, readers), -1), np.full((cycles, writers), -1)
        self.masks = np.zeros((cycles, writers, width), np.uint8)
        self.data = np.zeros((cycles, writers, width), np.uint8)
        self.granted = np.zeros((cycles, readers + writers), bool)
        self.seen = np.zeros((cycles, readers, width), np.uint8)
        self.give_way = rng.integers(0, 2, cycles).astype(bool)
        begins = rng.random((cycles, readers + writers)) < eagerness
        addresses = rng.integers(0, rows, (cycles, readers + writers))
        new_masks = rng.integers(0, 2, (cycles, writers, width), np.uint8)
        new_data = rng.integers(0, 256, (cycles, writers, width), np.uint8)
        clearing = np.arange(len(memory))
        begins[clearing] = False
        begins[clearing, readers] = True
        addresses[clearing, readers] = clearing
        new_masks[clearing, 0], new_data[clearing, 0] = 1, 0
        waiting = [-1] * (readers + writers)
        begun = [0] * writers
        for cycle in range(cycles):
            taken: tuple[set[int], set[int]] = (set(), set())
            for port in (1, 0, *range(2, readers + writers)) if self.give_way[cycle] else range(readers + writers):
                if waiting[port] < 0 and begins[cycle, port]:
                    waiting[port] = int(addresses[cycle, port])
                    if port >= readers:
                        begun[port - readers] = cycle
                busy = taken[port >= readers]
                if waiting[port] >= 0 and waiting[port] % banks not in busy:
                    busy.add(waiting[port] % banks)
                    self.granted[cycle, port] = True
            self.reads[cycle], self.writes[cycle] = waiting[:readers], waiting[readers:]
            for port in range(readers):
                if self.granted[cycle, port]:
                    self.seen[cycle, port] = memory[waiting[port]]
                    waiting[port] = -1
            # Granted writes go to different banks, so their order within the cycle is of no matter.
            for port, start in enumerate(begun):
                self.masks[cycle, port], self.data[cycle, port] = new_masks[start, port], new_data[start, port]
                if self.granted[cycle, readers + port]:
                    chosen = new_masks[start, port].astype(bool)
                    memory[waiting[readers + port], chosen] = new_data[start, port, chosen]
                    waiting[readers + port] = -1
