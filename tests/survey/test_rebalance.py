"""The grid of memory sizes, on the tiny accelerator."""

from systolith.analysis.workloads import EncoderWorkload
from systolith.rtl.config import preset
from systolith.survey.figure import Options, run_figure
from systolith.survey.rebalance import KEPT, LATENCIES, _by_size, _products


def test_the_products_are_those_of_the_layer():
    layer = EncoderWorkload(hidden=768, heads=12, ffn=3072, tokens=128)
    macs = sum(count * product.work.macs for count, product in _products(layer))
    assert macs == 128 * (4 * 768 * 768 + 2 * 768 * 3072)


def test_candidates_come_by_their_bytes():
    sizes = [c.scratchpad_bytes + c.accumulator_bytes for c in _by_size(preset("default"))]
    assert sizes == sorted(sizes)
    assert 0.9 < KEPT < 1


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
