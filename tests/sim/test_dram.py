"""The memory, the launcher and the run bench, with a mover of data in the accelerator's place."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from systolith.rtl.interfaces import Fault
from systolith.runtime.device import AcceleratorError, DeviceFault
from systolith.runtime.rtl import RtlDevice
from systolith.sim.dram import BusError, DramSettings
from systolith.sim.toolchain import SimulationError

Mover = Callable[..., RtlDevice]

#: 16 KiB, which is 128 bursts of 16 beats of 8 bytes.
DATA = np.random.default_rng(1).integers(0, 256, 1 << 14, dtype=np.uint8)
BEATS = DATA.size // 8
EMPTY = np.zeros_like(DATA)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Breach(DramSettings):
    """A memory with an argument for the mover: the breach that it commits from the first cycle on."""

    number: int

    def plusargs(self) -> list[str]:
        return [*super().plusargs(), f"+breach={self.number}"]


@pytest.mark.parametrize(
    "settings",
    [
        DramSettings(latency=1),
        DramSettings(latency=100),
        DramSettings(bandwidth=3),
        DramSettings(seed=0),
        DramSettings(seed=1, bandwidth=12),
    ],
)
def test_every_byte_arrives(mover: Mover, settings: DramSettings) -> None:
    result = mover(memory=settings).run(DATA, [EMPTY])
    np.testing.assert_array_equal(result.regions[0], DATA)
    assert not EMPTY.any()
    assert result.simulated


@pytest.mark.parametrize("latency", [1, 30, 100])
def test_latency_is_paid_once_each_way(mover: Mover, latency: int) -> None:
    """One beat a cycle in each direction; the first beat and the last response are `latency` away."""
    cycles = mover(latency=latency).run(DATA, [EMPTY]).counters["cycles"]
    assert BEATS + 2 * latency <= cycles <= BEATS + 2 * latency + 5


@pytest.mark.parametrize("bandwidth", [4, 8, 12, 16])
def test_bandwidth_is_shared(mover: Mover, bandwidth: int) -> None:
    cycles = mover(latency=30, bandwidth=bandwidth).run(DATA, [EMPTY]).counters["cycles"]
    assert 0 <= cycles - 2 * DATA.size / bandwidth <= 2 * 30 + 10


def test_a_seed_repeats_and_another_differs(mover: Mover) -> None:
    first, again, other = (mover(seed=seed).run(DATA, [EMPTY]).counters["cycles"] for seed in (7, 7, 8))
    assert first == again != other


def test_events(mover: Mover) -> None:
    result = mover().run(DATA, [EMPTY])
    events = result.events
    assert events is not None
    for kind in (0, 1):
        np.testing.assert_array_equal(events["index"][events["kind"] == kind], np.arange(128))
    assert (np.diff(events["cycle"].astype(np.int64)) >= 0).all()
    assert events["cycle"][0] <= 1
    assert events["cycle"][-1] == result.counters["cycles"] - 1
    assert mover(trace=False).run(DATA, [EMPTY]).events is None


def test_bus_error_becomes_a_fault(mover: Mover) -> None:
    device = mover()
    low = device.dram_base + DATA.size + 0x1000
    device.memory = DramSettings(error=BusError(low=low, high=low + 8))
    with pytest.raises(DeviceFault, match="BUS_READ") as caught:
        device.run(DATA, [EMPTY])
    assert caught.value.code == Fault.BUS_READ


@pytest.mark.parametrize(
    ("breach", "rule"),
    [
        (1, "AR burst leaves what the host granted"),
        (2, "AW identifier is not 0"),
        (3, "AR burst crosses a 4 KiB page"),
        (4, "AR address is not aligned to the bus"),
        (5, "AW changed before ready"),
        (6, "AR beat is not as wide as the bus"),
        (7, "AR burst is not incrementing"),
        (8, "AW burst leaves what the host granted"),
        (9, "W changed before ready"),
        (10, "W changed before ready"),
        (11, "W wlast is not on the last beat"),
        (12, "W wlast is not on the last beat"),
    ],
)
def test_each_rule_of_the_protocol_is_checked(mover: Mover, breach: int, rule: str) -> None:
    """Breaches are those of ``mover.sv``, named by the size of region 1; random stalls let the unstable ones show."""
    device = mover(seed=1, max_cycles=20000)
    with pytest.raises(SimulationError, match=rf"broke the AXI protocol \d+ times, first in cycle \d+: {rule}"):
        device.run(DATA, [EMPTY, np.zeros(breach, np.uint8)])


@pytest.mark.parametrize(("breach", "channel"), [(14, "AR"), (15, "AW"), (16, "W")])
def test_nothing_is_asked_for_in_reset(mover: Mover, breach: int, channel: str) -> None:
    """In the four cycles of a reset there are three violations: of the first one the master cannot know yet."""
    with pytest.raises(SimulationError, match=rf"protocol 3 times, first in cycle \d+: {channel} is valid in reset"):
        mover(memory=_Breach(number=breach)).run(DATA, [EMPTY])


@pytest.mark.parametrize(
    ("declared", "rule"),
    [((8, 64), "AR burst is too long"), ((16, 8), "A[RW] more bursts are outstanding than declared")],
)
def test_declared_limits_are_checked(mover: Mover, declared: tuple[int, int], rule: str) -> None:
    with pytest.raises(SimulationError, match=rf"broke the AXI protocol .*: {rule}"):
        mover(declared=declared).run(DATA, [EMPTY])


def test_every_response_must_be_consumed(mover: Mover) -> None:
    """This mover counts responses that it does not take."""
    with pytest.raises(SimulationError, match=r"left \d+ read and [1-9]\d* write bursts without their responses"):
        mover().run(DATA[:1024], [EMPTY, np.zeros(13, np.uint8)])


def test_a_hang_ends(mover: Mover) -> None:
    """The mover never ends without data."""
    with pytest.raises(SimulationError, match="hangs: neither instruction nor interrupt"):
        mover(watchdog=100).run(DATA[:0], [EMPTY])
    with pytest.raises(SimulationError, match="hangs: no end within 5000 cycles"):
        mover(max_cycles=5000).run(DATA[:0], [EMPTY])


def test_a_hang_leaves_what_was_recorded(mover: Mover) -> None:
    """Cycles count from the program's first, as in a run that ends; there are no counters to tell them from."""
    with pytest.raises(AcceleratorError) as caught:
        mover(max_cycles=5000, activity=True).run(DATA[:0], [EMPTY])
    result = caught.value.result
    assert result.counters == {}
    assert result.activity is not None
    assert 4900 < result.activity.ended == result.activity.last < 5100
    starts, ends = result.activity.intervals("run")
    assert (starts.tolist(), ends.tolist()) == ([0], [result.activity.ended])
    assert result.events is not None
    with pytest.raises(AcceleratorError) as caught:
        mover(max_cycles=5000).run(DATA[:0], [EMPTY])
    assert (caught.value.result.activity, caught.value.result.events) == (None, None)


