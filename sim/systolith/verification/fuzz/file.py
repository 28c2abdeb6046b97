"""Failing cases as files, to be run again, several one after the other.

``python -m systolith.verification.fuzz.file FILE...``
"""

import json
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.files import FileError, brief, open_regular
from systolith.rtl.config import Config
from systolith.rtl.isa import INSTRUCTION_BYTES
from systolith.sim.build import build
from systolith.sim.toolchain import SimulationError

from .batch import Case, Fuzzer, listing

#: Most bytes of a file.
_FILE_BYTES = 1 << 24
#: What reading a file raises if :func:`save` did not write it.
_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error)


def save(path: Path, config: Config, case: Case) -> Path:
    """Write a case, and beside it (``.txt``) its program as assembly."""
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
    """What :func:`save` wrote; ``FileError`` if the file cannot be read or is something else."""
    with open_regular(path, _FILE_BYTES) as (file, _):
        try:
            with np.load(file) as archive:
                header = json.loads(str(archive["header"]))
                latency, bandwidth, seed = header["timing"]
                regions = sum(name.startswith("region") for name in archive.files)
                case = Case(
                    image=archive["image"],
                    regions=[archive[f"region{index}"] for index in range(regions)],
                    state=archive["state"] if "state" in archive.files else None,
                    reset=header["reset"],
                    timing=(latency, bandwidth, seed),
                    place=header["place"],
                )
            if case.image.dtype != np.uint8 or case.image.ndim != 1 or len(case.image) % INSTRUCTION_BYTES:
                raise ValueError(f"its program is {case.image.dtype} {case.image.shape}")
            return Config(**header["config"]), case
        except _UNREADABLE as error:
            raise FileError(f"{path} is no saved case: {brief(error)}") from error


def run_again(paths: Sequence[Path]) -> bool:
    """Run saved cases again, each after the one before; whether one still differs, which ends it.

    Raises
    ------
    FileError
        If a file is no saved case, they are of several configurations, or the first is one without a state.
    SimulationError
        If the simulator fails.
    """
    loaded = [load(path) for path in paths]
    config, first = loaded[0]
    if first.state is None:
        raise FileError(f"{paths[0]} needs the case before it: it has no state of its own")
    for path, (other, _) in zip(paths, loaded, strict=True):
        if other != config:
            raise FileError(f"{path} is of another configuration than {paths[0]}")
    with Fuzzer(config, build(config, peek=True, report=print)) as fuzzer:
        results = fuzzer.run([case for _, case in loaded])
    for path, (_, case), result in zip(paths, loaded, results, strict=False):
        print("\n".join([*listing(case.image), f"{path}: {result.difference or 'no difference'}"]))
    return bool(results[-1].difference)


def main() -> int:
    """The exit status: 1 if a case still differs, 2 if there is none to run or the simulator fails."""
    if not sys.argv[1:]:
        print("usage: python -m systolith.verification.fuzz.file FILE...", file=sys.stderr)
        return 2
    try:
        return int(run_again([Path(argument) for argument in sys.argv[1:]]))
    except (FileError, SimulationError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
