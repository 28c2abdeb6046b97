"""The AXI channels: streams between the engines, flat signals at the bus, and the glue between them."""

from typing import Any

from amaranth.hdl import Module, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature

from ..config import Config
from ..interfaces import Axi

#: AxBURST of an incrementing burst.
BURST_INCREMENT = 1


def burst_size(config: Config) -> int:
    """AxSIZE of a whole beat: log2 of its bytes."""
    return (config.bus_bytes - 1).bit_length()


def address_layout(config: Config) -> data.StructLayout:
    """A burst on an address channel: byte ``address`` and ``length`` in beats less one."""
    return data.StructLayout({"address": unsigned(config.axi_address_width), "length": unsigned(8)})


class ReadChannel(Signature):
    """The two read channels of one AXI identifier, as streams, seen from the initiator.

    Members
    -------
    ar : ``address`` in bytes, a multiple of the bus width, and ``length``, the beats less one.
    r : ``data`` of one beat, ``resp`` (0 is well) and ``last``.
    """

    def __init__(self, config: Config) -> None:
        beat = data.StructLayout({"data": unsigned(config.axi_data_width), "resp": unsigned(2), "last": unsigned(1)})
        super().__init__(
            {
                "ar": Out(stream.Signature(address_layout(config))),
                "r": In(stream.Signature(beat)),
            }
        )


def _part(config: Config, prefixes: tuple[str, ...]) -> dict[str, Any]:
    return {name: member for name, member in Axi(config).members.items() if name.startswith(prefixes)}


class AxiRead(Signature):
    """The AR and R channels of :class:`~systolith.rtl.interfaces.Axi`, under the same names."""

    def __init__(self, config: Config) -> None:
        super().__init__(_part(config, ("ar", "r")))


class AxiWrite(Signature):
    """The AW, W and B channels of :class:`~systolith.rtl.interfaces.Axi`, under the same names."""

    def __init__(self, config: Config) -> None:
        super().__init__(_part(config, ("aw", "w", "b")))


def connect_axi(m: Module, bus: Any, part: Any) -> None:
    """Join ``part`` (an :class:`AxiRead` or :class:`AxiWrite` of an engine) to ``bus``, the ``Axi`` of the top."""
    for name, member in part.signature.members.items():
        source, sink = (part, bus) if member.flow is Out else (bus, part)
        m.d.comb += getattr(sink, name).eq(getattr(source, name))
