"""Failing cases as files, to be run again: ``python -m systolith.verification.fuzz.file FILE``."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.sim.build import build

from .batch import Case, Fuzzer, listing


def save(path: Path, config: Config, case: Case) -> Path:
    """Write a case with a state of its own, and beside it (``.txt``) its program as assembly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"config": config.to_dict(), "reset": case.reset, "timing": case.timing, "place": case.place}
    parts: dict[str, npt.NDArray[Any]] = {f"region{index}": region for index, region in enumerate(case.regions)}
    parts |= {"header": np.array(json.dumps(header)), "image": case.image}
    if case.state is not None:
        parts["state"] = case.state
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **parts)
    path.with_suffix(".txt").write_text("\n".join(listing(case.image)) + "\n")
    return path


def load(path: Path) -> tuple[Config, Case]:
    """What :func:`save` wrote."""
    with np.load(path) as archive:
        header = json.loads(str(archive["header"]))
        latency, bandwidth, seed = header["timing"]
        return Config(**header["config"]), Case(
            image=archive["image"],
            regions=[archive[f"region{index}"] for index in range(sum(n.startswith("region") for n in archive.files))],
            state=archive["state"] if "state" in archive.files else None,
            reset=header["reset"],
            timing=(latency, bandwidth, seed),
            place=header["place"],
        )


def main() -> int:
    """Run a saved case again; the exit status is 1 if it still differs."""
    config, case = load(Path(sys.argv[1]))
    print("\n".join(listing(case.image)))
    with Fuzzer(config, build(config, peek=True, report=print)) as fuzzer:
        (result,) = fuzzer.run([case])
    print(result.difference or "no difference")
    return int(bool(result.difference))


if __name__ == "__main__":
    sys.exit(main())
