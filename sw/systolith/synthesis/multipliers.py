"""ECP5's multipliers take in the registers around them, as vendors' tools do; Yosys leaves these in the fabric.

In the fabric, one cycle has to be enough for an operand's way to the multiplier, the product, and the product's way to
its register. Inside, all registers do what they did before, in the same cycles.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

#: A net by its number, or a constant as Yosys writes it: ``"0"``, ``"1"``, ``"x"``.
Bit = int | str
#: Clock and enable of a register.
Control = tuple[Bit, Bit]

MULTIPLIER = "MULT18X18D"
REGISTER = "TRELLIS_FF"
#: Ports of a multiplier, by the registers inside it that they belong to.
OUTPUT = [f"P{i}" for i in range(36)]
INPUTS = {side: [f"{side}{i}" for i in range(18)] for side in "AB"}


def absorb_registers(netlist: str, top: str) -> str:
    """``netlist``, flat and as JSON of Yosys, with registers of its multipliers inside these.

    A product's register goes in if nothing else reads the product. Then so does an operand's, unless logic leads to it:
    that would have to reach the multiplier in the same cycle. A register that others read too stays for them.
    Registers with a reset, an inverted enable or another value than 0 at the start stay where they are.
    """
    design = json.loads(netlist)
    cells = _Cells(design["modules"][top])
    for name in cells.of_type(MULTIPLIER):
        multiplier = _Multiplier(cells, name)
        if multiplier.take_product():
            for side in INPUTS:
                multiplier.take_operand(side)
    return json.dumps(design)


class _Cells:
    """The cells of one module, with what drives and what reads each net."""

    def __init__(self, module: dict[str, Any]) -> None:
        self._cells: dict[str, Any] = module["cells"]
        self._driver: dict[Bit, str] = {}
        self._readers: defaultdict[Bit, set[tuple[str, str]]] = defaultdict(set)
        for port, described in module["ports"].items():
            for bit in described["bits"]:
                self._readers[bit].add(("", port))
        for name, cell in self._cells.items():
            for port, bits in cell["connections"].items():
                for bit in bits:
                    self._link(name, port, bit)

    def _link(self, name: str, port: str, bit: Bit) -> None:
        if self._cells[name]["port_directions"][port] == "output":
            self._driver[bit] = name
        else:
            self._readers[bit].add((name, port))

    def of_type(self, kind: str) -> list[str]:
        return sorted(name for name, cell in self._cells.items() if cell["type"] == kind)

    def parameters(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self._cells[name]["parameters"]
        return found

    def bit(self, name: str, port: str) -> Bit:
        """What is at a port of one bit."""
        found: Bit = next(iter(self._cells[name]["connections"].get(port, ())), "x")
        return found

    def connect(self, name: str, port: str, bit: Bit, direction: str = "input") -> None:
        """Put ``bit`` at a port of one bit, in place of what is there."""
        self._readers[self.bit(name, port)].discard((name, port))
        self._cells[name]["port_directions"][port] = direction
        self._cells[name]["connections"][port] = [bit]
        self._link(name, port, bit)

    def readers(self, bit: Bit) -> set[tuple[str, str]]:
        """Cell and port of each reader of a net; a port of the module has no cell."""
        return self._readers[bit] if isinstance(bit, int) else set()

    def _register(self, name: str) -> str:
        """``name`` if that is a register; else no name."""
        return name if name and self._cells[name]["type"] == REGISTER else ""

    def register_before(self, bit: Bit) -> str:
        """The register that drives a net; no name if none does."""
        return self._register(self._driver.get(bit, ""))

    def register_behind(self, bit: Bit) -> str:
        """The register that keeps a net's value and is all that reads it; no name if there is none such."""
        readers = list(self.readers(bit))
        return self._register(readers[0][0]) if len(readers) == 1 and readers[0][1] == "DI" else ""

    def control(self, name: str) -> Control | None:
        """Clock and enable of a register that a multiplier can take in; None for any other, and for no name."""
        if not name:
            return None
        parameters = self.parameters(name)
        enable = {"1": "1", "CE": self.bit(name, "CE")}.get(parameters["CEMUX"].strip())
        fits = parameters["REGSET"] == "RESET" and parameters["CLKMUX"] == "CLK" and self.bit(name, "LSR") == "0"
        return (self.bit(name, "CLK"), enable) if fits and enable is not None else None

    def remove(self, name: str) -> None:
        for port, bits in self._cells.pop(name)["connections"].items():
            for bit in bits:
                self._readers[bit].discard((name, port))


class _Multiplier:
    """One multiplier, as yet without registers inside."""

    def __init__(self, cells: _Cells, name: str) -> None:
        self._cells = cells
        self._name = name
        self._enables: list[Bit] = []

    def take_product(self) -> bool:
        """Take in the product's register; False if it has none that fits."""
        cells = self._cells
        used = [port for port in OUTPUT if cells.readers(cells.bit(self._name, port))]
        registers = {port: cells.register_behind(cells.bit(self._name, port)) for port in used}
        control = _common(cells.control(register) for register in registers.values())
        if control is None:
            return False
        for port, register in registers.items():
            product = cells.bit(register, "Q")
            cells.remove(register)
            cells.connect(self._name, port, product, "output")
        cells.connect(self._name, "CLK0", control[0])
        cells.connect(self._name, "RST0", "0")
        self._configure("OUTPUT", control)
        return True

    def take_operand(self, side: str) -> None:
        """Take in the register of the operand at the ports ``side``, or a copy of it if others read it too."""
        cells = self._cells
        operand = {port: cells.bit(self._name, port) for port in INPUTS[side]}
        registers = {bit: cells.register_before(bit) for bit in operand.values() if bit not in ("0", "x")}
        control = _common(cells.control(register) for register in registers.values())
        if control is None or control[0] != cells.bit(self._name, "CLK0"):
            return
        before = {bit: cells.bit(register, "DI") for bit, register in registers.items()}
        if any(isinstance(bit, int) and not cells.register_before(bit) for bit in before.values()):
            return
        for port, bit in operand.items():
            cells.connect(self._name, port, before.get(bit, bit))
        for bit, register in registers.items():
            if not cells.readers(bit):
                cells.remove(register)
        self._configure(f"INPUT{side}", control)

    def _configure(self, stage: str, control: Control) -> None:
        enable = control[1]
        if enable not in self._enables:
            self._cells.connect(self._name, f"CE{len(self._enables)}", enable)
            self._enables.append(enable)
        settings = {"CLK": "CLK0", "CE": f"CE{self._enables.index(enable)}", "RST": "RST0"}
        self._cells.parameters(self._name).update({f"REG_{stage}_{name}": value for name, value in settings.items()})


def _common(controls: Iterable[Control | None]) -> Control | None:
    """The one that all are; None if they differ, or there are none."""
    found = set(controls)
    return found.pop() if len(found) == 1 else None
