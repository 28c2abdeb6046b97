"""A waveform replaces what was in its place only if it is whole and shows something."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from systolith.files import FileError
from systolith.rtl.config import preset
from systolith.rtl.isa import Instruction, Opcode, Unit, assemble
from systolith.runtime import rtl
from systolith.runtime.device import AcceleratorError, DeviceFault
from systolith.runtime.rtl import RtlDevice
from systolith.runtime.waveform import pending_waveform, shows_a_cycle, take_place
from systolith.sim.build import Simulator
from systolith.sim.job import Outcome
from systolith.sim.toolchain import SimulationError

TINY = preset("tiny")
#: Of a waveform: its header, and a cycle.
HEADER, CYCLE = "$enddefinitions $end\n\n\n", "#500\n1!\n"


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., RtlDevice]:
    """A device whose simulator is a script: it leaves ``values`` in the waveform and an outcome, then does ``rest``.

    The waveform is ``run.vcd`` in the directory ``waves``, where something precious is already.
    """

    def device(outcome: Outcome, values: str = CYCLE, rest: str = "", **options: int) -> RtlDevice:
        (tmp_path / "outcome.json").write_text(json.dumps(vars(outcome)))
        script = tmp_path / "simulator"
        script.write_text(
            f"""#!/bin/sh
