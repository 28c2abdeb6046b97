"""Both schedules of each chain, on the tiny accelerator; the choice of plans."""

from dataclasses import replace

import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.fusion_workloads import SoftmaxWorkload
from systolith.compiler.mapping import MappingError
from systolith.compiler.plan import Shape
from systolith.mapping.chains import Step, chains, choose
from systolith.rtl.config import preset
from systolith.survey.figure import Options, run_figure
from systolith.survey.fusion import _free_from


def softmax(rows: int, heads: int = 2) -> SoftmaxWorkload:
    return SoftmaxWorkload(heads=heads, size=8, tokens=64, rows=rows, keys=16, spilled=False, context=True)


def test_both_schedules_of_a_chain_do_the_same_products():
    config = replace(preset("default"), accumulator_bytes=256 << 10)
    found = {chain.name: chain for chain in chains(Shape(128, 768, 12, 3072), config)}
    assert len(found) == 5
    for chain in found.values():
        for steps in (chain.fused, chain.unfused):
            assert sum(step.times * step.alternatives[0].work.macs for step in steps) == chain.macs
    # The whole rows that LayerNorm needs: as many as fit, and half and a third of them.
    (norm,) = found["FFN2, LayerNorm"].fused
    assert {85, 42, 28} < {plan.rows for plan in norm.alternatives}


def test_the_plan_of_fewest_predicted_cycles_is_chosen_and_kept(tmp_path):
    said: list[str] = []
    step = Step((softmax(300), softmax(4), softmax(32)))
    for _ in range(2):
        assert choose(step, preset("tiny"), MemoryTiming(30), tmp_path, said.append) == softmax(32)
    assert len(said) == 1


def test_no_plan_that_fits_is_refused_in_a_sentence(tmp_path):
    step = Step((softmax(300), softmax(301)))
    config = replace(preset("tiny"), accumulator_bytes=1024)
    with pytest.raises(MappingError, match="does not fit, nor any other plan"):
        choose(step, config, MemoryTiming(30), tmp_path, lambda text: None)


def test_fusion_is_free_from_the_size_after_which_no_larger_one_loses():
    points = [
        {"chain": "c", "latency": 30, "bandwidth": 0, "accumulator_kib": size, "change": change}
        for size, change in ((32, -0.1), (64, 0.2), (128, 0.0), (256, -0.1))
    ]
    assert _free_from(points) == {"c, latency 30": 128}
    assert _free_from(points[:2]) == {"c, latency 30": None}


@pytest.mark.slow
def test_the_quick_figure_is_measured_and_drawn(tmp_path):
    found = run_figure("fusion", Options(cache=tmp_path, quick=True), lambda text: None)
    points = found.data["points"]
    assert len(points) == 5 + 5 + 2
    for point in points:
        fused, unfused = point["fused"], point["unfused"]
        assert fused["read_bytes"] + fused["written_bytes"] < unfused["read_bytes"] + unfused["written_bytes"]
        assert 0 < unfused["utilization"] < 1
        assert point["change"] == fused["cycles"] / unfused["cycles"] - 1 < 0
        assert unfused["cycles"] == sum(p["times"] * p["cycles"] for p in unfused["programs"])
    assert [len(t.rows) for t in found.tables] == [5, 5, 4]
    found.pictures["fusion"](tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().count("<path") > 2 * len(points)
