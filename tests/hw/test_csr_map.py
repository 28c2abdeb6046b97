"""The register map as a host sees it."""

from systolith.rtl.csr_map import ADDRESS_BITS, REGISTERS


def test_registers_are_words_of_their_own_within_the_address_space():
    offsets = [register.offset for register in REGISTERS]
    assert len(set(offsets)) == len(offsets)
    assert all(offset % 4 == 0 and 0 <= offset < 1 << ADDRESS_BITS for offset in offsets)


def test_parts_of_a_register_have_bits_of_their_own_within_the_word():
    for register in REGISTERS:
        taken = [bit for part in register.parts for bit in range(part.low, part.low + part.width)]
        assert all(part.width > 0 for part in register.parts), register.name
        assert len(set(taken)) == len(taken), register.name
        assert all(0 <= bit < 32 for bit in taken), register.name