for argument; do
    case $argument in +waves=*) file=${{argument#+waves=}};; esac
done
printf '%s' '{HEADER}{values}' > "$file"
touch "$file.hier"
{rest}
cp {tmp_path}/outcome.json result.json
"""
        )
        script.chmod(0o755)
        monkeypatch.setattr(rtl, "build", lambda *_, **__: Simulator(script, "vcd"))
        waves = tmp_path / "waves"
        waves.mkdir()
        (waves / "run.vcd").write_text("precious")
        return RtlDevice(TINY, vcd=waves / "run.vcd", trace=False, **options)

    return device


def run(device: RtlDevice) -> None:
    device.run(np.zeros(32, np.uint8), [])


def left(device: RtlDevice) -> dict[str, str]:
    """The files in the directory of the waveform."""
    assert device.waves is not None
    return {path.name: path.read_text() for path in device.waves.parent.iterdir()}


def test_a_run_leaves_its_waveform_and_nothing_else(simulated: Callable[..., RtlDevice]) -> None:
    device = simulated(Outcome(done=True, counters={"cycles": 90}))
    assert device.run(np.zeros(32, np.uint8), []).waves == device.waves
    assert left(device) == {"run.vcd": HEADER + CYCLE}


@pytest.mark.parametrize(
    ("outcome", "error", "message"),
    [
        (Outcome(fault_code=3, counters={"cycles": 90}), DeviceFault, "instruction 0: REGION"),
        (Outcome(hang="no end"), AcceleratorError, "hangs: no end"),
    ],
)
def test_what_stops_the_program_leaves_the_waveform(
    simulated: Callable[..., RtlDevice], outcome: Outcome, error: type[Exception], message: str
) -> None:
    device = simulated(outcome, trace_from=7)
    with pytest.raises(error, match=message) as caught:
        run(device)
    assert caught.value.result.waves == device.waves  # type: ignore[attr-defined]
    assert left(device) == {"run.vcd": HEADER + CYCLE}


@pytest.mark.parametrize(
    ("outcome", "values", "error"),
    [
        (Outcome(done=True, counters={"cycles": 90}), "", None),
        (Outcome(done=True, counters={"cycles": 90}), CYCLE, None),  # of what came after the program
        (Outcome(fault_code=3, counters={"cycles": 90}), "", DeviceFault),
        (Outcome(hang="no end"), "", AcceleratorError),
    ],
)
def test_a_missed_window_leaves_what_was_there(
    simulated: Callable[..., RtlDevice], outcome: Outcome, values: str, error: type[Exception] | None
) -> None:
    device = simulated(outcome, values, trace_from=90)
    if error is None:
        assert device.run(np.zeros(32, np.uint8), []).waves is None
    else:
        with pytest.raises(error) as caught:
            run(device)
        assert caught.value.result.waves is None  # type: ignore[attr-defined]
    assert left(device) == {"run.vcd": "precious"}


def test_a_failed_simulation_leaves_what_was_there(simulated: Callable[..., RtlDevice]) -> None:
    device = simulated(Outcome(done=True), rest="exit 3")
    with pytest.raises(SimulationError, match="the simulation failed"):
        run(device)
    assert left(device) == {"run.vcd": "precious"}


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_leaves_what_was_there(
    simulated: Callable[..., RtlDevice], tmp_path: Path, end: type[BaseException]
) -> None:
    begun = tmp_path / "begun"
    device = simulated(Outcome(done=True), rest=f"touch {begun}; sleep 100")

    def interrupt(cycles: int, retired: int) -> None:
        if begun.exists():
            raise end

    device.progress = interrupt
    with pytest.raises(end):
        run(device)
    assert left(device) == {"run.vcd": "precious"}


def test_a_link_stays_one_and_the_mode_is_an_ordinary_file_s(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.vcd"
    link.symlink_to("there/run.vcd")
    (tmp_path / "other").write_text("")
    with pending_waveform(link) as waves:
        assert waves is not None
        assert waves.parent.parent == tmp_path / "there"
        waves.write_text("values")
        assert take_place(waves, link) == link
    assert link.is_symlink()
    assert (tmp_path / "there" / "run.vcd").read_text() == "values"
    mode = (tmp_path / "there" / "run.vcd").stat().st_mode
    assert stat.S_IMODE(mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["run.vcd"]


def test_without_a_waveform_nothing_is_pending() -> None:
    with pending_waveform(None) as waves:
        assert waves is None


def test_what_cannot_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    with (
        pytest.raises(FileError, match="cannot write /dev/null: it is no regular file"),
        pending_waveform(Path("/dev/null")),
    ):
        pass
    long = tmp_path / ("x" * 250)
    with pytest.raises(FileError, match=r"cannot write .*: file name too long"), pending_waveform(long):
        pass
    with pending_waveform(tmp_path / "x") as waves:
        assert waves is not None
        with pytest.raises(FileError, match=r"cannot write .*x: .*: no such file or directory"):
            take_place(waves, tmp_path / "x")


def test_a_header_shows_no_cycle(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert not shows_a_cycle(path)
    for text in (HEADER, "$scope module t $end\n" * 99 + HEADER):
        path.write_text(text)
        assert not shows_a_cycle(path)
        path.write_text(text + CYCLE)
        assert shows_a_cycle(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vcd", "fst"])
def test_waveforms_of_the_simulator(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"run.{kind}"
    path.write_text("precious")
    transfer = {"rows": 75, "blocks": 1}
    program = assemble([
        Instruction(Opcode.LOAD, {**transfer, "give": 1 << Unit.STORE}),
        Instruction(Opcode.STORE, {**transfer, "region": 1, "wait": 1 << Unit.LOAD}),
    ])  # fmt: skip
    region = np.zeros(75 * TINY.row_pitch, np.uint8)

    def device(trace_from: int, max_cycles: int | None = None) -> RtlDevice:
        options = {kind: path, "trace_from": trace_from, "trace_cycles": 5, "max_cycles": max_cycles}
        return RtlDevice(TINY, **options)  # type: ignore[arg-type]

    assert device(100_000).run(program, [region, region]).waves is None
    with pytest.raises(AcceleratorError, match="no end within 80 cycles"):
        device(1000, 80).run(program, [region, region])
    with pytest.raises(DeviceFault, match="REGION"):
        device(100_000).run(program, [region, region[:-64]])
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(path.name, "precious")]
    with pytest.raises(AcceleratorError, match="no end within 80 cycles") as hang:
        device(20, 80).run(program, [region, region])
    assert hang.value.result.waves == path
    assert shows_a_cycle(path)
    path.write_text("precious")
    with pytest.raises(DeviceFault, match="REGION") as fault:
        device(0).run(program, [region, region[:-64]])
    assert fault.value.result is not None
    assert fault.value.result.waves == path
    assert shows_a_cycle(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
