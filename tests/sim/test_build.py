"""The cache of simulators, and what its errors say."""

from pathlib import Path

import pytest

from systolith.rtl.config import preset
from systolith.sim.build import build
from systolith.sim.toolchain import SimulationError

TINY = preset("tiny")


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(
        SimulationError, match=r"^no C\+\+ compiler found: install g\+\+ \(Debian: apt install g\+\+\)$"
    ):
        build(TINY, cache=tmp_path)
    monkeypatch.setenv("CXX", "nowhere++ -m64")
    with pytest.raises(SimulationError, match=r"\$CXX is 'nowhere\+\+ -m64', which is not on the path"):
        build(TINY, cache=tmp_path)


def test_verilator_errors_are_terse(tmp_path: Path) -> None:
    with pytest.raises(SimulationError) as caught:
        build(TINY, verilog="module systolith(input clk); nonsense; endmodule", cache=tmp_path)
    first, *rest = str(caught.value).splitlines()
    assert first == "Verilator refused the design:"
    assert 1 <= len(rest) <= 13
    assert "systolith.v:1" in rest[0]


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(step: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(TINY, verilog="module systolith; endmodule", cache=tmp_path, report=interrupt)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_unwritable_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SimulationError, match="cannot build in the cache"):
        build(TINY, verilog="module systolith; endmodule", cache=tmp_path / "file")
