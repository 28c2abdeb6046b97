"""Which instruction may start, and when one has retired."""

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..config import Config
from ..interfaces import Fault, UnitControl
from ..isa import LAYOUTS, Function, Opcode
from ..queues import Queue
from .arithmetic import one_of, supported

#: Instructions started and not retired.
IN_FLIGHT = 8


class Order(wiring.Component):
    """Keeps program order among the unit's own instructions by one rule, *drain before start*.

    An instruction waits until all earlier ones have retired

    - if it is a RESIDUAL (its skip operand may be an earlier result), or one has not retired (its accumulator rows
      may be this one's operands, and LayerNorm's statistics use the fields of the last instruction started);
    - if it reads reciprocals (CONTEXT, LAYERNORM) and an EXPONENT has not retired.

    All others follow each other without a pause: reads, results, sums and reciprocals pass one pipeline in order. An
    instruction retires, in order, when its last result is written and, if it completes sums, its last reciprocal is.
    A fault is raised when all instructions before the faulty one have retired; nothing starts after it.

    Members
    -------
    control : ``In(UnitControl())``.
    start : ``Out(1)``, ``instruction`` begins.
    instruction : ``Out``, the last instruction started.
    active : ``In(1)``, its beats are not all prepared.
    out_of_range : ``In(1)``, it addresses a row that does not exist.
    written, inverted : ``In(1)``, an instruction's last result, last reciprocal is being written.
    """

    control: Any
    start: Signal
    instruction: Any
    active: Signal
    out_of_range: Signal
    written: Signal
    inverted: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitControl()),
                "start": Out(1),
                "instruction": Out(LAYOUTS[Opcode.VECTOR]),
                "active": In(1),
                "out_of_range": In(1),
                "written": In(1),
                "inverted": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # One bit for each instruction in flight: it completes sums.
        m.submodules.in_flight = in_flight = Queue(unsigned(1), IN_FLIGHT)
        layout = LAYOUTS[Opcode.VECTOR]
        stream = self.control.instruction
        arriving = data.View(layout, stream.payload[: layout.size])
        # The next instruction waits here, already judged.
        waiting = Signal()
        offered = Signal(layout, reset_less=True)
        legal = Signal(reset_less=True)
        # It waits for all before it, whatever these are.
        alone = Signal(reset_less=True)
        residual, exponent, inverse = (
            Signal(reset_less=True, name=name) for name in ("residual", "exponent", "inverse")
        )
        halted = Signal()
        empty = Signal()
        drain = Signal()
        accepted = Signal()
        residual_pending = Signal()
        exponent_pending = Signal()
        # The instruction that starts completes sums. In flight it is a cycle later; none is accepted before that.
        summing = Signal(reset_less=True)
        m.d.comb += [
            empty.eq(~in_flight.o.valid),
            drain.eq(alone | residual_pending | (inverse & exponent_pending)),
            stream.ready.eq(~waiting),
            accepted.eq(
                waiting
                & ~(self.start | self.active | self.out_of_range | halted)
                & in_flight.i.ready
                & (empty | ~drain)
            ),
            in_flight.i.valid.eq(self.start),
            in_flight.i.payload.eq(summing),
        ]
        judged = self._is(arriving, *supported(self.config)) & arriving.rows.any() & arriving.blocks.any()
        with m.If(~waiting):
            m.d.sync += [
                waiting.eq(stream.valid),
                offered.eq(arriving),
                residual.eq(self._is(arriving, Function.RESIDUAL)),
                exponent.eq(self._is(arriving, Function.EXPONENT)),
                inverse.eq(self._is(arriving, Function.CONTEXT, Function.LAYERNORM)),
                legal.eq(judged),
                alone.eq(self._is(arriving, Function.RESIDUAL) | ~judged),
            ]
        m.d.sync += [
            self.start.eq(accepted & legal),
            summing.eq(offered.last & (residual | exponent)),
            residual_pending.eq((residual_pending & (self.start | ~empty)) | (accepted & residual)),
            exponent_pending.eq((exponent_pending & (self.start | ~empty)) | (accepted & exponent)),
        ]
        with m.If(accepted):
            m.d.sync += [waiting.eq(0), self.instruction.eq(offered)]

        m.d.sync += self.control.fault.eq(Fault.NONE)
        with m.If(accepted & ~legal):
            m.d.sync += [self.control.fault.eq(Fault.ILLEGAL_INSTRUCTION), halted.eq(1)]
        with m.Elif(self.out_of_range & (in_flight.level == 1) & ~halted):
            m.d.sync += [self.control.fault.eq(Fault.ADDRESS), halted.eq(1)]

        retire = Signal()
        results = self._count(m, self.written, retire, "results")
        reciprocals = self._count(m, self.inverted, retire & in_flight.o.payload, "reciprocals")
        m.d.comb += [
            retire.eq(in_flight.o.valid & (results != 0) & ((reciprocals != 0) | ~in_flight.o.payload)),
            in_flight.o.ready.eq(retire),
        ]
        m.d.sync += self.control.retired.eq(retire)
        return m

    def _is(self, instruction: Any, *functions: Function) -> Any:
        return one_of(instruction.function, set(functions), self.config)

    @staticmethod
    def _count(m: Module, up: Signal, down: Any, name: str) -> Signal:
        """Instructions whose part ``name`` is done and that have not retired."""
        count = Signal(range(IN_FLIGHT + 1), name=f"{name}_done")
        m.d.sync += count.eq(count + up - down)
        return count
