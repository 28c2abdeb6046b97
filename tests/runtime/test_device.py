"""The device interface, and the two backends on one program."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from systolith.rtl.config import preset
from systolith.rtl.interfaces import Fault
from systolith.rtl.isa import Instruction, Opcode, Unit, assemble
from systolith.runtime.device import AcceleratorError, DeviceFault, RunResult, open_device
from systolith.runtime.rtl import RtlDevice
from systolith.sim.toolchain import SimulationError

TINY = preset("tiny")


def test_unknown_backend() -> None:
    with pytest.raises(ValueError, match="unknown backend 'gpu'; the backends are functional, rtl"):
        open_device(TINY, "gpu")


@pytest.mark.parametrize("backend", ["functional", "rtl"])
def test_backends_keep_their_configuration(backend: str) -> None:
    assert open_device(TINY, backend).config == TINY


def test_fault_message() -> None:
    fault = DeviceFault(int(Fault.REGION), 17)
    assert (fault.code, fault.index) == (Fault.REGION, 17)
    assert str(fault) == "the accelerator stopped at instruction 17: REGION (fault 3)"
    starved = DeviceFault(int(Fault.WATCHDOG), 4, 1 << 4 * Unit.VECTOR + Unit.MATRIX)
    assert str(starved).endswith("at instruction 4: WATCHDOG (fault 7); VECTOR waited for a token of MATRIX")
    assert str(DeviceFault(15, 0)) == "the accelerator stopped at instruction 0: UNKNOWN (fault 15)"


def test_a_fault_and_a_hang_come_whole_from_another_process() -> None:
    result = RunResult(counters={"cycles": 3}, regions=[], events=None, wall_seconds=0.0, simulated=True)
    fault = DeviceFault(int(Fault.WATCHDOG), 4, 1 << 4 * Unit.VECTOR + Unit.MATRIX, result)
    copy = pickle.loads(pickle.dumps(fault))
    assert (str(copy), vars(copy)) == (str(fault), vars(fault))
    other = pickle.loads(pickle.dumps(AcceleratorError("the accelerator hangs", result)))
    assert isinstance(other, SimulationError)
    assert (str(other), other.result) == ("the accelerator hangs", result)


def test_an_unrecorded_device_leaves_no_waveform_and_is_another(tmp_path: Path) -> None:
    device = RtlDevice(TINY, fst=tmp_path / "x.fst", activity=True, latency=7)
    other = device.unrecorded()
    assert (other.waves, other.activity, other.tracing, other.memory) == (None, False, "fst", device.memory)
    assert (device.waves, device.activity) == (tmp_path / "x.fst", True)
    functional = open_device(TINY, "functional")
    assert functional.unrecorded() is functional


def test_rtl_refuses_what_it_cannot_hold() -> None:
    device = open_device(TINY, "rtl")
    with pytest.raises(ValueError, match="program of 33 bytes is no multiple of 32"):
        device.run(np.zeros(33, np.uint8), [])
    with pytest.raises(ValueError, match="9 regions; the accelerator has 8"):
        device.run(np.zeros(32, np.uint8), [np.zeros(1, np.uint8)] * 9)


def copy_program(rows: int) -> np.ndarray:
    """Region 0 to region 1, through the scratchpad."""
    transfer = {"rows": rows, "blocks": 1, "address": 5}
    return assemble([
        Instruction(Opcode.LOAD, {**transfer, "region": 0, "give": 1 << Unit.STORE}),
        Instruction(Opcode.STORE, {**transfer, "region": 1, "wait": 1 << Unit.LOAD}),
    ])  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 1])
def test_backends_agree(seed: int | None) -> None:
    rows = 75
    source = np.random.default_rng(2).integers(0, 256, rows * TINY.row_pitch, dtype=np.uint8)
    regions = [source, np.zeros_like(source)]
    program = copy_program(rows)
    functional = open_device(TINY, "functional").run(program, regions)
    simulated = open_device(TINY, "rtl", seed=seed).run(program, regions)
    assert simulated.simulated
    assert not functional.simulated
    for expected, found in zip(functional.regions, simulated.regions, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert simulated.counters["instructions"] == functional.counters["instructions"] == 2
    assert simulated.events is not None
    assert simulated.events[["unit", "kind", "index"]].tolist() == [(0, 0, 0), (0, 1, 0), (3, 0, 1), (3, 1, 1)]


@pytest.mark.slow
def test_fault_of_the_accelerator() -> None:
    rows = 75
    short = np.zeros(rows * TINY.row_pitch - TINY.bus_bytes, np.uint8)
    with pytest.raises(DeviceFault, match="instruction 1: REGION"):
        open_device(TINY, "rtl").run(copy_program(rows), [np.zeros(rows * TINY.row_pitch, np.uint8), short])
