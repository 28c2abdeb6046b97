"""What is compared: chains of a layer's operations in one program, and in several with int8 in DRAM between them."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from systolith.analysis.bench_cases import MemoryTiming
from systolith.analysis.fusion_workloads import (
    AddNormWorkload,
    AttentionLayerWorkload,
    ScoresWorkload,
    SoftmaxWorkload,
    SpilledProductWorkload,
    Stage,
)
from systolith.analysis.prediction import predict
from systolith.analysis.workloads import AttentionWorkload
from systolith.compiler.attention_layer import attention_shape
from systolith.compiler.mapping import MappingError
from systolith.compiler.plan import CapacityError, Shape, cheapest, combine
from systolith.rtl.config import Config
from systolith.rtl.isa import Instruction, disassemble
from systolith.sweep.measure import Report, kept, measure

from .layer_space import LayerSpace

Alternative = Stage | AttentionWorkload

#: The chains of a layer.
NAMES = SCORES, CONTEXT, PROJECTION, FFN2, ATTENTION = (
    "scores, softmax", "scores, softmax, context", "output projection, LayerNorm", "FFN2, LayerNorm", "whole attention",
)  # fmt: skip
#: Queries and keys at a time that are tried; for the longest sequences fewer keys, as compiling takes seconds.
_QUERIES, _KEYS = (16, 32, 48, 64, 128), (16, 32, 64, 128, 256)
_LONG, _LONG_QUERIES, _LONG_KEYS = 2048, (16, 24, 32, 64), (128,)
#: Heads on which plans of attention are compared: they follow one another, all alike.
_SEARCHED_HEADS = 2
#: Whole rows of sums at a time that are tried: as many as so many blocks of them fill the accumulator, or these.
_BLOCKS, _ROWS = (1, 2, 3), (16, 32)


@dataclass(frozen=True)
class Step:
    """A program that is run ``times`` times: the best plan of ``alternatives``, which compute the same."""

    alternatives: tuple[Alternative, ...]
    times: int = 1


@dataclass(frozen=True)
class Chain:
    """Operations that can be fused; ``macs`` are those of either schedule, without the identity's."""

    name: str
    tokens: int
    macs: int
    fused: tuple[Step, ...]
    unfused: tuple[Step, ...]


def chains(shape: Shape, config: Config) -> Iterator[Chain]:
    """All chains of a layer (:data:`NAMES`), with the plans that are tried on ``config``."""
    scores = Step(tuple(ScoresWorkload(**plan) for plan in _attention_plans(shape)))
    attention = AttentionWorkload(heads=shape.heads, size=shape.head_size, tokens=shape.tokens)
    context = _softmax(shape, spilled=True, context=True)
    yield Chain(
        SCORES, shape.tokens, attention.work.macs // 2,
        (_softmax(shape, spilled=False, context=False),),
        (scores, _softmax(shape, spilled=True, context=False)),
    )  # fmt: skip
    yield Chain(
        CONTEXT, shape.tokens, attention.work.macs,
        (Step((attention, *_softmax(shape, spilled=False, context=True).alternatives)),),
        (scores, context),
    )  # fmt: skip
    yield from projected(shape, config)
    product, norm = _projected_steps(shape, config, ffn2=False, spilled=True)
    whole = tuple(_whole_attention(shape, config))
    # Queries, keys and values are products of the output projection's shape, and take its cycles.
    yield Chain(
        ATTENTION, shape.tokens, whole[0].work.macs, (Step(whole),),
        (replace(product, times=4), scores, context, norm),
    )  # fmt: skip


def projected(shape: Shape, config: Config) -> Iterator[Chain]:
    """The chains that end in a LayerNorm."""
    for ffn2, name in ((False, PROJECTION), (True, FFN2)):
        product, norm = _projected_steps(shape, config, ffn2=ffn2, spilled=True)
        (fused,) = _projected_steps(shape, config, ffn2=ffn2, spilled=False)
        macs = shape.tokens * shape.hidden * (shape.ffn if ffn2 else shape.hidden)
        yield Chain(name, shape.tokens, macs, (fused,), (product, norm))


def _attention_plans(shape: Shape) -> Iterator[dict[str, int]]:
    long = shape.tokens >= _LONG
    for rows in _LONG_QUERIES if long else _QUERIES:
        for keys in _LONG_KEYS if long else _KEYS:
            if (rows <= shape.tokens and keys <= shape.tokens) or (rows == _QUERIES[0] and keys == _KEYS[0]):
                yield {
                    "heads": shape.heads, "size": shape.head_size, "tokens": shape.tokens, "rows": rows, "keys": keys,
                }  # fmt: skip


