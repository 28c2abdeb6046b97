"""A compiled program: instructions, constants, where tensors lie in DRAM, and which operation made what."""

import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config
from systolith.rtl.isa import INSTRUCTION_BYTES, disassemble

from .hazards import ProgramError, verify

#: What each DRAM region holds.
CONSTANTS, INPUT, OUTPUT, WORKSPACE, OBSERVED = range(5)
#: Most bytes of a region: what an instruction's 32-bit offset reaches.
_REGION_LIMIT = 1 << 32
#: What reading a file raises that is no program: no archive, no such part, parts of the wrong kind, too large.
_UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, RecursionError, MemoryError,
    NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


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
    tensors : DRAM tensors by name: ``input``, ``layer0`` ..., and, if observed, ``layer0.query`` ...

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
                raise ProgramError(f"region {region} must be 0 to {_REGION_LIMIT} bytes, not {size!r}")
        if len(self.constants) != self.region_bytes[CONSTANTS]:
            raise ProgramError(
                f"{len(self.constants)} bytes of constants in a region of {self.region_bytes[CONSTANTS]}"
            )
        owners = self.operation_of
        if owners.dtype.kind != "i" or owners.shape != (count,):
            raise ProgramError(f"operation_of is {owners.dtype} of shape {owners.shape} for {count} instructions")
        if count and not 0 <= owners.min() <= owners.max() < len(self.operations):
            raise ProgramError(f"operation_of names operations up to {owners.max()} of {len(self.operations)}")
        for index, operation in enumerate(self.operations):
            if type(operation.layer) is not int or type(operation.macs) is not int:
                raise ProgramError(f"operation {index}: layer {operation.layer!r}, macs {operation.macs!r}")
        for name, tensor in self.tensors.items():
            self._check_tensor(name, tensor)
        place = self._tensor("input")
        for layer in range(self.layers):
            output = self._tensor(f"layer{layer}")
            if (output.tokens, output.groups, output.columns) != (place.tokens, place.groups, place.columns):
                raise ProgramError(f"tensor layer{layer} is not of the shape of the input")

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise ProgramError(f"there is no tensor {name}")
        return self.tensors[name]

    def _check_tensor(self, name: str, tensor: Tensor) -> None:
        sizes = asdict(tensor)
        for key, value in sizes.items():
            least = 0 if key in ("region", "offset") else 1
            if type(value) is not int or value < least:
                raise ProgramError(f"tensor {name}: {key} must be at least {least}, not {value!r}")
        if tensor.pitch != self.config.row_pitch or tensor.width > tensor.pitch:
            raise ProgramError(f"tensor {name} has blocks of {tensor.width} columns in rows of {tensor.pitch} bytes")
        if tensor.region > OBSERVED or tensor.offset + tensor.size > self.region_bytes[tensor.region]:
            raise ProgramError(f"tensor {name} ends outside region {tensor.region}")

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
        """Write the program to one file; it appears whole or not at all."""
        header = {
            "config": self.config.to_dict(),
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
        temporary = Path(f"{path}.partial")
        try:
            temporary.write_bytes(buffer.getvalue())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, config: Config | None = None) -> "Program":
        """Read a program file. Its parts fit each other; what its instructions do, :meth:`verify` proves.

        Raises
        ------
        ProgramError
            If the file is truncated or no program, or is for another configuration than ``config``.
        """
        content = io.BytesIO(Path(path).read_bytes())
        try:
            with np.load(content, allow_pickle=False) as archive:
                header = json.loads(archive["header"].tobytes())
                program = cls(
                    config=Config(**header["config"]),
                    image=archive["image"],
                    constants=archive["constants"],
                    region_bytes=tuple(header["region_bytes"]),
                    operations=tuple(Operation(**o) for o in header["operations"]),
                    operation_of=archive["operation_of"],
                    tensors={name: Tensor(**t) for name, t in header["tensors"].items()},
                )
        except _UNREADABLE as error:
            raise ProgramError(f"{path} is truncated or no Systolith program: {error}") from error
        if config is not None and program.config != config:
            differing = sorted(k for k, v in config.to_dict().items() if program.config.to_dict()[k] != v)
            key = differing[0]
            raise ProgramError(
                f"{path} is for another configuration: {key} is {getattr(program.config, key)} there, "
                f"{getattr(config, key)} here"
            )
        return program
