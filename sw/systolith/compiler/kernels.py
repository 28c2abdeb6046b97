"""Programs of less than a layer: what all of them share.

Their operations are of no layer: their ``layer`` is -1, and their tensors are ``input`` and ``output`` (for attention
``input`` is the queries, and ``key`` and ``value`` lie beside it).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.rtl.isa import Instruction, assemble

from .arena import Arena
from .emit import Emitter
from .hazards import ProgramError, synchronize
from .plan import Plan
from .program import CONSTANTS, OBSERVED, Program, Tensor


class Kernel:
    """DRAM tensors, the emitter and the finished program of one kernel."""

    def __init__(self, config: Config, tokens: int, ring_rows: int, chunk_rows: int) -> None:
        self.config, self.tokens = config, tokens
        self.e = Emitter(
            config=config,
            plan=Plan(
                project_rows=tokens, query_rows=tokens, block_rows=tokens, ffn_tiles=1, x_resident=True,
                context_resident=False, ring_rows=ring_rows, chunk_rows=chunk_rows, cycles=0.0,
            ),
            ring=Arena("weight ring", config.scratchpad_rows - ring_rows, ring_rows),
            accumulator=Arena("accumulator", 0, config.accumulator_rows),
            parameters=Arena("parameters", 0, config.parameter_rows),
            statistics=Arena("statistics", 0, config.statistics_rows),
        )  # fmt: skip
        self.sizes = [0] * (OBSERVED + 1)
        self.tensors: dict[str, Tensor] = {}

    def tensor(self, name: str, region: int, groups: int, columns: int, width: int) -> Tensor:
        """A new DRAM tensor (tokens, groups x columns) in blocks of ``width``."""
        tensor = Tensor(region, self.sizes[region], self.tokens, groups, columns, width, self.config.row_pitch)
        self.sizes[region] += tensor.size
        self.tensors[name] = tensor
        return tensor

    def _region_bytes(self) -> tuple[int, ...]:
        self.sizes[CONSTANTS] = len(self.e.constants)
        return tuple(max(size, self.config.row_pitch) for size in self.sizes)

    def instructions(self) -> list[Instruction]:
        """The instructions of the program that :meth:`finish` makes, not verified."""
        return synchronize(self.e.instructions, self.config, self._region_bytes())

    def finish(self) -> Program:
        e = self.e
        region_bytes = self._region_bytes()
        constants = np.zeros(region_bytes[CONSTANTS], np.uint8)
        constants[: len(e.constants)] = np.frombuffer(bytes(e.constants), np.uint8)
        program = Program(
            config=self.config,
            image=assemble(self.instructions()),
            constants=constants,
            region_bytes=region_bytes,
            operations=tuple(e.operations),
            operation_of=np.array(e.operation_of, np.int32),
            tensors=self.tensors,
        )
        program.verify()
        return program


def regions_of(program: Program, inputs: Mapping[str, npt.NDArray[np.int8]]) -> list[npt.NDArray[np.uint8]]:
    """DRAM regions ready to run on ``inputs``, int8 (tokens, groups x columns) by the names of their tensors.

    Raises
    ------
    ProgramError
        If an input is of another shape than its tensor.
    """
    regions = [np.zeros(size, np.uint8) for size in program.region_bytes]
    regions[CONSTANTS][:] = program.constants
    for name, values in inputs.items():
        place = program.tensors[name]
        shape = (place.tokens, place.groups * place.columns)
        if values.shape != shape:
            raise ProgramError(f"{name} of shape {values.shape}; the program takes {shape}")
        regions[place.region][place.offset : place.offset + place.size] = place.pack(values)
    return regions
