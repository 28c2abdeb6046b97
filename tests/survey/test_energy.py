"""The energy figure: the same from counters and from instructions, and the parts add up."""

import pytest

from systolith.survey.figure import Options, run_figure


def test_the_quick_programs(tmp_path):
    found = run_figure("energy", Options(cache=tmp_path, quick=True), lambda text: None)
    records = found.data["points"]
    assert [record["name"] for record in records] == [
        "GEMM 77x100x130", "attention 2 heads of 32, 64 tokens", "layer of 64, 50 tokens",
    ]  # fmt: skip
    for record in records:
        energy = record["estimated_picojoules"]
        assert energy["total"] == pytest.approx(sum(energy.values()) - energy["total"])
        assert record["energy_delay_of_run"] == pytest.approx(energy["total"] * record["cycles_measured"])
        # The instructions tell what the counters count, so only the cycles differ.
        ratio = record["energy_delay_predicted"] / record["energy_delay_of_run"]
        assert ratio == pytest.approx(record["cycles_predicted"] / record["cycles_measured"])
        # A 4x4 array uses each weight and activation few times.
        assert energy["array"] < energy["dram"]
    energies, products = found.tables
    assert "Estimates" in energies.note
    assert len(energies.rows) == len(products.rows) == len(records)
    found.pictures["energy"](tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 5000
