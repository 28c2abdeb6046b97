"""The vector unit: VECTOR instructions, from the accumulator back to the scratchpad."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..config import Config
from ..interfaces import (
    READ_LATENCY,
    AccumulatorRead,
    AccumulatorWrite,
    MaximumRead,
    ParameterRead,
    RowWrite,
    ScratchpadRead,
    UnitControl,
)
from ..isa import Function
from .arithmetic import delayed
from .issue import Issue
from .lanes import Lanes
from .order import Order
from .output import Output
from .skip import SkipReader
from .statistics import RowStatistics


class VectorUnit(wiring.Component):
    """Executes VECTOR instructions as docs/architecture.md says, one beat of lanes a cycle.

    :class:`Order` starts instructions and retires them; :class:`Issue` reads the accumulator for each beat; two cycles
    later the row meets its parameters, statistics and skip operand in the :class:`Lanes`; :class:`Output` writes the
    results while :class:`RowStatistics` adds them up. From issue to output nothing stalls: what a beat needs, and
    room for its result, is there before it is issued.

    Members
    -------
    control : ``In(UnitControl())``.
    accumulator_read, accumulator_write : ``Out``, the accumulator's ports.
    residual, result : ``Out``, the scratchpad's read and write port.
    maximum, parameters : ``Out``, read ports that are never busy.
    beat : ``Out(1)``, a beat enters the pipeline.
    """

    control: Any
    accumulator_read: Any
    accumulator_write: Any
    residual: Any
    result: Any
    maximum: Any
    parameters: Any
    beat: Signal

    def __init__(self, config: Config) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(UnitControl()),
                "accumulator_read": Out(AccumulatorRead(config)),
                "accumulator_write": Out(AccumulatorWrite(config)),
                "residual": Out(ScratchpadRead(config)),
                "result": Out(RowWrite(config.scratchpad_rows, config.row_bytes)),
                "maximum": Out(MaximumRead(config)),
                "parameters": Out(ParameterRead(config)),
                "beat": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.order = order = Order(config)
        m.submodules.issue = issue = Issue(config)
        m.submodules.lanes = lanes = Lanes(config)
        m.submodules.output = output = Output(config)
        connect(m, flipped(self.control), order.control)
        connect(m, issue.request, flipped(self.accumulator_read.request))
        connect(m, output.result, flipped(self.result))
        connect(m, output.accumulator, flipped(self.accumulator_write))

        # The small memories take one cycle, and are slow to answer: what they give is registered, as the row is.
        ahead, arrived = delayed(m, issue.beat, READ_LATENCY)[-2:]
        parameters = Signal.like(self.parameters.data, reset_less=True)
        maximum = Signal.like(self.maximum.data, reset_less=True)
        m.d.sync += [parameters.eq(self.parameters.data), maximum.eq(self.maximum.data)]
        valids = delayed(m, issue.issued, READ_LATENCY + lanes.latency, reset=True)
        m.d.comb += [
            issue.start.eq(order.start),
            issue.instruction.eq(order.instruction),
            issue.room.eq(output.room),
            order.active.eq(issue.active),
            order.out_of_range.eq(issue.out_of_range),
            order.written.eq(output.completed),
            output.issued.eq(issue.issued),
            output.placement.eq(issue.placement),
            self.beat.eq(issue.issued),
            self.parameters.address.eq(issue.beat.parameter_row),
            self.maximum.address.eq(issue.beat.row.stat_row),
            lanes.beat.eq(ahead),
            lanes.accumulator.eq(self.accumulator_read.data),
            lanes.parameters.eq(parameters),
            lanes.maximum.eq(maximum),
            output.valid.eq(valids[-1]),
            output.lanes.eq(lanes.result),
        ]
        if config.softmax or config.layernorm:
            m.submodules.statistics = statistics = RowStatistics(config)
            m.d.comb += [
                statistics.valid.eq(valids[-1]),
                statistics.row.eq(delayed(m, arrived.row, lanes.latency)[-1]),
                statistics.lanes.eq(lanes.result),
                statistics.columns.eq(order.instruction.multiplier),
                statistics.mean_multiplier.eq(order.instruction.mean_multiplier),
                statistics.stat_row.eq(issue.beat.row.stat_row),
                lanes.reciprocal.eq(delayed(m, statistics.reciprocal, 1)[1]),
                order.inverted.eq(statistics.completed),
            ]
        if config.layernorm:
            m.submodules.skip = skip = SkipReader(config)
            connect(m, skip.read, flipped(self.residual))
            m.d.comb += [
                skip.start.eq(order.start & (order.instruction.function == Function.RESIDUAL)),
                skip.instruction.eq(order.instruction),
                skip.claim.eq(issue.issued & (issue.beat.function == Function.RESIDUAL)),
                skip.take.eq(valids[READ_LATENCY] & (arrived.function == Function.RESIDUAL)),
                issue.skip_ready.eq(skip.available),
                lanes.skip.eq(skip.lanes),
                order.out_of_range.eq(issue.out_of_range | skip.out_of_range),
            ]
        return m
