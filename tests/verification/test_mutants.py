"""Seeded faults: where they are found, what they do to a source, and that tests notice those of a quick run."""

import ast
from pathlib import Path

import pytest

from systolith.verification.evidence import Options, run_campaign
from systolith.verification.mutants.campaign import equivalents, files, key, root
from systolith.verification.mutants.mutation import mutations, sample
from systolith.verification.mutants.tests import TestMap

SOURCE = '''
"""Words: 1 + 1."""

class Adder:
    def elaborate(self, platform):
        total = Signal(8, init=3)
        m.d.sync += total.eq(Mux(self.a == self.b, self.a + 1, total))
        flag = Signal()
        m.d.sync += flag.eq((self.a | 1) != (self.b | 1))
        with m.If(self.go & ~self.stop):
            m.d.comb += [self.x.eq(1), self.y.eq(total[: self.bits])]
        for lane in range(self.lanes):
            best = max(best, lane)

    def model(a):
        return a + 1
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "adder.py").write_text(SOURCE)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("operator", "m.d.sync += total.eq(Mux(self.a != self.b, self.a + 1, total))"),
        ("operator", "m.d.sync += total.eq(Mux(self.a == self.b, self.a - 1, total))"),
        ("operator", "with m.If(self.go & self.stop):"),
        ("constant", "total = Signal(7, init=3)"),
        ("width", "for lane in range((self.lanes) - 1):"),
        ("width", "m.d.comb += [self.x.eq(1), self.y.eq(total[: (self.bits) - 1])]"),
        ("operator", "m.d.sync += flag.eq((self.a | 1) == (self.b | 1))"),
        ("reset", "flag = Signal(reset_less=True)"),
        ("saturation", "best = (best)"),
        ("reset", "total = Signal(8, init=3, reset_less=True)"),
        ("reset", "total = Signal(8, init=1 - (3))"),
        ("condition", "with m.If((self.go & ~self.stop) | 1):"),
        ("condition", "with m.If((self.go)):"),
        ("arms", "m.d.sync += total.eq(Mux(self.a == self.b, total, self.a + 1))"),
        ("assignment", "m.d.comb += [self.x.eq(1), *()]"),
        ("assignment", "pass"),
    ],
)
def test_each_kind_of_fault_is_found(place: Path, kind: str, after: str) -> None:
    assert (kind, after) in [(m.kind, m.after) for m in mutations(place, "adder.py")]


def test_a_fault_changes_its_own_line_and_still_parses(place: Path) -> None:
    lines = SOURCE.splitlines()
    for m in mutations(place, "adder.py"):
        changed = m.apply(SOURCE.encode()).decode()
        ast.parse(changed)
        assert [line for line in changed.splitlines() if line not in lines] == [
            line for line in changed.splitlines() if " ".join(line.split()) == m.after
        ]
        assert m.scope == "Adder.elaborate", "neither words nor models get faults"


def test_every_file_is_chosen_once_before_any_is_twice() -> None:
    paths = files(root())
    assert "hw/systolith/rtl/array.py" in paths
    assert "sw/systolith/numerics/integer.py" in paths
    chosen = sample(root(), paths, 0)
    fertile = {m.path for m in chosen}
    assert {m.path for m in chosen[: len(fertile)]} == fertile
    assert not any(mutations(root(), path) for path in set(paths) - fertile)
    assert chosen == sample(root(), paths, 0)
    assert chosen != sample(root(), paths, 1)


def test_the_mirrored_tests_come_first() -> None:
    tests = TestMap(root())
    assert tests.tests("hw/systolith/rtl/dma/load.py", {})[0] == "tests/hw/dma/test_load.py"
    assert tests.tests("sw/systolith/compiler/hazards.py", {})[0] == "tests/compiler/test_hazards.py"
    near = tests.tests("hw/systolith/rtl/vector/beat.py", {})
    assert near[0].startswith("tests/hw/vector/")
    assert "tests/hw/test_accelerator.py" in near
    assert "tests/hw/test_tokens.py" not in near


def test_every_explained_mutant_exists() -> None:
    there = {key(m) for path in files(root()) for m in mutations(root(), path)}
    assert [entry for entry in equivalents() if entry not in there] == []


def test_quick_faults_are_noticed() -> None:
    (evidence,) = run_campaign("mutants", Options(quick=True), lambda _: None)
    assert evidence.passed, evidence.details["survivors"]
    assert evidence.details["killed"] == evidence.details["faults"] == 3
