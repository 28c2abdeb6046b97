"""Whole encoders on both devices: equal in every bit, and a difference is found where it is."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systolith.analysis.bounds import bound
from systolith.analysis.causes import causes
from systolith.compiler.compile import compile_encoder
from systolith.compiler.hazards import ProgramError
from systolith.compiler.program import CONSTANTS, OUTPUT
from systolith.models.registry import load_model
from systolith.rtl.config import PRESETS, Config
from systolith.runtime.device import Device, DeviceFault, RunResult, open_device
from systolith.runtime.functional import FunctionalDevice
from systolith.runtime.session import run_encoder


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (PRESETS["tiny"], {"tokens": 9, "hidden": 24, "heads": 2, "ffn": 40, "layers": 2}),
        (PRESETS["default"].resized(6, 10), {"tokens": 23, "hidden": 40, "heads": 2, "ffn": 77, "layers": 1}),
        pytest.param(
            dataclasses.replace(PRESETS["tiny"], axi_data_width=512, lanes=2, scratchpad_bytes=2200),
            {"tokens": 14, "hidden": 32, "heads": 2, "ffn": 72, "layers": 1},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            dataclasses.replace(PRESETS["tiny"], approximation="polynomial"),
            {"tokens": 19, "hidden": 24, "heads": 2, "ffn": 40, "layers": 1},
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.parametrize("memory_seed", [None, 1])
def test_rtl_equals_the_reference_on_regular_and_random_bus_timing(
    config: Config, shape: dict[str, int], memory_seed: int | None
) -> None:
    model = load_model("random", **shape)
    x = model.prepare()
    outcome = run_encoder(model.quantized, x, open_device(config, "rtl", seed=memory_seed), valid=shape["tokens"] - 2)
    assert outcome.difference is None
    assert outcome.cycles is not None
    assert outcome.cycles > bound(outcome.work, config).cycles
    assert outcome.work.macs == outcome.program.macs
    assert sum(o.cycles for o in outcome.operations) == outcome.cycles
    assert outcome.result.counters["instructions"] == len(outcome.program.operation_of)
    assert sum(causes(outcome.result.counters).values()) == outcome.cycles


def test_the_reference_is_that_of_the_device_and_the_program_too() -> None:
    model = load_model("random", tokens=19, layers=1, hidden=24, heads=2, ffn=40)
    x = model.prepare()
    look_up, polynomial = (
        run_encoder(
            model.quantized, x, FunctionalDevice(dataclasses.replace(PRESETS["tiny"], approximation=approximation))
        )
        for approximation in ("look-up", "polynomial")
    )
    assert look_up.bit_exact
    assert polynomial.bit_exact
    assert not np.array_equal(look_up.outputs[-1], polynomial.outputs[-1])
    message = "program is for another configuration: approximation is polynomial there, look-up here"
    with pytest.raises(ProgramError, match=message):
        run_encoder(model.quantized, x, FunctionalDevice(PRESETS["tiny"]), program=polynomial.program)


class Corrupting(Device):
    """A functional device with one wrong byte in a constant."""

    def __init__(self, config: Config, key: int) -> None:
        self.config = config
        self.key = key

    def run(self, program: Any, regions: Any) -> RunResult:
        damaged = [r.copy() for r in regions]
        damaged[CONSTANTS][self.key] ^= 0x40
        return FunctionalDevice(self.config).run(program, damaged)


def test_a_difference_is_named() -> None:
    model = load_model("random", tokens=6, layers=1, hidden=16, heads=2, ffn=24)
    # Constants lie in the order of use: the parameters of the first head's keys come first.
    outcome = run_encoder(model.quantized, model.prepare(), Corrupting(PRESETS["tiny"], 0))
    assert outcome.difference is not None
    assert outcome.difference.layer == 0
    assert outcome.difference.operation == "key"
    assert outcome.difference.expected != outcome.difference.got
    assert not outcome.bit_exact


class Recording(Corrupting):
    """Has a record of its first run, and a fault if told so in any that is not to be recorded."""

    def __init__(self, config: Config, fault: bool) -> None:
        super().__init__(config, 0)
        self.fault = fault
        self.recorded = 0

    def run(self, program: Any, regions: Any) -> RunResult:
        self.recorded += 1
        return super().run(program, regions)

    def unrecorded(self) -> Device:
        return Faulty() if self.fault else Corrupting(self.config, self.key)


class Faulty(Device):
    config = PRESETS["tiny"]

    def run(self, program: Any, regions: Any) -> RunResult:
        raise DeviceFault(1, 0)


@pytest.mark.parametrize(("fault", "operation"), [(False, "key"), (True, "output")])
def test_the_search_for_a_difference_leaves_the_record_of_the_run(fault: bool, operation: str) -> None:
    model = load_model("random", tokens=6, layers=1, hidden=16, heads=2, ffn=24)
    device = Recording(PRESETS["tiny"], fault)
    outcome = run_encoder(model.quantized, model.prepare(), device)
    assert device.recorded == 1
    assert outcome.difference is not None
    assert outcome.difference.operation == operation


def test_functional_device_measures_nothing() -> None:
    model = load_model("random", tokens=6, layers=1, hidden=16, heads=2, ffn=24)
    outcome = run_encoder(model.quantized, model.prepare(), open_device(PRESETS["tiny"], "functional"))
    assert outcome.bit_exact
    assert (outcome.cycles, outcome.utilization, outcome.operations) == (None, None, [])
    assert all(isinstance(o, np.ndarray) for o in outcome.outputs)


def test_the_encoder_of_the_documentation_runs_from_its_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "integration.md").read_text()
    before, after = (part.split("```")[0] for part in page.split("```python\n")[1:])
    monkeypatch.chdir(tmp_path)
    model = load_model("minilm-l6")
    x = model.prepare("Hello, array.")
    compile_encoder(model.quantized, PRESETS["default"], len(x)).save("program.npz")
    names: dict[str, Any] = {}
    exec(before, names)
    image = np.fromfile("program.bin", np.uint8)
    regions = [np.fromfile(f"region{number}.bin", np.uint8) for number in range(5)]
    result = FunctionalDevice(PRESETS["default"]).run(image, regions)
    result.regions[OUTPUT].tofile("region2.bin")
    exec(after, names)
    np.testing.assert_array_equal(names["output"], model.quantized.forward(x)[-1])
    np.testing.assert_array_equal(names["embedding"], model.embed(names["output"]))
