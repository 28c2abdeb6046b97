"""Networks whose operations are counted and whose layers are compiled: their sizes by name."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Network:
    """Sizes of a Transformer; ``decoder`` runs token by token with its keys and values kept."""

    layers: int
    hidden: int
    heads: int
    ffn: int
    decoder: bool = False


#: Transformers by name.
NETWORKS = {
    "minilm-l6": Network(6, 384, 12, 1536),
    "bert-base": Network(12, 768, 12, 3072),
    "bert-large": Network(24, 1024, 16, 4096),
    "gpt2": Network(12, 768, 12, 3072, decoder=True),
}
#: A network that is no Transformer; only its operations are known.
RESNET = "resnet50"
MODELS = (*NETWORKS, RESNET)
#: Most tokens: each token of a decoder is counted for itself.
MAX_TOKENS = 1 << 16
_SIZES = ("layers", "hidden", "heads", "ffn")


class NetworkError(ValueError):
    """A network that is not known, or sizes that make none; the message says why."""


def network_of(model: str, sizes: dict[str, int | None]) -> Network:
    """The network of that name, with the sizes that are not None in place of its own.

    Raises
    ------
    NetworkError
        If there is no such model, or a size makes none.
    """
    if model not in NETWORKS:
        raise NetworkError(f"unknown model {model!r}; the models are {', '.join(MODELS)}")
    changed: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    network = replace(NETWORKS[model], **changed)
    for name in _SIZES:
        if not 1 <= getattr(network, name) <= 1 << 20:
            raise NetworkError(f"{name} must be 1 to {1 << 20}, not {getattr(network, name)}")
    if network.hidden % network.heads:
        raise NetworkError(f"hidden of {network.hidden} is no multiple of {network.heads} heads")
    return network


def encoder_of(model: str, sizes: dict[str, int | None]) -> Network:
    """The encoder of that name, with the sizes that are not None in place of its own.

    Raises
    ------
    NetworkError
        If there is no such encoder, or a size makes none.
    """
    encoders = [name for name, network in NETWORKS.items() if not network.decoder]
    if model not in encoders:
        raise NetworkError(f"{model!r} has no encoder layers that are known; {', '.join(encoders)} have")
    return network_of(model, sizes)


def check_tokens(tokens: int) -> int:
    """``tokens``; ``NetworkError`` if they are too few or too many."""
    if not 1 <= tokens <= MAX_TOKENS:
        raise NetworkError(f"tokens must be 1 to {MAX_TOKENS}, not {tokens}")
    return tokens
