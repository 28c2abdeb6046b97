"""What the benchmark runs: each workload compiles itself, runs on a device and is checked bit for bit."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from systolith.compiler.attention_kernel import compile_attention
from systolith.compiler.compile import compile_encoder
from systolith.compiler.gemm import compile_gemm
from systolith.compiler.kernels import regions_of
from systolith.compiler.mapping import ProductMapping
from systolith.compiler.plan import Plan
from systolith.compiler.program import OUTPUT, Program
from systolith.models.quantized import Projection, QuantizedLayer
from systolith.models.registry import Model, load_model
from systolith.numerics import integer
from systolith.rtl.config import Config
from systolith.runtime.device import Device, RunResult
from systolith.runtime.session import run_encoder

from .bounds import Work, attention_work, encoder_work, gemm_work


@dataclass(frozen=True)
class Measurement:
    """One checked run: ``difference`` says where it departs from the integer reference, None if nowhere."""

    program: Program
    result: RunResult
    compile_seconds: float
    difference: str | None


class Workload(ABC):
    """A computation with a size: :attr:`work` is what it must do, :meth:`run` does it."""

    @property
    @abstractmethod
    def work(self) -> Work:
        """Products and bytes of the workload."""

    @abstractmethod
    def run(self, device: Device) -> Measurement:
        """Compile for the device's configuration, run and check."""


@lru_cache(maxsize=2)
def _model(name: str, layers: int, hidden: int, heads: int, ffn: int, tokens: int) -> Model:
    if name == "random":
        return load_model(name, layers=layers, hidden=hidden, heads=heads, ffn=ffn, tokens=tokens)
    return load_model(name, layers=layers)


@dataclass(frozen=True, kw_only=True)
class EncoderWorkload(Workload):
    """``layers`` whole encoder layers, cut as ``plan`` says, by default as the compiler chooses.

    A model of trained weights gets as many words as make ``tokens`` tokens.
    """

    hidden: int
    heads: int
    ffn: int
    tokens: int
    layers: int = 1
    model: str = "random"
    plan: Plan | None = None

    @property
    def work(self) -> Work:
        return encoder_work(
            layers=self.layers, hidden=self.hidden, heads=self.heads, ffn=self.ffn, tokens=self.tokens
        )  # fmt: skip

    def run(self, device: Device) -> Measurement:
        model = _model(self.model, self.layers, self.hidden, self.heads, self.ffn, self.tokens)
        # Each "word" is one token, between the two that mark the ends.
        x = model.prepare("word " * (self.tokens - 2))
        program, seconds = timed(lambda: compile_encoder(model.quantized, device.config, self.tokens, plan=self.plan))
        outcome = run_encoder(model.quantized, x, device, program=program)
        difference = str(outcome.difference) if outcome.difference else None
        return Measurement(program, outcome.result, seconds, difference)


@dataclass(frozen=True, kw_only=True)
class GemmWorkload(Workload):
    """int8 (rows, depth) x (depth, columns), requantised to int8: random operands that fill the range."""

    rows: int
    depth: int
    columns: int
    mapping: ProductMapping | None = None

    @property
    def work(self) -> Work:
        return gemm_work(self.rows, self.depth, self.columns)

    def run(self, device: Device) -> Measurement:
        draw = np.random.default_rng((self.rows, self.depth, self.columns))
        x = draw.integers(-128, 128, (self.rows, self.depth), np.int8)
        # Sums deviate by 74**2 * sqrt(depth); a multiplier of 2**15 / 2**shift brings that to some 40 units.
        shift = round(np.log2(74**2 * self.depth**0.5 / 40)) + 15
        projection = Projection(
            weight=draw.integers(-128, 128, (self.depth, self.columns), np.int8),
            bias=draw.integers(-(1 << 16), 1 << 16, self.columns, np.int32),
            multiplier=draw.integers(1 << 14, 1 << 16, self.columns, np.uint16),
            shift=shift,
        )
        program, seconds = timed(lambda: compile_gemm(device.config, projection, self.rows, self.mapping))
        expected = integer.requantize(
            integer.matmul(x, projection.weight), projection.bias, projection.multiplier, shift
        )  # fmt: skip
        return checked(device, program, seconds, {"input": x}, expected)


@dataclass(frozen=True, kw_only=True)
class AttentionWorkload(Workload):
    """softmax(Q K') V of ``heads`` heads of ``size`` columns, with the constants of a random encoder's layer."""

    heads: int
    size: int
    tokens: int

    @property
    def work(self) -> Work:
        return attention_work(self.heads, self.size, self.tokens)

    def compile(self, config: Config) -> Program:
        """Its program; ``CapacityError`` if it does not fit."""
        layer, _ = attention_tensors(self.heads, self.size, self.tokens, config.approximation)
        return compile_attention(config, layer, self.tokens)

    def run(self, device: Device) -> Measurement:
        _, seen = attention_tensors(self.heads, self.size, self.tokens, device.config.approximation)
        program, seconds = timed(lambda: self.compile(device.config))
        inputs = {"input": seen["query"], "key": seen["key"], "value": seen["value"]}
        return checked(device, program, seconds, inputs, seen["context"])


def attention_tensors(
    heads: int, size: int, tokens: int, approximation: str
) -> tuple[QuantizedLayer, dict[str, npt.NDArray[np.int8]]]:
    """The layer of a random encoder of ``heads`` heads of ``size`` columns, and its int8 tensors by name."""
    hidden = heads * size
    return layer_tensors(hidden, heads, hidden, tokens, approximation)


@lru_cache(maxsize=2)
def layer_tensors(
    hidden: int, heads: int, ffn: int, tokens: int, approximation: str
) -> tuple[QuantizedLayer, dict[str, npt.NDArray[np.int8]]]:
    """The layer of a random encoder, and its int8 tensors by name: ``input`` and those that it lets observe."""
    model = _model("random", 1, hidden, heads, ffn, tokens)
    layer = model.quantized.approximated(approximation).layers[0]
    seen = {"input": model.prepare()}
    layer.forward(seen["input"], observe=seen.__setitem__)
    return layer, seen


def timed(compile_it: Callable[[], Program]) -> tuple[Program, float]:
    """What ``compile_it`` returns, and how many seconds it took."""
    begin = time.perf_counter()
    program = compile_it()
    return program, time.perf_counter() - begin


def checked(
    device: Device,
    program: Program,
    seconds: float,
    inputs: Mapping[str, npt.NDArray[np.int8]],
    expected: npt.NDArray[np.int8],
    output: str = "output",
) -> Measurement:
    """Run a kernel and compare its tensor ``output`` with the integer reference's."""
    result = device.run(program.image, regions_of(program, inputs))
    got = program.tensors[output].unpack(result.regions[OUTPUT])
    wrong = np.argwhere(got != expected)
    difference = None
    if len(wrong):
        row, column = (int(v) for v in wrong[0])
        difference = f"row {row}, column {column}: expected {expected[row, column]}, got {got[row, column]}"
    return Measurement(program, result, seconds, difference)
