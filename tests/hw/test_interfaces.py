"""The buses as Arm's specifications have them (IHI 0022: AXI4 and AXI4-Lite), seen from the initiator."""

import dataclasses

import pytest
from amaranth.hdl import Shape
from amaranth.lib.wiring import Flow

from systolith.rtl.config import preset
from systolith.rtl.interfaces import Axi, AxiLite, address_width

#: Width of each driven and each received signal.
LITE = (
    {
        "awaddr": 12, "awvalid": 1, "wdata": 32, "wstrb": 4, "wvalid": 1, "bready": 1, "araddr": 12, "arvalid": 1,
        "rready": 1,
    },
    {"awready": 1, "wready": 1, "bresp": 2, "bvalid": 1, "arready": 1, "rdata": 32, "rresp": 2, "rvalid": 1},
)  # fmt: skip
FULL = (
    {
        "awid": 1, "awaddr": 48, "awlen": 8, "awsize": 3, "awburst": 2, "awvalid": 1,
        "wdata": 256, "wstrb": 32, "wlast": 1, "wvalid": 1, "bready": 1,
        "arid": 1, "araddr": 48, "arlen": 8, "arsize": 3, "arburst": 2, "arvalid": 1, "rready": 1,
    },
    {
        "awready": 1, "wready": 1, "bid": 1, "bresp": 2, "bvalid": 1, "arready": 1,
        "rid": 1, "rdata": 256, "rresp": 2, "rlast": 1, "rvalid": 1,
    },
)  # fmt: skip
WIDE = dataclasses.replace(preset("tiny"), axi_data_width=256, axi_address_width=48)


@pytest.mark.parametrize(("signature", "signals"), [(AxiLite(12), LITE), (Axi(WIDE), FULL)])
def test_signals_have_the_widths_and_directions_of_the_specification(signature, signals):
    for flow, expected in zip((Flow.Out, Flow.In), signals, strict=True):
        members = {name: m for name, m in signature.members.items() if m.flow is flow}
        assert {name: Shape.cast(m.shape).width for name, m in members.items()} == expected
        assert not any(Shape.cast(m.shape).signed for m in members.values())


@pytest.mark.parametrize(("rows", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (512, 9), (513, 10)])
def test_addresses_have_the_bits_that_the_last_row_needs(rows, bits):
    assert address_width(rows) == bits
