"""All that runs a program: fetch, dispatch, the four units and their memories, wired together."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect

from .accumulator import Accumulator
from .config import Config
from .controller import FAULT_REPORT
from .counters import EVENTS
from .csr_map import ARRAY_CAUSES
from .dispatch import Dispatch
from .dma.arbiter import ReadArbiter
from .dma.channels import connect_axi
from .dma.fetch import Fetch
from .dma.load import LoadUnit
from .dma.store import StoreUnit
from .interfaces import INDEX_BITS, WAITING_BITS, Axi, Regions
from .isa import HEADER, LAYOUTS, Opcode, Unit
from .matrix import MatrixUnit
from .parameters import Parameters
from .queues import Relay
from .scratchpad import Scratchpad
from .tokens import UNITS
from .vector import VectorUnit

#: Bits of what the array did in a cycle: one for each of ``csr_map.ARRAY_CAUSES`` but ``array_wait_instruction``.
CAUSE_BITS = len(ARRAY_CAUSES) - 1

#: What happened in this cycle: for each unit, an instruction queued, handed over and retired, with the indices of
#: the latter two; and what the array did, one bit set (``array_drain`` until it is known to be a wait).
TRACE = data.StructLayout(
    {
        "issued": unsigned(UNITS),
        "issued_index": unsigned(UNITS * INDEX_BITS),
        "retired": unsigned(UNITS),
        "retired_index": unsigned(UNITS * INDEX_BITS),
        "queued": unsigned(UNITS),
        "array": unsigned(CAUSE_BITS),
    }
)


class Core(wiring.Component):
    """Runs one program from ``launch`` to ``finished``. Its reset, while ``idle``, leaves nothing behind.

    Members
    -------
    bus : ``Out(Axi)``.
    launch : fetch ``program_length`` (not 0) instructions from ``program_base``.
    regions : ``In(Regions)``.
    halt : from the next cycle on no instruction is dispatched or handed over, and from the one after that no burst is
        issued. Those issued until then still go out, and are completed.
    idle : nothing was outstanding on the bus in the cycle before.
    finished : every instruction was fetched, dispatched and retired, and nothing is outstanding on the bus.
    faults : ``Out(ArrayLayout(FAULT_REPORT, SOURCES))``: the units, fetch, dispatch.
    oldest : index of the oldest unretired instruction.
    waiting : the units for whose tokens each unit's next instruction waits (``WAITING_BITS``).
    events : ``Out(EVENTS)``, all but ``cycles``.
    trace : ``Out(TRACE)``.
    """

    #: Number of fault reports: the four units, fetch, dispatch.
    SOURCES = UNITS + 2

    bus: Any
    launch: Signal
    program_base: Signal
    program_length: Signal
    regions: Any
    halt: Signal
    idle: Signal
    finished: Signal
    faults: Any
    oldest: Signal
    waiting: Signal
    events: Any
    trace: Any

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "bus": Out(Axi(config)),
                "launch": In(1),
                "program_base": In(config.axi_address_width),
                "program_length": In(32),
                "regions": In(Regions(config)),
                "halt": In(1),
                "idle": Out(1),
                "finished": Out(1),
                "faults": Out(data.ArrayLayout(FAULT_REPORT, self.SOURCES)),
                "oldest": Out(INDEX_BITS),
                "waiting": Out(WAITING_BITS),
                "events": Out(EVENTS),
                "trace": Out(TRACE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.dispatch = dispatch = Dispatch(config)
        m.submodules.fetch = fetch = Fetch(config)
        m.submodules.load = load = LoadUnit(config)
        m.submodules.matrix = matrix = MatrixUnit(config)
        m.submodules.vector = vector = VectorUnit(config)
        m.submodules.store = store = StoreUnit(config)
        units: dict[Unit, Any] = {Unit.LOAD: load, Unit.MATRIX: matrix, Unit.VECTOR: vector, Unit.STORE: store}
        for unit, component in units.items():
            self._connect_unit(m, unit, dispatch.units[unit], component.control)
        connect(m, fetch.instruction, dispatch.instructions)

        self._connect_memories(m, load, matrix, vector, store)
        self._connect_bus(m, fetch, load, store)
        # Registered, as are the faults: what decides in the controller is far from what it stops.
        halt = Signal()
        quiet = Signal()
        m.d.sync += [halt.eq(self.halt), self.idle.eq(quiet)]
        m.d.comb += [
            fetch.start.eq(self.launch),
            fetch.base.eq(self.program_base),
            fetch.length.eq(self.program_length),
            load.regions.region.eq(self.regions.region),
            store.regions.region.eq(self.regions.region),
            dispatch.halt.eq(halt),
            fetch.halt.eq(halt),
            load.halt.eq(halt),
            store.halt.eq(halt),
            quiet.eq(fetch.idle & load.idle & store.idle),
            self.oldest.eq(dispatch.oldest_pending),
            self.waiting.eq(dispatch.waiting.as_value()),
            self.trace.issued.eq(dispatch.issued),
            self.trace.issued_index.eq(dispatch.issued_index.as_value()),
            self.trace.retired.eq(dispatch.retired),
            self.trace.retired_index.eq(dispatch.retired_index.as_value()),
        ]
        accepted = Signal()
        m.d.comb += accepted.eq(fetch.instruction.valid & fetch.instruction.ready)
        for unit in Unit:
            opcode = fetch.instruction.payload[: HEADER["opcode"].width]
            m.d.comb += self.trace.queued[unit].eq(accepted & (opcode == unit + 1))
        # Dispatched counts from the core's reset, so nothing is finished before the fetch has begun.
        m.d.sync += self.finished.eq((dispatch.dispatched == self.program_length) & ~dispatch.pending & quiet)
        self._report_faults(m, dispatch, fetch, units)
        self._report_events(m, dispatch, vector)
        self._report_cause(m, dispatch, matrix)
        return m

    def _connect_unit(self, m: Module, unit: Unit, source: Any, sink: Any) -> None:
        """Hand instructions over through a relay, so that no unit's state decides on the dispatcher's.

        The MATRIX and VECTOR units have registers of their own.
        """
        if unit in (Unit.MATRIX, Unit.VECTOR):
            connect(m, source, sink)
            return
        size = LAYOUTS[Opcode[unit.name]].size
        m.submodules[f"{unit.name.lower()}_instructions"] = queue = Relay(unsigned(size))
        m.d.comb += [
            queue.i.valid.eq(source.instruction.valid),
            queue.i.payload.eq(source.instruction.payload[:size]),
            source.instruction.ready.eq(queue.i.ready),
            sink.instruction.valid.eq(queue.o.valid),
            sink.instruction.payload.eq(queue.o.payload),
            queue.o.ready.eq(sink.instruction.ready),
            source.retired.eq(sink.retired),
            source.fault.eq(sink.fault),
        ]

    def _connect_memories(
        self, m: Module, load: LoadUnit, matrix: MatrixUnit, vector: VectorUnit, store: StoreUnit
    ) -> None:
        config = self.config
        m.submodules.scratchpad = scratchpad = Scratchpad(config)
        m.submodules.accumulator = accumulator = Accumulator(config)
        m.submodules.parameters = parameters = Parameters(config)
        connect(m, matrix.activations, scratchpad.activations)
        connect(m, matrix.weights, scratchpad.weights)
        m.d.comb += scratchpad.give_way.eq(matrix.give_way)
        connect(m, matrix.accumulator, accumulator.add)
        connect(m, vector.residual, scratchpad.residual)
        connect(m, vector.result, scratchpad.vector)
        connect(m, vector.accumulator_read, accumulator.read)
        connect(m, vector.accumulator_write, accumulator.write)
        connect(m, vector.maximum, accumulator.maximum)
        connect(m, vector.parameters, parameters.read)
        connect(m, load.scratchpad, scratchpad.load)
        connect(m, load.parameters, parameters.load)
        connect(m, store.scratchpad, scratchpad.store)

    def _connect_bus(self, m: Module, fetch: Fetch, load: LoadUnit, store: StoreUnit) -> None:
        m.submodules.arbiter = arbiter = ReadArbiter(self.config)
        connect(m, load.bus, arbiter.load)
        connect(m, fetch.bus, arbiter.fetch)
        connect_axi(m, self.bus, arbiter.axi)
        connect_axi(m, self.bus, store.axi)

    def _report_faults(self, m: Module, dispatch: Dispatch, fetch: Fetch, units: dict[Unit, Any]) -> None:
        """Units raise a fault when its instruction is their oldest in flight; fetch and dispatch when it is next."""
        next_index = dispatch.dispatched[:INDEX_BITS]
        for unit, component in units.items():
            m.d.sync += [
                self.faults[unit].code.eq(component.control.fault),
                self.faults[unit].index.eq(dispatch.oldest[unit]),
            ]
        for source, code in enumerate((fetch.fault, dispatch.fault), start=UNITS):
            m.d.sync += [self.faults[source].code.eq(code), self.faults[source].index.eq(next_index)]

    def _report_events(self, m: Module, dispatch: Dispatch, vector: VectorUnit) -> None:
        events = self.events
        for unit in Unit:
            name = unit.name.lower()
            m.d.comb += [
                events[f"{name}_busy"].eq(dispatch.busy[unit]),
                events[f"{name}_token_wait"].eq(dispatch.waiting[unit].any()),
            ]
        m.d.comb += [
            events.instructions.eq(sum(dispatch.retired)),
            events.vector_beats.eq(vector.beat),
            events.read_beats.eq(self.bus.rvalid & self.bus.rready),
            events.write_beats.eq(self.bus.wvalid & self.bus.wready),
        ]

    def _report_cause(self, m: Module, dispatch: Dispatch, matrix: MatrixUnit) -> None:
        """Exactly one of ``csr_map.ARRAY_CAUSES`` in every cycle; :class:`Counters` tells wait from drain."""
        queued = dispatch.queued[Unit.MATRIX]
        waiting = dispatch.waiting[Unit.MATRIX]
        # The first three exclude each other. They are known last, and decide on the others at the end.
        edge = {
            "array_busy": matrix.row_streamed,
            "array_bank_wait": matrix.bank_wait,
            "array_weight_wait": matrix.weight_wait,
        }
        others = {
            # Handed over before, in this cycle, or as soon as a slot is free.
            "array_fill": matrix.rows_left | (queued & ~waiting.any()),
            "array_wait_load": waiting[Unit.LOAD],
            "array_wait_vector": waiting[Unit.VECTOR],
            "array_wait_store": waiting[Unit.STORE],
            "array_drain": ~queued,
        }
        other = Signal(len(others))
        for i, condition in enumerate(others.values()):
            with m.Elif(condition) if i else m.If(condition):
                m.d.comb += other[i].eq(1)
        elsewhere = ~Cat(edge.values()).any()
        cause = Cat(*edge.values(), *(bit & elsewhere for bit in other))
        m.d.comb += [self.events[name].eq(cause[i]) for i, name in enumerate((*edge, *others))]
        m.d.comb += self.trace.array.eq(cause)
