"""No partial sum and no accumulator overflows, up to the documented number of products."""

from functools import partial

from amaranth.hdl import Const, Signal, signed

from systolith.rtl.accumulator import Accumulator
from systolith.rtl.array import SystolicArray
from systolith.rtl.config import Config, preset

from .harness import Harness, Proof

#: The largest and the smallest product of two int8.
_MOST, _LEAST = (-128) * (-128), (-128) * 127
#: Products that the 28-bit operand of the vector unit holds, as docs/numerics.md says.
PRODUCTS = 8191
#: Products that an accumulator holds, as :class:`Accumulator` says.
_ACCUMULATED = 131_071


def _array(h: Harness, config: Config) -> None:
    """The sum below row r is one of r + 1 products; nothing is assumed, so weights may change in mid-stream.

    A partial sum has 16 + log2(rows) bits. That its addition did not wrap is asserted of each PE: the register is
    what the sum is in 33 bits.
    """
    array = SystolicArray(config)
    dut = h.place(array)
    for c in range(config.cols):
        for r in range(config.rows):
            product, total = dut[f"pe_{r}_{c}.product"], dut[f"pe_{r}_{c}.total"]
            h.always((product >= _LEAST) & (product <= _MOST), "a product out of its range")
            h.always((total >= _LEAST * (r + 1)) & (total <= _MOST * (r + 1)), "a partial sum out of its range")
            north = dut[f"pe_{r - 1}_{c}.total"] if r else Const(0)
            exact = Signal(signed(33), name=f"exact_{r}_{c}")
            h.m.d.sync += exact.eq(north + product)
            known = h.past(1, f"known_{r}_{c}")
            h.always(~known | (total == exact), "a partial sum wraps")
    h.cover(dut["pe_0_0.total"] == _MOST)


def _accumulator(h: Harness, config: Config) -> None:
    """One addition to a row that holds a sum of ``held`` products: exact, and the bound holds for the new sum.

    Assumed: the row read holds a sum of ``held`` products, and what comes from the array is one of ``rows`` products
    (proved above). By induction over its additions a row is exact as long as it sums no more than the limit.
    """
    accumulator = Accumulator(config)
    dut = h.place(accumulator)
    held = h.constant(17, "held")
    h.assume(held + config.rows <= _ACCUMULATED)
    old, add = dut.component("banks").read[0].data, accumulator.add
    overwrite = h.past(h.past(add.overwrite, "overwrite_1"), "overwrite_2")
    valid = h.past(h.past(add.valid, "valid_1"), "valid_2")
    total = held + config.rows
    # Bounds of 2**14 a product to either side: shifts instead of multiplications.
    before, step, after = held << 14, config.rows << 14, total << 14
    for c in range(config.cols):
        h.assume((old[c] >= -before) & (old[c] <= before))
        h.assume((add.data[c] >= -step) & (add.data[c] <= step))
        partial = h.past(h.past(add.data[c].as_unsigned(), f"partial_{c}"), f"partial_{c}_2").as_signed()
        exact = Signal(signed(40), name=f"exact_{c}")
        with h.m.If(overwrite):
            h.m.d.sync += exact.eq(partial)
        with h.m.Else():
            h.m.d.sync += exact.eq(old[c] + partial)
        known = h.past(valid, f"known_{c}")
        new = dut["sums"][32 * c : 32 * c + 32].as_signed()
        h.always(~known | (new == exact), "a sum wraps")
        h.always(~known | ((new >= -after) & (new <= after)), "a sum out of its range")
        fits = (new >= -(1 << 27)) & (new < 1 << 27)
        h.always(~known | (total > PRODUCTS) | fits, "a sum of few products needs more than 28 bits")
        h.cover(known & (new == after))


PROOFS = (
    *(
        Proof(
            name=f"array-{rows}x{cols}",
            build=partial(_array, config=preset("tiny").resized(rows, cols)),
            depth=3,
            reach=10,
        )
        for rows, cols in ((4, 4), (6, 2), (16, 2))
    ),
    Proof(
        name="accumulator",
        build=partial(_accumulator, config=preset("tiny").resized(4, 2)),
        induction=5,
        free_memories=True,
        quick=True,
    ),
)
