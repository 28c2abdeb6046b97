"""Program files that lie are refused in a sentence, whatever they lie about."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systolith.compiler.compile import compile_encoder
from systolith.compiler.hazards import ProgramError
from systolith.compiler.program import CONSTANTS, OBSERVED, OUTPUT, Program, Tensor
from systolith.models.registry import Model, load_model
from systolith.rtl.config import PRESETS
from systolith.runtime.functional import FunctionalDevice
from systolith.runtime.session import run_encoder

TINY = PRESETS["tiny"]
Parts = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("random", tokens=5, layers=1, hidden=16, heads=2, ffn=24)


@pytest.fixture(scope="module")
def program(model: Model) -> Program:
    return compile_encoder(model.quantized, TINY, 5)


def altered(program: Program, path: Path, change: Callable[[Parts, Parts], None]) -> Path:
    """A program file whose ``header`` and arrays ``change`` has been at."""
    program.save(path)
    with np.load(path) as archive:
        arrays: Parts = {name: archive[name] for name in archive.files}
    header = json.loads(arrays["header"].tobytes())
    change(header, arrays)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda h, a: h["region_bytes"].__setitem__(3, 10**15),
            "regions of 250000000000.* rows besides the constants; a file may",
        ),
        (lambda h, a: h["region_bytes"].__setitem__(3, 1 << 32), "regions of 10737.* rows besides the constants"),
        (lambda h, a: h["region_bytes"].__setitem__(0, 1 << 33), "region 0 must be 0 to 4294967295 bytes, not 85899"),
        (lambda h, a: h["region_bytes"].__setitem__(3, 4096), "region 3 is of 4096 bytes; its tensors take 80"),
        (lambda h, a: h["tensors"]["context"].update(offset=4), "tensor context ends outside region 3"),
        (lambda h, a: h["tensors"]["context"].update(region=4, offset=0), "tensor context ends outside region 4"),
        (lambda h, a: h["tensors"].update(twice=h["tensors"]["layer0"]), "begins at byte 0 of region 2; .* end at 80"),
        (lambda h, a: h["tensors"].update({"a\x1b[2J": {}}), "is truncated or no Systolith program"),
        (lambda h, a: h["tensors"].update({"\x1b": h["tensors"]["layer0"]}), r"printable characters, not '\\x1b'"),
        (
            lambda h, a: h["operations"][0].update(name=3),
            "operation 0: name must be 1 to 64 printable characters, not 3",
        ),
        (lambda h, a: h["operations"][0].update(layer=-2), "operation 0: layer must be -1 to"),
        (lambda h, a: h.update(encoder=["x"]), r"the digest of the encoder must be text, not \['x'\]"),
        (
            lambda h, a: a.update(image=np.zeros(33 << 20, np.uint8)),
            "1,081,344 instructions; a file may hold 1,048,576",
        ),
        (lambda h, a: h.update(x=" " * (1 << 22)), "a header of 4,.* bytes; at most 4,194,304 are read"),
        (lambda h, a: h["region_bytes"].__setitem__(3, -4), "region 3 must be 0 to 4294967295 bytes, not -4"),
        (lambda h, a: h["region_bytes"].__setitem__(3, "x"), "region 3 must be .* bytes, not 'x'"),
        (lambda h, a: h["region_bytes"].append(4), "6 regions; a program has 5"),
        (lambda h, a: a.update(constants=a["constants"][:-4]), "bytes of constants in a region of"),
        (lambda h, a: a.update(image=a["image"][:-5]), "is no multiple of 32"),
        (lambda h, a: a.update(image=a["image"].astype(float)), "image must be bytes, not float64"),
        (lambda h, a: a.update(operation_of=a["operation_of"][:3]), r"of shape \(3,\) for .* instructions"),
        (lambda h, a: a.update(operation_of=a["operation_of"] + 100), "operation_of names operations up to 110 of 11"),
        (lambda h, a: h["tensors"].pop("input"), "there is no tensor input"),
        (lambda h, a: h["tensors"].pop("layer0"), "there is no tensor layer0"),
        (lambda h, a: h["tensors"]["input"].update(tokens=10**9), "tensor input ends outside region 1"),
        (lambda h, a: h["tensors"]["input"].update(columns=0), "tensor input: columns must be 1 to 4294967295, not 0"),
        (lambda h, a: h["tensors"]["layer0"].update(columns=12), "tensor layer0 is not of the shape of the input"),
        (lambda h, a: h["tensors"]["layer0"].update(pitch=1), "tensor layer0 has blocks of 4 columns in rows of 1"),
        (lambda h, a: h["operations"][0].update(macs="many"), "operation 0: macs must be 0 to .*, not 'many'"),
        (lambda h, a: h["config"].update(rows=1), "rows must be 2 to 128, not 1"),
        (lambda h, a: h.pop("config"), "is truncated or no Systolith program"),
        (lambda h, a: h.update(tensors=[]), "is truncated or no Systolith program"),
        (lambda h, a: a.pop("image"), "is truncated or no Systolith program"),
    ],
)
def test_a_file_that_lies(
    program: Program, tmp_path: Path, change: Callable[[Parts, Parts], None], message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        Program.load(altered(program, tmp_path / "program.npz", change))


def test_every_cut_of_a_file_is_refused(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "program.npz"
    program.save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 211):
        path.write_bytes(content[:length])
        with pytest.raises(ProgramError, match="is truncated or no Systolith program"):
            Program.load(path)


def test_instructions_that_race_are_refused(program: Program, tmp_path: Path) -> None:
    # Bits 4 to 7 of an instruction's first byte are its waits.
    without_waits = altered(
        program, tmp_path / "program.npz", lambda h, a: a["image"].reshape(-1, 32)[:, 0].__iand__(np.uint8(0x0F))
    )
    with pytest.raises(ProgramError, match="races with instruction"):
        Program.load(without_waits).verify()


def test_a_program_for_another_encoder_or_input(model: Model, program: Program) -> None:
    device = FunctionalDevice(TINY)
    with pytest.raises(ProgramError, match=r"input of shape \(4, 16\); the program takes \(5, 16\)"):
        run_encoder(model.quantized, model.prepare()[:4], device, program=program)
    deeper = load_model("random", tokens=5, layers=2, hidden=16, heads=2, ffn=24)
    with pytest.raises(ProgramError, match="program of 1 layers; random has 2"):
        run_encoder(deeper.quantized, deeper.prepare(), device, program=program)


def test_a_program_for_other_weights_of_the_same_shape(model: Model, program: Program, tmp_path: Path) -> None:
    other = load_model("random", tokens=5, layers=1, hidden=16, heads=2, ffn=24, seed=1)
    program.save(tmp_path / "program.npz")
    loaded = Program.load(tmp_path / "program.npz")
    sentence = f"other weights: the encoder's digest is {model.quantized.digest} there, {other.quantized.digest} here"
    with pytest.raises(ProgramError, match=sentence):
        run_encoder(other.quantized, other.prepare(), FunctionalDevice(TINY), program=loaded)
    assert run_encoder(model.quantized, model.prepare(), FunctionalDevice(TINY), program=loaded).bit_exact


def test_what_could_not_be_loaded_is_not_saved(program: Program, tmp_path: Path) -> None:
    size = 5 << 22
    large = Tensor(OBSERVED, 0, size // 4, 1, 4, 4, 4)
    claims = replace(
        program, region_bytes=(*program.region_bytes[:OBSERVED], size), tensors=program.tensors | {"large": large}
    )
    with pytest.raises(ProgramError, match=r"rows besides the constants; a file may claim 4,194,304"):
        claims.save(tmp_path / "program.npz")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_failed_save(program: Program, tmp_path: Path) -> None:
    (tmp_path / "program.npz").mkdir()
    with pytest.raises(OSError, match=r"program\.npz"):
        program.save(tmp_path / "program.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["program.npz"]


def test_tensors_lie_in_their_regions(program: Program) -> None:
    regions = program.regions(np.zeros((5, 16), np.int8))
    assert len(regions[CONSTANTS]) == len(program.constants)
    place = program.tensors["layer0"]
    values = np.arange(80, dtype=np.int8).reshape(5, 16)
    regions[OUTPUT][place.offset : place.offset + place.size] = place.pack(values)
    np.testing.assert_array_equal(place.unpack(regions[OUTPUT]), values)
