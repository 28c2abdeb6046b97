"""A device whose accelerator is ``mover.sv``, so that the simulation room is tested without the accelerator."""

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
    """``mover(**options)`` is an ``RtlDevice``; ``skew`` starts its bursts that many beats late."""

    def device(*, skew: int = 0, **options: Any) -> rtl.RtlDevice:
        verilog = MOVER.replace("SKEW = 0", f"SKEW = {skew}")
        monkeypatch.setattr(rtl, "build", functools.partial(build, verilog=verilog))
        return rtl.RtlDevice(preset("tiny"), **options)

    return device
