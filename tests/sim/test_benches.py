"""The benches: named, listed, and run in simulators of single blocks and of the whole accelerator."""

import dataclasses
import json
from pathlib import Path

import pytest
from amaranth.hdl import Module

from systolith.rtl.config import Config, preset
from systolith.rtl.dma.fetch import Fetch
from systolith.rtl.vector.tables import ExponentTable
from systolith.sim import run_benches as runner
from systolith.sim.benches.units.blocks import BLOCKS, OnBus
from systolith.sim.block import block_sources
from systolith.sim.run_benches import BENCHES, run_bench, run_benches
from systolith.sim.toolchain import SimulationError

TINY = preset("tiny")
PLACE = Path(runner.__file__).parent / "benches"
UNITS = PLACE / "units"


def test_unknown_bench() -> None:
    with pytest.raises(ValueError, match="unknown bench 'cpu'; the benches are csr, bus_peers, array"):
        run_benches(["cpu"], TINY)


def test_every_block_has_its_bench_and_every_bench_its_block() -> None:
    assert set(BLOCKS) < set(BENCHES)
    assert all((UNITS / f"{name}.py").is_file() for name in BLOCKS)
    helpers = {"blocks", "dma", "nonlinear", "play", "streams"}
    assert {path.stem for path in UNITS.glob("*.py")} - helpers == set(BLOCKS)
    assert {path.stem for path in PLACE.glob("*.py")} - {"common"} == set(BENCHES) - set(BLOCKS)


@pytest.mark.parametrize("name", ["tokens", "load"])
def test_block_sources(name: str) -> None:
    """Ports as the Verilog names them; a played block has none of its own at the top."""
    block = BLOCKS[name]
    sources = block_sources(block, TINY)
    ports = {port: output for port, _, output in json.loads(sources["ports.json"])}
    port = "units__3__give" if name == "tokens" else "control__instruction__payload"
    assert ports[port] is False
    assert (f'-var "{port}"' in sources["control.vlt"]) is not block.played
    assert ('-var "play"' in sources["control.vlt"]) is block.played
    assert "module block(" in sources["block.v"]
    assert ("axi_watch #(" in sources["testbench.sv"]) is block.bus is (name == "load")


def _with_a_wrong_table(_: Config) -> object:
    """EXPONENT's table, its argument one too large."""

    class Wrong(ExponentTable):
        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.right = right = ExponentTable()
            m.d.comb += [right.argument.eq(self.argument + 1), self.result.eq(right.result)]
            return m

    return Wrong()


@pytest.mark.slow
def test_a_wrong_block_fails_its_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    # Under another name, as its Verilog is kept under it.
    wrong = dataclasses.replace(BLOCKS["exponent_table"], name="wrong_table", component=_with_a_wrong_table)
    monkeypatch.setitem(runner.BLOCKS, "exponent_table", wrong)
    run = run_bench("exponent_table", TINY)
    assert [result.passed for result in run.results] == [False]
    assert "Mismatched elements" in run.results[0].failure
    assert not run.checked


def test_a_block_that_breaks_the_protocol_fails_its_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that keeps more bursts in flight than its configuration declares: its memory would not mind."""
    greedy = dataclasses.replace(
        BLOCKS["fetch"], name="greedy_fetch", component=lambda _: OnBus(TINY, Fetch(TINY), "fetch")
    )
    monkeypatch.setitem(runner.BLOCKS, "fetch", greedy)
    with pytest.raises(SimulationError, match="AR more bursts are outstanding than declared"):
        run_bench("fetch", dataclasses.replace(TINY, axi_outstanding=1), effort=0.02)


@pytest.mark.slow
def test_benches_of_the_whole_accelerator_pass() -> None:
    results = run_benches(["csr", "bus_peers"], TINY, effort=0.1)
    assert len(results) >= 7
    assert [result for result in results if not result.passed] == []


@pytest.mark.parametrize(
    "name", ["load", *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(set(BLOCKS) - {"load"}))]
)
def test_unit_bench_passes(name: str) -> None:
    run = run_bench(name, TINY, effort=0.02)
    assert [result for result in run.results if not result.passed] == []
    assert sum(run.checked.values()) > 0
