"""A compiled program: instructions, constants, where tensors lie in DRAM, and which operation made what."""

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from systolith.rtl.config import Config

from .hazards import ProgramError

#: What each DRAM region holds.
CONSTANTS, INPUT, OUTPUT, WORKSPACE, OBSERVED = range(5)


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
    """

    config: Config
    image: npt.NDArray[np.uint8]
    constants: npt.NDArray[np.uint8]
    region_bytes: tuple[int, ...]
    operations: tuple[Operation, ...]
    operation_of: npt.NDArray[np.int32]
    tensors: dict[str, Tensor]

    @property
    def macs(self) -> int:
        return sum(operation.macs for operation in self.operations)

    def regions(self, x: npt.NDArray[np.int8]) -> list[npt.NDArray[np.uint8]]:
        """DRAM regions ready to run on input ``x``, int8 (tokens, hidden)."""
        place = self.tensors["input"]
        if x.shape != (place.tokens, place.columns):
            raise ValueError(f"input of shape {x.shape}; the program takes {(place.tokens, place.columns)}")
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
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(path)

    @classmethod
    def load(cls, path: str | Path, config: Config | None = None) -> "Program":
        """Read a program file.

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
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ProgramError(f"{path} is truncated or no Systolith program: {error}") from error
        if config is not None and program.config != config:
            differing = sorted(k for k, v in config.to_dict().items() if program.config.to_dict()[k] != v)
            key = differing[0]
            raise ProgramError(
                f"{path} is for another configuration: {key} is {getattr(program.config, key)} there, "
                f"{getattr(config, key)} here"
            )
        return program