def _whole_attention(shape: Shape, config: Config) -> Iterator[AttentionLayerWorkload]:
    """As the compiler cuts it, and the plans that it estimates to be best with about so many queries at a time."""
    workload = AttentionLayerWorkload(hidden=shape.hidden, heads=shape.heads, tokens=shape.tokens)
    yield workload
    parts = LayerSpace(config, attention_shape(config, shape.tokens, shape.hidden, shape.heads)).parts
    for least, most in itertools.pairwise((0, *(_LONG_QUERIES if shape.tokens >= _LONG else _QUERIES))):
        plan = cheapest(
            combine(config, [a for a in attention if least < a.query_rows <= most], rows, *resident)
            for resident, (attention, rows) in parts.items()
        )
        if plan is not None:
            yield replace(workload, plan=plan)


def _softmax(shape: Shape, *, spilled: bool, context: bool) -> Step:
    return Step(tuple(SoftmaxWorkload(**p, spilled=spilled, context=context) for p in _attention_plans(shape)))


def _projected_steps(shape: Shape, config: Config, *, ffn2: bool, spilled: bool) -> tuple[Step, ...]:
    sizes: dict[str, Any] = {"hidden": shape.hidden, "ffn": shape.ffn, "tokens": shape.tokens, "ffn2": ffn2}
    whole = config.accumulator_rows // -(-shape.hidden // config.cols)
    # If not even one fits, the compiler says so.
    most = max(1, min(whole, config.statistics_rows // 2, shape.tokens))
    tried = sorted({n for n in (*(whole // b for b in _BLOCKS), *_ROWS) if 1 <= n <= most} | {most})
    norm = Step(tuple(AddNormWorkload(**sizes, rows=rows, spilled=spilled) for rows in tried))
    return (Step((SpilledProductWorkload(**sizes),)), norm) if spilled else (norm,)


def choose(step: Step, config: Config, timing: MemoryTiming, cache: Path, report: Report) -> Alternative:
    """The alternative with the fewest predicted cycles; kept like a run on the RTL.

    Raises
    ------
    MappingError
        If none fits.
    """
    if len(step.alternatives) == 1:
        return step.alternatives[0]

    def run() -> dict[str, Any]:
        report(f"plans of {type(step.alternatives[-1]).__name__}, {config.accumulator_bytes >> 10} KiB, {timing}")
        return {str(index): predict(program, config, timing).cycles for index, program in programs(step, config)}

    cycles = kept(cache / "plans", f"{step!r} {config.to_toml()} {timing!r}", run)
    if not cycles:
        raise MappingError(f"{step.alternatives[0]} does not fit, nor any other plan")
    return step.alternatives[int(min(cycles, key=lambda index: cycles[index]))]


def programs(step: Step, config: Config) -> Iterator[tuple[int, list[Instruction]]]:
    """Number and program of each alternative that fits, on :func:`few_heads`."""
    for index, alternative in enumerate(step.alternatives):
        try:
            program = few_heads(alternative).compile(config)
        except CapacityError:
            continue
        yield index, disassemble(program.image.tobytes())


def few_heads(alternative: Alternative) -> Alternative:
    """``alternative`` on no more heads than tell its plan from others."""
    if isinstance(alternative, (AttentionWorkload, ScoresWorkload, SoftmaxWorkload)):
        return replace(alternative, heads=min(alternative.heads, _SEARCHED_HEADS))
    return alternative


def run_steps(
    steps: tuple[Step, ...], config: Config, timing: MemoryTiming, cache: Path, report: Report
) -> dict[str, Any]:
    """Measure the steps by the plans that :func:`choose` takes."""
    chosen = [(step.times, choose(step, config, timing, cache, report)) for step in steps]
    return run_chosen(chosen, config, timing, cache, report)


def run_chosen(
    chosen: Sequence[tuple[int, Alternative]], config: Config, timing: MemoryTiming, cache: Path, report: Report
) -> dict[str, Any]:
    """Cycles and bytes of DRAM of programs one after another, each so many times, on the RTL, and what was run."""
    cycles = read = written = 0
    plans = []
    for times, alternative in chosen:
        ran = measure(alternative, config, timing, cache, report)
        cycles += times * ran.cycles
        read += times * ran.counters["read_beats"] * config.bus_bytes
        written += times * ran.counters["write_beats"] * config.bus_bytes
        plans.append({"times": times, "program": repr(alternative), "cycles": ran.cycles})
    return {"cycles": cycles, "read_bytes": read, "written_bytes": written, "programs": plans}
