"""Causes of cycles: complete, in order, and refused when they do not account for the run."""

import pytest

from systolith.analysis.causes import CAUSES, causes
from systolith.rtl.csr_map import ARRAY_CAUSES

COUNTERS = {name: i + 1 for i, (name, _) in enumerate(CAUSES)} | {"cycles": 45, "load_busy": 7}


def test_the_causes_are_those_of_the_hardware():
    assert [name for name, _ in CAUSES] == [name for name, _ in ARRAY_CAUSES]


def test_every_cause_has_its_cycles_in_order():
    found = causes(COUNTERS)
    assert list(found) == [label for _, label in CAUSES]
    assert sum(found.values()) == 45


def test_refuses_causes_that_do_not_add_up():
    with pytest.raises(ValueError, match="the causes add up to 45 cycles, the run took 46"):
        causes(COUNTERS | {"cycles": 46})


def test_refuses_a_run_without_cycles():
    with pytest.raises(ValueError, match="no counter cycles: causes are known of runs on the RTL only"):
        causes({"instructions": 5})
