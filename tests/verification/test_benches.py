"""Campaign ``benches``: its quick share passes, and a bench that fails says so in its row."""

import pytest

from systolith.sim.run_benches import BENCHES, BenchResult, BenchRun
from systolith.verification.benches import campaign as benches
from systolith.verification.evidence import Options


def test_quick_share() -> None:
    evidence = benches.campaign(Options(quick=True), lambda _: None)
    assert all(row.passed for row in evidence), [row.figure for row in evidence]
    checked = {row.promise.split(":")[0]: sum(row.details["checked"].values()) for row in evidence}
    # Exhaustive is exhaustive in the quick share too: 2**20 arguments, GELU's on four grids.
    assert checked["exponent_table"] == 1 << 20
    assert checked["gelu_table"] >= 4 << 20


def test_every_bench_on_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the whole campaign runs, and what a failure looks like, without running it."""
    asked: list[tuple[str, int, int]] = []

    def run(name: str, config: object, **_: object) -> BenchRun:
        asked.append((name, config.rows, config.axi_data_width))  # type: ignore[attr-defined]
        failure = "expected 1, got 2" if name == "load" and config.rows == 8 else ""  # type: ignore[attr-defined]
        return BenchRun(name=name, results=[BenchResult(f"{name}.test", failure)])

    monkeypatch.setattr(benches, "run_bench", run)
    rows = {row.promise.split(":")[0]: row for row in benches.campaign(Options(), lambda _: None)}
    assert rows.keys() == BENCHES.keys()
    assert [size for name, *size in asked if name == "load"] == [[4, 64], [6, 32], [8, 128], [16, 256]]
    assert [size for name, *size in asked if name == "tokens"] == [[4, 64]]
    assert not rows["load"].passed
    assert "8x8, 128-bit bus: load.test: expected 1, got 2" in rows["load"].figure
    assert all(row.passed for name, row in rows.items() if name != "load")
