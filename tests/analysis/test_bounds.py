"""The bounds of workloads, and of products alone."""

import math
from dataclasses import replace

import pytest

from systolith.analysis.bounds import (
    Product,
    bound,
    encoder_work,
    gemm_work,
    memory_cycles,
    on_chip_bytes,
    product_traffic,
)
from systolith.rtl.config import Config, preset


def test_a_product_that_fits_moves_each_byte_once():
    product = Product(16, 32, 64, count=3)
    assert product_traffic(product, 1 << 20) == 3 * (16 * 32 + 32 * 64 + 16 * 64)


@pytest.mark.parametrize("on_chip", [1 << 10, 1 << 12, 1 << 14])
def test_a_large_product_moves_more_the_less_fits_on_the_chip(on_chip):
    product = Product(2048, 2048, 2048)
    assert product_traffic(product, on_chip) == 2 * 2048**3 / math.sqrt(on_chip) - 2 * on_chip
    assert product_traffic(product, on_chip) > product_traffic(product, 4 * on_chip)


def test_traffic_counts_both_directions_of_which_each_takes_a_beat_a_cycle():
    config = Config(rows=16, cols=16, axi_data_width=128)
    assert memory_cycles(320, 160, 0, config) == 20
    assert memory_cycles(320, 160, 960, config) == 30
    assert memory_cycles(320, 160, 0, config, bandwidth=8) == 60
    assert memory_cycles(320, 160, 960, config, bandwidth=8) == 120


def test_a_large_product_on_a_small_chip_is_limited_by_its_traffic():
    config = replace(preset("tiny"), rows=16, cols=16, scratchpad_bytes=8 << 10, accumulator_bytes=8 << 10)
    least = bound(gemm_work(4096, 4096, 4096), config)
    moved = product_traffic(Product(4096, 4096, 4096), on_chip_bytes(config))
    assert least.memory == moved / 2 / config.bus_bytes
    assert least.memory > 4 * 4096 * 4096 / config.bus_bytes
    # The registers of the array come on top of the memories.
    assert on_chip_bytes(config) > on_chip_bytes(preset("tiny")) - (32 << 10)


def test_few_lanes_make_the_vector_unit_the_limit():
    config = Config(rows=16, cols=16, lanes=1)
    least = bound(gemm_work(128, 8, 64), config)
    assert least.limit == "vector"
    assert least.cycles == least.padded == 128 * 64


def test_a_bert_layer_is_limited_by_the_array():
    least = bound(encoder_work(layers=1, hidden=768, heads=12, ffn=3072, tokens=128), preset("default"))
    assert (least.limit, least.cycles) == ("compute", 3_637_248)
    # Queries, keys, values, context; scores; the inner layer; two sums with a second pass each.
    assert least.vector * 16 == 128 * (4 * 768 + 12 * 128 + 3072 + 4 * 768)
