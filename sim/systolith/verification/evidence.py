"""What the project promises, and the campaigns that bear each promise out."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Report = Callable[[str], None]

#: Campaign -> what it does. Each is a package; its module ``campaign`` has a function ``campaign(Options, Report)``.
CAMPAIGNS: dict[str, str] = {
    "benches": "unit benches of every block under Verilator, with third-party peers on the buses",
    "fuzz": "random programs: functional device against RTL, every byte of every memory",
    "faults": "random fault injections: a quiet stop, a report, and a good program afterwards",
    "verifier": "mutants of correct programs are refused; what is accepted agrees in every interleaving",
    "endurance": "back-to-back jobs on one device without reset",
    "hostile": "corrupted files of every kind: one sentence each",
    "formal": "bounded model checking and induction (extra: formal)",
    "coverage": "lines and toggles of the Verilog, fields of the instructions",
    "mutants": "small faults seeded into RTL and numerics: the tests must notice",
}


class CampaignError(ValueError):
    """No such campaign, it needs what is not installed, or it cannot tell anything as things are."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every campaign understands.

    Parameters
    ----------
    seed : int
        Everything random follows from it.
    seconds : float or None
        Time to spend, where a campaign can use more or less; None for its own default.
    quick : bool
        The share that belongs in every test run: seconds, not minutes.
    """

    seed: int = 0
    seconds: float | None = None
    quick: bool = False


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One row of the table: a promise, the figure that a campaign measured for it, and whether it holds.

    ``details`` is what a program would want to read: counts, seeds, survivors; plain JSON values. ``listing`` is what a
    reader wants to see when this is all that ran: a table, its first row the heading.
    """

    campaign: str
    promise: str
    figure: str
    passed: bool
    listing: list[tuple[str, ...]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def run_campaign(name: str, options: Options, report: Report) -> list[Evidence]:
    """Run one of :data:`CAMPAIGNS`; ``report`` is told what it is doing.

    Raises
    ------
    ValueError
        If there is no campaign of that name.
    ModuleNotFoundError
        If it needs an extra that is not installed.
    """
    if name not in CAMPAIGNS:
        raise ValueError(f"unknown campaign {name!r}; the campaigns are {', '.join(CAMPAIGNS)}")
    module = importlib.import_module(f"systolith.verification.{name}.campaign")
    evidence: list[Evidence] = module.campaign(options, report)
    return evidence
