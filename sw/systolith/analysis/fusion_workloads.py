"""Stages of a layer as programs of their own: fused with what follows, or with int8 in DRAM between them.

Each checks itself against the integer reference of its schedule (:mod:`systolith.models.spilled`).
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from systolith.compiler.attention_layer import compile_attention_layer
from systolith.compiler.gemm import compile_gemm
from systolith.compiler.norm_kernel import compile_add_norm
from systolith.compiler.plan import Plan
from systolith.compiler.program import Program
from systolith.compiler.scores_kernel import compile_scores
from systolith.compiler.softmax_kernel import compile_softmax
from systolith.models.quantized import AddNorm, Projection, QuantizedLayer, add_norm
from systolith.models.spilled import SpilledScores, spill_scores, spill_sums
from systolith.numerics import integer
from systolith.rtl.config import Config
from systolith.runtime.device import Device

from .bounds import Product, Work, attention_work, gemm_work
from .workloads import Measurement, Workload, attention_tensors, checked, layer_tensors, timed

Int8 = npt.NDArray[np.int8]
#: Bytes of one column's vector parameters.
_PARAMETER_BYTES = 8


class Stage(Workload):
    """A workload whose program, inputs and expected output are apart, so that plans can be compared unrun."""

    #: The program's tensor that is compared.
    output: ClassVar[str] = "output"

    @abstractmethod
    def compile(self, config: Config) -> Program:
        """Its program; ``CapacityError`` if it does not fit."""

    @abstractmethod
    def tensors(self, config: Config) -> tuple[dict[str, Int8], Int8]:
        """Inputs by name, and the expected output."""

    def run(self, device: Device) -> Measurement:
        program, seconds = timed(lambda: self.compile(device.config))
        inputs, expected = self.tensors(device.config)
        return checked(device, program, seconds, inputs, expected, self.output)


@dataclass(frozen=True, kw_only=True)
class _Attention(Stage):
    """A stage of attention: ``rows`` queries and ``keys`` keys at a time."""

    heads: int
    size: int
    tokens: int
    rows: int
    keys: int

    def _layer(self, config: Config) -> tuple[QuantizedLayer, dict[str, Int8]]:
        return attention_tensors(self.heads, self.size, self.tokens, config.approximation)

    def _spilled(self, config: Config) -> tuple[SpilledScores, Int8]:
        return _spilled_scores(self.heads, self.size, self.tokens, config.approximation)

    def _slices(self, width: int) -> Iterator[tuple[int, slice]]:
        for head in range(self.heads):
            yield head, slice(head * width, (head + 1) * width)


@lru_cache(maxsize=2)
def _spilled_scores(heads: int, size: int, tokens: int, approximation: str) -> tuple[SpilledScores, Int8]:
    """The constants of int8 scores, and the scores (tokens, heads x tokens)."""
    layer, seen = attention_tensors(heads, size, tokens, approximation)
    spilled = spill_scores(layer, seen["query"], seen["key"])
    parts = [slice(head * size, (head + 1) * size) for head in range(heads)]
    scores = [spilled.scores(h, seen["query"][:, part], seen["key"][:, part]) for h, part in enumerate(parts)]
    return spilled, np.concatenate(scores, axis=1)


@dataclass(frozen=True, kw_only=True)
class ScoresWorkload(_Attention):
    """Q K' of all heads, as int8 to DRAM."""

    @property
    def work(self) -> Work:
        elements = self.heads * self.tokens**2
        product = Product(self.tokens, self.size, self.tokens, self.heads, constant=False)
        return Work((product,), 2 * self.tokens * self.heads * self.size, elements, elements)

    def compile(self, config: Config) -> Program:
        return compile_scores(config, self._spilled(config)[0], self.tokens, rows=self.rows, keys=self.keys)

    def tensors(self, config: Config) -> tuple[dict[str, Int8], Int8]:
        seen = self._layer(config)[1]
        return {"input": seen["query"], "key": seen["key"]}, self._spilled(config)[1]


@dataclass(frozen=True, kw_only=True)
class SoftmaxWorkload(_Attention):
    """Softmax of Q K' or, ``spilled``, of int8 scores in DRAM; to its numerators, or to the ``context``."""

    spilled: bool
    context: bool

    @property
    def work(self) -> Work:
        tokens, columns, elements = self.tokens, self.heads * self.size, self.heads * self.tokens**2
        products: tuple[Product, ...] = (
            () if self.spilled else (Product(tokens, self.size, tokens, self.heads, constant=False),)
        )
        read, written = elements if self.spilled else 2 * tokens * columns, elements
        if self.context:
            products += (Product(tokens, tokens, self.size, self.heads, constant=False),)
            read, written = read + tokens * columns + _PARAMETER_BYTES * columns, tokens * columns
        return Work(products, read, written, elements + (tokens * columns if self.context else 0))

    def compile(self, config: Config) -> Program:
        layer = self._spilled(config)[0].layer if self.spilled else self._layer(config)[0]
        return compile_softmax(
            config, layer, self.tokens, rows=self.rows, keys=self.keys, spilled=self.spilled, context=self.context
        )

    def tensors(self, config: Config) -> tuple[dict[str, Int8], Int8]:
        layer, seen = self._layer(config)
        inputs = {"input": seen["query"], "key": seen["key"]}
        if self.spilled:
            spilled, scores = self._spilled(config)
            layer, inputs = spilled.layer, {"input": scores}
        results = []
        for head, part in self._slices(self.size):
            sums: npt.NDArray[np.integer]
            if self.spilled:
                sums = scores[:, head * self.tokens : (head + 1) * self.tokens]
            else:
                sums = integer.matmul(seen["query"][:, part], seen["key"][:, part].T)
            results.append(
                layer.attend(head, sums, seen["value"][:, part]) if self.context else layer.numerators(head, sums)
            )
        if self.context:
            inputs["value"] = seen["value"]
        return inputs, np.concatenate(results, axis=1)


