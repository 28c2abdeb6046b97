"""Token counters never wrap and never lose a token."""

from systolith.rtl.interfaces import TOKEN_BITS
from systolith.rtl.isa import Unit
from systolith.rtl.tokens import Tokens

from .harness import Harness, Proof


def _counters(h: Harness) -> None:
    """Assumed of the queues (and proved of them in ``queues``): they take only what is there, give only what fits."""
    tokens = Tokens()
    dut = h.place(tokens)
    most = (1 << TOKEN_BITS) - 1
    for unit in Unit:
        port = tokens.units[unit]
        h.assume(~port.take | ~port.missing.any())
        h.assume(~port.put | port.fits)
    for giver in Unit:
        for taker in Unit:
            if giver == taker:
                continue
            pair = f"{giver.name}_to_{taker.name}".lower()
            count = dut[pair]
            put = tokens.units[giver].put & tokens.units[giver].give[taker]
            take = tokens.units[taker].take & tokens.units[taker].wait[giver]
            some = dut[f"{giver.name}_for_{taker.name}".lower()]
            full = dut[f"{giver.name}_full_{taker.name}".lower()]
            h.always(some == (count != 0), "tokens are there and not seen, or seen and not there")
            h.always(full == (count == most), "a counter at its end and not seen, or seen before")
            h.always(~(take & (count == 0)), "a token taken that nobody gave")
            h.always(~(put & (count == most)), "a token given to a full counter")
            started = h.past(1, f"started_{pair}")
            before, gave, took = h.past(count), h.past(put), h.past(take)
            h.always(~started | (count + took == before + gave), "a token lost or made up")
            h.cover(count == 2)
        h.always(tokens.units[giver].fits | (tokens.units[giver].give != 0), "nothing to give, and yet it does not fit")


PROOFS = (Proof(name="tokens", build=_counters, depth=8, quick=True),)
