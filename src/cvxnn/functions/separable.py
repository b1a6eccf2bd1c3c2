"""Different penalties on different pieces of one flat vector."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from cvxnn.arrays import Array, namespace
from cvxnn.functions.base import Penalty


@dataclass(frozen=True)
class Separable:
    """A sum of penalties over consecutive pieces of one flat vector (N,).

    Piece i has shape `shapes[i]`, block axis first, under `parts[i]`. Raises ValueError where the
    numbers of parts and shapes, or the length of a vector, do not fit.

    >>> import numpy as np
    >>> from cvxnn.functions import GroupNorm, Unpenalised
    >>> both = Separable((GroupNorm(alpha=1.0), Unpenalised()), ((1, 2), (1, 1)))
    >>> both.prox(np.array([3.0, 4.0, 7.0]), step=1.0)
    array([2.4, 3.2, 7. ])
    """

    parts: tuple[Penalty, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.shapes) or not self.parts:
            raise ValueError(
                f"there are {len(self.parts)} parts and {len(self.shapes)} shapes; pass one shape "
                "for every part, and at least one of each"
            )

    @property
    def smoothness(self) -> float:
        """The largest smoothness of a part."""
        return max(part.smoothness for part in self.parts)

    def split(self, x: Array) -> tuple[Array, ...]:
        """Return the pieces of `x` (N,), each in its own shape."""
        sizes = [math.prod(shape) for shape in self.shapes]
        if tuple(x.shape) != (sum(sizes),):
            raise ValueError(
                f"the vector has shape {tuple(x.shape)} but the pieces need ({sum(sizes)},); pass "
                "the pieces flattened one after the other"
            )
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        xp = namespace(x)
        return tuple(
            xp.reshape(x[end - size : end], shape)
            for end, size, shape in zip(ends, sizes, self.shapes, strict=True)
        )

    def value(self, x: Array) -> float:
        """Return the sum of the parts' values."""
        return sum(part.value(piece) for part, piece in self._pairs(x))

    def gradient(self, x: Array) -> Array:
        """Return the pieces' gradients, flat."""
        return _join([part.gradient(piece) for part, piece in self._pairs(x)])

    def prox(self, x: Array, step: float) -> Array:
        """Return the pieces' proxes, flat."""
        return _join([part.prox(piece, step) for part, piece in self._pairs(x)])

    def conjugate(self, v: Array) -> float:
        """Return the sum of the parts' conjugates."""
        return sum(part.conjugate(piece) for part, piece in self._pairs(v))

    def polar(self, v: Array) -> Array:
        """Return the polars of all pieces' blocks, one piece after the other."""
        return _join([part.polar(piece) for part, piece in self._pairs(v)])

    def direction(self, v: Array) -> Array:
        """Return the pieces' directions, flat."""
        return _join([part.direction(piece) for part, piece in self._pairs(v)])

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the pieces' derivatives side by side, flat."""
        slopes = [part.jacobian(piece, step) for part, piece in self._pairs(x)]
        return lambda z: _join([f(piece) for f, piece in zip(slopes, self.split(z), strict=True)])

    def _pairs(self, x: Array) -> list[tuple[Penalty, Array]]:
        return list(zip(self.parts, self.split(x), strict=True))


def _join(pieces: list[Array]) -> Array:
    xp = namespace(*pieces)
    return xp.concat([xp.reshape(piece, (-1,)) for piece in pieces])
