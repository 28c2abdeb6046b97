"""Fusion as a choice: both schedules by the objective, and what of them fits."""

import dataclasses
import itertools

import pytest

from systolith.analysis.bench_cases import MemoryTiming
from systolith.compiler.mapping import MappingError
from systolith.compiler.plan import CapacityError, Shape
from systolith.mapping.chains import chains
from systolith.mapping.fusion import CHAINS, FUSED, UNFUSED, best_schedules, chain_named, measured_schedule
from systolith.mapping.score import predicted
from systolith.rtl.config import preset
from systolith.rtl.isa import disassemble
from systolith.runtime.functional import FunctionalDevice

TINY, TIMING = preset("tiny"), MemoryTiming()
SHAPE = Shape(hidden=24, heads=2, ffn=40, tokens=19)


def schedules(name, objective="cycles", shape=SHAPE, **values):
    config = dataclasses.replace(TINY, **values)
    return best_schedules(chain_named(name, shape, config), config, TIMING, objective, lambda text: None)


def score(alternative):
    return predicted(disassemble(alternative.compile(TINY).image.tobytes()), TINY, TIMING)


def test_every_chain_of_a_layer_has_a_name():
    assert list(CHAINS.values()) == [chain.name for chain in chains(SHAPE, TINY)]
    assert list(CHAINS) == [
        "scores-softmax", "scores-softmax-context", "output-projection-layernorm", "ffn2-layernorm", "whole-attention",
    ]  # fmt: skip


@pytest.mark.parametrize("objective", ["cycles", "energy", "edp"])
def test_the_plans_are_the_best_of_the_whole_schedule(objective):
    """Against every combination of plans: an energy-delay product is no sum over programs."""
    shape = dataclasses.replace(SHAPE, tokens=40)
    found = schedules("scores-softmax-context", objective, shape)
    chain = chain_named("scores-softmax-context", shape, TINY)
    for name, steps in ((FUSED, chain.fused), (UNFUSED, chain.unfused)):
        tried = [[score(alternative) for alternative in step.alternatives] for step in steps]
        assert max(map(len, tried)) > 3
        sums = [
            (sum(s.cycles for s in some), sum(s.energy for s in some)) for some in itertools.product(*tried)
        ]  # fmt: skip
        values = {"cycles": [c for c, _ in sums], "energy": [e for _, e in sums], "edp": [c * e for c, e in sums]}
        assert found[name].score.of(objective) == pytest.approx(min(values[objective]))


def test_heads_and_runs_count():
    """Plans are compared on two heads; what is reported is of all of them, and of four projections."""
    three = schedules("whole-attention", shape=dataclasses.replace(SHAPE, heads=3))[UNFUSED]
    assert [times for times, _ in three.programs] == [4, 1, 1, 1]
    assert three.programs[1][1].heads == 3
    assert three.score.cycles == sum(times * score(program).cycles for times, program in three.programs)
    assert three.score.energy == pytest.approx(sum(times * score(program).energy for times, program in three.programs))


def test_fusion_pays_where_the_accumulator_holds_rows_enough():
    wide = dataclasses.replace(SHAPE, hidden=96)
    for size, better in ((1024, UNFUSED), (16384, FUSED)):
        found = schedules("ffn2-layernorm", shape=wide, accumulator_bytes=size)
        assert min(found, key=lambda name: found[name].score.cycles) == better


def test_whole_attention_has_plans_of_its_own_that_compute_the_same():
    """The compiler's, and others that cut the queries otherwise; each is bit-exact."""
    (step,) = chain_named("whole-attention", dataclasses.replace(SHAPE, tokens=70), TINY).fused
    cuts = [program.plan.query_rows for program in step.alternatives[1:]]
    assert step.alternatives[0].plan is None
    assert len(set(cuts)) == len(cuts) > 1
    for program in step.alternatives:
        assert program.run(FunctionalDevice(TINY)).difference is None


def test_a_schedule_that_does_not_fit_is_left_out():
    assert list(schedules("scores-softmax", accumulator_bytes=1024)) == [FUSED]
    with pytest.raises(CapacityError, match=r"^of scores, softmax no plan tried fits the memories, fused or"):
        schedules("scores-softmax", accumulator_bytes=256)
    with pytest.raises(CapacityError, match="of FFN2, LayerNorm no plan tried fits"):
        schedules("ffn2-layernorm", shape=dataclasses.replace(SHAPE, hidden=96), accumulator_bytes=256)


def test_unknown_objectives_are_refused():
    with pytest.raises(MappingError, match="unknown objective 'area'; the objectives are cycles, energy, edp"):
        schedules("scores-softmax", "area")


def test_both_schedules_run_on_the_rtl_as_predicted(tmp_path):
    for best in schedules("ffn2-layernorm", "edp").values():
        ran = measured_schedule(best, TINY, TIMING, tmp_path, lambda text: None)
        assert ran.cycles == pytest.approx(best.score.cycles, rel=0.05)
        assert ran.energy == best.score.energy
