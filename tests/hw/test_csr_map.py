"""The register map as a host sees it."""

from systolith.rtl.csr_map import ADDRESS_BITS, REGISTERS


def test_registers_are_words_of_their_own_within_the_address_space():
    offsets = [register.offset for register in REGISTERS]
    assert len(set(offsets)) == len(offsets)
    assert all(offset % 4 == 0 and 0 <= offset < 1 << ADDRESS_BITS for offset in offsets)
