"""The control and status registers on AXI4-Lite, made from ``csr_map``."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .config import Config
from .counters import VALUES
from .csr_map import ADDRESS_BITS, COUNTERS, IDENTITY, OFFSETS, REGISTERS, VERSION
from .interfaces import FAULT_BITS, INDEX_BITS, WAITING_BITS, AxiLite, Regions

_OKAY, _SLVERR = 0b00, 0b10
#: Registers that a running program reads: they are read-only while it runs.
_LOCKED = ("PROGRAM_", "REGION")
#: A register is read in steps, a cycle each: so many bits of its word address choose one of a group.
_STEPS = (2, 3)


class Csr(wiring.Component):
    """AXI4-Lite slave with the registers of ``csr_map.REGISTERS``.

    Write address and write data may come in either order; byte strobes are obeyed; the two low address bits
    are ignored. An unknown address, and a write to a read-only register, answer SLVERR; so does a write to a
    PROGRAM or REGION register while a program runs. Upper address bits beyond ``axi_address_width`` read as 0.
    So do the bits of a base address below the bus width: a transfer is of whole beats, and a base inside one
    would grant less than it writes. CONTROL reads as 0. Starting while busy is ignored; see :class:`Controller`
    for what a start and a reset do in each state. IRQ_STATUS bits stay until they are written with 1; an event
    in the same cycle wins.

    Members
    -------
    bus : ``In(AxiLite)``.
    start, reset : one pulse for each 1 written to the CONTROL bits.
    busy, done, fault, unanswered : shown in STATUS.
    fault_code, fault_index, fault_waiting : shown in the registers of these names.
    completed, faulted : pulses that set the IRQ_STATUS bits.
    counters : ``In(counters.VALUES)``; LO and HI are read separately, so read them after the end.
    program_base, program_length, watchdog : register values.
    regions : ``Out(Regions)``.
    irq : level interrupt, OR of the enabled IRQ_STATUS bits.
    """

    bus: Any
    start: Signal
    reset: Signal
    busy: Signal
    done: Signal
    fault: Signal
    fault_code: Signal
    fault_index: Signal
    fault_waiting: Signal
    unanswered: Signal
    completed: Signal
    faulted: Signal
    counters: Any
    program_base: Signal
    program_length: Signal
    watchdog: Signal
    regions: Any
    irq: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__({
            "bus": In(AxiLite(ADDRESS_BITS)),
            "start": Out(1), "reset": Out(1),
            "busy": In(1), "done": In(1), "fault": In(1),
            "fault_code": In(FAULT_BITS), "fault_index": In(INDEX_BITS),
            "fault_waiting": In(WAITING_BITS), "unanswered": In(1),
            "completed": In(1), "faulted": In(1),
            "counters": In(VALUES),
            "program_base": Out(config.axi_address_width),
            "program_length": Out(32),
            "watchdog": Out(32),
            "regions": Out(Regions(config)),
            "irq": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        irq_enable = Signal(2)
        irq_status = Signal(2)
        m.d.comb += self.irq.eq((irq_enable & irq_status).any())
        stored = self._stored()
        stored["IRQ_ENABLE"] = irq_enable
        readable = self._readable() | stored | {"IRQ_STATUS": irq_status}

        write, writable, word, mask, known = self._write_channel(m)
        cleared = Signal(2)
        bus_bits = (self.config.bus_bytes - 1).bit_length()
        for name, chosen in writable.items():
            if name == "CONTROL":
                m.d.sync += Cat(self.start, self.reset).eq(Mux(write & chosen, word & mask, 0))
            elif name == "IRQ_STATUS":
                m.d.comb += cleared.eq(Mux(write & chosen, word & mask, 0))
            else:
                value = stored[name]
                with m.If(write & chosen):
                    fixed = bus_bits if name.endswith("BASE_LO") else 0
                    m.d.sync += value[fixed:].eq(((value & ~mask) | (word & mask))[fixed:])
        m.d.comb += known.eq(Cat(writable.values()).any())
        m.d.sync += irq_status.eq((irq_status & ~cleared) | Cat(self.completed, self.faulted))
        self._read_channel(m, readable)
        return m

    def _stored(self) -> dict[str, Value]:
        """The registers that hold what was written, cut to the bits that exist."""
        upper = slice(32, self.config.axi_address_width)
        stored: dict[str, Value] = {
            "PROGRAM_BASE_LO": self.program_base[:32],
            "PROGRAM_BASE_HI": self.program_base[upper],
            "PROGRAM_LENGTH": self.program_length,
            "WATCHDOG": self.watchdog,
        }
        for i in range(Regions.COUNT):
            region = self.regions.region[i]
            stored[f"REGION{i}_BASE_LO"] = region.base[:32]
            stored[f"REGION{i}_BASE_HI"] = region.base[upper]
            stored[f"REGION{i}_SIZE"] = region.size
        return stored

    def _readable(self) -> dict[str, Value]:
        """The registers that show the configuration, the state and the counters."""
        config = self.config
        readable: dict[str, Value] = {
            "ID": Const(IDENTITY, 32),
            "VERSION": Const(VERSION, 32),
            "CONTROL": Const(0, 32),
            "STATUS": Cat(self.busy, self.done, self.fault, self.unanswered),
            "FAULT_CODE": self.fault_code,
            "FAULT_INDEX": self.fault_index,
            "FAULT_WAITING": self.fault_waiting,
            "ARRAY": Const(config.rows | config.cols << 16, 32),
            "LANES": Const(config.lanes | config.bus_bytes << 16, 32),
            "SCRATCHPAD": Const(config.scratchpad_rows, 32),
            "ACCUMULATOR": Const(config.accumulator_rows, 32),
            "PARAMETERS": Const(config.parameter_rows, 32),
            "STATISTICS": Const(config.statistics_rows, 32),
        }
        for name, _ in COUNTERS:
            value = self.counters[name]
            readable[f"{name.upper()}_LO"] = value[:32]
            readable[f"{name.upper()}_HI"] = value[32:]
        return readable

    def _write_channel(self, m: Module) -> tuple[Signal, dict[str, Value], Signal, Signal, Signal]:
        """Returns (write, registers, data, bit mask, known): ``write`` for the one cycle in which both the address,
        decoded, and the data are there; for each register whether it is the one, and may be written; ``known``, driven
        by the caller, becomes the response."""
        bus = self.bus
        address = Signal(ADDRESS_BITS - 2, reset_less=True)
        word = Signal(32, reset_less=True)
        strobe = Signal(4, reset_less=True)
        have_address = Signal()
        have_word = Signal()
        decoded = Signal()
        write = Signal()
        mask = Signal(32)
        known = Signal()
        m.d.comb += [
            bus.awready.eq(~have_address),
            bus.wready.eq(~have_word),
            write.eq(decoded & have_word & (~bus.bvalid | bus.bready)),
            mask.eq(Cat(bit.replicate(8) for bit in strobe)),
        ]
        m.d.sync += decoded.eq(have_address & ~write)
        writable: dict[str, Value] = {}
        for register in REGISTERS:
            if register.access != "ro":
                chosen = Signal(name=f"writes_{register.name.lower()}", reset_less=True)
                m.d.sync += chosen.eq(address == register.offset >> 2)
                locked = register.name.startswith(_LOCKED)
                writable[register.name] = chosen & ~self.busy if locked else chosen
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [
                have_address.eq(0),
                have_word.eq(0),
                bus.bvalid.eq(1),
                bus.bresp.eq(Mux(known, _OKAY, _SLVERR)),
            ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [have_address.eq(1), address.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [have_word.eq(1), word.eq(bus.wdata), strobe.eq(bus.wstrb)]
        return write, writable, word, mask, known

    def _read_channel(self, m: Module, readable: dict[str, Value]) -> None:
        """Address, a register for each of ``_STEPS``, data: so five cycles from one ``arvalid`` taken to the next."""
        bus = self.bus
        address = Signal(ADDRESS_BITS - 2, reset_less=True)
        # Sources, and whether there are such, by what of their word address is still to be looked at.
        sources: dict[int, tuple[Value, Value]] = {
            OFFSETS[name] >> 2: (value, Const(1)) for name, value in readable.items()
        }
        low = 0
        for step, bits in enumerate(_STEPS):
            groups: dict[int, tuple[Value, Value]] = {}
            for group in sorted({key >> bits for key in sources}):
                value = Signal(32, reset_less=True, name=f"step_{step}_{group}")
                known = Signal(reset_less=True, name=f"step_{step}_{group}_known")
                m.d.sync += known.eq(0)
                with m.Switch(address[low : low + bits]):
                    for key, (source, listed) in sources.items():
                        if key >> bits == group:
                            with m.Case(key & ((1 << bits) - 1)):
                                m.d.sync += [value.eq(source), known.eq(listed)]
                groups[group] = (value, known)
            sources, low = groups, low + bits
        value = Signal(32)
        known = Signal()
        for group, (source, listed) in sources.items():
            with m.If(address[low:] == group):
                m.d.comb += [value.eq(source), known.eq(listed)]

        looking_up = Signal(len(_STEPS) + 1)
        m.d.comb += bus.arready.eq(~looking_up.any() & ~bus.rvalid)
        m.d.sync += looking_up.eq(Cat(bus.arvalid & bus.arready, looking_up))
        with m.If(bus.arready):
            m.d.sync += address.eq(bus.araddr[2:])
        with m.If(looking_up[-1]):
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rdata.eq(Mux(known, value, 0)),
                bus.rresp.eq(Mux(known, _OKAY, _SLVERR)),
            ]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)
