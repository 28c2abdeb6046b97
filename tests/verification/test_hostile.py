"""Spoiled files in workers and through the command line; and a worker that notices what it should."""

import random
import signal
from pathlib import Path

import pytest

from systolith.verification.evidence import Options, run_campaign
from systolith.verification.hostile import worker
from systolith.verification.hostile.files import SUBJECTS, Subject, write_originals
from systolith.verification.hostile.mutations import mutate
from systolith.verification.hostile.worker import HangError, attempt, work


def test_the_quick_share_holds() -> None:
    for evidence in run_campaign("hostile", Options(quick=True), lambda text: None):
        assert evidence.passed, (evidence.figure, evidence.details["failures"])


def test_originals_are_good_but_for_the_texts(tmp_path: Path) -> None:
    write_originals(tmp_path)
    for subject in SUBJECTS:
        assert attempt(subject, tmp_path)[0] == (subject.name != "texts.tar.gz"), subject.name


def test_mutants_follow_from_the_seed(tmp_path: Path) -> None:
    content = bytes(range(256))
    first, again, other = (mutate(content, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first != content


def _traceback(directory: Path) -> None:
    raise RuntimeError("internal")


def _forever(directory: Path) -> None:
    while True:
        pass


def _two_lines(directory: Path) -> None:
    raise worker.ALLOWED[0](f"{directory}\nmore")


def _nameless(directory: Path) -> None:
    raise worker.ALLOWED[0]("something is wrong")


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (_traceback, "RuntimeError: internal"),
        (_forever, "HangError: too long"),
        (_two_lines, "not one sentence"),
        (_nameless, "file is not named: 'something is wrong'"),
        (lambda directory: None, "accepted"),
    ],
)
def test_a_bad_reader_is_found_out(read: object, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object) -> None:
        raise HangError("too long")

    monkeypatch.setattr(worker, "SECONDS", 0.1)
    monkeypatch.setattr(worker, "PLACES", {"an empty file": Path.touch})
    before = signal.signal(signal.SIGALRM, hang)
    try:
        (tmp_path / "file").write_bytes(b"content")
        record = work(Subject("file", read), tmp_path, 0, 0)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGALRM, before)
    assert found in record["failures"][0]  # type: ignore[index]
    assert (tmp_path / "file").read_bytes() == b"content"
