"""The accelerators that are fuzzed: small memories, so that everything overlaps and every end is reached."""

from dataclasses import replace

from systolith.numerics.approximation import POLYNOMIAL
from systolith.rtl.config import Config

_4X4 = Config(
    rows=4, cols=4, lanes=4, axi_data_width=64, scratchpad_bytes=2048, accumulator_bytes=4096, parameter_bytes=1024,
    statistics_rows=64,
)  # fmt: skip

#: By name; the first is the smallest and what the quick share uses.
CONFIGS: dict[str, Config] = {
    "4x4, 64-bit bus": _4X4,
    "8x8, 128-bit bus": Config(
        rows=8, cols=8, lanes=8, axi_data_width=128, scratchpad_bytes=4096, accumulator_bytes=8192,
        parameter_bytes=2048, statistics_rows=128,
    ),
    "6x10, 256-bit bus": Config(
        rows=6, cols=10, lanes=2, axi_data_width=256, scratchpad_bytes=6000, accumulator_bytes=12000,
        parameter_bytes=2000, statistics_rows=100, axi_burst_beats=3, load_queue=3, store_queue=2,
    ),
    "16x16, 128-bit bus": Config(
        rows=16, cols=16, lanes=16, axi_data_width=128, scratchpad_bytes=16384, accumulator_bytes=32768,
        parameter_bytes=4096, statistics_rows=128,
    ),
    "16x16, 256-bit bus, polynomials": Config(
        rows=16, cols=16, lanes=4, axi_data_width=256, scratchpad_bytes=12000, accumulator_bytes=20000,
        parameter_bytes=2048, statistics_rows=57, scratchpad_banks=8, accumulator_banks=2, approximation=POLYNOMIAL,
    ),
    "4x4, one of everything": replace(
        _4X4, lanes=1, axi_data_width=32, axi_outstanding=1, axi_burst_beats=1, axi_address_width=32,
        scratchpad_banks=1, accumulator_banks=1, load_queue=2, matrix_queue=2, vector_queue=2, store_queue=2,
        parameter_bytes=64, statistics_rows=4, softmax=False,
    ),
    "10x6, no layernorm": Config(
        rows=10, cols=6, lanes=1, axi_data_width=512, axi_outstanding=64, axi_burst_beats=256, axi_address_width=64,
        scratchpad_bytes=7000, accumulator_bytes=9000, parameter_bytes=1000, statistics_rows=33,
        scratchpad_banks=16, accumulator_banks=16, matrix_queue=5, vector_queue=7, gelu=False, layernorm=False,
    ),
    "5x3, requantize only": Config(
        rows=5, cols=3, lanes=1, axi_data_width=64, scratchpad_bytes=999, accumulator_bytes=1234, parameter_bytes=100,
        statistics_rows=9, scratchpad_banks=2, accumulator_banks=8, softmax=False, gelu=False, layernorm=False,
    ),
}  # fmt: skip
