"""Running an encoder on a device and checking every layer against the integer reference, bit for bit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from systolith.analysis.bounds import Work, encoder_work
from systolith.analysis.profile import OperationCycles, operation_cycles
from systolith.compiler.compile import OBSERVABLE, compile_encoder
from systolith.compiler.hazards import ProgramError
from systolith.compiler.program import OBSERVED, OUTPUT, Program
from systolith.models.quantized import QuantizedEncoder

from .device import AcceleratorError, Device, DeviceFault, RunResult

Int8Array = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Difference:
    """The first element that is not what the integer reference says."""

    layer: int
    operation: str
    row: int
    column: int
    expected: int
    got: int

    def __str__(self) -> str:
        return (
            f"layer {self.layer}, {self.operation}, row {self.row}, column {self.column}: "
            f"expected {self.expected}, got {self.got}"
        )


@dataclass(frozen=True)
class Outcome:
    """A checked run.

    Attributes
    ----------
    outputs : int8 (tokens, hidden) of every layer, as the device made them
    difference : the first element that differs from the integer reference, or None
    operations : cycles of each operation; empty where nothing was simulated
    work : what any schedule of it must do, of which ``analysis.bounds.bound`` makes the fewest cycles
    """

    program: Program
    result: RunResult
    outputs: list[Int8Array]
    difference: Difference | None
    operations: list[OperationCycles]
    work: Work

    @property
    def bit_exact(self) -> bool:
        return self.difference is None

    @property
    def cycles(self) -> int | None:
        """Cycles that the RTL took; None where nothing was simulated."""
        return self.result.counters["cycles"] if self.result.simulated else None

    @property
    def utilization(self) -> float | None:
        """Multiply-accumulates over those that the array could do in :attr:`cycles`."""
        config = self.program.config
        return self.program.macs / (config.rows * config.cols * self.cycles) if self.cycles else None


def run_encoder(
    encoder: QuantizedEncoder,
    x: Int8Array,
    device: Device,
    *,
    valid: int | None = None,
    program: Program | None = None,
) -> Outcome:
    """Run ``encoder`` on ``x`` (tokens, hidden) on ``device`` and check every layer.

    The reference computes with the approximation of the device's configuration, whatever the encoder's is.
    ``program`` is compiled for the tokens of ``x`` if not given. If a layer differs, the encoder runs again with
    every tensor stored, to find the operation that went wrong first.

    Raises
    ------
    ProgramError
        If ``program`` is for another configuration, an input of another shape, another number of layers or other
        weights.
    """
    encoder = encoder.approximated(device.config.approximation)
    if program is None:
        program = compile_encoder(encoder, device.config, len(x), valid=valid)
    program.check_config(device.config)
    if program.layers != len(encoder.layers):
        raise ProgramError(f"program of {program.layers} layers; {encoder.name} has {len(encoder.layers)}")
    regions = program.regions(x)
    if program.encoder != encoder.digest:
        raise ProgramError(
            f"program for other weights: the encoder's digest is {program.encoder or 'missing'} there, "
            f"{encoder.digest} here"
        )
    result = device.run(program.image, regions)
    outputs = [program.tensors[f"layer{i}"].unpack(result.regions[OUTPUT]) for i in range(len(encoder.layers))]
    difference = None
    for layer, (got, expected) in enumerate(zip(outputs, encoder.forward(x, valid), strict=True)):
        if not np.array_equal(got, expected):
            difference = _locate(encoder, x, device.unrecorded(), valid) or _first(layer, "output", expected, got)
            break
    operations = []
    if result.events is not None and result.simulated:
        operations = operation_cycles(program, result.events, result.counters["cycles"])
    first = encoder.layers[0]
    work = encoder_work(
        layers=len(encoder.layers), hidden=first.hidden, heads=first.heads, ffn=first.ffn, tokens=len(x), keys=valid
    )
    return Outcome(program, result, outputs, difference, operations, work)


def _first(layer: int, name: str, expected: npt.NDArray[np.generic], got: npt.NDArray[np.generic]) -> Difference | None:
    wrong = np.argwhere(expected != got)
    if len(wrong) == 0:
        return None
    row, column = (int(v) for v in wrong[0])
    return Difference(layer, name, row, column, int(expected[row, column]), int(got[row, column]))


def _locate(encoder: QuantizedEncoder, x: Int8Array, device: Device, valid: int | None) -> Difference | None:
    """The first tensor, in the order in which they are made, that differs in a run that stores them all.

    None if none does, or an accelerator that computes wrongly does not end this program.
    """
    program = compile_encoder(encoder, device.config, len(x), valid=valid, observe=True)
    try:
        region = device.run(program.image, program.regions(x)).regions[OBSERVED]
    except (DeviceFault, AcceleratorError):
        return None
    hidden: npt.NDArray[np.generic] = x
    for index, layer in enumerate(encoder.layers):
        expected: dict[str, npt.NDArray[np.generic]] = {}
        hidden = layer.forward(hidden, valid, expected.__setitem__)
        for name in OBSERVABLE:
            found = _first(index, name, expected[name], program.tensors[f"layer{index}.{name}"].unpack(region))
            if found is not None:
                return found
    return None
