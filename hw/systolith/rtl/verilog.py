"""From a configuration to Verilog."""

import os

from amaranth.back import verilog

from .accelerator import Accelerator
from .config import Config

#: Name of the top module.
TOP = "systolith"


def generate(config: Config) -> str:
    """The accelerator's Verilog, top module ``systolith``: the same text for the same configuration, always.

    Ports: ``clk``, ``rst`` (synchronous, active high), ``irq``, ``s_axi__*`` (``interfaces.AxiLite``),
    ``m_axi__*`` (``interfaces.Axi``) and the ``trace_*`` outputs of :class:`Accelerator`, which may stay open.
    """
    # Amaranth would search the path for other versions of Yosys; the one of its own dependencies is the same
    # everywhere.
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    text: str = verilog.convert(Accelerator(config), name=TOP, emit_src=False, strip_internal_attrs=True)
    return text
