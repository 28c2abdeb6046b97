from systolith.rtl.config import preset
from systolith.rtl.verilog import generate
from systolith.synthesis.pins import pinned, ports


def test_every_port_but_the_traces_is_registered_once():
    text = generate(preset("tiny"))
    found = {name: (direction, bits) for direction, name, bits in ports(text)}
    assert found["m_axi__rdata"] == ("input", 64)
    assert found["m_axi__araddr"] == ("output", 40)
    assert found["irq"] == ("output", 1)
    top = pinned(text)
    for direction in ("input", "output"):
        own = {
            name: bits
            for name, (of, bits) in found.items()
            if of == direction and name not in ("clk", "rst") and not name.startswith("trace_")
        }
        assert f"[{sum(own.values()) - 1}:0] {direction}s;" in top
        for name in own:
            assert top.count(f".{name}({direction}s[") == 1
    assert "trace_" not in top
