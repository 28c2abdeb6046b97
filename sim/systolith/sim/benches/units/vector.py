"""The vector unit: random instructions, its memories granting at random, against the functional device."""

from typing import Any

import cocotb
import numpy as np

from systolith.numerics import integer
from systolith.rtl.config import Config
from systolith.rtl.isa import Function, Instruction, Layout, Opcode, assemble
from systolith.rtl.parameters import PLANES, RECORD_DTYPE, Parameters
from systolith.rtl.vector.arithmetic import supported
from systolith.runtime.functional import FunctionalDevice
from systolith.sim.benches.common import checked, configuration, effort, random, reset
from systolith.sim.benches.units.streams import Reports, Stalls, give, serve_reads, serve_writes, small_memory

#: Instructions between comparisons of the memories.
_PROGRAM = 20
#: Cycles that an element may take at most, with every peer stalling.
_PATIENCE = 400


@cocotb.test()
@cocotb.parametrize(eagerness=[0.3, 0.8, 1.0])
async def random_instructions(dut: Any, eagerness: float) -> None:
    config = configuration()
    rng = random(int(10 * eagerness))
    await reset(dut)
    device = _device(config, rng)
    accumulator, scratchpad = device.accumulator.copy(), device.scratchpad.copy()
    records = Parameters.model(device.planes.reshape(config.parameter_rows, PLANES, config.cols))
    peers = (
        serve_reads(dut, "accumulator_read", accumulator, Stalls(rng, eagerness)),
        serve_writes(dut, "accumulator_write", accumulator, Stalls(rng, eagerness)),
        serve_reads(dut, "residual", scratchpad, Stalls(rng, eagerness)),
        serve_writes(dut, "result", scratchpad, Stalls(rng, eagerness)),
        small_memory(dut, "maximum__address", "maximum__data", [int(m) & 0xFFFFFFFF for m in device.maximum]),
        small_memory(
            dut, "parameters__address", "parameters__data", [int.from_bytes(r.tobytes(), "little") for r in records]
        ),
    )
    tasks = [cocotb.start_soon(peer) for peer in peers]
    reports = Reports(dut)
    tasks.append(cocotb.start_soon(reports.watch()))
    done = 0
    sums = _Sums(config)
    for _ in range(effort(15)):
        program = [sums.instruction(rng) for _ in range(_PROGRAM)]
        feeding = cocotb.start_soon(
            give(dut, "control__instruction", [i.encode() for i in program], Stalls(rng, eagerness))
        )
        done += len(program)
        await reports.wait(done, _PROGRAM * _PATIENCE * config.cols)
        await feeding
        assert not reports.faults, program
        device.run(assemble(program), [])
        listing = "\n".join(map(str, program))
        np.testing.assert_array_equal(scratchpad, device.scratchpad, err_msg=listing)
        np.testing.assert_array_equal(accumulator, device.accumulator, err_msg=listing)
    for task in tasks:
        task.cancel()
    checked("instructions", done)
    checked("elements", sums.elements)


def _device(config: Config, rng: np.random.Generator) -> FunctionalDevice:
    """Memories whose numbers make results that are neither all 0 nor all saturated."""
    device = FunctionalDevice(config, seed=int(rng.integers(1 << 31)))
    device.accumulator >>= rng.integers(0, 31, device.accumulator.shape, np.int32)
    device.maximum[:] = rng.integers(0, 1 << 16, device.maximum.shape)
    records = np.zeros((config.parameter_rows, config.cols), RECORD_DTYPE)
    records["bias"] = rng.integers(-(1 << 31), 1 << 31, records.shape) >> rng.integers(0, 31, records.shape)
    records["multiplier_a"] = rng.integers(0, 1 << 16, records.shape)
    records["multiplier_b"] = rng.integers(-(1 << 15), 1 << 15, records.shape)
    planes = records.view(np.uint8).reshape(config.parameter_rows, config.cols, PLANES)
    device.planes[:] = planes.transpose(0, 2, 1).reshape(device.planes.shape)
    return device


class _Sums:
    """Makes random legal instructions, and knows which rows have what CONTEXT and LAYERNORM need."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.elements = 0
        self._ready: dict[Function, list[tuple[int, int]]] = {Function.CONTEXT: [], Function.LAYERNORM: []}

    def instruction(self, rng: np.random.Generator) -> Instruction:
        c = self.config
        choices = sorted(f for f in supported(c) if self._ready.get(f, True))
        function = Function(int(rng.choice(choices)))
        rows, blocks = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        stat = int(rng.integers(0, c.statistics_rows - rows + 1))
        if function in self._ready:
            stat, most = self._ready[function][int(rng.integers(len(self._ready[function])))]
            rows = int(rng.integers(1, most + 1))
        layout = Layout(int(rng.integers(2)))
        width = c.rows if layout is Layout.ROWS else c.cols
        columns = blocks * c.cols
        values: dict[str, Any] = {
            "function": function, "rows": rows, "blocks": blocks, "stat_address": stat, "layout": layout,
            "valid": int(rng.integers(1, columns + 3)),
            "param_address": int(rng.integers(c.parameter_rows - blocks + 1)),
            "shift_a": int(rng.integers(8, 40)), "shift_b": int(rng.integers(4, 36)),
            "multiplier": int(rng.integers(1, 1 << 16)), "offset": int(rng.integers(-128, 128)),
            "grid": int(rng.integers(4)),
        }  # fmt: skip
        values |= self._place(rng, "acc", rows, blocks, c.accumulator_rows)
        if function is Function.RESIDUAL:
            values |= self._place(rng, "residual", rows, -(-columns // c.rows), c.scratchpad_rows)
        else:
            values |= self._place(rng, "out", rows, -(-columns // width), c.scratchpad_rows)
        if function in (Function.EXPONENT, Function.RESIDUAL):
            values |= {"first": 1, "last": int(rng.integers(2))}
            if function is Function.RESIDUAL:
                values |= {"multiplier": columns, "mean_multiplier": integer.mean_multiplier(columns)}
            for follower, ready in self._ready.items():
                # These rows' sums are overwritten; what they leave behind is known again with `last`.
                ready[:] = [(s, n) for s, n in ready if s + n <= stat or stat + rows <= s]
                softmax = function is Function.EXPONENT
                if values["last"] and softmax == (follower is Function.CONTEXT):
                    ready.append((stat, rows))
        self.elements += rows * columns
        return Instruction(Opcode.VECTOR, {name: int(value) for name, value in values.items()})

    @staticmethod
    def _place(rng: np.random.Generator, name: str, rows: int, blocks: int, most: int) -> dict[str, int]:
        """Address and stride of blocks that do not overlap."""
        stride = int(rng.integers(rows, max(rows + 1, min((most - rows) // max(blocks - 1, 1), 40))))
        address = int(rng.integers(0, most - rows - (blocks - 1) * stride + 1))
        return {f"{name}_address": address, f"{name}_stride": stride}
