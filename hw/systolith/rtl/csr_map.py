"""The register map, defined once: CSR decoder, drivers and documentation read it here."""

from dataclasses import dataclass

from .interfaces import Fault, Regions

IDENTITY = 0x5359534C
VERSION = 1
#: Bits of a CSR byte address.
ADDRESS_BITS = 12


@dataclass(frozen=True)
class Bits:
    """Part of a register: its lowest bit, its width and meaning."""

    name: str
    low: int
    width: int
    doc: str


@dataclass(frozen=True)
class Register:
    """One 32-bit register: byte offset, access (``ro``, ``rw``, ``w1c``, ``wo``), meaning, parts if any."""

    name: str
    offset: int
    access: str
    doc: str
    parts: tuple[Bits, ...] = ()


#: What the array did in each cycle of a program: the first of these that applies, so that they add up to ``cycles``.
ARRAY_CAUSES: tuple[tuple[str, str], ...] = (
    ("array_busy", "Cycles in which an activation row entered the array. This and the next eight add up to `CYCLES`."),
    ("array_bank_wait", "Other cycles without an activation row because its read had waited for a scratchpad bank."),
    ("array_weight_wait", "Other cycles in which the first row of a tile waited for the tile's weights to shift in."),
    ("array_fill", "Other cycles in which a MATRIX was handed over and not all of its rows had entered the array."),
    ("array_wait_load", "Other cycles in which the next MATRIX waited for a token from LOAD."),
    ("array_wait_vector", "Other cycles in which it waited for a token from VECTOR."),
    ("array_wait_store", "Other cycles in which it waited for a token from STORE."),
    ("array_wait_instruction", "Other cycles in which no MATRIX was queued, before the last one was."),
    ("array_drain", "Other cycles in which no MATRIX was queued, after the last one."),
)

#: Counters of 64 bits each (LO then HI), cleared when a program starts.
COUNTERS: tuple[tuple[str, str], ...] = (
    ("cycles", "Cycles from the start of the program to its end."),
    ("instructions", "Instructions retired."),
    ("load_busy", "Cycles with a LOAD in flight."),
    ("matrix_busy", "Cycles with a MATRIX in flight."),
    ("vector_busy", "Cycles with a VECTOR in flight."),
    ("store_busy", "Cycles with a STORE in flight."),
    ("load_token_wait", "Cycles that a LOAD at the head of its queue waited for a token."),
    ("matrix_token_wait", "The same for MATRIX."),
    ("vector_token_wait", "The same for VECTOR."),
    ("store_token_wait", "The same for STORE."),
    *ARRAY_CAUSES,
    ("vector_beats", "Beats of lanes processed by the vector unit."),
    ("read_beats", "AXI data beats read, fetch included."),
    ("write_beats", "AXI data beats written."),
)

_COUNTER_BASE = 0x200

# fmt: off
REGISTERS: tuple[Register, ...] = (
    Register("ID", 0x000, "ro", "Always 0x5359534C."),
    Register("VERSION", 0x004, "ro", "Version of this map and of the instruction set."),
    Register(
        "CONTROL", 0x008, "wo", "Commands.",
        (Bits("start", 0, 1, "start the program"), Bits("reset", 1, 1, "reset after a fault, or stop a program")),
    ),
    Register(
        "STATUS", 0x00C, "ro", "State.",
        (
            Bits("busy", 0, 1, "a program runs"),
            Bits("done", 1, 1, "the last program ended"),
            Bits("fault", 2, 1, "the last program was stopped by a fault"),
            Bits("unanswered", 3, 1, "bursts of a stopped program are unanswered; before a start or a reset they must "
                 "be answered, or the memory be reset"),
        ),
    ),
    Register(
        "IRQ_ENABLE", 0x010, "rw", "What interrupts.",
        (Bits("done", 0, 1, "interrupt on done"), Bits("fault", 1, 1, "interrupt on fault")),
    ),
    Register(
        "IRQ_STATUS", 0x014, "w1c", "The interrupt is the OR of the enabled bits.",
        (Bits("done", 0, 1, "done"), Bits("fault", 1, 1, "fault")),
    ),
    Register(
        "FAULT_CODE", 0x018, "ro",
        "Why the accelerator stopped: " + ", ".join(f"{fault.value} {fault.name}" for fault in Fault) + ".",
    ),
    Register("FAULT_INDEX", 0x01C, "ro", "Index of the instruction at fault."),
    Register("PROGRAM_BASE_LO", 0x020, "rw", "Address of the program; bits below the bus width in bytes are 0."),
    Register("PROGRAM_BASE_HI", 0x024, "rw", "Its upper bits."),
    Register("PROGRAM_LENGTH", 0x028, "rw", "Number of instructions."),
    Register("WATCHDOG", 0x02C, "rw", "Cycles without a retired instruction that count as a fault; 0 is never."),
    Register(
        "ARRAY", 0x030, "ro", "Size of the array.",
        (Bits("rows", 0, 16, "array rows"), Bits("cols", 16, 16, "array columns")),
    ),
    Register(
        "LANES", 0x034, "ro", "Widths.",
        (Bits("lanes", 0, 16, "vector lanes"), Bits("bus_bytes", 16, 16, "bytes of the AXI4 data bus")),
    ),
    Register("SCRATCHPAD", 0x038, "ro", "Scratchpad rows."),
    Register("ACCUMULATOR", 0x03C, "ro", "Accumulator rows."),
    Register("PARAMETERS", 0x040, "ro", "Parameter rows."),
    Register("STATISTICS", 0x044, "ro", "Statistics rows."),
    Register(
        "FAULT_WAITING",
        0x048,
        "ro",
        "At the fault, which units' instructions waited for a token, and whose: bit 4u + v, unit u waited for unit v.",
    ),
    *(
        Register(f"REGION{i}_{part}", 0x100 + 16 * i + offset, "rw", doc.format(i))
        for i in range(Regions.COUNT)
        for part, offset, doc in (
            ("BASE_LO", 0, "Address of region {}; bits below the bus width in bytes are 0."),
            ("BASE_HI", 4, "Its upper bits."),
            ("SIZE", 8, "Bytes of region {}; transfers beyond it fault."),
        )
    ),
    *(
        Register(
            f"{name.upper()}_{half}", _COUNTER_BASE + 8 * i + 4 * high, "ro", doc if not high else "Its upper bits."
        )
        for i, (name, doc) in enumerate(COUNTERS)
        for high, half in enumerate(("LO", "HI"))
    ),
)
# fmt: on

OFFSETS: dict[str, int] = {register.name: register.offset for register in REGISTERS}
