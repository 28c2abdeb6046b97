"""Mappings of a matrix product: the same bits by every one, and a sentence for those that are none."""

import dataclasses
import hashlib
import random

import pytest

from systolith.analysis.workloads import GemmWorkload
from systolith.compiler.mapping import MappingError, ProductMapping, ProductShape, ProductTiles, product_heuristic
from systolith.compiler.plan import CapacityError
from systolith.compiler.program import CONSTANTS
from systolith.rtl.config import Config, preset
from systolith.rtl.isa import Memory, Opcode, disassemble
from systolith.runtime.device import open_device

SMALL = Config(rows=4, cols=4, lanes=4, scratchpad_bytes=2048, accumulator_bytes=2048, parameter_bytes=1024)
DEFAULT = preset("default")


def random_mapping(rng: random.Random, tiles: ProductTiles) -> ProductMapping:
    """One that fits."""
    while True:
        group = rng.randint(1, tiles.most_group // tiles.granule) * tiles.granule
        drawn = ProductMapping(
            row_block=rng.randint(1, tiles.shape.tokens),
            group=group,
            last_group=rng.randint(1, group // tiles.granule) * tiles.granule,
            piece=rng.randint(1, tiles.k),
            chunk=rng.randint(1, tiles.k * tiles.n),
            tiles_outer=rng.random() < 0.5,
            x_resident=rng.random() < 0.5,
            weights_resident=rng.random() < 0.5,
        )
        if tiles.fits(drawn):
            return drawn


@pytest.mark.parametrize("config", [SMALL, DEFAULT.resized(6, 10), DEFAULT.resized(10, 6), DEFAULT.resized(5, 7)])
def test_every_mapping_gives_the_same_bits(config):
    rng = random.Random(config.rows * config.cols)
    device = open_device(config, "functional")
    seen = set()
    for _ in range(20):
        shape = ProductShape(tokens=rng.randint(1, 40), inputs=rng.randint(1, 60), outputs=rng.randint(1, 60))
        mapping = random_mapping(rng, ProductTiles(config, shape))
        sizes = {"rows": shape.tokens, "depth": shape.inputs, "columns": shape.outputs}
        assert GemmWorkload(**sizes, mapping=mapping).run(device).difference is None, (shape, mapping)
        seen.add((mapping.tiles_outer, mapping.x_resident, mapping.weights_resident))
    assert len(seen) >= 6


def test_weights_that_stay_are_loaded_once():
    config = DEFAULT
    device = open_device(config, "functional")
    read = {}
    for resident in (True, False):
        mapping = ProductMapping(
            row_block=16, group=2, last_group=2, piece=6, chunk=4, tiles_outer=True, weights_resident=resident
        )
        run = GemmWorkload(rows=64, depth=96, columns=160, mapping=mapping).run(device)
        assert run.difference is None
        loads = [i for i in disassemble(run.program.image.tobytes()) if i.opcode == Opcode.LOAD]
        read[resident] = sum(
            i.rows * i.blocks for i in loads if i.region == CONSTANTS and i.memory == Memory.SCRATCHPAD
        )
    assert read[True] * config.row_pitch == 96 * 160
    assert read[False] == 4 * read[True]


def test_the_heuristic_is_the_default():
    config = DEFAULT.resized(6, 10)
    mapping = product_heuristic(config, ProductShape(tokens=130, inputs=170, outputs=50))
    device = open_device(config, "functional")
    images = [
        hashlib.sha256(GemmWorkload(rows=130, depth=170, columns=50, mapping=m).run(device).program.image).digest()
        for m in (None, mapping)
    ]
    assert images[0] == images[1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"row_block": 25}, "row_block must be from 1 to 24, not 25"),
        ({"group": 4}, "group must be a multiple of 3 from 3 to 6, not 4"),
        ({"last_group": 9}, "last_group must be"),
        ({"piece": 0}, "piece must be from 1 to 7, not 0"),
        ({"chunk": 36}, "chunk must be from 1 to 28, not 36"),
    ],
)
def test_a_mapping_of_another_product_is_refused(change, sentence):
    config = DEFAULT.resized(6, 10)
    shape = ProductShape(tokens=24, inputs=40, outputs=33)
    with pytest.raises(MappingError, match=sentence):
        ProductTiles(config, shape).check(dataclasses.replace(product_heuristic(config, shape), **change))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"row_block": 100, "group": 8}, "takes 800 accumulator rows for one group's sums; 128 are there"),
        ({"row_block": 16, "tiles_outer": True}, "takes 4 scratchpad rows for weights; 0 are there"),
        ({"weights_resident": True, "x_resident": False, "piece": 1}, "takes 2500 scratchpad rows for weights"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(change, sentence):
    shape = ProductShape(tokens=100, inputs=100, outputs=100)
    base = ProductMapping(row_block=4, group=4, last_group=1, piece=1, chunk=1, x_resident=True)
    with pytest.raises(MappingError, match=sentence):
        ProductTiles(SMALL, shape).check(dataclasses.replace(base, **change))


def test_memories_that_hold_no_tile_have_no_mapping():
    tight = Config(rows=5, cols=7, lanes=1, parameter_bytes=112)
    assert tight.parameter_rows == 2
    with pytest.raises(CapacityError, match="5 parameter rows are needed, 2 are there"):
        product_heuristic(tight, ProductShape(tokens=5, inputs=5, outputs=5))
