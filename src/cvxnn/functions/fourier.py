"""The l1 norm of discrete Fourier coefficients, a penalty on blocks (block axis first)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cvxnn.arrays import Array, device, namespace
from cvxnn.functions.blocks import (
    check_strength,
    divided,
    first_largest,
    indicator,
    largest,
    total,
)


def coefficients(x: Array) -> Array:
    """Return the unitary Fourier coefficients of every column, (p, d, c) to (p, d // 2 + 1, c).

    The others are the conjugates of these.
    """
    return namespace(x).fft.rfft(x, axis=1, norm="ortho")


def synthesis(coefficients: Array, d: int) -> Array:
    """Return the real columns of coefficients; the inverse of `coefficients`."""
    return namespace(coefficients).fft.irfft(coefficients, n=d, axis=1, norm="ortho")


def counts(x: Array) -> Array:
    """Return how often each coefficient of blocks (p, d, c) is there, itself and its conjugate."""
    xp, d = namespace(x), x.shape[1]
    places = xp.arange(d // 2 + 1, device=device(x))
    alone = (places == 0) | (2 * places == d)
    return xp.astype(2 - xp.astype(alone, xp.int64), x.dtype)[None, :, None]


@dataclass(frozen=True)
class FourierNorm:
    """alpha / sqrt(d) * sum over blocks and columns of |F u|_1, F the unitary transform of R^d.

    It is the least |h| |w| over circular convolutions h * w = u [ErgenPilanci2021b]; its prox
    shrinks the moduli of the coefficients. Blocks are (p, d, c). Raises ValueError unless alpha is
    positive and finite.

    >>> import numpy as np
    >>> FourierNorm(alpha=2.0).value(np.ones((1, 4, 1)))  # |F u|_1 is 2, of a constant
    2.0
    """

    alpha: float
    smoothness = math.inf

    def __post_init__(self) -> None:
        check_strength(self.alpha)

    def _unit(self, x: Array) -> float:
        """Return alpha / sqrt(d)."""
        return self.alpha / math.sqrt(x.shape[1])

    def value(self, x: Array) -> float:
        """Return alpha / sqrt(d) times the sum of the coefficients' moduli."""
        return self._unit(x) * total(counts(x) * namespace(x).abs(coefficients(x)))

    def gradient(self, x: Array) -> Array:
        """Return the columns of coefficients of modulus alpha / sqrt(d), 0 for those that are 0."""
        found = coefficients(x)
        units = divided(found, namespace(x).abs(found))
        return synthesis(self._unit(x) * units, x.shape[1])

    def prox(self, x: Array, step: float) -> Array:
        """Take step alpha / sqrt(d) off every modulus, down to 0."""
        found, floor = coefficients(x), step * self._unit(x)
        kept = 1 - floor / namespace(x).clip(namespace(x).abs(found), min=floor)
        return synthesis(kept * found, x.shape[1])

    def conjugate(self, v: Array) -> float:
        """Return 0 where no coefficient's modulus exceeds alpha / sqrt(d), `inf` otherwise."""
        # a transform rounds more than a norm does
        return indicator(self.polar(v), 8.0 + 4.0 * math.log2(v.shape[1] + 1))

    def polar(self, v: Array) -> Array:
        """Return sqrt(d) times the largest modulus over alpha, (p,)."""
        return largest(namespace(v).abs(coefficients(v))) / self._unit(v)

    def direction(self, v: Array) -> Array:
        """Return the wave of the largest coefficient, of penalty 1, and 0 for a zero block."""
        found = coefficients(v)
        moduli = namespace(v).abs(found)
        wave = divided(found, moduli) * first_largest(moduli) / counts(v)
        return synthesis(wave, v.shape[1]) / self._unit(v)

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the derivative: every coefficient's, as of a vector in the plane."""
        xp, found, floor = namespace(x), coefficients(x), step * self._unit(x)
        moduli = xp.abs(found)
        units, alive = divided(found, moduli), xp.astype(moduli > floor, x.dtype)
        share = alive * floor / xp.clip(moduli, min=floor)

        def apply(z: Array) -> Array:
            moved = coefficients(z)
            along = xp.real(xp.conj(units) * moved)
            return synthesis((alive - share) * moved + share * along * units, x.shape[1])

        return apply
