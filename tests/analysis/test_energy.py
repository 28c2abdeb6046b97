"""Accesses are those of the RTL's memory ports; energies follow from the table."""

from dataclasses import replace

import numpy as np
import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.energy import Accesses, count_accesses, estimate, sram_energy
from systolith.analysis.prediction import predict
from systolith.rtl.config import preset
from systolith.rtl.isa import assemble
from systolith.runtime.rtl import RtlDevice

from .programs import CONFIG, matrix, of_all_kinds

CORE = ("testbench", "dut", "core")
#: Ports whose transfers are counted, by what they count as.
PORTS = {
    "scratchpad_reads": ("scratchpad", ("activations", "weights", "residual", "store")),
    "scratchpad_writes": ("scratchpad", ("vector", "load")),
    "accumulator_reads": ("accumulator.banks", ("read__0", "read__1")),
    "accumulator_writes": ("accumulator.banks", ("write__0", "write__1")),
    "parameter_writes": ("parameters", ("load",)),
}


def transfers(path):
    """Transfers at each port in a VCD: rising edges of the clock before which it was valid and ready."""
    scope, codes = [], {}
    with path.open() as lines:
        for line in lines:
            words = line.split()
            if words[:1] == ["$scope"]:
                scope.append(words[2])
            elif words[:1] == ["$upscope"]:
                scope.pop()
            elif words[:1] == ["$var"]:
                codes[".".join([*scope, words[4]])] = words[3]
            elif words[:1] == ["$enddefinitions"]:
                break
        clock = codes["testbench.clk"]
        ports = {
            name: [
                [codes[".".join([*CORE, place, f"{port}__request__{signal}"])] for signal in ("valid", "ready")]
                for port in members
            ]
            for name, (place, members) in PORTS.items()
        }
        found, values, changes = dict.fromkeys(ports, 0), {}, {}
        for line in lines:
            if line[0] in "01":
                changes[line[1:].strip()] = line[0]
            elif line[0] == "#":
                if changes.get(clock) == "1":
                    for name, members in ports.items():
                        found[name] += sum(all(values.get(code) == "1" for code in codes) for codes in members)
                values |= changes
                changes = {}
    return found


@pytest.mark.slow
def test_accesses_are_those_of_the_rtl(tmp_path):
    program = of_all_kinds()
    device = RtlDevice(CONFIG, vcd=tmp_path / "run.vcd")
    counters = device.run(assemble(program), [np.zeros(8192, np.uint8)]).counters
    counted = count_accesses(program, CONFIG)
    assert {name: getattr(counted, name) for name in PORTS} == transfers(tmp_path / "run.vcd")
    # What the counters count is the same.
    assert count_accesses(program, CONFIG, counters) == counted


def test_the_first_tile_of_a_sum_is_not_read():
    fresh, added = (count_accesses([matrix(k_tiles=3, accumulate=bit)], CONFIG) for bit in (0, 1))
    assert fresh.accumulator_writes == added.accumulator_writes == 24 * 12
    assert fresh.accumulator_reads == 24 * 8
    assert added.accumulator_reads == 24 * 12


@pytest.mark.parametrize(
    ("size", "picojoules"), [(8 << 10, 10), (32 << 10, 20), (1 << 20, 100), (2 << 10, 5), (16 << 10, 10 * 2**0.5)]
)
def test_an_sram_takes_what_the_table_says(size, picojoules):
    assert sram_energy(64, size) == pytest.approx(picojoules)
    assert sram_energy(256, size) == pytest.approx(4 * picojoules)


def test_energy_by_hand():
    # 16x16: 256 products; scratchpad rows of 128 bits in banks of 32 KiB.
    config = replace(preset("default"), scratchpad_bytes=128 << 10)
    assert estimate(Accesses(array_rows=1), config).array == pytest.approx(256 * 0.3)
    assert estimate(Accesses(scratchpad_reads=1, scratchpad_writes=1), config).scratchpad == pytest.approx(2 * 40)
    assert estimate(Accesses(read_beats=1), config).dram == pytest.approx(2600)
    whole = estimate(Accesses(array_rows=3, write_beats=2, vector_beats=1, multiplications=16), config)
    assert whole.total == pytest.approx(3 * 256 * 0.3 + 2 * 2600 + 16 * 3.1)
    assert whole.delay_product(10) == pytest.approx(10 * whole.total)


def test_larger_memories_cost_more_an_access():
    small = preset("default")
    large = replace(small, scratchpad_bytes=4 * small.scratchpad_bytes)
    once = Accesses(scratchpad_reads=1)
    assert estimate(once, large).scratchpad > 1.5 * estimate(once, small).scratchpad


def test_a_prediction_gives_an_energy_delay_product():
    program = of_all_kinds()
    energy = estimate(count_accesses(program, CONFIG), CONFIG)
    assert energy.delay_product(predict(program, CONFIG, MemoryTiming()).cycles) > 0
    assert energy.dram == max(energy.array, energy.scratchpad, energy.accumulator, energy.vector, energy.dram)
