"""Small files of every kind that the tool reads, and what reads each of them: the subjects of the campaign."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from systolith.analysis.causes import CAUSES
from systolith.analysis.regression import read_cycles, to_text
from systolith.compiler.compile import compile_encoder
from systolith.compiler.hazards import ProgramError
from systolith.compiler.mapping import MappingError
from systolith.compiler.plan import CapacityError, Plan, Shape, plan_layer
from systolith.compiler.program import Program
from systolith.files import FileError
from systolith.mapping.file import MappingFile, config_digest, read_mapping
from systolith.models.calibrate import calibrate
from systolith.models.encoder import ModelError
from systolith.models.minilm import MAX_TOKENS, TextTokenizer, load_encoder
from systolith.models.quantize import quantize
from systolith.models.random_encoder import random_encoder, random_tokens
from systolith.models.registry import load_model
from systolith.models.sentences import published
from systolith.models.statistics import Statistics
from systolith.rtl.config import Config, ConfigError, preset
from systolith.rtl.isa import InstructionError
from systolith.sweep.check import check_record
from systolith.sweep.record import MEASURED, Outcome, record
from systolith.sweep.series import area_of, intensity, point_titles, roof
from systolith.sweep.space import points_of, read_file
from systolith.sweep.store import JSON_LINES, read_record, read_results, table
from systolith.sweep.workload import SweepError

#: What a reader may raise; the command line makes one sentence and exit status 2 of each.
ALLOWED = (
    FileError, ConfigError, ProgramError, InstructionError, ModelError, MappingError, CapacityError, SweepError,
)  # fmt: skip

_HIDDEN, _HEADS, _FFN, _TOKENS = 8, 2, 12, 3
_SMALL = {"layers": 1, "hidden": _HIDDEN, "heads": _HEADS, "ffn": _FFN, "tokens": _TOKENS}
_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "array", "##s", ".")


@dataclass(frozen=True)
class Subject:
    """A kind of file: its name, and what reads it, and all that follows from it, in a directory.

    ``unnamed`` are the errors whose sentence need not name the file: they are of something made from it. ``optional``
    is whether an empty file is a good one.
    """

    name: str
    read: Callable[[Path], object]
    unnamed: tuple[type[Exception], ...] = ()
    optional: bool = False


def _read_program(directory: Path) -> None:
    Program.load(directory / "program.npz").verify()


def _read_model(directory: Path) -> None:
    """Whatever can be loaded can be quantised and takes a text, or is refused in words."""
    encoder = load_encoder(directory)
    tokenize = TextTokenizer(directory)
    quantized = quantize(encoder, Statistics.load(directory / "statistics.npz", encoder))
    if encoder.embedding is not None:
        x = encoder.embedding(tokenize("Hello arrays."))
        quantized.forward(np.clip(np.round(x / quantized.input_scale), -128, 127).astype(np.int8))


def _read_mapping(directory: Path) -> None:
    """Whatever is a mapping of the layer can be compiled, or is refused in words."""
    encoder = load_model("random", **_SMALL).quantized
    plan = read_mapping(directory / "mapping.json", preset("tiny"), _shape())
    assert isinstance(plan, Plan)
    compile_encoder(encoder, preset("tiny"), _TOKENS, plan=plan)


def _read_results(directory: Path) -> None:
    """Of whatever is read a table can be made, and what a report's figures and page show."""
    records = read_results(directory)
    table(records)
    ran = [row for row in records if row["cycles"] is not None]
    point_titles(ran)
    area = area_of(ran)
    for row in ran:
        intensity(row)
        roof(row)
        if area is not None:
            area(row)


SUBJECTS = (
    Subject("config.toml", lambda d: Config.from_toml(d / "config.toml"), optional=True),
    Subject("program.npz", _read_program, (ProgramError, InstructionError)),
    Subject("model.safetensors", _read_model, (ModelError,)),
    Subject("config.json", _read_model, (ModelError,)),
    Subject("tokenizer.json", _read_model, (ModelError,)),
    Subject("statistics.npz", _read_model, (ModelError,)),
    Subject("cycles.json", lambda d: read_cycles(d / "cycles.json")),
    Subject("mapping.json", _read_mapping, (MappingError, CapacityError)),
    Subject("sweep.toml", lambda d: points_of(read_file(d / "sweep.toml")), (SweepError, ConfigError)),
    Subject("results.jsonl", _read_results),
    Subject("point.json", lambda d: read_record(d / "point.json", check_record)),
    Subject("texts.tar.gz", lambda d: published(d / "texts.tar.gz")),
)


