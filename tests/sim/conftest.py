"""A device whose accelerator is ``mover.sv``, so that the simulation room is tested without the accelerator."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from systolith.rtl.config import preset
from systolith.runtime import rtl
from systolith.sim.build import build

MOVER = (Path(__file__).parent / "mover.sv").read_text()


@pytest.fixture
def mover(monkeypatch: pytest.MonkeyPatch) -> Callable[..., rtl.RtlDevice]:
    """``mover(**options)`` is an ``RtlDevice``; ``declared`` are the longest burst and the bursts outstanding."""

    def device(*, declared: tuple[int, int] = (16, 64), **options: Any) -> rtl.RtlDevice:
        monkeypatch.setattr(rtl, "build", functools.partial(build, verilog=MOVER))
        beats, outstanding = declared
        config = dataclasses.replace(preset("tiny"), axi_burst_beats=beats, axi_outstanding=outstanding)
        return rtl.RtlDevice(config, **options)

    return device
