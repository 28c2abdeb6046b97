"""A model's files that lie, are damaged or contradict each other: one sentence that names file, thing and bound."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from systolith.files import FileError
from systolith.models import sentences
from systolith.models.encoder import ModelError
from systolith.models.minilm import TextTokenizer, load_encoder
from systolith.models.statistics import Statistics
from systolith.verification.hostile.files import write_originals

QUERY = "encoder.layer.0.attention.self.query.weight"
WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_originals(tmp_path)
    return tmp_path


def test_good_files_make_a_model(directory: Path) -> None:
    encoder = load_encoder(directory)
    assert encoder.embedding is not None
    assert encoder.embedding(TextTokenizer(directory)("Hello arrays.")).shape == (6, 8)
    assert len(Statistics.load(directory / "statistics.npz", encoder).layers) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 9}, "hidden size 9 does not divide into 2 heads"),
        ({"hidden_size": 10}, r"query\.weight is F32 of shape \(8, 8\), not F32 of \(10, 10\)"),
        ({"hidden_size": 1 << 40}, "hidden_size must be 2 to 16384, not 1099511627776"),
        ({"num_attention_heads": 0}, "num_attention_heads must be 1 to 16384, not 0"),
        ({"num_hidden_layers": 2}, r"there is no tensor encoder\.layer\.1\.attention"),
        ({"num_hidden_layers": "1"}, "num_hidden_layers must be 1 to 1024, not '1'"),
        ({"num_hidden_layers": True}, "num_hidden_layers must be 1 to 1024, not True"),
        ({"vocab_size": 1 << 30}, "vocab_size must be 1 to 1.04858e.06, not 1073741824"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps must be 1e-30 to 1, not nan"),
        ({"max_position_embeddings": None}, "max_position_embeddings must be 256 to 65536, not None"),
    ],
)
def test_a_config_that_lies(directory: Path, change: dict[str, Any], message: str) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_encoder(directory)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (QUERY, lambda t: t.astype(np.float16), r"query\.weight is F16 of shape \(8, 8\), not F32 of \(8, 8\)"),
        (QUERY, lambda t: t[:4].copy(), r"query\.weight is F32 of shape \(4, 8\), not F32 of \(8, 8\)"),
        (QUERY, lambda t: t * np.float32("inf"), r"query\.weight holds .*inf at \(0, 0\), not within ±65504"),
        (QUERY, lambda t: np.where(t == t[2, 3], np.nan, t).astype("f4"), r"holds nan at \(2, 3\), not within"),
        (QUERY, lambda t: t * np.float32(1e30), "not within ±65504"),
        (WORDS, lambda t: t[:5].copy(), r"word_embeddings\.weight is F32 of shape \(5, 8\), not F32 of \(8, 8\)"),
    ],
)
def test_weights_that_lie(directory: Path, name: str, change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    path = directory / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {name: change(tensors[name])}, path)
    with pytest.raises(ModelError, match=rf"model\.safetensors: tensor .*{message}"):
        load_encoder(directory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a header of 0 bytes in a file of 0"),
        (struct.pack("<Q", 1 << 40), "a header of 1,099,511,627,776 bytes in a file of 8; at most 1,048,576 are read"),
        (struct.pack("<Q", 100) + b"{}", "a header of 100 bytes in a file of 10"),
        (struct.pack("<Q", 2) + b"{}", "there is no tensor"),
        (struct.pack("<Q", 4) + b"[[[[", "is truncated or no safetensors file"),
    ],
)
def test_what_is_no_weights_file(directory: Path, content: bytes, message: str) -> None:
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=rf"model\.safetensors.*{message}"):
        load_encoder(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(normalizer={"type": "Replace"}), "normalizer must be BertNormalizer, not 'Replace'"),
        (lambda t: t.update(pre_tokenizer=None), "pre_tokenizer must be BertPreTokenizer, not None"),
        (lambda t: t.update(model=[1]), r"model must be WordPiece, not \[1\]"),
        (lambda t: t["post_processor"]["special_tokens"].pop("[SEP]"), r"post_processor does not define '\[SEP\]'"),
        (lambda t: t["post_processor"].pop("single"), "post_processor has no template"),
        (lambda t: t["model"].update(vocab={"a": -1}), "holds no tokenizer of this model"),
    ],
)
def test_a_tokenizer_that_lies(directory: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    path = directory / "tokenizer.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))
    with pytest.raises(ModelError, match=rf"tokenizer\.json holds no tokenizer of this model: .*{message}|{message}"):
        TextTokenizer(directory)


def test_a_token_without_an_embedding(directory: Path) -> None:
    path = directory / "tokenizer.json"
    table = json.loads(path.read_text())
    table["model"]["vocab"]["array"] = 4000
    path.write_text(json.dumps(table))
    embedding = load_encoder(directory).embedding
    assert embedding is not None
    with pytest.raises(ModelError, match="token id 4000 exceeds the 8 rows of the word embedding"):
        embedding(TextTokenizer(directory)("array"))


def test_a_vocabulary_that_lacks_the_unknown(directory: Path) -> None:
    path = directory / "tokenizer.json"
    path.write_text(path.read_text().replace('"unk_token": "[UNK]"', '"unk_token": "[NONE]"'))
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot take the text: WordPiece error"):
        TextTokenizer(directory)("strange")


def test_statistics_of_another_model(directory: Path) -> None:
    encoder = load_encoder(directory)
    path = directory / "statistics.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    for name, value, message in (
        ("0.query", None, r"there is no array 0\.query for model minilm-l6"),
        ("0.ffn", np.zeros(5, np.float32), r"0\.ffn is float32 of shape \(5,\), not float32 of \(12,\)"),
        ("inputs", np.full(8, np.nan, np.float32), "inputs holds values that are not within ±65504"),
    ):
        np.savez(path, **{k: v for k, v in (arrays | {name: value}).items() if v is not None})
        with pytest.raises(ModelError, match=rf"statistics\.npz: {message}"):
            Statistics.load(path, encoder)


def test_texts_that_are_not_the_published_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = sentences.cache_directory() / "vaderSentiment-3.3.2.tar.gz"
    path.write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(ModelError, match=r"3\.3\.2\.tar\.gz is damaged: its SHA-256 begins with .*; remove it to have"):
        sentences.evaluation_texts(1, lambda text: True)
    path.unlink()
    path.mkdir()
    with pytest.raises(FileError, match=r"cannot read .*3\.3\.2\.tar\.gz: is a directory"):
        sentences.evaluation_texts(1, lambda text: True)
