"""Accepted mutants on the RTL: under random memory timing, every byte as the functional device leaves it."""

import random
from collections.abc import Sequence

from systolith.rtl.chip_state import random_state
from systolith.rtl.isa import assemble
from systolith.sim.build import build
from systolith.verification.evidence import Report
from systolith.verification.fuzz.batch import Case, Fuzzer

from .mutate_program import Mutant
from .subjects import Subject

#: Programs that one simulator runs before the next batch.
_BATCH = 100


def _case(subject: Subject, mutant: Mutant, source: random.Random, *, first: bool) -> Case:
    """The mutant with memories of random contents (``first``) or as the one before left them, at random timing."""
    return Case(
        image=assemble(list(mutant.instructions)),
        regions=list(subject.regions),
        state=random_state(subject.config, source.randrange(1 << 32)) if first else None,
        reset=first,
        timing=(source.choice([1, 5, 30, 100]), source.choice([0, 0, 2, 8]), source.randrange(1 << 31)),
        place=source.randrange(1 << 32),
    )


def differing_on_rtl(
    accepted: Sequence[tuple[Subject, Mutant]], source: random.Random, report: Report
) -> tuple[int, list[str]]:
    """How many of ``accepted``, which are all for one configuration, ran, and what was wrong; it ends a batch.

    Raises
    ------
    SimulationError
        If the simulator cannot be built or fails.
    """
    config = accepted[0][0].config
    wrong, count = [], 0
    with Fuzzer(config, build(config, peek=True, report=report)) as fuzzer:
        for start in range(0, len(accepted), _BATCH):
            report(f"accepted mutants on the RTL, {start} of {len(accepted)}")
            batch = accepted[start : start + _BATCH]
            results = fuzzer.run([_case(*entry, source, first=index == 0) for index, entry in enumerate(batch)])
            count += len(results)
            wrong += [
                f"{subject.name}: {mutant.change}: {result.difference}"
                for (subject, mutant), result in zip(batch, results, strict=False)
                if result.difference
            ]
    return count, wrong
