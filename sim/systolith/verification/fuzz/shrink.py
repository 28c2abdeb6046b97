"""Makes a failing case small: fewer instructions, smaller fields, simpler data, legal at every step.

Delta debugging (Zeller and Hildebrandt 2002), with all candidates of a step run in one go.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from systolith.compiler.hazards import ProgramError, synchronize, verify
from systolith.rtl.config import Config
from systolith.rtl.isa import FIELDS, Instruction, assemble, disassemble

from .batch import Case

#: For each case, whether it fails. Every case has a state of its own.
Fails = Callable[[Sequence[Case]], list[bool]]
#: Makes a case simpler; None where that cannot be done.
Change = Callable[[Case], Case | None]
#: Most candidates run at once.
_TOGETHER = 100
#: Rounds of making fields smaller; each goes over all fields of all instructions.
_ROUNDS = 6


class Shrinker:
    """Shrinks failing cases of ``config``; ``fails`` runs candidates. ``tried`` counts them."""

    def __init__(self, config: Config, fails: Fails) -> None:
        self.config = config
        self.fails = fails
        self.tried = 0

    def shrink(self, case: Case) -> Case:
        """A smaller case that still fails; the case itself if nothing smaller does."""
        plain = [replace(case, reset=True, timing=timing) for timing in ((1, 0, None), (30, 0, None), case.timing)]
        case = next(iter(self._failing(plain)), case)
        case = self._fewer(case)
        for _ in range(_ROUNDS):
            smaller = self._apply(case, self._smaller_fields(case))
            if smaller is case:
                break
            case = self._fewer(smaller)
        return self._apply(case, self._zeros(case))

    def _failing(self, candidates: Sequence[Case]) -> list[Case]:
        failing: list[Case] = []
        for start in range(0, len(candidates), _TOGETHER):
            part = candidates[start : start + _TOGETHER]
            self.tried += len(part)
            failing += [c for c, failed in zip(part, self.fails(part), strict=True) if failed]
        return failing

    def _apply(self, case: Case, changes: Sequence[Change]) -> Case:
        """As many of ``changes`` as go together: all that go alone, else half of them, ..., else one."""
        alone = [(change, changed) for change in changes if (changed := change(case)) is not None]
        failing = {id(c) for c in self._failing([changed for _, changed in alone])}
        good = [(change, changed) for change, changed in alone if id(changed) in failing]
        while len(good) > 1:
            together: Case | None = case
            for change, _ in good:
                together = change(together) if together is not None else None
            if together is not None and self._failing([together]):
                return together
            good = good[: len(good) // 2]
        return good[0][1] if good else case

    def _variants(self, case: Case, instructions: list[Instruction]) -> list[Case]:
        """Legal cases of ``instructions``: with few tokens, or with those that they have."""
        sizes = tuple(len(region) for region in case.regions)
        variants = []
        for order in (synchronize, lambda program, *_: program):
            try:
                legal = order(instructions, self.config, sizes)
                verify(legal, self.config, sizes)
            except ProgramError:
                continue
            variants.append(replace(case, image=assemble(legal)))
        return variants

    def _fewer(self, case: Case) -> Case:
        """Drop instructions: halves, quarters, ... single ones."""
        instructions = disassemble(case.image.tobytes())
        size = max(1, len(instructions) // 2)
        while len(instructions) > 1:
            candidates = [
                variant
                for start in range(0, len(instructions), size)
                for variant in self._variants(case, instructions[:start] + instructions[start + size :])
                if len(variant.image)
            ]
            failing = self._failing(candidates)
            if failing:
                case = min(failing, key=lambda c: len(c.image))
                instructions = disassemble(case.image.tobytes())
                size = min(size, max(1, len(instructions) // 2))
            elif size == 1:
                break
            else:
                size = max(1, size // 2)
        return case

    def _smaller_fields(self, case: Case) -> list[Change]:
        """For each field of each instruction: 0, 1, a half, one less; the smallest first."""
        changes: list[Change] = []
        for index, instruction in enumerate(disassemble(case.image.tobytes())):
            for field in FIELDS[instruction.opcode][3:]:
                value = getattr(instruction, field.name)
                toward = value - 1 if value > 0 else value + 1
                for less in dict.fromkeys((0, 1, int(value / 2), toward)):
                    if abs(less) < abs(value):
                        changes.append(partial(self._with_field, index=index, name=field.name, value=less))
        return changes

    def _with_field(self, case: Case, *, index: int, name: str, value: int) -> Case | None:
        """The case with one field set, unless it is smaller already or that is not legal."""
        instructions = disassemble(case.image.tobytes())
        instruction = instructions[index]
        if abs(getattr(instruction, name)) <= abs(value):
            return case
        instructions[index] = replace(instruction, values=instruction.values | {name: value})
        return next(iter(self._variants(case, instructions)), None)

    def _zeros(self, case: Case) -> list[Change]:
        """Zeros in each memory of the chip and each region."""
        names = [] if case.state is None else list(case.state.dtype.names or ())
        regions = [index for index, region in enumerate(case.regions) if region.any()]
        return [
            *(partial(_without_memory, name=n) for n in names),
            *(partial(_without_region, index=i) for i in regions),
        ]


def _without_memory(case: Case, *, name: str) -> Case | None:
    if case.state is None:
        return None
    state = case.state.copy()
    state[name] = 0
    return replace(case, state=state)


def _without_region(case: Case, *, index: int) -> Case:
    regions = [np.zeros_like(region) if i == index else region for i, region in enumerate(case.regions)]
    return replace(case, regions=regions)
