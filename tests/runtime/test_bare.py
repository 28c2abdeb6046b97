"""The plain C++ loop runs the same model: same bits, and the same cycles but for the register write that starts it."""

import numpy as np

from systolith.models.registry import load_model
from systolith.rtl.config import preset
from systolith.runtime.device import open_device
from systolith.runtime.session import run_encoder


def test_the_bare_loop_does_what_cocotb_does():
    model = load_model("random", layers=1, hidden=24, heads=2, ffn=40, tokens=19)
    runs = [
        run_encoder(model.quantized, model.prepare(), open_device(preset("tiny"), "rtl", bare=bare, trace=False))
        for bare in (False, True)
    ]
    assert [run.difference for run in runs] == [None, None]
    np.testing.assert_array_equal(runs[0].outputs[0], runs[1].outputs[0])
    cycles = [run.result.counters["cycles"] for run in runs]
    assert abs(cycles[0] - cycles[1]) <= 8
