"""Non-linear functions on the host: the whole experiment on a small layer."""

import json

import pytest

from systolith.compiler.plan import Shape
from systolith.host.kernels import OPERATIONS
from systolith.survey import host, hybrid
from systolith.survey.figure import Options, SurveyError

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_shares_add_up_and_runs_are_kept(cache, tmp_path, monkeypatch):
    said = []
    options = Options(quick=True, cache=cache)
    found = host.figure(options, said.append)
    assert len(said) == len(set(said)) > 3
    layer = found.data["layers"][0]
    for before in layer["before"].values():
        counted = sum(sum(stage.values()) for stage in before["instructions"].values())
        assert before["cycles"] == counted + sum(layer["product_cycles"].values())
        assert before["speedup"] == before["cycles"] / layer["after"]["cycles"] > 1
        assert before["cosine"] > 0.999
    operations = layer["after"]["operations"]
    assert sum(cycles for cycles, _, _ in operations.values()) == layer["after"]["cycles"]
    assert {name for names in host.AFTER.values() for name in names} >= set(operations)
    assert [row[0] for row in found.tables[0].rows] == [*OPERATIONS, "products", "all"]
    json.dumps(found.data)
    found.pictures["host"](tmp_path / "host.svg")
    assert "dequantisation" in (tmp_path / "host.svg").read_text()

    said.clear()
    assert host.figure(options, said.append).data == found.data
    assert said == []


def test_macs_of_the_products_are_the_layers():
    shape = Shape(tokens=128, hidden=768, heads=12, ffn=3072)
    macs = sum(count * workload.work.macs for count, workload in hybrid.products(shape).values())
    assert macs == 931_135_488


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("systolith.host.program.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SurveyError, match=r"needs ziglang, which is not installed: pip install systolith\[host\]"):
        host.figure(Options(quick=True, cache=tmp_path), lambda text: None)
