"""What the host computes, called from Python: each kernel runs on the core, is counted and compared with numpy."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.numerics import reference

from .core import Core
from .program import HostError, compile_kernels

Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]

#: Largest deviation of an fp32 kernel from numpy's fp32, relative to the largest magnitude of the tensor. Kernels add
#: up a row in order, numpy in pairs: 768 additions are 768 halves of an ulp (6e-8) apart at worst, some 30 in practice.
TOLERANCE = 5e-6
#: An int8 may be one off where the two lie on different sides of a half; so many of a tensor at most.
INT8_SHARE = 1e-3
#: What the host does, in the order of the survey's breakdown (arXiv 2302.14017).
OPERATIONS = ("requantisation", "dequantisation", "softmax", "residual", "GELU", "LayerNorm")


class Host:
    """The kernels of kernels.c on a :class:`Core`.

    Attributes
    ----------
    stage : str
        What the next kernels are counted for.
    instructions : Counter
        Executed so far, by stage and operation (one of :data:`OPERATIONS`).
    deviation : float
        Largest deviation of an fp32 result from numpy's so far, relative to its tensor's largest magnitude.

    Raises
    ------
    HostError
        If a package is missing; by every kernel if its result is not numpy's within :data:`TOLERANCE`.
    """

    def __init__(self) -> None:
        self._core = Core(compile_kernels())
        self.stage = ""
        self.instructions: Counter[tuple[str, str]] = Counter()
        self.deviation = 0.0

    def dequantize(self, x: Int8, scale: float) -> Float32:
        """fp32 of int8 ``x`` in units of ``scale``."""
        y = np.empty(x.shape, np.float32)
        self._call("dequantisation", "dequantize", y, x, float(scale), x.size)
        return self._near("dequantize", y, x * np.float32(scale))

    def dequantize_sums(self, sums: Int32, scale: Float32, bias: Float32) -> Float32:
        """fp32 of int32 ``sums`` (rows, columns): ``sums * scale + bias``, both (columns,)."""
        y = np.empty(sums.shape, np.float32)
        self._call("dequantisation", "dequantize_sums", y, sums, scale, bias, *sums.shape)
        return self._near("dequantize_sums", y, sums.astype(np.float32) * scale + bias)

    def quantize(self, x: Float32, unit: float) -> Int8:
        """int8 of ``x`` in units of ``unit``, rounded to nearest, clipped."""
        y = np.empty(x.shape, np.int8)
        reciprocal = np.float32(1 / unit)
        self._call("requantisation", "quantize", y, x, float(reciprocal), x.size)
        return self._next_to("quantize", y, x * reciprocal)

    def requantize_sums(self, sums: Int32, scale: Float32, bias: Float32) -> Int8:
        """int8 of int32 ``sums`` (rows, columns): ``sums * scale + bias`` rounded, both (columns,)."""
        y = np.empty(sums.shape, np.int8)
        self._call("requantisation", "requantize_sums", y, sums, scale, bias, *sums.shape)
        return self._next_to("requantize_sums", y, sums.astype(np.float32) * scale + bias)

    def softmax(self, scores: Float32) -> Float32:
        """Softmax of each row."""
        y = scores.copy()
        self._call("softmax", "softmax", y, *y.shape)
        return self._near("softmax", y, reference.softmax(scores))

    def gelu(self, x: Float32) -> Float32:
        """``x Phi(x)``."""
        y = x.copy()
        self._call("GELU", "gelu", y, y.size)
        return self._near("gelu", y, reference.gelu(x))

    def residual(self, x: Float32, skip: Float32) -> Float32:
        """``x + skip``."""
        y = x.copy()
        self._call("residual", "residual", y, skip, y.size)
        return self._near("residual", y, x + skip)

    def layernorm(self, x: Float32, gamma: Float32, beta: Float32, epsilon: float) -> Float32:
        """LayerNorm of each row; ``gamma`` and ``beta`` (columns,)."""
        y = x.copy()
        self._call("LayerNorm", "layernorm", y, gamma, beta, float(epsilon), *y.shape)
        return self._near("layernorm", y, reference.layer_norm(x, gamma, beta, epsilon))

    def _call(self, operation: str, name: str, *arguments: npt.NDArray[Any] | int | float) -> None:
        dense = [np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        self.instructions[self.stage, operation] += self._core.call(name, *dense)

    def _near(self, name: str, got: Float32, wanted: npt.NDArray[np.floating]) -> Float32:
        largest = max(float(np.abs(wanted).max(initial=0.0)), float(np.finfo(np.float32).tiny))
        deviation = float(np.abs(got - wanted).max(initial=0.0)) / largest
        if not deviation <= TOLERANCE:
            raise HostError(f"{name} is {deviation:.3g} of the largest value away from numpy's; at most {TOLERANCE:g}")
        self.deviation = max(self.deviation, deviation)
        return got

    @staticmethod
    def _next_to(name: str, got: Int8, unrounded: Float32) -> Int8:
        away = np.abs(got - np.clip(np.rint(unrounded), -128, 127))
        share = float(np.mean(away > 0)) if away.size else 0.0
        if away.max(initial=0.0) > 1 or share > INT8_SHARE:
            raise HostError(f"{name}: {share:.3%} of the int8 values differ from numpy's, by up to {away.max():g}")
        return got
