"""A scalar RV64GC core in an emulator: runs one compiled function at a time and counts its instructions exactly."""

import importlib
import importlib.util
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from .program import HostError, Image

#: Where data lies, above any address of the linker's; each array on a page of its own.
_DATA, _PAGE = 0x1_0000_0000, 4096
#: Bytes of the stack, and where the return address of a call points: an empty page.
_STACK_BYTES, _RETURN = 1 << 16, 0x1000
#: mstatus.FS = 3, dirty: floating-point instructions are legal (RISC-V privileged architecture, 3.1.6.6).
_FLOATING_POINT = 3 << 13
#: Most bytes of all arrays of a call.
MEMORY_BYTES = 256 << 20


def instructions_of(code: bytes) -> int:
    """Instructions in ``code``: two bytes where the lowest two bits are not 11, else four (RISC-V, section 1.5)."""
    at = count = 0
    while at < len(code):
        at += 4 if code[at] & 3 == 3 else 2
        count += 1
    return count


class Core:
    """An RV64GC core with ``image`` in its memory.

    Raises
    ------
    HostError
        If the package ``unicorn`` is not installed.
    """

    def __init__(self, image: Image) -> None:
        if importlib.util.find_spec("unicorn") is None:
            raise HostError("the host's core needs unicorn, which is not installed: pip install systolith[host]")
        unicorn: Any = importlib.import_module("unicorn")
        registers: Any = importlib.import_module("unicorn.riscv_const")
        self._registers = registers
        self._failure = unicorn.UcError
        self._functions = image.functions
        self._machine: Any = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        for address, content in image.segments:
            first = address // _PAGE * _PAGE
            pages = -(-(address + len(content) - first) // _PAGE)
            self._machine.mem_map(first, pages * _PAGE)
            self._machine.mem_write(address, content)
        self._machine.mem_map(_RETURN, _PAGE)
        self._machine.mem_map(_DATA, MEMORY_BYTES + _STACK_BYTES)
        status = self._machine.reg_read(registers.UC_RISCV_REG_MSTATUS)
        self._machine.reg_write(registers.UC_RISCV_REG_MSTATUS, status | _FLOATING_POINT)
        #: Executions of each basic block: (address, bytes) -> times.
        self._blocks: Counter[tuple[int, int]] = Counter()
        self._machine.hook_add(unicorn.UC_HOOK_BLOCK, self._enter)

    def _enter(self, machine: Any, address: int, size: int, context: Any) -> None:
        self._blocks[address, size] += 1

    def call(self, name: str, *arguments: npt.NDArray[Any] | int | float) -> int:
        """Call a ``void`` function; returns the instructions executed, its return included.

        Arguments are passed as the calling convention lp64d wants: an array (C-contiguous, as a pointer; what the
        function wrote is in it afterwards), an int as int64_t, a float as float.

        Raises
        ------
        HostError
            If there is no such function, the arrays exceed the memory, or the code faults.
        """
        if name not in self._functions:
            raise HostError(f"the host has no function {name!r}; it has {', '.join(sorted(self._functions))}")
        placed: list[tuple[int, npt.NDArray[Any]]] = []
        integers = reals = 0
        top = _DATA
        for argument in arguments:
            if isinstance(argument, float):
                # A float in a 64-bit register has all higher bits set (NaN boxing).
                bits = int(np.float32(argument).view(np.uint32)) | 0xFFFFFFFF << 32
                self._machine.reg_write(self._registers.UC_RISCV_REG_FA0 + reals, bits)
                reals += 1
                continue
            if isinstance(argument, np.ndarray):
                placed.append((top, argument))
                value, top = top, top + -(-argument.nbytes // _PAGE) * _PAGE
            else:
                value = argument
            self._machine.reg_write(self._registers.UC_RISCV_REG_A0 + integers, value)
            integers += 1
        if top - _DATA > MEMORY_BYTES:
            raise HostError(f"{name} needs {top - _DATA:,} bytes; the host's memory has {MEMORY_BYTES:,}")
        for address, array in placed:
            self._machine.mem_write(address, array.tobytes())
        self._machine.reg_write(self._registers.UC_RISCV_REG_SP, _DATA + MEMORY_BYTES + _STACK_BYTES)
        self._machine.reg_write(self._registers.UC_RISCV_REG_RA, _RETURN)
        self._blocks.clear()
        try:
            self._machine.emu_start(self._functions[name], _RETURN)
        except self._failure as error:
            raise HostError(f"{name} faults in the emulator: {error}") from error
        for address, array in placed:
            if array.flags.writeable:
                content = bytes(self._machine.mem_read(address, array.nbytes))
                array[...] = np.frombuffer(content, array.dtype).reshape(array.shape)
        return sum(
            instructions_of(bytes(self._machine.mem_read(*block))) * times for block, times in self._blocks.items()
        )
