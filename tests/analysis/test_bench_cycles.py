"""The regression gate: exact cycles of a quick subset on the RTL. What renews the file:

systolith bench --suite quick --against tests/analysis/cycles.json --renew
"""

from pathlib import Path

from systolith.analysis.bench import run_cases
from systolith.analysis.bench_cases import CASES
from systolith.analysis.regression import changes, cycles_of, read_cycles

COMMITTED = Path(__file__).with_name("cycles.json")


def test_quick_cases_take_the_committed_cycles():
    results = list(run_cases(CASES["quick"], None, None, lambda _: None))
    assert [r.measurement.difference for r in results] == [None] * len(results)
    assert changes(read_cycles(COMMITTED), cycles_of(results)) == []