def children() -> set[str]:
    """Processes of this one, those of other tests among them, that run or have not been waited for."""
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


def test_an_interrupt_kills_the_simulator(mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[tuple[int, int]] = []

    def interrupt(cycles: int, retired: int) -> None:
        seen.append((cycles, retired))
        if cycles > 0:
            raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        mover(watchdog=0, progress=interrupt).run(DATA[:0], [EMPTY])
    assert seen[-1][0] > 0
    assert not list(tmp_path.iterdir())
    assert children() <= before


@pytest.mark.slow
def test_vcd(mover: Mover, tmp_path: Path) -> None:
    mover(vcd=tmp_path / "wave.vcd").run(DATA[:128], [EMPTY])
    text = (tmp_path / "wave.vcd").read_text()
    assert "$timescale" in text
    assert "awvalid" in text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latency": 0}, "memory latency must be 1 to 2147483647 cycles, not 0"),
        ({"latency": 1 << 31}, "memory latency must be 1 to 2147483647 cycles, not 2147483648"),
        ({"bandwidth": -1}, "memory bandwidth must be 0 to 2147483647 bytes a cycle, not -1"),
        ({"bandwidth": 1 << 31}, "memory bandwidth must be 0 to 2147483647 bytes a cycle, not 2147483648"),
        ({"seed": -1}, "memory seed must be 0 to 2147483647, not -1"),
    ],
)
def test_rejects_bad_settings(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DramSettings(**values)
