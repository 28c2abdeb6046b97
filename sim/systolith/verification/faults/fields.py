"""Instructions with something wrong in their fields: what a decoder or a unit must refuse."""

import random

from systolith.compiler.footprint import chip_span, dram_span, residual_span, result_span
from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Memory, Opcode
from systolith.rtl.parameters import PLANES
from systolith.rtl.vector.arithmetic import supported

Values = dict[str, int]
_HIGHEST = (1 << 16) - 1
_SUMMING = (Function.EXPONENT, Function.CONTEXT, Function.RESIDUAL, Function.LAYERNORM)


def illegal_values(i: Instruction, config: Config) -> dict[str, Values]:
    """By name, every kind of value of ``i``'s fields that is ``ILLEGAL_INSTRUCTION`` whatever the others are.

    The RTL has no other illegal values: shifts, grids, offsets, multipliers and column counts are legal throughout,
    fields that a function does not use are ignored, and blocks that overlap are the verifier's to refuse.
    """
    kinds: dict[str, Values] = {
        "waits for its own unit": {"wait": i.wait | 1 << i.unit},
        "gives to its own unit": {"give": i.give | 1 << i.unit},
        "no rows": {"rows": 0},
    }
    if i.opcode in (Opcode.LOAD, Opcode.STORE):
        kinds["no blocks"] = {"blocks": 0}
        if config.row_pitch > 1:
            kinds["offset inside a row"] = {"offset": i.offset + 1}
            kinds["DRAM stride inside a row"] = {"blocks": max(2, i.blocks), "dram_stride": i.dram_stride + 1}
        if i.opcode == Opcode.STORE:
            kinds["STORE from the parameters"] = {"memory": Memory.PARAMETERS}
    elif i.opcode == Opcode.MATRIX:
        kinds |= {"no k tiles": {"k_tiles": 0}, "no n tiles": {"n_tiles": 0}}
    else:
        kinds["no blocks"] = {"blocks": 0}
        unknown = next(f for f in (7, 6, *Function) if f not in supported(config))
        kinds["unknown function"] = {"function": unknown}
    return kinds


def outside_the_chip(i: Instruction, config: Config, source: random.Random) -> Values:
    """Some field of ``i`` changed so that it addresses a row behind a memory: ``ADDRESS``."""
    beyond = source.choice([0, 0, 1, source.randrange(1 << 12)])

    def start(field: str, rows: int, held: int) -> Values:
        """First row such that of ``rows`` rows the last is one or more too many."""
        width = (1 << 12) - 1 if field in ("stat_address", "param_address") else _HIGHEST
        return {field: min(held - rows + 1 + beyond, width)}

    if i.opcode in (Opcode.LOAD, Opcode.STORE):
        held = PLANES * config.parameter_rows if i.memory == Memory.PARAMETERS else config.scratchpad_rows
        choices = [start("address", i.rows, held)]
        choices += [{"stride": _HIGHEST}] if chip_span(i).shape[0] > 1 else []
    elif i.opcode == Opcode.MATRIX:
        tile = config.cols if i.transpose else config.rows
        choices = [
            start("a_address", i.rows, config.scratchpad_rows),
            start("w_address", tile, config.scratchpad_rows),
            start("acc_address", i.rows, config.accumulator_rows),
        ]
        choices += [{"a_stride": _HIGHEST}, {"w_k_stride": _HIGHEST}] if i.k_tiles > 1 else []
        choices += [{"acc_stride": _HIGHEST}, {"w_n_stride": _HIGHEST}] if i.n_tiles > 1 else []
        choices += [start("stat_address", i.rows, config.statistics_rows)] if i.track_max else []
    else:
        choices = [start("acc_address", i.rows, config.accumulator_rows)]
        choices += [{"acc_stride": _HIGHEST}] if i.blocks > 1 else []
        if i.function == Function.RESIDUAL:
            choices.append(start("residual_address", i.rows, config.scratchpad_rows))
            choices += [{"residual_stride": _HIGHEST}] if residual_span(i, config).shape[0] > 1 else []
        else:
            choices.append(start("out_address", i.rows, config.scratchpad_rows))
            choices += [{"out_stride": _HIGHEST}] if result_span(i, config).shape[0] > 1 else []
        if i.function != Function.EXPONENT:
            choices.append(start("param_address", i.blocks, config.parameter_rows))
        if i.function in _SUMMING:
            choices.append(start("stat_address", i.rows, config.statistics_rows))
    return source.choice(choices)


def outside_the_region(i: Instruction, config: Config, size: int, source: random.Random) -> Values:
    """Offset or stride of a LOAD or STORE changed so that it leaves its region of ``size`` bytes: ``REGION``."""
    pitch = config.row_pitch
    last_row = (1 << 32) - pitch
    extent = (dram_span(i, config).last + 1) * pitch - i.offset
    behind = size - size % pitch - extent + pitch
    choices: list[Values] = [{"offset": last_row}]
    if behind >= 0:
        choices.append({"offset": behind})
    if i.offset + (i.rows - 1) * pitch >= pitch:
        # The second block would lie in the region again if sums had 32 bits.
        choices.append({"blocks": 2, "stride": 0, "dram_stride": last_row})
    return source.choice(choices)
