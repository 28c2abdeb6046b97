"""The functional device cut at its operands: an instruction computes from memories as they were when it read them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from systolith.compiler.footprint import accumulator_span
from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Opcode
from systolith.runtime.functional import Array, FunctionalDevice

Outcome = tuple[bytes, ...]
#: Memories on the chip that instructions take operands from when they read, as attributes of the device.
_OPERANDS = {
    Opcode.LOAD: (),
    Opcode.MATRIX: ("scratchpad",),
    Opcode.VECTOR: ("scratchpad", "accumulator", "planes", "maximum", "reciprocal"),
    Opcode.STORE: ("scratchpad",),
}


class InterleavedDevice(FunctionalDevice):
    """Runs a program's instructions in any order of reads and writes, with the arithmetic of the functional device.

    A read keeps a copy of whole memories, so what an instruction really takes from them needs no list. Results,
    row sums, and the sums and maxima that a MATRIX adds to, are updated in the memories as they are at the write.

    Parameters
    ----------
    program, regions : instructions and the DRAM regions, uint8, of whole rows or not.
    seed : int
        Of the contents of the memories on the chip before the program.
    """

    def __init__(
        self, config: Config, program: Sequence[Instruction], regions: Sequence[npt.NDArray[np.uint8]], *, seed: int
    ) -> None:
        super().__init__(config, seed=seed)
        self._program = tuple(program)
        pitch = config.row_pitch
        padded = [np.concatenate([r, np.zeros(-len(r) % pitch, np.uint8)]).astype(np.uint8) for r in regions]
        self._dram: list[Array] = [r.view(np.int8).reshape(-1, pitch) for r in padded]
        self._held: dict[int, dict[str, Array]] = {}

    def read(self, index: int) -> None:
        i = self._program[index]
        held = {name: getattr(self, name).copy() for name in _OPERANDS[i.opcode]}
        if i.opcode == Opcode.LOAD:
            held["region"] = self._dram[i.region].copy()
        self._held[index] = held

    def write(self, index: int) -> None:
        i, held = self._program[index], self._held.pop(index)
        if i.opcode == Opcode.LOAD:
            self._load(i, [held["region"] if r == i.region else part for r, part in enumerate(self._dram)])
        elif i.opcode == Opcode.STORE:
            present = self._exchange(held)
            self._store(i, self._dram)
            self._exchange(present)
        elif i.opcode == Opcode.MATRIX:
            present = self._exchange(held)
            self._matrix(i)
            self._exchange(present)
        else:
            self._compute(i, held)

    def _exchange(self, memories: dict[str, Array]) -> dict[str, Array]:
        """Put ``memories`` in place of the device's own, which are returned."""
        present = {name: getattr(self, name) for name in memories}
        for name, memory in memories.items():
            setattr(self, name, memory)
        return present

    def _compute(self, i: Instruction, held: dict[str, Array]) -> None:
        if i.function == Function.RESIDUAL:
            # Reads its accumulator rows and writes them; its reciprocals are results, not operands.
            del held["reciprocal"]
            present = self._exchange(held)
            self._vector(i)
            span = accumulator_span(i)
            span.view(present["accumulator"])[...] = span.view(self.accumulator)
        else:
            # Writes the scratchpad and, for EXPONENT, reciprocals.
            del held["scratchpad"]
            if i.function == Function.EXPONENT:
                del held["reciprocal"]
            present = self._exchange(held)
            self._vector(i)
        self._exchange(present)

    def outcome(self) -> Outcome:
        """Every byte of every memory."""
        memories: list[Array] = [self.scratchpad, self.accumulator, self.planes, self.maximum]
        memories += [self.total, self.squares, self.reciprocal, *self._dram]
        return tuple(memory.tobytes() for memory in memories)
