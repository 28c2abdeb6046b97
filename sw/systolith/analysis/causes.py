"""Where every cycle of a run went, seen from the systolic array: one cause for each cycle, read from the counters."""

from collections.abc import Mapping

#: Counter of ``csr_map.COUNTERS`` and what to call it, from the best use of a cycle to the least. A cycle counts for
#: exactly one of them.
CAUSES: tuple[tuple[str, str], ...] = (
    ("array_busy", "array busy"),
    ("array_bank_wait", "waiting for a bank"),
    ("array_weight_wait", "waiting for a weight tile"),
    ("array_fill", "pipeline fill"),
    ("array_wait_load", "waiting for data"),
    ("array_wait_vector", "waiting for the vector unit"),
    ("array_wait_store", "waiting for a store"),
    ("array_wait_instruction", "waiting for instructions"),
    ("array_drain", "drain"),
)


def causes(counters: Mapping[str, int]) -> dict[str, int]:
    """The cycles of each cause, by its label in ``CAUSES`` and in that order; they add up to ``cycles``.

    Parameters
    ----------
    counters : mapping of str to int
        Counters of a run on the RTL, by their names in ``csr_map.COUNTERS``, read after its end.

    Raises
    ------
    ValueError
        If a counter is missing (the functional device counts no cycles), or the causes do not add up.
    """
    missing = [name for name in ("cycles", *(name for name, _ in CAUSES)) if name not in counters]
    if missing:
        raise ValueError(f"no counter {missing[0]}: causes are known of runs on the RTL only")
    result = {label: counters[name] for name, label in CAUSES}
    total = sum(result.values())
    if total != counters["cycles"]:
        raise ValueError(f"the causes add up to {total} cycles, the run took {counters['cycles']}")
    return result
