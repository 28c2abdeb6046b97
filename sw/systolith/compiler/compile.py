"""The compiler's front door: an integer encoder and a configuration in, a synchronised, verified program out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from systolith.models.quantized import QuantizedEncoder, QuantizedLayer
from systolith.rtl.config import Config
from systolith.rtl.isa import Instruction, assemble

from .arena import Arena, OutOfMemoryError
from .attention import AttentionLowering, attention_buffers
from .blank import blank_layer
from .blockwise import BlockwiseAttention, block_buffers
from .emit import Emitter, Operand
from .feedforward import FeedForwardLowering, RowBuffers
from .hazards import synchronize
from .mapping import MappingError
from .plan import CapacityError, Geometry, Plan, Shape, plan_layer
from .plan_check import check_plan
from .program import CONSTANTS, INPUT, OBSERVED, OUTPUT, WORKSPACE, Program, Tensor
from .projections import HeadLowering

#: int8 tensors of a layer that ``observe`` stores to DRAM, in the order in which they are made.
OBSERVABLE = ("query", "key", "value", "context", "attention", "ffn", "output")


def compile_encoder(
    encoder: QuantizedEncoder,
    config: Config,
    tokens: int,
    *,
    valid: int | None = None,
    observe: bool = False,
    plan: Plan | None = None,
) -> Program:
    """Compile an encoder for sequences of ``tokens`` tokens, the first ``valid`` of which are keys.

    With ``observe`` every int8 tensor of every layer is stored to DRAM as well (for finding a difference). Every layer
    is cut as ``plan`` says, by default as :func:`.plan.plan_layer` does; the results are the same.

    Raises
    ------
    CapacityError
        If a layer does not fit the on-chip memories, or the accelerator lacks a function it needs.
    MappingError
        If ``plan`` is none of this layer or does not fit.
    ValueError
        If ``tokens`` exceeds the model's maximum, or ``valid`` is not 1 to ``tokens``.
    """
    if not 1 <= tokens <= encoder.max_tokens:
        raise ValueError(f"{tokens} tokens; {encoder.name} takes 1 to {encoder.max_tokens}")
    if valid is not None and not 1 <= valid <= tokens:
        raise ValueError(f"{valid} valid tokens of {tokens}")
    first = encoder.layers[0]
    shape = Shape(tokens, first.hidden, first.heads, first.ffn)
    keys = tokens if valid is None else valid
    program = _lowered(encoder.layers, config, shape, plan or plan_layer(config, shape), keys, observe).finish(
        encoder.digest
    )
    program.verify()
    return program


def layer_instructions(config: Config, shape: Shape, plan: Plan) -> list[Instruction]:
    """The instructions of a layer's program, whatever its weights; not verified, and so quick.

    Raises
    ------
    CapacityError, MappingError
        As :func:`compile_encoder`.
    """
    return _lowered((blank_layer(shape),), config, shape, plan, shape.tokens, False).instructions()


def _lowered(
    layers: Sequence[QuantizedLayer], config: Config, shape: Shape, plan: Plan, valid: int, observe: bool
) -> "_Lowering":
    for unit in ("softmax", "gelu", "layernorm"):
        if not getattr(config, unit):
            raise CapacityError(f"an encoder layer needs {unit}, which this configuration leaves out")
    geometry = Geometry(shape, config.rows, config.cols)
    check_plan(config, geometry, plan)
    try:
        lowering = _Lowering(config, plan, geometry, len(layers), observe)
        for index, layer in enumerate(layers):
            lowering.layer(index, layer, valid)
    except OutOfMemoryError as error:
        raise MappingError(f"the plan does not fit: {error}") from error
    return lowering


class _Lowering:
    """Scratchpad layout and DRAM tensors of one program; emits layer after layer.

    The scratchpad holds, from row 0: the resident input and context, the buffers of attention or of the row
    blocks (the same rows, as one follows the other), and the weight ring.
    """

    #: Lowering of what follows attention.
    rest = FeedForwardLowering

    def __init__(self, config: Config, plan: Plan, geometry: Geometry, layers: int, observe: bool) -> None:
        self.config, self.plan, self.g, self.observe = config, plan, geometry, observe
        shape = geometry.shape
        ring = config.scratchpad_rows - plan.ring_rows
        self.e = Emitter(
            config=config,
            plan=plan,
            ring=Arena("weight ring", ring, plan.ring_rows),
            accumulator=Arena("accumulator", 0, config.accumulator_rows),
            parameters=Arena("parameters", 0, config.parameter_rows),
            statistics=Arena("statistics", 0, config.statistics_rows),
        )
        x_b = geometry.outputs(shape.hidden)[3]
        h_k, _, _, h_b = geometry.outputs(shape.head_size)
        persistent = Arena("scratchpad", 0, ring)
        tokens = shape.tokens
        self.x = Operand(persistent.take(x_b * tokens), tokens) if plan.x_resident else None
        context_rows = (shape.heads * h_k + h_b) * tokens
        self.context = Operand(persistent.take(context_rows), tokens) if plan.context_resident else None
        used = persistent.used
        self._attention_area = Arena("scratchpad (attention)", used, ring - used)
        self._row_area = Arena("scratchpad (row block)", used, ring - used)
        self.x_blocks = None if plan.x_resident else self._pair(self._attention_area, x_b, plan.project_rows)
        take = self._attention_area.take
        if plan.by_keys:
            self.block_buffers = block_buffers(geometry, plan, take)
        else:
            self.attention_buffers = attention_buffers(
                geometry, plan.query_rows, plan.value_places, take, not plan.context_resident
            )
        inner_b = geometry.outputs(plan.ffn_tiles * config.cols)[3]
        area, rows = self._row_area, plan.block_rows
        self.row_buffers = RowBuffers(
            x=None if plan.x_resident else self._pair(area, x_b, rows),
            context=None if plan.context_resident else self._pair(area, shape.heads * h_k, rows),
            hidden=Operand(area.take(x_b * rows), rows),
            inner=self._pair(area, inner_b, rows),
        )
        self.sizes = [0] * (OBSERVED + 1)
        self.tensors = {"input": self._tensor(INPUT, 1, shape.hidden, config.rows)}
        for index in range(layers):
            self.tensors[f"layer{index}"] = self._tensor(OUTPUT, 1, shape.hidden, config.rows)
        self.context_tensor = self._tensor(WORKSPACE, shape.heads, shape.head_size, config.rows)
        self.tensors["context"] = self.context_tensor
        # The projections that attention cut by keys fetches block by block.
        spilled = () if not plan.by_keys else ("query",) if plan.kv_resident else ("query", "key", "value")
        self.projected = {
            name: self._tensor(WORKSPACE, shape.heads, shape.head_size, config.cols if name == "value" else config.rows)
            for name in spilled
        }
        self.tensors |= self.projected

    @staticmethod
    def _pair(area: Arena, blocks: int, stride: int) -> tuple[Operand, Operand]:
        return Operand(area.take(blocks * stride), stride), Operand(area.take(blocks * stride), stride)

    def _tensor(self, region: int, groups: int, columns: int, width: int) -> Tensor:
        tensor = Tensor(
            region, self.sizes[region], self.g.shape.tokens, groups, columns, width, self.config.row_pitch
        )  # fmt: skip
        self.sizes[region] += tensor.size
        return tensor

    def _observed(self, index: int) -> dict[str, Tensor]:
        if not self.observe:
            return {}
        s, rows, cols = self.g.shape, self.config.rows, self.config.cols
        sizes = {
            "query": (s.heads, s.head_size, rows),
            "key": (s.heads, s.head_size, rows),
            "value": (s.heads, s.head_size, cols),
            "context": (s.heads, s.head_size, rows),
            "attention": (1, s.hidden, rows),
            "ffn": (1, s.ffn, rows),
            "output": (1, s.hidden, rows),
        }
        tensors = {name: self._tensor(OBSERVED, *sizes[name]) for name in OBSERVABLE}
        self.tensors |= {f"layer{index}.{name}": tensor for name, tensor in tensors.items()}
        return tensors

    def _operations(self, valid: int) -> dict[str, int]:
        """The operations of a layer, in the order in which a report lists them, and their multiply-accumulates."""
        s = self.g.shape
        return {
            "projections": 3 * s.tokens * s.hidden * s.hidden,
            "scores": s.tokens * valid * s.hidden,
            "softmax": 0,
            "context": s.tokens * valid * s.hidden,
            "output projection": s.tokens * s.hidden * s.hidden,
            "output norm": 0,
            "ffn1": s.tokens * s.hidden * s.ffn,
            "gelu": 0,
            "ffn2": s.tokens * s.hidden * s.ffn,
            "ffn2 norm": 0,
            "output store": 0,
        }

    def layer(self, index: int, layer: QuantizedLayer, valid: int) -> None:
        e = self.e
        for name, macs in self._operations(valid).items():
            e.operation(index, name, macs)
        e.operation(index, "projections")
        x_tensor = self.tensors[f"layer{index - 1}" if index else "input"]
        if index == 0 and self.x is not None:
            e.load_tensor(x_tensor, 0, self.g.shape.tokens, 0, x_tensor.blocks, self.x)
        observed = self._observed(index)
        shared: dict[str, Any] = {
            "valid": valid, "x": self.x, "x_blocks": self.x_blocks, "x_tensor": x_tensor, "context": self.context,
            "context_tensor": self.context_tensor, "observed": observed,
        }  # fmt: skip
        attention: HeadLowering
        if self.plan.by_keys:
            attention = BlockwiseAttention(
                e, self.g, index, layer, buffers=self.block_buffers, tensors=self.projected, **shared
            )
        else:
            attention = AttentionLowering(e, self.g, index, layer, buffers=self.attention_buffers, **shared)
        attention.lower()
        self.rest(
            e, self.g, index, layer, x=self.x, x_tensor=x_tensor, context=self.context,
            context_tensor=self.context_tensor, output=self.tensors[f"layer{index}"],
            buffers=self.row_buffers, observed=observed,
        ).lower()  # fmt: skip

    def _region_bytes(self) -> tuple[int, ...]:
        self.sizes[CONSTANTS] = len(self.e.constants)
        return tuple(max(size, self.config.row_pitch) for size in self.sizes)

    def instructions(self) -> list[Instruction]:
        """The instructions of the program that :meth:`finish` makes."""
        return synchronize(self.e.instructions, self.config, self._region_bytes())

    def finish(self, encoder: str) -> Program:
        e = self.e
        region_bytes = self._region_bytes()
        constants = np.zeros(region_bytes[CONSTANTS], np.uint8)
        constants[: len(e.constants)] = np.frombuffer(bytes(e.constants), np.uint8)
        return Program(
            config=self.config,
            image=assemble(self.instructions()),
            constants=constants,
            region_bytes=region_bytes,
            operations=tuple(e.operations),
            operation_of=np.array(e.operation_of, np.int32),
            tensors=self.tensors,
            encoder=encoder,
        )
