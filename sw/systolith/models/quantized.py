"""An encoder in integers: what quantisation makes, the compiler lowers and the integer reference runs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.numerics import integer
from systolith.numerics.approximation import APPROXIMATIONS, DEFAULT

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """An int8 matrix (inputs, outputs) with int32 ``bias`` and uint16 ``multiplier`` per output and one ``shift``."""

    weight: Array
    bias: Array
    multiplier: Array
    shift: int


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Softmax and context constants: ``exponent_multiplier`` (heads,) uint16, ``exponent_shift``;
    ``context_multiplier`` (hidden,) int16, ``context_shift``."""

    exponent_multiplier: Array
    exponent_shift: int
    context_multiplier: Array
    context_shift: int


@dataclass(frozen=True, kw_only=True)
class Gelu:
    """Output scaling of GELU: ``multiplier`` (ffn,) int16, ``shift``, int8 zero point ``offset``, input ``grid``."""

    multiplier: Array
    shift: int
    offset: int
    grid: int


@dataclass(frozen=True, kw_only=True)
class AddNorm:
    """Residual addition and LayerNorm: ``skip_multiplier`` (hidden,) int16 and ``skip_shift`` scale the
    residual; ``gain`` int16 and ``bias`` int32 (hidden,), ``shift``."""

    skip_multiplier: Array
    skip_shift: int
    gain: Array
    bias: Array
    shift: int


@dataclass(frozen=True, kw_only=True)
class QuantizedLayer:
    """One post-LN encoder layer. ``hidden`` columns are ordered by head, head size = hidden / heads.

    ``approximation`` names the units of the accelerator that the reference computes; the constants serve all.
    """

    heads: int
    query: Projection
    key: Projection
    value: Projection
    attention: Attention
    output: Projection
    output_norm: AddNorm
    ffn1: Projection
    gelu: Gelu
    ffn2: Projection
    ffn2_norm: AddNorm
    approximation: str = DEFAULT

    @property
    def hidden(self) -> int:
        return int(self.query.weight.shape[0])

    @property
    def ffn(self) -> int:
        return int(self.ffn1.weight.shape[1])

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    def forward(self, x: Array, valid: int | None = None, observe: Callable[[str, Array], None] | None = None) -> Array:
        """The layer on int8 ``x`` (tokens, hidden) → int8 of the same shape; the integer reference.

        ``valid`` is the number of keys that are not padding (default: all). ``observe(name, tensor)`` is called
        with every int8 tensor: query, key, value, context, attention (after LayerNorm), ffn, output.
        """

        def seen(name: str, tensor: Array) -> Array:
            if observe is not None:
                observe(name, tensor)
            return tensor

        keys = slice(0, valid)
        units = APPROXIMATIONS[self.approximation]
        q, k, v = (
            seen(name, integer.requantize(integer.matmul(x, p.weight), p.bias, p.multiplier, p.shift))
            for name, p in (("query", self.query), ("key", self.key), ("value", self.value))
        )
        size = self.head_size
        context = np.empty(x.shape, np.int8)
        for head in range(self.heads):
            columns = slice(head * size, (head + 1) * size)
            context[:, columns] = self.attend(head, integer.matmul(q[:, columns], k[keys, columns].T), v[keys, columns])
        seen("context", context)
        hidden = seen("attention", add_norm(context, x, self.output, self.output_norm))
        g, p = self.gelu, self.ffn1
        inner = seen(
            "ffn",
            integer.gelu(
                integer.matmul(hidden, p.weight),
                p.bias,
                p.multiplier,
                p.shift,
                g.multiplier,
                g.shift,
                g.offset,
                g.grid,
                units.gelu_grid,
            ),
        )
        return seen("output", add_norm(inner, hidden, self.ffn2, self.ffn2_norm))

    def numerators(self, head: int, scores: Array) -> Array:
        """Softmax numerators int8 0 to 127 of a head's ``scores`` (rows, keys)."""
        multiplier, shift = int(self.attention.exponent_multiplier[head]), self.attention.exponent_shift
        numerator = APPROXIMATIONS[self.approximation].numerator
        return integer.exponent(scores, scores.max(axis=1), multiplier, shift, numerator)

    def attend(self, head: int, scores: Array, value: Array) -> Array:
        """A head's context rows int8 (rows, head size): softmax of ``scores`` (rows, keys), times ``value``."""
        size = self.head_size
        weights = self.numerators(head, scores)
        reciprocal = integer.softmax_reciprocal(weights.astype(np.int64).sum(axis=1))
        multiplier = self.attention.context_multiplier[head * size : (head + 1) * size]
        return integer.context(integer.matmul(weights, value), reciprocal, multiplier, self.attention.context_shift)


def add_norm(x: Array, skip: Array, p: Projection, norm: AddNorm) -> Array:
    """LayerNorm of ``skip`` plus the projection of ``x``: int8 (rows, outputs)."""
    s = integer.residual(
        integer.matmul(x, p.weight), p.bias, p.multiplier, p.shift, skip, norm.skip_multiplier, norm.skip_shift
    )
    columns = s.shape[1]
    row = integer.layernorm_reciprocal(s.sum(axis=1), (s * s).sum(axis=1), columns, integer.mean_multiplier(columns))
    return integer.layernorm(s, row, norm.gain, norm.bias, norm.shift)


@dataclass(frozen=True, kw_only=True)
class QuantizedEncoder:
    """A stack of layers, with the float scales (hidden,) of its int8 input and output columns."""

    name: str
    layers: tuple[QuantizedLayer, ...]
    max_tokens: int
    input_scale: npt.NDArray[np.float32]
    output_scale: npt.NDArray[np.float32]

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that tell the layers' constants from any others."""
        seen = hashlib.sha256()
        _add_constants(seen, self.layers)
        return seen.hexdigest()[:16]

    def approximated(self, name: str) -> "QuantizedEncoder":
        """The same constants, with the units ``name`` of ``APPROXIMATIONS`` in the reference."""
        return replace(self, layers=tuple(replace(layer, approximation=name) for layer in self.layers))

    def forward(self, x: Array, valid: int | None = None) -> list[Array]:
        """Every layer's int8 output, first to last, for int8 ``x`` (tokens, hidden)."""
        outputs = []
        for layer in self.layers:
            x = layer.forward(x, valid)
            outputs.append(x)
        return outputs


def _add_constants(seen: "hashlib._Hash", node: object) -> None:
    """Every constant of a layer, in the order of its fields: type, shape and bytes.

    The approximation is none: it is the configuration's, which a program holds beside this digest.
    """
    if isinstance(node, str):
        return
    if isinstance(node, tuple):
        for part in node:
            _add_constants(seen, part)
    elif is_dataclass(node):
        for part in fields(node):
            _add_constants(seen, getattr(node, part.name))
    else:
        array = np.ascontiguousarray(node)
        seen.update(f"{array.dtype.str}{array.shape}".encode())
        seen.update(array.tobytes())
