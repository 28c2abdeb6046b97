"""Everything that an integrator needs of an accelerator: file names and texts."""

from systolith.rtl.config import Config
from systolith.rtl.documentation import isa_page, registers_page
from systolith.rtl.verilog import TOP, generate

from . import c_header, example_top, fusesoc, lint, systemrdl


def bundle(config: Config) -> dict[str, str]:
    """File name -> text; the same for the same configuration, always."""
    return {
        f"{TOP}.v": generate(config),
        example_top.FILE: example_top.example_top(config),
        f"{TOP}.toml": config.to_toml(),
        c_header.FILE: c_header.c_header(config),
        systemrdl.FILE: systemrdl.systemrdl(),
        "registers.md": registers_page(),
        "isa.md": isa_page(),
        lint.FILE: lint.waivers(),
        fusesoc.FILE: fusesoc.core_file(config),
    }
