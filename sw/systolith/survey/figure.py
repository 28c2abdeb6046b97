"""What an experiment of the survey yields (Kim et al., arXiv 2302.14017), and where each one is.

An experiment is a module of this package with a function ``figure(options, report)``; :data:`FIGURES` names it.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Report = Callable[[str], None]

#: Experiment -> (its module, the question that it answers).
FIGURES: dict[str, tuple[str, str]] = {
    "profile": ("profile", "What do Transformers compute and move, and which side of the roofline are they on?"),
    "bound": ("bound", "What is the least that a layer and its operations could take, and what do they take?"),
    "host": ("host", "What do non-linear functions cost on the host, and what do units for them bring?"),
    "units": ("units", "What does each non-linear unit bring alone, and are look-ups as good as polynomials?"),
    "unit-area": ("unit_area", "What does each non-linear unit take in silicon?"),
    "cycle-model": ("cyclemodel", "How well are cycles predicted without simulating the hardware?"),
    "energy": ("energy", "Where does the energy of a program go, and what is its energy-delay product?"),
    "mapping": ("mapping", "How much does the mapping decide, and is the compiler's own a good one?"),
    "rebalance": ("rebalance", "How large must scratchpad and accumulator be to keep the array busy?"),
    "fusion": ("fusion", "Which operations are faster fused than with their results in DRAM between them?"),
}


class SurveyError(ValueError):
    """An experiment that does not exist or cannot be done; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every experiment understands.

    Parameters
    ----------
    quick : bool
        Only the share that takes seconds, on small sizes: for tests.
    cache : Path
        Directory under which runs on the RTL are kept, so that an interrupted experiment goes on.
    """

    cache: Path
    quick: bool = False


@dataclass(frozen=True, kw_only=True)
class FigureTable:
    """A table for people.

    Attributes
    ----------
    columns : tuple of str
        Headings, with units.
    rows : tuple of tuples
        Cells as text; the first is the row's name.
    note : str
        How the figures came about: which are measured on the RTL, which computed, which estimated.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The answer of one experiment.

    Attributes
    ----------
    tables : tuple of FigureTable
    data : dict
        The same as JSON values, unrounded.
    pictures : dict
        File stem -> a function that draws it with matplotlib to the path that it is given (.svg or .png).
    """

    tables: tuple[FigureTable, ...]
    data: dict[str, Any]
    pictures: dict[str, Callable[[Path], None]] = field(default_factory=dict)


def run_figure(name: str, options: Options, report: Report) -> Figure:
    """Run one of :data:`FIGURES`; ``report`` is told what it is doing.

    Raises
    ------
    SurveyError
        If there is no experiment of that name.
    """
    if name not in FIGURES:
        raise SurveyError(f"unknown figure {name!r}; the figures are {', '.join(FIGURES)}")
    module = importlib.import_module(f".{FIGURES[name][0]}", __package__)
    found: Figure = module.figure(options, report)
    return found
