"""From a configuration to Verilog."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.back import verilog
from amaranth.hdl import ClockDomain
from amaranth.lib.wiring import Component

from .accelerator import Accelerator
from .array import ELEMENT_MODULE, ProcessingElement, SharedElements
from .config import Config
from .verilog_memory import MemoryModules

#: Name of the top module.
TOP = "systolith"


class _Platform(SharedElements, MemoryModules):
    """PEs and memories are instances of modules that are written once each."""


def generate(config: Config) -> str:
    """The accelerator's Verilog, top module ``systolith``: the same text for the same configuration, always.

    Ports: ``clk``, ``rst`` (synchronous, active high), ``irq``, ``s_axi__*`` (``interfaces.AxiLite``),
    ``m_axi__*`` (``interfaces.Axi``) and the ``trace_*`` outputs of :class:`Accelerator`, which may stay open.
    """
    return generate_block(Accelerator(config), config, TOP)


def generate_block(component: Component, config: Config, name: str) -> str:
    """The Verilog of a component of the accelerator, top module ``name``, made as it is within :func:`generate`.

    A component without a member ``rst`` gets such a port from its clock domain.
    """
    # Amaranth would search the path for other versions of Yosys; the one of its own dependencies is the same
    # everywhere.
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    platform = _Platform()
    with _no_garbage_collection():
        top = _convert(component, name, platform, reset_less="rst" in component.signature.members)
        element = _convert(ProcessingElement(psum_width=config.psum_width), ELEMENT_MODULE, None, reset_less=True)
    return "\n".join([top, element, *platform.texts.values()])


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Without it a 64x64 array takes less than half the time, for 1.5 instead of 0.6 GB.

    The netlist is millions of small objects that live to the end: collections find nothing and cost the most.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _convert(component: Component, name: str, platform: object, *, reset_less: bool) -> str:
    """``reset_less``: the component resets itself, or nothing; else it has a port ``rst``."""
    text: str = verilog.convert(
        component,
        name=name,
        platform=platform,
        emit_src=False,
        strip_internal_attrs=True,
        missing_domain=lambda domain: ClockDomain(domain, reset_less=reset_less),
    )
    return text
