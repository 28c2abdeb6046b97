"""A quick share of fuzzing, and a seeded difference that is found, shrunk and can be run again."""

import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systolith.compiler.footprint import space_rows
from systolith.rtl.chip_state import chip_state, random_state
from systolith.rtl.isa import Function, Instruction, Opcode, assemble, disassemble
from systolith.runtime.functional import FunctionalDevice
from systolith.sim.build import Simulator, build
from systolith.verification.evidence import Options
from systolith.verification.fuzz import campaign as fuzz
from systolith.verification.fuzz.batch import Fuzzer, random_case, shift_offsets
from systolith.verification.fuzz.configs import CONFIGS
from systolith.verification.fuzz.fields_hit import LAST_ROW, FieldCoverage
from systolith.verification.fuzz.file import load, main, run_again, save
from systolith.verification.programs.random_program import random_program

CONFIG = next(iter(CONFIGS.values()))


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return build(CONFIG, peek=True)


def test_the_quick_share_finds_no_difference() -> None:
    (evidence,) = fuzz.campaign(Options(seed=1, quick=True), lambda _: None)
    assert evidence.passed, evidence.details["differences"]
    assert evidence.details["programs"] == 24
    assert evidence.details["cycles"] > evidence.details["instructions"] > 100


class Faulty(FunctionalDevice):
    """Takes GELU for REQUANTIZE where more than one row is to be computed."""

    def _vector(self, i: Instruction) -> None:
        if i.function == Function.GELU and i.rows > 1:
            i = Instruction(i.opcode, i.values | {"function": int(Function.REQUANTIZE)})
        super()._vector(i)


def test_a_seeded_difference_is_found_shrunk_and_saved(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tally, said = fuzz.Tally(), []
    with Fuzzer(CONFIG, simulator, Faulty(CONFIG)) as fuzzer:
        fuzz.run_batch(fuzzer, np.random.default_rng(5), 24, "4x4, seed 5", tally, said.append)
    (difference,) = tally.differences
    assert re.search(r"4x4, seed 5, program \d+: scratchpad row \d+, column \d: expected -?\d+, got -?\d+", difference)
    (saved,) = Path("build/fuzz").glob("*.npz")
    config, case = load(saved)
    (instruction,) = disassemble(case.image.tobytes())
    assert (instruction.function, instruction.rows, instruction.blocks) == (Function.GELU, 2, 1)
    assert str(instruction) in difference
    assert saved.with_suffix(".txt").read_text() == f"{instruction}\n"
    assert config == CONFIG
    assert said[-1] == difference
    with Fuzzer(CONFIG, simulator) as correct:
        assert not correct.run([case])[0].difference


def test_a_simulator_that_dies_is_a_failure_with_its_seed_and_its_programs(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Deadly(FunctionalDevice):
        """Kills the simulator while it runs the batch."""

        def run(self, *args: Any) -> Any:
            os.kill(fuzzer._session._simulation._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
            return super().run(*args)

    tally, said = fuzz.Tally(), []
    with Fuzzer(CONFIG, simulator, Deadly(CONFIG)) as fuzzer:
        assert not fuzz.run_batch(fuzzer, np.random.default_rng(5), 3, "4x4, seed 5", tally, said.append)
        (failure,) = tally.differences
        assert failure.startswith("4x4, seed 5: the simulator ended within a batch (exit status -9)")
        assert failure.endswith("its 3 programs are saved in build/fuzz/4x4_seed-5")
        assert said == [failure]
        assert not fuzz.evidence(tally).passed
        fuzzer.device = FunctionalDevice(CONFIG)
        assert fuzz.run_batch(fuzzer, np.random.default_rng(5), 3, "4x4, seed 5", tally, said.append)
    saved = sorted(Path("build/fuzz/4x4_seed-5").glob("*.npz"))
    assert [path.name for path in saved] == ["000.npz", "001.npz", "002.npz"]
    assert [load(path)[1].state is None for path in saved] == [False, True, True]
    assert not run_again(saved)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = random_case(CONFIG, np.random.default_rng(0), fresh=True)
    directory = tmp_path_factory.mktemp("saved")
    save(directory / "other.npz", CONFIGS["5x3, requantize only"], case)
    save(directory / "second.npz", CONFIG, replace(case, state=None))
    (directory / "text.npz").write_text("no archive")
    np.savez(directory / "odd.npz", header="{}")
    np.savez(directory / "pieces.npz", **dict(np.load(save(directory / "good.npz", CONFIG, case))) | {"image": [1, 2]})
    return directory


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "usage: python -m systolith.verification.fuzz.file FILE..."),
        (["gone.npz"], "cannot read .*gone.npz: no such file or directory"),
        (["text.npz"], "text.npz is no saved case: "),
        (["odd.npz"], "odd.npz is no saved case: 'timing'"),
        (["pieces.npz"], r"pieces.npz is no saved case: its program is int64 \(2,\)"),
        (["second.npz"], "second.npz needs the case before it: it has no state of its own"),
        (["good.npz", "other.npz"], "other.npz is of another configuration than .*good.npz"),
    ],
)
def test_what_is_no_saved_case_is_refused_in_a_sentence(
    names: list[str], sentence: str, good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["file", *(str(good / name) for name in names)])
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(sentence, line)


