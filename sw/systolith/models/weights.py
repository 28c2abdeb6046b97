"""Weights of a safetensors file, read within bounds: what its header claims is checked before anything is copied."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from systolith.files import brief, open_regular
from systolith.models.encoder import MAX_MAGNITUDE, Float32, ModelError

#: Most bytes of a weights file and of the header in it.
_FILE_BYTES, _HEADER_BYTES = 1 << 30, 1 << 20
#: The length of the header, which a file begins with.
_LENGTH = struct.Struct("<Q")


class Weights:
    """fp32 tensors by name.

    Raises
    ------
    FileError
        If the file cannot be read, is no regular file or is larger than 1 GiB.
    ModelError
        If it is truncated or no safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_regular(path, _FILE_BYTES) as (file, size):
            start = file.read(_LENGTH.size)
        claimed = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        if not 2 <= claimed <= min(_HEADER_BYTES, size - _LENGTH.size):
            raise ModelError(
                f"{path} is truncated or no safetensors file: a header of {claimed:,} bytes in a file of {size:,}; "
                f"at most {_HEADER_BYTES:,} are read"
            )
        try:
            opened: Any = safe_open(str(path), framework="numpy")
            self._file, self._names = opened, frozenset(opened.keys())
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is truncated or no safetensors file: {brief(error)}") from error

    def __call__(self, name: str, *shape: int) -> Float32:
        """The tensor of this name and shape.

        Raises
        ------
        ModelError
            If there is none, it is of another type or shape, or a value is not finite and within
            :data:`.MAX_MAGNITUDE`.
        """
        if name not in self._names:
            raise ModelError(f"{self._path}: there is no tensor {name}")
        place = self._file.get_slice(name)
        if place.get_dtype() != "F32" or tuple(place.get_shape()) != shape:
            raise ModelError(
                f"{self._path}: tensor {name} is {place.get_dtype()} of shape {tuple(place.get_shape())}, "
                f"not F32 of {shape}"
            )
        tensor: Float32 = self._file.get_tensor(name)
        within = np.abs(tensor) <= MAX_MAGNITUDE
        if not within.all():
            where = tuple(int(i) for i in np.argwhere(~within)[0])
            raise ModelError(
                f"{self._path}: tensor {name} holds {tensor[where]} at {where}, not within ±{MAX_MAGNITUDE:g}"
            )
        return tensor
