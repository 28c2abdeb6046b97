"""What coverage counts in generated Verilog: every line and branch, and the toggles of registers.

The other signals are functions of the registers; counting them too, and every port again at each level, would take
ten times the points and the better part of an hour to compile.
"""

import re

_MODULE = re.compile(r"^module .*?^endmodule", re.MULTILINE | re.DOTALL)
_DECLARATION = re.compile(
    r"^  (?:(?:wire|input|output)\b|reg\b(?: \[[^]]*\])? (?P<register>\S+)(?P<rows>\s+\[[^]]*\])?\s*(?:=|;)).*$",
    re.MULTILINE,
)
#: Yosys starts each process with it so that simulators evaluate it once; never true.
_STARTER = re.compile(r"^ *if \(\\\$auto\$verilog_backend\S* \) begin end\n", re.MULTILINE)
_NAME = r"(?:\\\S+ |[A-Za-z_]\w*)"
_CLOCKED = re.compile(rf"^\s+({_NAME})(?:\[[^]]*\])? ?<=", re.MULTILINE)


def countable(verilog: str) -> str:
    """The same Verilog, with toggle coverage off for every signal but registers (memories are none)."""
    return _MODULE.sub(lambda module: _within(module[0]), _STARTER.sub("", verilog))


def _within(module: str) -> str:
    registers = {name.strip() for name in _CLOCKED.findall(module)}

    def declared(declaration: re.Match[str]) -> str:
        counted = declaration["register"] in registers and not declaration["rows"]
        return declaration[0] if counted else f"/*verilator coverage_off*/{declaration[0]}/*verilator coverage_on*/"

    return _DECLARATION.sub(declared, module)
