"""Seeded faults: where they are found, what they do to a source, and that tests notice those of a quick run."""

import ast
import dataclasses
import pickle
import time
from pathlib import Path

import pytest

from systolith.verification.evidence import Options, run_campaign
from systolith.verification.mutants import on_rtl
from systolith.verification.mutants.campaign import Hunt, Result, equivalents, files, hunt, key, root
from systolith.verification.mutants.mutation import Mutation, mutations, sample
from systolith.verification.mutants.run import Job, Verdict
from systolith.verification.mutants.tests import TestMap
from systolith.verification.mutants.workshop import DIED, HANGS, Stopped, Store, Workshop

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


def write(root: Path, **texts: str) -> None:
    """Files of a small project, by their paths with "_" for "/"."""
    for name, text in {"pyproject_toml": "", "hw_systolith_rtl_other_py": "", **texts}.items():
        *folders, stem, suffix = name.split("_")
        path = root.joinpath(*folders, f"{stem}.{suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


SMALL = {
    "hw_systolith_rtl_top_py": "from . import part",
    "hw_systolith_rtl_part_py": "x = 1",
    "sim_systolith_sim_build_py": "name = 'systolith.rtl.top'",
    "sim_systolith_sim_cpp_main_cpp": "int main",
    "tests_hw_conftest_py": "import systolith.rtl.top",
    "tests_hw_part_py": "",
    "tests_sim_py": "import systolith.sim.build",
}


@pytest.mark.parametrize(
    ("changed", "hardware", "simulator"),
    [
        ({"hw_systolith_rtl_other_py": "y = 1"}, False, False),
        ({"hw_systolith_rtl_part_py": "x = 2"}, True, True),
        ({"tests_hw_part_py": "z = 1"}, True, False),
        ({"tests_hw_conftest_py": "import systolith.rtl.part"}, True, False),
        ({"sim_systolith_sim_cpp_main_cpp": "double main"}, False, True),
        ({"pyproject_toml": "[tool]"}, True, True),
    ],
)
def test_a_verdict_holds_until_something_changes_that_its_test_depends_on(
    tmp_path: Path, changed: dict[str, str], hardware: bool, simulator: bool
) -> None:
    """Modules imported directly, through others, by a conftest.py or by their name; files beside them."""
    prints = []
    for texts in (SMALL, SMALL | changed):
        write(tmp_path, **texts)
        tests = TestMap(tmp_path)
        prints.append((tests.fingerprint(["tests/hw/part.py"]), tests.fingerprint(["tests/sim.py"])))
    assert [before != after for before, after in zip(*prints, strict=True)] == [hardware, simulator]


def test_a_wrong_byte_and_a_cycle_more_on_the_rtl_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_rtl, "_PROGRAMS", 2)
    path = tmp_path / "trial"
    assert on_rtl.record(path) == ""
    trial: on_rtl.Trial = pickle.loads(path.read_bytes())
    slower = dataclasses.replace(trial, cycles=[*trial.cycles[:2], trial.cycles[2] + 1])
    path.write_bytes(pickle.dumps(slower))
    assert on_rtl.judge(path) == f"on the RTL, random program 2: {trial.cycles[2]} cycles, not {slower.cycles[2]}"
    trial.left[0][1]["scratchpad"][0, 0] ^= 1
    path.write_bytes(pickle.dumps(trial))
    assert on_rtl.judge(path).startswith("on the RTL, an encoder: scratchpad row 0, column 0: expected ")


@pytest.mark.parametrize("second", [DIED, "tests/hw/test_tokens.py::test_counts", ""])
def test_what_may_be_the_machine_is_tried_twice_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    workshop = Workshop(root(), tmp_path)
    verdicts = [Verdict(killer=HANGS), Verdict(killer=second)]
    monkeypatch.setattr(workshop, "run", lambda job, limit, mutation: verdicts.pop(0))
    store = Store(tmp_path / "verdicts")
    mutation = mutations(root(), "sw/systolith/numerics/integer.py")[0]
    result = Hunt(workshop, store).judge(mutation)
    assert result.killer == second
    assert bool(store.load(key(mutation))) is (second != DIED)


def test_an_interrupt_ends_the_tests_at_hand(tmp_path: Path) -> None:
    workshop = Workshop(root(), tmp_path)
    began = tmp_path / "began"
    slow = workshop.root / "tests" / "test_slow.py"
    slow.write_text(f"import pathlib, time\n\ndef test(): pathlib.Path({str(began)!r}).touch(); time.sleep(60)\n")
    first, second, *_ = mutations(root(), "sw/systolith/numerics/integer.py")
    runs = []

    def judge(mutation: Mutation) -> Result:
        if mutation == first:
            while not began.exists():
                time.sleep(0.01)
            return Result(mutation, "", "a test")
        try:
            workshop.run(Job(module="systolith.numerics.integer", groups=[[str(slow)]]), 60)
        except Stopped as error:
            runs.append(error)
            raise
        raise AssertionError("the run ended")

    def interrupted(message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(hunt([first, second], judge, None, interrupted, 2, workshop.stop))
    assert len(runs) == 1
    with pytest.raises(Stopped):
        workshop.run(Job(module="systolith.numerics.integer"), 60)


def test_every_explained_mutant_exists() -> None:
    there = {key(m) for path in files(root()) for m in mutations(root(), path)}
    assert [entry for entry in equivalents() if entry not in there] == []


def test_quick_faults_are_noticed() -> None:
    (evidence,) = run_campaign("mutants", Options(quick=True), lambda _: None)
    assert evidence.passed, evidence.details["survivors"]
    assert evidence.details["killed"] == evidence.details["faults"] == 3
