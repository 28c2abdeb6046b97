"""Memories as Verilog: a few lines for each geometry instead of a line for each row of each memory.

Amaranth writes the initial value of every row, through every stage of the conversion: at 16x16 that is most
of the time and half of the text. All memories here but the tables begin as zeros, which a loop says as well.
"""

from amaranth.hdl import ClockSignal, Fragment, Instance, Shape, Value
from amaranth.lib.memory import Memory


class MemoryModules:
    """The part of a conversion's platform that turns memories into instances of shared modules.

    Memories with contents, and those of a single row (whose addresses have no bits), are left to Amaranth.

    Attributes
    ----------
    texts : dict of str
        Verilog of each module in use, by its name.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def get_memory(self, memory: Memory) -> Fragment:
        """Amaranth's hook: what ``memory`` is made of."""
        if memory.depth == 1 or any(memory.init):
            return memory.elaborate(None)
        width = Shape.cast(memory.shape).width
        parts = [len(port.en) for port in memory.write_ports]
        reads = [_kind(memory, index) for index in range(len(memory.read_ports))]
        name = "_".join([f"memory_{width}x{memory.depth}", *(f"w{count}" for count in parts), *reads])
        self.texts[name] = _module(name, width, memory.depth, parts, reads)
        ports = [("i", "clk", ClockSignal("sync"))]
        for index, port in enumerate(memory.write_ports):
            ports += [("i", f"w{index}_{m}", Value.cast(getattr(port, m))) for m in ("addr", "data", "en")]
        for index, port in enumerate(memory.read_ports):
            ports += [("i", f"r{index}_addr", port.addr), ("o", f"r{index}_data", Value.cast(port.data))]
            if port.domain != "comb":
                ports += [("i", f"r{index}_en", port.en)]
        return Instance(name, *ports)


def _kind(memory: Memory, index: int) -> str:
    """``a`` for an asynchronous read port, ``s`` for a synchronous one, with the writes it is transparent for."""
    port = memory.read_ports[index]
    if port.domain == "comb":
        return "a"
    writes = [i for i, write in enumerate(memory.write_ports) if write in port.transparent_for]
    return "s" + "".join(f"t{i}" for i in writes)


def _module(name: str, width: int, depth: int, parts: list[int], reads: list[str]) -> str:
    """The module's text. ``parts`` are the enable bits of each write port, ``reads`` the :func:`_kind` of each read.

    A synchronous read gives the old row while a write goes on, or with ``t`` what is being written. Where no read is
    transparent nobody uses a row that is read in the very cycle of a write to it, and Yosys is told so: block RAMs
    whose ports do not see each other's old rows would otherwise be surrounded by registers and comparators.
    """
    address = f"[{(depth - 1).bit_length() - 1}:0]"
    row = f"[{width - 1}:0]"
    ports, body = ["input clk"], []
    for w, count in enumerate(parts):
        ports += [f"input {address} w{w}_addr", f"input {row} w{w}_data", f"input [{count - 1}:0] w{w}_en"]
    for r, kind in enumerate(reads):
        storage = "wire" if kind == "a" else "reg"
        ports += [f"input {address} r{r}_addr", f"output {storage} {row} r{r}_data"]
        if kind == "a":
            body += [f"  assign r{r}_data = memory[r{r}_addr];"]
        else:
            ports += [f"input r{r}_en"]
            body += [f"  always @(posedge clk) if (r{r}_en) begin", f"    r{r}_data <= memory[r{r}_addr];"]
            for w in map(int, kind[1:].split("t")[1:]):
                for part, bits in _parts(width, parts[w]):
                    hit = f"w{w}_en[{part}] && w{w}_addr == r{r}_addr"
                    body += [f"    if ({hit}) r{r}_data{bits} <= w{w}_data{bits};"]
            body += ["  end"]
    for w, count in enumerate(parts):
        body += ["  always @(posedge clk) begin"]
        for part, bits in _parts(width, count):
            body += [f"    if (w{w}_en[{part}]) memory[w{w}_addr]{bits} <= w{w}_data{bits};"]
        body += ["  end"]
    unchecked = "(* no_rw_check *) " if all(kind == "s" for kind in reads) else ""
    return "\n".join(
        [
            f"module {name}(",
            ",\n".join(f"  {port}" for port in ports),
            ");",
            f"  {unchecked}reg {row} memory [0:{depth - 1}];",
            "  integer i;",
            f"  initial for (i = 0; i < {depth}; i = i + 1) memory[i] = {width}'d0;",
            *body,
            "endmodule",
            "",
        ]
    )


def _parts(width: int, count: int) -> list[tuple[int, str]]:
    """The bit range that each of ``count`` enables covers; the whole row has none."""
    if count == 1:
        return [(0, "")]
    share = width // count
    return [(part, f"[{share * (part + 1) - 1}:{share * part}]") for part in range(count)]
