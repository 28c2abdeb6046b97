"""Jobs of random sizes with known results: products, attention and whole encoders, on fresh random inputs each time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from systolith.compiler.attention_kernel import compile_attention
from systolith.compiler.compile import compile_encoder
from systolith.compiler.gemm import compile_gemm
from systolith.compiler.kernels import regions_of
from systolith.compiler.program import OUTPUT, Program
from systolith.models.quantized import Projection, QuantizedEncoder
from systolith.models.registry import load_model
from systolith.numerics import integer
from systolith.rtl.config import Config
from systolith.rtl.isa import INSTRUCTION_BYTES

Int8 = npt.NDArray[np.int8]
#: Largest sizes: tokens, columns of a head, heads, columns of the FFN, depth and columns of a product.
_TOKENS, _HEAD, _HEADS, _FFN, _DEPTH, _COLUMNS = 20, 12, 3, 30, 40, 30


@dataclass(frozen=True)
class Task:
    """A compiled program; ``draw`` makes random inputs by name, and the output that belongs to them."""

    name: str
    program: Program
    draw: Callable[[np.random.Generator], tuple[dict[str, Int8], Int8]]
    output: str

    @property
    def instructions(self) -> int:
        return len(self.program.image) // INSTRUCTION_BYTES

    def regions(self, inputs: dict[str, Int8]) -> list[npt.NDArray[np.uint8]]:
        """DRAM regions before the run."""
        return regions_of(self.program, inputs)

    def result(self, regions: list[npt.NDArray[np.uint8]]) -> Int8:
        """The output in the DRAM regions after the run."""
        return self.program.tensors[self.output].unpack(regions[OUTPUT])


def random_task(config: Config, rng: np.random.Generator) -> Task:
    """A product, attention, or an encoder of one or two layers; which, and how large, follows from ``rng``."""
    return (_gemm, _attention, _encoder)[int(rng.integers(3))](config, rng)


def _size(rng: np.random.Generator, most: int) -> int:
    return int(rng.integers(1, most + 1))


def _int8(rng: np.random.Generator, *shape: int) -> Int8:
    return rng.integers(-128, 128, shape, np.int8)


def _gemm(config: Config, rng: np.random.Generator) -> Task:
    tokens, depth, columns = _size(rng, 2 * _TOKENS), _size(rng, _DEPTH), _size(rng, _COLUMNS)
    projection = Projection(
        weight=_int8(rng, depth, columns),
        bias=rng.integers(-(1 << 14), 1 << 14, columns, np.int32),
        multiplier=rng.integers(1 << 14, 1 << 16, columns, np.uint16),
        shift=24,
    )

    def draw(rng: np.random.Generator) -> tuple[dict[str, Int8], Int8]:
        x = _int8(rng, tokens, depth)
        sums = integer.matmul(x, projection.weight)
        return {"input": x}, integer.requantize(sums, projection.bias, projection.multiplier, projection.shift)

    return Task(f"GEMM {tokens}x{depth}x{columns}", compile_gemm(config, projection, tokens), draw, "output")


def _model(config: Config, rng: np.random.Generator, layers: int) -> tuple[int, int, QuantizedEncoder]:
    """Tokens, columns, and a random encoder for them on ``config``."""
    tokens, heads = _size(rng, _TOKENS), _size(rng, _HEADS)
    hidden = heads * (1 + _size(rng, _HEAD - 1))
    model = load_model(
        "random", tokens=tokens, layers=layers, hidden=hidden, heads=heads, ffn=1 + _size(rng, _FFN - 1),
        seed=int(rng.integers(1 << 16)),
    )  # fmt: skip
    return tokens, hidden, model.quantized.approximated(config.approximation)


def _attention(config: Config, rng: np.random.Generator) -> Task:
    tokens, hidden, encoder = _model(config, rng, 1)
    layer = encoder.layers[0]

    def draw(rng: np.random.Generator) -> tuple[dict[str, Int8], Int8]:
        seen: dict[str, Int8] = {}
        layer.forward(_int8(rng, tokens, hidden), observe=seen.__setitem__)
        return {"input": seen["query"], "key": seen["key"], "value": seen["value"]}, seen["context"]

    program = compile_attention(config, layer, tokens)
    return Task(f"attention of {layer.heads}x{layer.head_size}, {tokens} tokens", program, draw, "output")


def _encoder(config: Config, rng: np.random.Generator) -> Task:
    layers = _size(rng, 2)
    tokens, hidden, encoder = _model(config, rng, layers)
    valid = _size(rng, tokens)

    def draw(rng: np.random.Generator) -> tuple[dict[str, Int8], Int8]:
        x = _int8(rng, tokens, hidden)
        return {"input": x}, list(encoder.forward(x, valid))[-1]

    program = compile_encoder(encoder, config, tokens, valid=valid)
    first = encoder.layers[0]
    name = f"encoder {layers}x{tokens}x{hidden}, {first.heads} heads, FFN {first.ffn}, {valid} tokens valid"
    return Task(name, program, draw, f"layer{layers - 1}")
