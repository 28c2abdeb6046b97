"""Layers of zeros: the instructions of a program depend on sizes alone, and are wanted before there is a model."""

import numpy as np

from systolith.models.quantized import AddNorm, Attention, Gelu, Projection, QuantizedLayer

from .plan import Shape


def blank_projection(inputs: int, outputs: int) -> Projection:
    """A matrix (inputs, outputs) of zeros."""
    return Projection(
        weight=np.zeros((inputs, outputs), np.int8), bias=np.zeros(outputs, np.int32),
        multiplier=np.zeros(outputs, np.uint16), shift=0,
    )  # fmt: skip


def blank_layer(shape: Shape) -> QuantizedLayer:
    """An encoder layer of zeros."""
    square = blank_projection(shape.hidden, shape.hidden)
    row = np.zeros(shape.hidden, np.int16)
    norm = AddNorm(skip_multiplier=row, skip_shift=0, gain=row, bias=np.zeros(shape.hidden, np.int32), shift=0)
    return QuantizedLayer(
        heads=shape.heads, query=square, key=square, value=square, output=square, output_norm=norm, ffn2_norm=norm,
        ffn1=blank_projection(shape.hidden, shape.ffn), ffn2=blank_projection(shape.ffn, shape.hidden),
        gelu=Gelu(multiplier=np.zeros(shape.ffn, np.int16), shift=0, offset=0, grid=0),
        attention=Attention(
            exponent_multiplier=np.zeros(shape.heads, np.uint16), exponent_shift=0, context_multiplier=row,
            context_shift=0,
        ),
    )  # fmt: skip
