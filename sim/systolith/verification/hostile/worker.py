"""Reads spoiled files in a process of its own, whose memory and time are limited and measured.

``python -m systolith.verification.hostile.worker DIRECTORY SUBJECT SEED COUNT`` prints one JSON object.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from systolith.verification.hostile.files import ALLOWED, SUBJECTS, Subject
from systolith.verification.hostile.memory import peak_mib
from systolith.verification.hostile.mutations import mutate

#: Address space of the process, bytes; seconds and characters that a refusal may take.
ADDRESS_SPACE, SECONDS, CHARACTERS = 3 << 30, 5, 600
#: Bytes that a sparse file claims.
_TERABYTE = 1 << 40


class HangError(BaseException):
    """A file took longer than :data:`SECONDS`; of a kind that no reader catches."""


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(_TERABYTE)


#: What may be found in the place of a file.
PLACES: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None, "an empty file": Path.touch, "a directory": Path.mkdir, "a pipe": _pipe,
    "a link to itself": _loop, "a device": lambda path: path.symlink_to("/dev/zero"), "a terabyte": _sparse,
}  # fmt: skip


def attempt(subject: Subject, directory: Path) -> tuple[bool, str]:
    """Read a subject: whether it was accepted, and what is wrong with how it was refused, if anything."""
    path = directory / subject.name
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        subject.read(directory)
    except ALLOWED as error:
        said = str(error)
        if "\n" in said or not said.isprintable() or len(said) > CHARACTERS:
            return False, f"not one sentence: {said[:200]!r}"
        if str(directory) not in said and not isinstance(error, subject.unnamed):
            return False, f"{path.name} is not named: {said[:200]!r}"
        return False, ""
    except (Exception, HangError) as error:
        return False, f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return True, ""


def work(subject: Subject, directory: Path, seed: int, count: int) -> dict[str, object]:
    """Read ``count`` mutants of a subject and whatever may be in its place."""
    path = directory / subject.name
    original = path.read_bytes()
    failures: list[str] = []
    accepted, slowest = 0, 0.0
    for index in range(count):
        path.write_bytes(mutate(original, random.Random(f"{seed}/{subject.name}/{index}")))
        start = time.monotonic()
        taken, wrong = attempt(subject, directory)
        slowest = max(slowest, time.monotonic() - start)
        accepted += taken
        if wrong:
            failures.append(f"{subject.name}, seed {seed}, mutant {index}: {wrong}")
    for name, put in PLACES.items():
        path.unlink()
        put(path)
        taken, wrong = attempt(subject, directory)
        if wrong or taken != (subject.optional and name == "an empty file"):
            failures.append(f"{subject.name}, {name} in its place: {wrong or 'accepted'}")
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(original)
    return {
        "read": count + len(PLACES), "accepted": accepted, "failures": failures, "slowest": slowest,
        "peak_mib": peak_mib(),
    }  # fmt: skip


def main() -> None:
    def hang(*_: object) -> None:
        raise HangError(f"more than {SECONDS} seconds")

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    signal.signal(signal.SIGALRM, hang)
    # A warning would reach a user's terminal beside the sentence.
    warnings.simplefilter("error")
    directory, name, seed, count = sys.argv[1:]
    subject = next(s for s in SUBJECTS if s.name == name)
    print(json.dumps(work(subject, Path(directory), int(seed), int(count))))


if __name__ == "__main__":
    main()
