"""The host's kernels, compiled for RV64GC: from kernels.c to an image of memory and the addresses of its functions."""

import hashlib
import importlib.metadata
import importlib.util
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from systolith.files import read_bytes, write_whole
from systolith.sim.cache import cache_directory

SOURCE = Path(__file__).with_name("kernels.c")
#: SiFive's U54 is a scalar in-order RV64GC core. -ffp-contract: a product and its sum are one instruction.
FLAGS = (
    "-target", "riscv64-freestanding-none", "-mcpu=sifive_u54", "-mabi=lp64d", "-mcmodel=medany",
    "-std=c17", "-Wall", "-Werror", "-O3", "-fno-math-errno", "-ffp-contract=fast", "-ffreestanding", "-g0",
    "-fno-sanitize=all", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
    "-nostdlib", "-static", "-Wl,--no-gc-sections", "-Wl,--entry=softmax",
)  # fmt: skip
#: Most bytes of the compiled kernels.
_PROGRAM_BYTES = 1 << 20
_PT_LOAD, _SHT_SYMTAB, _STT_FUNC, _EM_RISCV = 1, 2, 2, 243


class HostError(ValueError):
    """The host's code cannot be compiled or run, or computes something else than it should; the message says what."""


@dataclass(frozen=True)
class Image:
    """A statically linked program: ``segments`` of (address, bytes) and the address of each function."""

    segments: tuple[tuple[int, bytes], ...]
    functions: dict[str, int]

    @classmethod
    def parse(cls, content: bytes) -> "Image":
        """Read an ELF64 file for RISC-V, little-endian.

        Raises
        ------
        HostError
            If it is none.
        """
        try:
            return cls._parse(content)
        except (struct.error, IndexError) as error:
            raise HostError(f"the compiled kernels end within a header: {len(content)} bytes") from error

    @classmethod
    def _parse(cls, content: bytes) -> "Image":
        machine = struct.unpack_from("<H", content, 18)[0]
        if content[:6] != b"\x7fELF\x02\x01" or machine != _EM_RISCV:
            raise HostError("the compiled kernels are no ELF64 file for RISC-V")
        program_headers, section_headers = struct.unpack_from("<QQ", content, 32)
        entry_size, entries, section_size, sections = struct.unpack_from("<HHHH", content, 54)
        segments = []
        for index in range(entries):
            kind, _, offset, address, _, size = struct.unpack_from(
                "<IIQQQQ", content, program_headers + index * entry_size
            )
            if kind == _PT_LOAD:
                segments.append((address, content[offset : offset + size]))
        headers = [
            struct.unpack_from("<IIQQQQIIQQ", content, section_headers + index * section_size)
            for index in range(sections)
        ]
        functions = {}
        for _, kind, _, _, offset, size, link, _, _, symbol_size in headers:
            if kind != _SHT_SYMTAB:
                continue
            names = headers[link][4]
            for at in range(offset, offset + size, symbol_size):
                name, info, _, _, value, _ = struct.unpack_from("<IBBHQQ", content, at)
                if info & 15 == _STT_FUNC:
                    end = content.index(b"\0", names + name)
                    functions[content[names + name : end].decode()] = value
        return cls(tuple(segments), functions)


def compile_kernels(source: Path = SOURCE, cache: Path | None = None) -> Image:
    """Compile ``source`` with the Clang of the ziglang wheel; kept in ``cache`` by its text, the flags and the version.

    Raises
    ------
    HostError
        If the package ``ziglang`` is not installed, or the compiler refuses the text.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise HostError("code for the host needs ziglang, which is not installed: pip install systolith[host]")
    version = importlib.metadata.version("ziglang")
    text = source.read_bytes()
    name = hashlib.sha256(b"\0".join([text, version.encode(), " ".join(FLAGS).encode()])).hexdigest()[:24]
    path = (cache or cache_directory() / "host") / f"{name}.elf"
    if not path.exists():
        with tempfile.TemporaryDirectory() as scratch:
            output = Path(scratch) / "kernels.elf"
            done = subprocess.run(
                [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", str(output), str(source)],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise HostError(f"the host's code does not compile: {done.stderr.strip().splitlines()[0]}")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, output.read_bytes())
    return Image.parse(read_bytes(path, _PROGRAM_BYTES))
