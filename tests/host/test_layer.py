"""The split layer against fp32, and what the host does in it."""

import numpy as np
import pytest

from systolith.host.kernels import Host
from systolith.host.layer import STAGES, Handover, HybridLayer
from systolith.models.encoder import cosine
from systolith.models.random_encoder import random_encoder, random_tokens

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")


@pytest.mark.parametrize("handover", Handover)
def test_is_near_fp32(handover):
    layer = random_encoder(layers=1, hidden=48, heads=3, ffn=80).layers[0]
    x = random_tokens(10, 48, 0)
    host = Host()
    got = HybridLayer.calibrate(layer, random_tokens(96, 48, 1), handover).forward(x, host)
    assert cosine(got, layer.forward(x)) > 0.999
    stages = set(STAGES) if handover is Handover.SUMS else set(STAGES) - {"projections"}
    assert {stage for stage, _ in host.instructions} == stages


def test_int8_costs_accuracy_and_saves_instructions():
    layer = random_encoder(layers=1, hidden=64, heads=2, ffn=128).layers[0]
    x = random_tokens(32, 64, 0)
    errors, instructions = {}, {}
    for handover in Handover:
        host = Host()
        got = HybridLayer.calibrate(layer, random_tokens(96, 64, 1), handover).forward(x, host)
        errors[handover] = float(np.abs(got - layer.forward(x)).mean())
        instructions[handover] = sum(host.instructions.values())
    assert errors[Handover.SUMS] < errors[Handover.INT8]
    assert instructions[Handover.INT8] < instructions[Handover.SUMS]
