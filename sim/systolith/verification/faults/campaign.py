"""Campaign: faults of every kind, at random times, in random programs; each reported, quiet, and got over."""

import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from itertools import cycle

from systolith.numerics.approximation import POLYNOMIAL
from systolith.rtl.config import Config, preset
from systolith.sim.build import Simulator, build
from systolith.verification.evidence import Evidence, Options, Report

from .batch import Injection, run_batch
from .kinds import KINDS, Maker, took_effect, verdict
from .subjects import subjects

#: Injections in one simulator process at most.
_BATCH = 250


@dataclass
class Tally:
    """What came of the injections so far: effective ones by kind, those too late, and every failure in a sentence."""

    kinds: Counter[str] = field(default_factory=Counter)
    too_late: int = 0
    failures: list[str] = field(default_factory=list)
    hangs: int = 0
    strays: int = 0

    @property
    def total(self) -> int:
        return self.kinds.total()


def shares(options: Options) -> list[tuple[Config, int]]:
    """Configurations and how many injections each gets."""
    tiny = preset("tiny")
    if options.quick:
        return [(tiny, len(KINDS))]
    uneven = replace(preset("small").resized(6, 10), axi_data_width=128)
    wide = replace(preset("small"), axi_data_width=256, approximation=POLYNOMIAL)
    return [(tiny, 700), (uneven, 150), (wide, 150)]


def inject(config: Config, simulator: Simulator, number: int, seed: int, tally: Tally, report: Report) -> None:
    """Make and judge injections into ``config``'s RTL in ``simulator`` until ``number`` of them took effect.

    Kinds come in turn; one that came too late to take effect is tried again before the next.
    """
    pool = subjects(config, seed)
    source = random.Random(f"{seed} {config.rows} {config.cols}")
    turns = cycle(KINDS)
    again: deque[str] = deque()
    done = 0
    while done < number:
        cases = []
        for _ in range(min(_BATCH, number - done)):
            kind = again.popleft() if again else next(turns)
            index = source.randrange(len(pool))
            injection, expected = KINDS[kind](Maker(config, pool[index], index, len(pool), source))
            cases.append((replace(injection, kind=kind), expected))
        observed = run_batch(config, simulator, pool, [injection for injection, _ in cases])
        for (injection, expected), seen in zip(cases, observed, strict=True):
            wrong = verdict(injection, expected, seen, pool[injection.subject])
            tally.hangs += seen.hung
            tally.strays += seen.strays
            if wrong:
                tally.failures.append(_sentence(config, pool[injection.subject].name, injection, wrong))
            elif not took_effect(injection, expected, seen):
                tally.too_late += 1
                again.append(injection.kind)
                continue
            tally.kinds[injection.kind] += 1
            done += 1
        report(f"{config.rows}x{config.cols}: {done} of {number} faults injected, {len(tally.failures)} failures")


def _sentence(config: Config, subject: str, injection: Injection, wrong: str) -> str:
    return f"{config.rows}x{config.cols}, {injection.kind} in {subject}: {wrong}"


def campaign(options: Options, report: Report) -> list[Evidence]:
    """1,000 injections on three sizes, or one of each kind on the smallest."""
    tally = Tally()
    for config, number in shares(options):
        inject(config, build(config, report=report), number, options.seed, tally, report)
    for failure in tally.failures[:10]:
        report(failure)
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(tally.kinds.items()))
    details = {
        "kinds": dict(tally.kinds),
        "too_late": tally.too_late,
        "failures": tally.failures,
        "sizes": {f"{config.rows}x{config.cols}": number for config, number in shares(options)},
    }
    return [
        Evidence(
            campaign="faults",
            promise="every fault ends in a quiet stop with its report, and a correct program then runs bit-exact",
            figure=f"{tally.total} injections, {len(tally.failures)} failures, {tally.hangs} hangs ({counts})",
            passed=not tally.failures,
            details=details,
        ),
        Evidence(
            campaign="faults",
            promise="no program reads or writes outside what the host granted",
            figure=f"{tally.strays} bursts outside in {tally.total} injections and as many correct runs",
            passed=tally.strays == 0,
            details={"strays": tally.strays},
        ),
    ]
