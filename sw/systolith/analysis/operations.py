"""Arithmetic and memory traffic of networks, counted as the survey does (Kim et al., arXiv 2302.14017, section 2.3).

A multiply and an add are two FLOPs, every tensor has 8 bits, local memory is infinite, and each operation reads its
operands and writes its result once. So a product with ``k`` terms is ``2 k - 1`` FLOPs, and ``2 k`` with a bias.

The survey does not say how it counts what is no product. The whole numbers that give all of its printed figures for
BERT-Base (128 and 512 tokens, 12 and 4 heads) are those below: 4 FLOPs and 2 bytes for each score; for each layer and
token 58 FLOPs and 17 bytes times the hidden size, of which GELU's share in bytes (in and out of an FFN of four times
the hidden size) is 8.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .networks import Network

#: FLOPs and bytes of softmax and scaling for each score.
_SCORE_FLOPS, _SCORE_BYTES = 4, 2
#: FLOPs and bytes of GELU for each element of the FFN's inner layer.
_GELU_FLOPS, _GELU_BYTES = 10, 2
#: FLOPs and bytes of both residuals and LayerNorms of a layer for each element of a token.
_NORM_FLOPS, _NORM_BYTES = 18, 9

#: The groups of the survey's tables.
PROJECTIONS, ATTENTION, FFN, OTHER = "projections", "activation-to-activation", "FFN", "other"
CONVOLUTIONS = "convolutions"


@dataclass(frozen=True)
class Operation:
    """``count`` operations of one kind: FLOPs and bytes (memory operations at 8 bits) of all of them."""

    name: str
    group: str
    flops: int
    bytes: int


@dataclass(frozen=True)
class Count:
    """FLOPs and bytes of several operations; ``intensity`` is FLOPs a byte."""

    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes


def total(operations: Iterable[Operation]) -> Count:
    """All of them together."""
    listed = list(operations)
    return Count(sum(o.flops for o in listed), sum(o.bytes for o in listed))


def groups(operations: Iterable[Operation]) -> dict[str, Count]:
    """The operations by group, in the order in which the groups first come."""
    listed = list(operations)
    return {name: total(o for o in listed if o.group == name) for name in dict.fromkeys(o.group for o in listed)}


def transformer(network: Network, tokens: int) -> list[Operation]:
    """Operations of all layers for ``tokens`` tokens: an encoder takes them at once, a decoder makes one at a time."""
    if not network.decoder:
        return list(_layers(network, tokens, tokens))
    made: dict[str, Operation] = {}
    for past in range(1, tokens + 1):
        for o in _layers(network, 1, past):
            before = made.get(o.name, Operation(o.name, o.group, 0, 0))
            made[o.name] = Operation(o.name, o.group, before.flops + o.flops, before.bytes + o.bytes)
    return list(made.values())


def _layers(n: Network, tokens: int, keys: int) -> Iterator[Operation]:
    """All layers for ``tokens`` new tokens that attend to ``keys``."""
    size = n.hidden // n.heads

    def linear(name: str, group: str, inputs: int, outputs: int, times: int = 1) -> Operation:
        count = n.layers * times
        moved = inputs * outputs + tokens * (inputs + outputs)
        return Operation(name, group, count * 2 * tokens * inputs * outputs, count * moved)

    yield linear("queries, keys, values", PROJECTIONS, n.hidden, n.hidden, 3)
    yield linear("output projection", PROJECTIONS, n.hidden, n.hidden)
    scores = n.heads * tokens * keys
    moved = (tokens + keys) * n.hidden + scores
    yield Operation("scores", ATTENTION, n.layers * scores * (2 * size - 1), n.layers * moved)
    yield Operation("context", ATTENTION, n.layers * n.heads * tokens * size * (2 * keys - 1), n.layers * moved)
    yield linear("ffn1", FFN, n.hidden, n.ffn)
    yield linear("ffn2", FFN, n.ffn, n.hidden)
    for name, elements, flops, transferred in (
        ("softmax", scores, _SCORE_FLOPS, _SCORE_BYTES),
        ("GELU", tokens * n.ffn, _GELU_FLOPS, _GELU_BYTES),
        ("residual, LayerNorm", tokens * n.hidden, _NORM_FLOPS, _NORM_BYTES),
    ):
        yield Operation(name, OTHER, n.layers * elements * flops, n.layers * elements * transferred)


def resnet50(*, fused: bool) -> list[Operation]:
    """ResNet-50 on one 224x224 image (He et al. 2015: the stride is in a block's first convolution).

    Fused, batch normalisation is folded into the weights and ReLU and the addition happen on the way out; else each
    reads and writes its tensor.
    """
    made = [_Convolution("conv1", 224, 3, 64, 7, 2)]
    side, channels = 56, 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(blocks):
            stride = 2 if stage > 2 and block == 0 else 1
            name = f"conv{stage}.{block + 1}"
            if block == 0:
                made.append(_Convolution(f"{name}.shortcut", side, channels, 4 * width, 1, stride, relu=False))
            made.append(_Convolution(f"{name}.1x1", side, channels, width, 1, stride))
            side //= stride
            made.append(_Convolution(f"{name}.3x3", side, width, width, 3))
            made.append(_Convolution(f"{name}.expand", side, width, 4 * width, 1, added=True))
            channels = 4 * width
    operations = [o for convolution in made for o in convolution.operations(fused)]
    operations.append(Operation("max pool", OTHER, 8 * 56 * 56 * 64, 112 * 112 * 64 + 56 * 56 * 64))
    operations.append(Operation("average pool", OTHER, 49 * 2048, 49 * 2048 + 2048))
    operations.append(Operation("classifier", CONVOLUTIONS, 2 * 2048 * 1000, 2048 * 1000 + 2048 + 1000))
    return operations


@dataclass(frozen=True)
class _Convolution:
    """``side`` is the input's; ``added``: the shortcut is added to the result; ``relu``: it then goes through ReLU."""

    name: str
    side: int
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    added: bool = False
    relu: bool = True

    def operations(self, fused: bool) -> Iterator[Operation]:
        result = (self.side // self.stride) ** 2 * self.outputs
        terms = self.kernel**2 * self.inputs
        moved = self.side**2 * self.inputs + terms * self.outputs + result
        after = [
            ("batch norm", 2, 2), *([("add", 1, 3)] if self.added else []), *([("ReLU", 1, 2)] if self.relu else []),
        ]  # fmt: skip
        if fused:
            # A bias each; the shortcut is the only further operand.
            flops = sum(flops for name, flops, _ in after if name != "batch norm")
            shortcut = result if self.added else 0
            yield Operation(self.name, CONVOLUTIONS, result * (2 * terms + flops), moved + shortcut)
            return
        yield Operation(self.name, CONVOLUTIONS, result * (2 * terms - 1), moved)
        for name, flops, transferred in after:
            yield Operation(f"{self.name} {name}", OTHER, result * flops, result * transferred)