def write_originals(directory: Path) -> None:
    """One good file of each of :data:`SUBJECTS`, small ones."""
    (directory / "config.toml").write_text(preset("tiny").to_toml())
    small = load_model("random", **_SMALL)
    compile_encoder(small.quantized, preset("tiny"), _TOKENS).save(directory / "program.npz")
    plan = plan_layer(preset("tiny"), _shape())
    MappingFile(config=config_digest(preset("tiny")), shape=_shape(), mapping=plan, results={}).write(
        directory / "mapping.json"
    )
    _write_sweep(directory)
    case = {"cycles": 100, "causes": {"array busy": 90, "drain": 10}}
    (directory / "cycles.json").write_text(to_text({"layer: small, latency 30": case}))
    (directory / "texts.tar.gz").write_bytes(bytes(range(256)))
    _write_model(directory)


def _shape() -> Shape:
    return Shape(_TOKENS, _HIDDEN, _HEADS, _FFN)


def _write_sweep(directory: Path) -> None:
    """A sweep's options, and a record of a point that ran and of one that did not, alone and as results."""
    (directory / "sweep.toml").write_text(
        f'dims = [4, "6x10"]\nworkload = ["random:1x{_TOKENS}@8/2/12"]\naxi = [64]\nscratchpad = ["16K"]\n'
        'latency = [1, 30]\nbandwidth = [0]\npreset = "tiny"\nsynth = "ecp5"\n'
    )
    ran, refused, *_ = points_of(read_file(directory / "sweep.toml"))
    measured = dict.fromkeys(MEASURED, 4) | {
        "bit_exact": True, "difference": None, "bound_limit": "compute", "causes": {label: 1 for _, label in CAUSES},
    }  # fmt: skip
    areas = {"ecp5": {"lut": 10.0, "mhz": None}}
    records = [
        record(ran, "origin", "point", Outcome.EXACT, None, measured, 1.5) | {"synthesis": areas},
        record(refused, "origin", "other", Outcome.REFUSED, "too large", {}, 0.5) | {"synthesis": None},
    ]
    (directory / "point.json").write_text(json.dumps(records[0]))
    (directory / JSON_LINES).write_text("".join(json.dumps(row) + "\n" for row in records))


def _write_model(directory: Path) -> None:
    """A model of one layer as MiniLM's package holds it, and its statistics."""
    encoder = random_encoder(layers=1, hidden=_HIDDEN, heads=_HEADS, ffn=_FFN)
    layer = encoder.layers[0]
    prefix = "encoder.layer.0"
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    for name, linear in (
        ("attention.self.query", layer.query), ("attention.self.key", layer.key),
        ("attention.self.value", layer.value), ("attention.output.dense", layer.output),
        ("intermediate.dense", layer.ffn1), ("output.dense", layer.ffn2),
    ):  # fmt: skip
        tensors |= {f"{prefix}.{name}.weight": linear.weight.T.copy(), f"{prefix}.{name}.bias": linear.bias}
    for name, norm in (
        (f"{prefix}.attention.output.LayerNorm", layer.output_norm), (f"{prefix}.output.LayerNorm", layer.ffn2_norm),
        ("embeddings.LayerNorm", layer.output_norm),
    ):  # fmt: skip
        tensors |= {f"{name}.weight": norm.gamma.copy(), f"{name}.bias": norm.beta.copy()}
    for name, rows in (("word", len(_WORDS)), ("position", MAX_TOKENS), ("token_type", 2)):
        tensors[f"embeddings.{name}_embeddings.weight"] = random_tokens(rows, _HIDDEN, rows)
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(
        json.dumps({
            "hidden_size": _HIDDEN, "intermediate_size": _FFN, "num_attention_heads": _HEADS, "num_hidden_layers": 1,
            "vocab_size": len(_WORDS), "max_position_embeddings": MAX_TOKENS, "type_vocab_size": 2,
            "layer_norm_eps": 1e-12,
        })
    )  # fmt: skip
    (directory / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    calibrate(encoder, [random_tokens(count, _HIDDEN, 1) for count in (8, 48)]).save(directory / "statistics.npz")


def _tokenizer() -> dict[str, object]:
    special = {word: {"id": word, "ids": [_WORDS.index(word)], "tokens": [word]} for word in ("[CLS]", "[SEP]")}
    single = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]  # fmt: skip
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": word, **flags} for i, word in enumerate(_WORDS[:4])],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special,
        },
        "decoder": None,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(_WORDS)},
        },
    }  # fmt: skip
