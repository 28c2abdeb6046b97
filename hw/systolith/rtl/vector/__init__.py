"""The vector unit: from int32 accumulator rows to int8 scratchpad rows, non-linear functions included."""

from .unit import VectorUnit

__all__ = ["VectorUnit"]
