"""The names that encoders have on the command line of a sweep: ``bert-base:1x128``, ``random:2x16@64/4/128``."""

import re
from dataclasses import dataclass

from systolith.analysis.workloads import EncoderWorkload
from systolith.files import shown
from systolith.models.encoder import ModelError, check_heads
from systolith.models.minilm import MAX_TOKENS, NAME
from systolith.models.random_encoder import MAX_HIDDEN
from systolith.models.random_encoder import MAX_TOKENS as MAX_RANDOM_TOKENS

#: Hidden size, attention heads and FFN size of encoders that run with random weights.
SHAPES = {
    "bert-tiny": (128, 2, 512),
    "bert-mini": (256, 4, 1024),
    "bert-small": (512, 8, 2048),
    "bert-base": (768, 12, 3072),
    "bert-large": (1024, 16, 4096),
}
#: The encoder with trained weights, its shape and its layers.
_TRAINED = {NAME: ((384, 12, 1536), 6)}
#: Hidden size, attention heads and FFN size of ``random`` without ``@``.
_RANDOM = (64, 2, 128)

SYNTAX = "NAME:LAYERSxTOKENS, or random:LAYERSxTOKENS@HIDDEN/HEADS/FFN"
NAMES = (*_TRAINED, *SHAPES, "random")
_TEXT = re.compile(r"([a-z0-9-]{1,40}):(\d{1,6})x(\d{1,6})(?:@(\d{1,6})/(\d{1,6})/(\d{1,6}))?")


class SweepError(ValueError):
    """Options of a sweep that say nothing which could be run, or results that cannot be read; the message says why."""


@dataclass(frozen=True)
class NamedWorkload:
    """An encoder and the text that names it, which is the same for the same encoder."""

    name: str
    encoder: EncoderWorkload


def parse_workload(text: str) -> NamedWorkload:
    """The encoder that ``text`` names.

    Raises
    ------
    SweepError
        If it is not of :data:`SYNTAX`, or names an encoder that does not exist.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise SweepError(f"workload {shown(text)} is not {SYNTAX}")
    name, (layers, tokens) = match[1], (int(match[2]), int(match[3]))
    if name not in NAMES:
        raise SweepError(f"workload {text!r}: unknown encoder {name!r}; the encoders are {', '.join(NAMES)}")
    if match[4] is not None and name != "random":
        raise SweepError(f"workload {text!r}: only random takes @HIDDEN/HEADS/FFN")
    shape, most_layers = _TRAINED.get(name, (SHAPES.get(name, _RANDOM), None))
    if match[4] is not None:
        shape = (int(match[4]), int(match[5]), int(match[6]))
    if layers < 1 or (most_layers is not None and layers > most_layers):
        bound = f"1 to {most_layers}" if most_layers else "at least 1"
        raise SweepError(f"workload {text!r}: layers must be {bound}, not {layers}")
    # A text has a token at its beginning and one at its end.
    low, high = (2, MAX_TOKENS) if most_layers else (1, MAX_RANDOM_TOKENS)
    if not low <= tokens <= high:
        raise SweepError(f"workload {text!r}: tokens must be {low} to {high}, not {tokens}")
    hidden, heads, ffn = shape
    try:
        if not 2 <= hidden <= MAX_HIDDEN or heads < 1 or ffn < 2:
            raise ModelError(f"hidden must be 2 to {MAX_HIDDEN}, heads at least 1 and ffn at least 2")
        check_heads(hidden, heads)
    except ModelError as error:
        raise SweepError(f"workload {text!r}: {error}") from error
    canonical = f"{name}:{layers}x{tokens}" + (f"@{hidden}/{heads}/{ffn}" if name == "random" else "")
    model = name if most_layers else "random"
    return NamedWorkload(
        canonical, EncoderWorkload(hidden=hidden, heads=heads, ffn=ffn, tokens=tokens, layers=layers, model=model)
    )
