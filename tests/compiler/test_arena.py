import pytest

from systolith.compiler.arena import Arena, OutOfMemoryError


def test_next_fit_goes_round_before_it_reuses() -> None:
    arena = Arena("test", 10, 10)
    first = arena.take(4)
    arena.free(first)
    assert [first, arena.take(4), arena.take(4)] == [10, 14, 10]


def test_skips_what_is_live() -> None:
    arena = Arena("test", 0, 10)
    arena.take(3)
    middle = arena.take(3)
    arena.free(0)
    assert arena.take(4) == 6
    assert arena.take(2) == 0
    assert middle == 3
    assert arena.used == 10


def test_says_what_does_not_fit() -> None:
    arena = Arena("weight ring", 0, 10)
    arena.take(6)
    with pytest.raises(OutOfMemoryError, match="weight ring: 5 rows wanted, 10 in all, 6 in use"):
        arena.take(5)
