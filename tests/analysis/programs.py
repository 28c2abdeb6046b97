"""Small programs for the cycle model and the energy estimate."""

from systolith.rtl.config import preset
from systolith.rtl.isa import Function, Instruction, Memory, Opcode

CONFIG = preset("tiny")


def load(rows=16, **values):
    return Instruction(Opcode.LOAD, {"rows": rows, "blocks": 1, **values})


def matrix(**values):
    return Instruction(Opcode.MATRIX, {"rows": 24, "k_tiles": 1, "n_tiles": 4, **values})


def vector(function, **values):
    fields = {"rows": 24, "blocks": 3, "acc_stride": 24, "out_stride": 24, "valid": 12, **values}
    return Instruction(Opcode.VECTOR, {"function": function, **fields})


def store(rows=13, **values):
    return Instruction(Opcode.STORE, {"rows": rows, "blocks": 1, **values})


def of_all_kinds():
    """Each kind of instruction, in turns: every one waits for the one before."""
    words = [
        load(), load(rows=7, blocks=2, dram_stride=64, stride=7), load(memory=Memory.PARAMETERS), matrix(),
        vector(Function.REQUANTIZE), store(), matrix(rows=5, k_tiles=2, w_n_stride=4),
        matrix(transpose=1, track_max=1, max_first=1, acc_stride=24, valid=16),
        vector(Function.EXPONENT, first=1, last=1), vector(Function.CONTEXT), vector(Function.GELU),
        store(blocks=3, rows=24),
        vector(Function.RESIDUAL, first=1, last=1, multiplier=12, residual_stride=24), vector(Function.LAYERNORM),
        vector(Function.RESIDUAL, residual_stride=24), vector(Function.REQUANTIZE, rows=1, blocks=1), store(rows=1),
    ]  # fmt: skip
    chained = []
    for number, word in enumerate(words):
        before = {words[number - 1].unit} - {word.unit} if number else set()
        after = {words[number + 1].unit} - {word.unit} if number + 1 < len(words) else set()
        tokens = {"wait": sum(1 << unit for unit in before), "give": sum(1 << unit for unit in after)}
        chained.append(Instruction(word.opcode, word.values | tokens))
    return chained
