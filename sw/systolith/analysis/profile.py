"""Where the cycles went: the trace of a run, shared out among the operations of its program."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from systolith.compiler.program import Operation, Program
from systolith.rtl.isa import Unit

ISSUE, RETIRE = 0, 1


@dataclass(frozen=True)
class OperationCycles:
    """One operation's share of a run.

    ``cycles`` that the array spent on it or waited for it (these add up to the run), and ``vector_cycles`` that the
    vector unit spent on it, mostly at the same time.
    """

    operation: Operation
    cycles: int
    vector_cycles: int


def operation_cycles(program: Program, events: npt.NDArray[np.void], total: int) -> list[OperationCycles]:
    """Share out ``total`` cycles among the program's operations.

    ``events`` has the fields cycle, unit, kind (0 issue, 1 retire) and index, in the order of time. From one MATRIX
    retirement to the next, the cycles before the array had its instruction go to the operation whose retirement
    it waited for (the latest before it was issued), the rest to the instruction's own.
    """
    cycles = np.zeros(len(program.operations), np.int64)
    vector = np.zeros(len(program.operations), np.int64)
    if len(events) == 0:
        return []
    start = int(events["cycle"][0])
    operation = program.operation_of[events["index"]]
    retired = events["kind"] == RETIRE
    issued_at: dict[int, int] = {}
    blamed: dict[int, int] = {}
    previous, previous_vector, latest = start, start, int(operation[0])
    for event, owner, done in zip(events, operation.tolist(), retired.tolist(), strict=True):
        cycle, unit, index = int(event["cycle"]), int(event["unit"]), int(event["index"])
        if not done:
            issued_at[index] = cycle
            blamed[index] = latest
            continue
        latest = owner
        if unit == Unit.MATRIX:
            began = max(previous, issued_at[index])
            cycles[blamed[index]] += began - previous
            cycles[owner] += cycle - began
            previous = cycle
        elif unit == Unit.VECTOR:
            vector[owner] += cycle - max(previous_vector, issued_at[index])
            previous_vector = cycle
    cycles[latest] += start + total - previous
    return [OperationCycles(o, int(c), int(v)) for o, c, v in zip(program.operations, cycles, vector, strict=True)]
