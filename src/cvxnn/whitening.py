"""Patches with their mean taken out, decorrelated, cut to their leading directions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]

ROWS = 2**14
"""Patches that are added up at a time."""
FLOOR = 0.1
"""Share of the mean eigenvalue that is added to every one: faint directions stay faint."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """x -> [((x - mean of x) / deviation - centre) W, 1], patch by patch [CoatesNg2012].

    The mean of x is over the patch, and taken out where `level` says so. The map is linear but for
    the deviation, sqrt(variance of x + contrast), which is left out where `contrast` is None.
    """

    centre: Singles
    """(h,)."""
    matrix: Singles
    """W, (h, r)."""
    level: bool = True
    contrast: float | None = None

    @property
    def width(self) -> int:
        """r + 1, the last column being of ones."""
        return int(self.matrix.shape[1]) + 1

    def __call__(self, patches: NDArray[Any]) -> Singles:
        """Return whitened patches, (n, h) to (n, r + 1), in float32."""
        found = np.empty((len(patches), self.width), np.float32)
        found[:, -1] = 1.0
        np.matmul(self.levelled(patches) - self.centre, self.matrix, out=found[:, :-1])
        return found

    def levelled(self, patches: NDArray[Any]) -> Singles:
        """Return patches without their means, and of unit deviation where contrast is evened."""
        found = np.asarray(patches, np.float32)
        if self.level:
            found = found - found.mean(axis=1, keepdims=True)
        if self.contrast is not None:
            found = found / np.sqrt(np.square(found).mean(axis=1, keepdims=True) + self.contrast)
        return found


def whitening(
    patches: NDArray[Any], keep: int, *, level: bool = True, contrast: float | None = None
) -> Whitening:
    """Return the whitening of patches (n, h) to their `keep` leading directions.

    Directions of no variance are left out, so that fewer than `keep` may be left. Raises ValueError
    where all patches are constant: there is nothing to see in them.

    >>> rows = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [2.0, 0.0, 1.0]])
    >>> whitening(rows, keep=2)(rows).shape
    (4, 3)
    """
    width = patches.shape[1]
    plain = Whitening(np.zeros(width, np.float32), np.eye(width, dtype=np.float32), level, contrast)
    seen = plain.levelled(patches)
    centre = seen.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(_scatter(seen, centre) / len(seen))
    values, vectors = values[::-1], vectors[:, ::-1]
    alive = int((values > 1e-6 * max(values[0], 1e-12)).sum())
    if alive == 0:
        raise ValueError(
            "every patch of the images is constant, so that no filter sees anything; check the "
            "images, or use a larger kernel"
        )
    kept = min(keep, alive)
    scales = np.sqrt(values[:kept] + FLOOR * values[:kept].mean())
    matrix = (vectors[:, :kept] / scales).astype(np.float32)
    return Whitening(centre.astype(np.float32), matrix, level, contrast)


def _scatter(rows: Singles, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of (x - centre)(x - centre)' over rows x, in float64, some rows at a time."""
    found = np.zeros((rows.shape[1],) * 2)
    for first in range(0, len(rows), ROWS):
        part = rows[first : first + ROWS] - centre
        found += part.T @ part
    return found
