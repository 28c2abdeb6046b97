"""The grid of memory sizes, on the tiny accelerator."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.prediction import predict
from systolith.analysis.workloads import EncoderWorkload
from systolith.compiler.compile import layer_instructions
from systolith.compiler.plan import Shape, plan_layer
from systolith.rtl.config import Config, preset
from systolith.survey import rebalance
from systolith.survey.figure import Options, run_figure
from systolith.survey.rebalance import KEPT, LATENCIES, _by_size, _layer, _may_keep, _products, _smallest


def test_the_products_are_those_of_the_layer():
    layer = EncoderWorkload(hidden=768, heads=12, ffn=3072, tokens=128)
    macs = sum(count * product.work.macs for count, product in _products(layer))
    assert macs == 128 * (4 * 768 * 768 + 2 * 768 * 3072)


def test_candidates_come_by_their_bytes():
    sizes = [c.scratchpad_bytes + c.accumulator_bytes for c in _by_size(preset("default"))]
    assert sizes == sorted(sizes)
    assert 0.9 < KEPT < 1


class Run:
    """A run that took so many cycles."""

    def __init__(self, cycles: float) -> None:
        self.cycles = cycles


def search(monkeypatch: pytest.MonkeyPatch, fast_from: int) -> tuple[dict[str, Any] | None, list[int]]:
    """The smallest memories of a small layer on 4x4 when those of ``fast_from`` bytes keep the array busy, and what
    was measured."""
    layer = _layer(True)
    least = layer.work.macs / 16
    sizes: list[int] = []

    def measure(workload: object, config: Config, timing: MemoryTiming, cache: object, report: object) -> Run:
        size = config.scratchpad_bytes + config.accumulator_bytes
        sizes.append(size)
        return Run(least if size >= fast_from else least / (KEPT - 0.01))

    monkeypatch.setattr(rebalance, "measure", measure)
    monkeypatch.setattr(rebalance, "_may_keep", lambda config, *_: config.scratchpad_bytes >= 32 << 10)
    return _smallest(preset("tiny"), layer, Path(), lambda text: None), sizes


def test_the_smallest_memories_are_the_first_that_keep_the_array_busy(monkeypatch):
    found, sizes = search(monkeypatch, 48 << 10)
    assert found is not None
    assert found["scratchpad_bytes"] + found["accumulator_bytes"] == 48 << 10
    assert sizes == sorted(sizes)
    assert sizes[0] == 40 << 10
    assert found["measured_before"] == len(set(sizes[:-2])) >= 1
    assert min(found["utilization"]) >= KEPT


def test_no_memories_are_named_if_none_of_those_measured_keeps_it(monkeypatch):
    found, sizes = search(monkeypatch, 1 << 30)
    assert found is None
    assert sizes


def test_candidates_are_chosen_by_the_cycle_model(monkeypatch):
    layer = _layer(True)
    shape = Shape(layer.tokens, layer.hidden, layer.heads, layer.ffn)
    tiny = preset("tiny")
    cycles = predict(layer_instructions(tiny, shape, plan_layer(tiny, shape)), tiny, MemoryTiming(30)).cycles
    monkeypatch.setattr(rebalance, "_ESTIMATED", 0)
    assert _may_keep(tiny, shape, 30, KEPT * cycles)
    assert _may_keep(tiny, shape, 30, 0.96 * KEPT * cycles)
    assert not _may_keep(tiny, shape, 30, 0.94 * KEPT * cycles)
    assert not _may_keep(replace(tiny, scratchpad_bytes=1 << 10), shape, 30, KEPT * cycles)


@pytest.mark.slow
def test_the_quick_grid_is_measured_and_drawn(tmp_path):
    found = run_figure("rebalance", Options(cache=tmp_path, quick=True), lambda text: None)
    points = found.data["points"]
    assert len(points) == 2 * len(LATENCIES)
    for point in points:
        assert 0 < point["products_utilization"] < 1
    fastest = {p["latency"]: p["products_cycles"] for p in points[-2:]}
    assert fastest[30] < fastest[100]
    found.pictures["rebalance"](tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().count("<path") > 2 * len(points)
    assert [len(t.rows) for t in found.tables] == [1, 1]
