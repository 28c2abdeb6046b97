"""A compiled program: instructions, constants, where tensors lie in DRAM, and which operation made what."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from systolith.arrays import ArchiveError, read_arrays
from systolith.files import brief, parse_object, shown, write_whole
from systolith.rtl.config import Config
from systolith.rtl.isa import INSTRUCTION_BYTES, disassemble

from .hazards import ProgramError, verify

#: What each DRAM region holds.
CONSTANTS, INPUT, OUTPUT, WORKSPACE, OBSERVED = range(5)
#: The layer number of operations that belong to none.
NO_LAYER = -1
#: Most bytes of a region: what the 32 bits of its size hold.
_REGION_LIMIT = (1 << 32) - 1
#: Most bytes of a program file, nearly all of them constants, and of the JSON in it.
_FILE_BYTES, _HEADER_BYTES = 1 << 30, 1 << 22
#: Most instructions of a program file; looking at one takes about two KiB.
_INSTRUCTIONS = 1 << 20
#: Most rows of DRAM besides the constants that a program file may claim; proving one free of races takes 32 bytes.
_CLAIMED_ROWS = 1 << 22
#: Most characters of a name.
_NAME = 64


@dataclass(frozen=True)
class Tensor:
    """An int8 matrix (tokens, groups x columns) in DRAM, cut into blocks.

    ``groups`` (heads, or 1) of ``columns`` columns each, in ``blocks`` blocks of ``width`` columns; a block is
    ``tokens`` rows of the row pitch, at byte ``offset`` of ``region``.
    """

    region: int
    offset: int
    tokens: int
    groups: int
    columns: int
    width: int
    pitch: int

    @property
    def blocks(self) -> int:
        return -(-self.columns // self.width)

    @property
    def size(self) -> int:
        """Bytes in DRAM."""
        return self.groups * self.blocks * self.tokens * self.pitch

    def row(self, token: int, block: int = 0) -> int:
        """Byte offset of a token's row in a block, in the region."""
        return self.offset + (block * self.tokens + token) * self.pitch

    def pack(self, values: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
        """The DRAM image, uint8 (size,), of int8 ``values`` (tokens, groups * columns)."""
        grouped = values.reshape(self.tokens, self.groups, self.columns)
        padded = np.zeros((self.tokens, self.groups, self.blocks * self.width), np.int8)
        padded[:, :, : self.columns] = grouped
        image = np.zeros((self.groups * self.blocks, self.tokens, self.pitch), np.int8)
        image[:, :, : self.width] = padded.reshape(self.tokens, -1, self.width).transpose(1, 0, 2)
        return image.view(np.uint8).ravel()

    def unpack(self, region: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """The matrix, int8 (tokens, groups * columns), from its region's bytes."""
        image = region[self.offset : self.offset + self.size].view(np.int8)
        blocks = image.reshape(self.groups, self.blocks, self.tokens, self.pitch)[..., : self.width]
        rows = blocks.transpose(2, 0, 1, 3).reshape(self.tokens, self.groups, -1)[:, :, : self.columns]
        return np.ascontiguousarray(rows).reshape(self.tokens, -1)


@dataclass(frozen=True)
class Operation:
    """One operation of one layer, with the multiply-accumulates that it needs (padding not counted)."""

    layer: int
    name: str
    macs: int


@dataclass(frozen=True)
class Program:
    """What the compiler makes and a device runs.

    Attributes
    ----------
    config : the accelerator it is for
    image : uint8 (32 x instructions,)
    constants : uint8, contents of region ``CONSTANTS``
    region_bytes : size of each region
    operations, operation_of : the operations, and for each instruction the index of its operation
    tensors : DRAM tensors by name: ``input``, ``layer0`` ..., those that only the accelerator uses, and, if observed,
        ``layer0.query`` ... Together they fill their regions exactly.
    encoder : digest of the encoder that the constants are of (:attr:`QuantizedEncoder.digest`), or nothing

    Raises
    ------
    ProgramError
        If the parts do not fit each other: an instruction of no operation, a tensor outside its region.
    """

    config: Config
    image: npt.NDArray[np.uint8]
    constants: npt.NDArray[np.uint8]
    region_bytes: tuple[int, ...]
    operations: tuple[Operation, ...]
    operation_of: npt.NDArray[np.int32]
    tensors: dict[str, Tensor]
    encoder: str = ""

    def __post_init__(self) -> None:
        count, rest = divmod(len(self.image), INSTRUCTION_BYTES)
        for name, part in (("image", self.image), ("constants", self.constants)):
            if part.dtype != np.uint8 or part.ndim != 1:
                raise ProgramError(f"{name} must be bytes, not {part.dtype} of shape {part.shape}")
        if rest:
            raise ProgramError(f"image of {len(self.image)} bytes is no multiple of {INSTRUCTION_BYTES}")
        if len(self.region_bytes) != OBSERVED + 1:
            raise ProgramError(f"{len(self.region_bytes)} regions; a program has {OBSERVED + 1}")
        for region, size in enumerate(self.region_bytes):
            if type(size) is not int or not 0 <= size <= _REGION_LIMIT:
                raise ProgramError(f"region {region} must be 0 to {_REGION_LIMIT} bytes, not {shown(size)}")
        if len(self.constants) != self.region_bytes[CONSTANTS]:
            raise ProgramError(
                f"{len(self.constants)} bytes of constants in a region of {self.region_bytes[CONSTANTS]}"
            )
        owners = self.operation_of
        if owners.dtype.kind != "i" or owners.shape != (count,):
            raise ProgramError(f"operation_of is {owners.dtype} of shape {owners.shape} for {count} instructions")
        if count and not 0 <= owners.min() <= owners.max() < len(self.operations):
            raise ProgramError(f"operation_of names operations up to {owners.max()} of {len(self.operations)}")
        if type(self.encoder) is not str:
            raise ProgramError(f"the digest of the encoder must be text, not {shown(self.encoder)}")
        for index, operation in enumerate(self.operations):
            _check_operation(index, operation)
        for name, tensor in self.tensors.items():
            self._check_tensor(name, tensor)
        place = self._tensor("input")
        for layer in range(self.layers):
            output = self._tensor(f"layer{layer}")
            if (output.tokens, output.groups, output.columns) != (place.tokens, place.groups, place.columns):
                raise ProgramError(f"tensor layer{layer} is not of the shape of the input")
        self._check_regions()

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise ProgramError(f"there is no tensor {name}")
        return self.tensors[name]

    def _check_tensor(self, name: str, tensor: Tensor) -> None:
        _check_name("tensor", name)
        for key, value in asdict(tensor).items():
            least = 0 if key in ("region", "offset") else 1
            if type(value) is not int or not least <= value <= _REGION_LIMIT:
                raise ProgramError(f"tensor {name}: {key} must be {least} to {_REGION_LIMIT}, not {shown(value)}")
        if tensor.pitch != self.config.row_pitch or tensor.width > tensor.pitch:
            raise ProgramError(f"tensor {name} has blocks of {tensor.width} columns in rows of {tensor.pitch} bytes")
        if tensor.region > OBSERVED or tensor.offset + tensor.size > self.region_bytes[tensor.region]:
            raise ProgramError(f"tensor {name} ends outside region {tensor.region}")

    def _check_regions(self) -> None:
        """Each region but the constants' is its tensors, one after the other, or a single row if it has none."""
        ends = [0] * len(self.region_bytes)
        for name, tensor in sorted(self.tensors.items(), key=lambda item: (item[1].region, item[1].offset)):
            if tensor.offset != ends[tensor.region]:
                raise ProgramError(
                    f"tensor {name} begins at byte {tensor.offset} of region {tensor.region}; "
                    f"the tensors before it end at {ends[tensor.region]}"
                )
            ends[tensor.region] += tensor.size
        for region in range(CONSTANTS + 1, len(ends)):
            needed = max(ends[region], self.config.row_pitch)
            if self.region_bytes[region] != needed:
                raise ProgramError(
                    f"region {region} is of {self.region_bytes[region]} bytes; its tensors take {needed}"
                )

    @property
    def macs(self) -> int:
        return sum(operation.macs for operation in self.operations)

    @property
    def layers(self) -> int:
        return 1 + max((operation.layer for operation in self.operations), default=-1)

    def verify(self) -> None:
        """Prove the instructions free of races, deadlocks and stray addresses (:func:`.hazards.verify`).

        Raises
        ------
        ProgramError, InstructionError
            If they are not.
        """
        verify(disassemble(self.image.tobytes()), self.config, self.region_bytes)

    def check_config(self, config: Config, name: str = "program") -> None:
        """``ProgramError`` unless the program, called ``name`` there, is for an accelerator of ``config``."""
        if self.config != config:
            here, there = config.to_dict(), self.config.to_dict()
            key = min(key for key in here if here[key] != there[key])
            raise ProgramError(f"{name} is for another configuration: {key} is {there[key]} there, {here[key]} here")

    def regions(self, x: npt.NDArray[np.int8]) -> list[npt.NDArray[np.uint8]]:
        """DRAM regions ready to run on input ``x``, int8 (tokens, hidden); ``ProgramError`` for another shape."""
        place = self.tensors["input"]
        if x.shape != (place.tokens, place.columns):
            raise ProgramError(f"input of shape {x.shape}; the program takes {(place.tokens, place.columns)}")
        regions = [np.zeros(size, np.uint8) for size in self.region_bytes]
        regions[CONSTANTS][:] = self.constants
        regions[INPUT][: place.size] = place.pack(x)
        return regions

    def save(self, path: str | Path) -> None:
        """Write the program to one file; it appears whole or not at all.

        Raises
        ------
        ProgramError
            If it is larger than what :meth:`load` takes.
        FileError
            If the file cannot be written.
        """
        _check_claims(self.config, self.image.nbytes, self.region_bytes)
        header = {
            "config": self.config.to_dict(),
            "encoder": self.encoder,
            "region_bytes": self.region_bytes,
            "operations": [asdict(o) for o in self.operations],
            "tensors": {name: asdict(t) for name, t in self.tensors.items()},
        }
        buffer = io.BytesIO()
        np.savez(
            buffer,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            image=self.image,
            constants=self.constants,
            operation_of=self.operation_of,
        )
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path, config: Config | None = None) -> "Program":
        """Read a program file. Its parts fit each other; what its instructions do, :meth:`verify` proves.

        Raises
        ------
        ProgramError
            If the file is truncated or no program, claims more than a device can be given, or is for another
            configuration than ``config``.
        FileError
            If it cannot be read, is no regular file or is larger than 1 GiB.
        """
        try:
            program = cls._from_arrays(_arrays(path))
        except ProgramError as error:
            raise ProgramError(f"{path}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ProgramError(f"{path} is truncated or no Systolith program: {brief(error)}") from error
        if config is not None:
            program.check_config(config, str(path))
        return program

    @classmethod
    def _from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> "Program":
        if arrays["header"].nbytes > _HEADER_BYTES:
            raise ProgramError(f"a header of {arrays['header'].nbytes:,} bytes; at most {_HEADER_BYTES:,} are read")
        header = parse_object(arrays["header"].tobytes())
        config = Config.from_table(header["config"])
        region_bytes = tuple(header["region_bytes"])
        _check_claims(config, arrays["image"].nbytes, region_bytes)
        return cls(
            config=config,
            image=arrays["image"],
            constants=arrays["constants"],
            region_bytes=region_bytes,
            operations=tuple(Operation(**o) for o in header["operations"]),
            operation_of=arrays["operation_of"],
            tensors={name: Tensor(**t) for name, t in header["tensors"].items()},
            encoder=header["encoder"],
        )


def _arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a program file, none of them compressed."""
    try:
        return read_arrays(path, _FILE_BYTES)
    except ArchiveError as error:
        raise ValueError(error.reason) from error


def _check_claims(config: Config, image_bytes: int, region_bytes: Sequence[object]) -> None:
    """``ProgramError`` if it would take too much memory to look at a program of these sizes."""
    count = image_bytes // INSTRUCTION_BYTES
    if count > _INSTRUCTIONS:
        raise ProgramError(f"{count:,} instructions; a file may hold {_INSTRUCTIONS:,}")
    rows = sum(size for size in region_bytes[CONSTANTS + 1 :] if type(size) is int) // config.row_pitch
    if rows > _CLAIMED_ROWS:
        raise ProgramError(f"regions of {shown(rows)} rows besides the constants; a file may claim {_CLAIMED_ROWS:,}")


def _check_operation(index: int, operation: Operation) -> None:
    _check_name(f"operation {index}:", operation.name)
    for key, value, least in (("layer", operation.layer, NO_LAYER), ("macs", operation.macs, 0)):
        if type(value) is not int or not least <= value < 1 << 63:
            raise ProgramError(f"operation {index}: {key} must be {least} to {(1 << 63) - 1}, not {shown(value)}")


def _check_name(owner: str, name: object) -> None:
    """Names are printed: nothing in them may speak to a terminal."""
    if type(name) is not str or not name.isprintable() or not 1 <= len(name) <= _NAME:
        raise ProgramError(f"{owner} name must be 1 to {_NAME} printable characters, not {shown(name)}")
