"""What a configuration may choose for the functions of softmax and GELU, defined by name."""

from collections.abc import Callable
from typing import NamedTuple

from . import integer, polynomial


class Approximation(NamedTuple):
    """The two functions that have units of their own in every lane.

    ``numerator`` takes EXPONENT's argument (units of 2**-6 octaves) to 0 to 127; ``gelu_grid`` takes int16 values and
    their grid to int16 values on it.
    """

    numerator: Callable[[integer.IntArray], integer.IntArray]
    gelu_grid: Callable[[integer.IntArray, int], integer.IntArray]


LOOK_UP, POLYNOMIAL = "look-up", "polynomial"
#: What is computed unless a configuration says otherwise.
DEFAULT = LOOK_UP
APPROXIMATIONS = {
    LOOK_UP: Approximation(integer.numerator, integer.gelu_grid),
    POLYNOMIAL: Approximation(polynomial.numerator, polynomial.gelu_grid),
}