@dataclass(frozen=True, kw_only=True)
class _Projected(Stage):
    """A product that leads to a residual addition: the output projection, or with ``ffn2`` the second of the FFN."""

    hidden: int
    ffn: int
    tokens: int
    ffn2: bool

    @property
    def depth(self) -> int:
        return self.ffn if self.ffn2 else self.hidden

    def _parts(self, config: Config) -> tuple[Projection, AddNorm, Int8, Int8, Int8]:
        """Projection, LayerNorm, its input, the residual and the output of the fused schedule."""
        layer, seen = layer_tensors(self.hidden, 1, self.ffn, self.tokens, config.approximation)
        if self.ffn2:
            return layer.ffn2, layer.ffn2_norm, seen["ffn"], seen["attention"], seen["output"]
        return layer.output, layer.output_norm, seen["context"], seen["input"], seen["attention"]


@dataclass(frozen=True, kw_only=True)
class SpilledProductWorkload(_Projected):
    """The product alone, as int8 to DRAM."""

    @property
    def work(self) -> Work:
        return gemm_work(self.tokens, self.depth, self.hidden)

    def compile(self, config: Config) -> Program:
        p, _, x, _, _ = self._parts(config)
        return compile_gemm(config, spill_sums(p, x)[0], self.tokens)

    def tensors(self, config: Config) -> tuple[dict[str, Int8], Int8]:
        p, _, x, _, _ = self._parts(config)
        return {"input": x}, _spilled_product(p, x)[1]


def _spilled_product(p: Projection, x: Int8) -> tuple[Projection, Int8]:
    """What brings the int8 product of ``x`` back to its scale, and that product."""
    product, back = spill_sums(p, x)
    return back, integer.requantize(
        integer.matmul(x, product.weight), product.bias, product.multiplier, product.shift
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AddNormWorkload(_Projected):
    """Residual addition and LayerNorm, ``rows`` rows at a time: of the product's sums or, ``spilled``, of its int8."""

    rows: int
    spilled: bool

    @property
    def work(self) -> Work:
        elements = self.tokens * self.hidden
        # Each row passes the vector unit twice: residual and sums, then LayerNorm; each with parameters of its own.
        parameters = 2 * _PARAMETER_BYTES * self.hidden
        if self.spilled:
            return Work((), 2 * elements + parameters, elements, 2 * elements)
        product = gemm_work(self.tokens, self.depth, self.hidden)
        read = product.read_bytes + elements + _PARAMETER_BYTES * self.hidden
        return Work(product.products, read, elements, 2 * elements)

    def compile(self, config: Config) -> Program:
        p, norm, x, _, _ = self._parts(config)
        if self.spilled:
            p = _spilled_product(p, x)[0]
        return compile_add_norm(config, p, norm, self.tokens, rows=self.rows, identity=self.spilled)

    def tensors(self, config: Config) -> tuple[dict[str, Int8], Int8]:
        p, norm, x, skip, expected = self._parts(config)
        if self.spilled:
            back, x = _spilled_product(p, x)
            expected = add_norm(x, skip, back, norm)
        return {"input": x, "skip": skip}, expected


@dataclass(frozen=True, kw_only=True)
class AttentionLayerWorkload(Stage):
    """A layer's attention with its projections and LayerNorm, all on the chip, cut as ``plan`` or by the compiler."""

    output = "layer0"

    hidden: int
    heads: int
    tokens: int
    plan: Plan | None = None

    @property
    def work(self) -> Work:
        size = self.hidden // self.heads
        attention = attention_work(self.heads, size, self.tokens)
        # As in bounds.encoder_work, a head's columns are a product of their own.
        products = (
            Product(self.tokens, self.hidden, size, 3 * self.heads),
            *attention.products,
            Product(self.tokens, size, self.hidden, self.heads),
        )
        elements = self.tokens * self.hidden
        read = 4 * self.hidden**2 + 8 * _PARAMETER_BYTES * self.hidden + elements
        return Work(products, read, elements, attention.vector_elements + (3 + 2) * elements)

    def compile(self, config: Config) -> Program:
        layer, _ = attention_tensors(self.heads, self.hidden // self.heads, self.tokens, config.approximation)
        return compile_attention_layer(config, layer, self.tokens, self.plan)

    def tensors(self, config: Config) -> tuple[dict[str, Int8], Int8]:
        _, seen = attention_tensors(self.heads, self.hidden // self.heads, self.tokens, config.approximation)
        return {"input": seen["input"]}, seen["attention"]