class Corrupt(FunctionalDevice):
    """Flips a bit of the last element of memory ``victim`` after each program."""

    victim = ""

    def run(self, *args: Any) -> Any:
        result = super().run(*args)
        state = self.state
        state[self.victim].reshape(-1)[-1] ^= 1
        self.state = state
        return result


def test_a_single_bit_of_any_memory_is_noticed(simulator: Simulator) -> None:
    case = random_case(CONFIG, np.random.default_rng(0), fresh=True)
    device = Corrupt(CONFIG)
    with Fuzzer(CONFIG, simulator, device) as fuzzer:
        for victim in chip_state(CONFIG).names or ():
            device.victim = victim
            (result,) = fuzzer.run([case])
            assert result.difference.startswith(f"{victim} row ")
            assert result.difference.endswith("1 elements differ")


class Stray(FunctionalDevice):
    """Flips a bit of the last byte of region 0."""

    def run(self, program: Any, regions: Any) -> Any:
        result = super().run(program, regions)
        result.regions[0][-1] ^= 1
        return result


def test_a_single_bit_of_dram_is_noticed(simulator: Simulator) -> None:
    case = random_case(CONFIG, np.random.default_rng(0), fresh=True)
    with Fuzzer(CONFIG, simulator, Stray(CONFIG)) as fuzzer:
        (result,) = fuzzer.run([case])
    at = len(case.regions[0]) - 1
    assert result.difference.startswith(f"DRAM, region 0 byte {at}: expected ")


def test_a_case_larger_than_the_memory_is_refused(simulator: Simulator) -> None:
    good = random_case(CONFIG, np.random.default_rng(0), fresh=True)
    other = Instruction(Opcode.STORE, {"rows": 1, "blocks": 1, "region": 7, "offset": 1 << 20})
    regions = [*good.regions[:7], np.zeros((1 << 20) + 8, np.uint8)]
    bad = replace(good, image=assemble([other]), regions=regions)
    with pytest.raises(ValueError, match=r"a program with its regions takes \d+ bytes; the memory has 1048576"):
        Fuzzer(CONFIG, simulator).run([bad])


def test_offsets_are_shifted_and_nothing_else_is() -> None:
    case = random_case(CONFIG, np.random.default_rng(3), fresh=True)
    before = [region << 20 for region in range(8)]
    there = shift_offsets(case.image, before)
    for shifted, i in zip(disassemble(there.tobytes()), disassemble(case.image.tobytes()), strict=True):
        moved = {"offset": i.offset + before[i.region]} if i.opcode in (Opcode.LOAD, Opcode.STORE) else {}
        assert shifted.values == i.values | moved
    assert (shift_offsets(case.image, [0] * 8) == case.image).all()


def test_the_first_case_needs_a_state(simulator: Simulator) -> None:
    case = replace(random_case(CONFIG, np.random.default_rng(0), fresh=True), state=None)
    with pytest.raises(ValueError, match="the first case must have a state"):
        Fuzzer(CONFIG, simulator).run([case])


def test_the_functional_device_gives_back_its_state() -> None:
    device, state = FunctionalDevice(CONFIG), random_state(CONFIG, 3)
    device.state = state
    assert device.state == state


def test_coverage_counts_edges_lengths_and_last_rows() -> None:
    coverage = FieldCoverage()
    rows = space_rows(CONFIG, (4096,) * 8)
    values = {"blocks": 1, "region": 3, "offset": 4092}
    coverage.add([Instruction(Opcode.LOAD, values | {"rows": n, "address": 512 - n}) for n in (1, 5, 6)], CONFIG, rows)
    table = coverage.table()
    assert table["LOAD rows"] == (
        2,
        10,
        ["2 bits", "4 bits", "5 bits", "6 bits", "7 bits", "8 bits", "9 bits", "10 bits"],
    )
    assert table["LOAD region"].missing == ["0", "1", "2", "4", "5", "6", "7"]
    assert table["LOAD wait"] == (1, 8, ["2", "4", "6", "8", "10", "12", "14"])
    assert LAST_ROW not in table["LOAD address"].missing
    assert LAST_ROW in table["STORE address"].missing
    assert coverage.hits[Opcode.LOAD, "address", LAST_ROW] == 3
    assert coverage.hits[Opcode.LOAD, "offset", LAST_ROW] == 1
    assert table["LOAD dram_stride"].missing[:3] == ["3 bits", "4 bits", "5 bits"]
    assert table["MATRIX rows"].hit == 0
    assert table["VECTOR offset"].bins == 17


def test_nearly_every_legal_bin_is_hit() -> None:
    """What 2,400 random instructions miss are DRAM offsets beyond the simulated memory, and little else."""
    coverage, rng = FieldCoverage(), np.random.default_rng(7)
    for _ in range(60):
        program = random_program(CONFIG, rng, 40)
        coverage.add(program.instructions, CONFIG, space_rows(CONFIG, program.region_bytes))
    table = coverage.table()
    missing = {name: row.missing for name, row in table.items() if row.missing and not name.endswith(" offset")}
    assert sum(map(len, missing.values())) <= 25, missing
