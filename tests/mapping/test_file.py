"""Mapping files: what is written is read, and another's is refused in a sentence."""

import dataclasses
import json

import pytest

from systolith.compiler.mapping import MappingError, ProductShape, product_heuristic
from systolith.compiler.plan import Shape, plan_layer
from systolith.mapping.file import MappingFile, config_digest, read_mapping
from systolith.rtl.config import preset

TINY = preset("tiny")
SHAPE = Shape(tokens=19, hidden=24, heads=2, ffn=40)


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "mapping.json"
    plan = plan_layer(TINY, SHAPE)
    MappingFile(config=config_digest(TINY), shape=SHAPE, mapping=plan, results={}).write(target)
    return target


def test_what_is_written_is_read(path, tmp_path):
    assert read_mapping(path, TINY, SHAPE) == dataclasses.replace(plan_layer(TINY, SHAPE), cycles=0.0)
    shape = ProductShape(tokens=5, inputs=6, outputs=7)
    mapping = product_heuristic(TINY, shape)
    other = tmp_path / "product.json"
    MappingFile(config=config_digest(TINY), shape=shape, mapping=mapping, results={}).write(other)
    assert read_mapping(other, TINY, shape) == mapping
    with pytest.raises(MappingError, match="is a mapping of a 'product', not of a layer"):
        read_mapping(other, TINY, SHAPE)


def test_another_configuration_or_shape_is_refused(path):
    with pytest.raises(MappingError, match=f"for another configuration: '{config_digest(TINY)}'; this one is"):
        read_mapping(path, preset("small"), SHAPE)
    with pytest.raises(MappingError, match=r"is a mapping of \{.*19.*\}, not of \{'tokens': 20"):
        read_mapping(path, TINY, dataclasses.replace(SHAPE, tokens=20))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "systolith mapping 9"}, "is no mapping file: its format is 'systolith mapping 9'"),
        ({"mapping": {"project_rows": 1}}, "a mapping of a layer has project_rows, query_rows"),
        ({"mapping": 5}, "a mapping of a layer has project_rows, query_rows"),
    ],
)
def test_damaged_files_are_refused(path, change, sentence):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MappingError, match=sentence):
        read_mapping(path, TINY, SHAPE)


def test_a_size_of_another_kind_is_refused(path):
    record = json.loads(path.read_text())
    record["mapping"]["query_rows"] = True
    path.write_text(json.dumps(record))
    with pytest.raises(MappingError, match="query_rows must be int, not True"):
        read_mapping(path, TINY, SHAPE)
