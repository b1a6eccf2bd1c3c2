"""Symmetric matrices by their factors: eigenvectors, or points of the neural decomposition."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, double, like, namespace, to_numpy
from cvxnn.functions import SphereMoments
from cvxnn.functions.decompose import decomposed, eigenpairs
from cvxnn.maps import QuadraticForms
from cvxnn.maps.gated import row_blocks
from cvxnn.program import Program
from cvxnn.symmetric import to_blocks, to_matrices

Floats = NDArray[np.float64]

_FLAT = 1e-12
"""Eigenvalues of the weights of entries below this share of the largest are none."""


def matrices_of(program: Program, blocks: Array, share: float) -> "Matrices":
    """Return factors of blocks (p, t, c), of at least a share of their matrix's largest weight."""
    host = to_numpy(to_matrices(blocks))
    sphere = isinstance(program.penalty, SphereMoments)
    split = decomposed if sphere else eigenpairs
    vectors = [np.zeros((0, host.shape[-1] - sphere))]
    places = [np.zeros((0, 3))]
    for block, output in np.argwhere(host.any(axis=(2, 3))):
        units, sizes = split(host[block, output])
        kept = np.abs(sizes) > share * np.abs(sizes).max(initial=0.0)
        units, sizes = units[kept], sizes[kept]
        vectors.append(np.sqrt(np.abs(sizes))[:, None] * units)
        owner = np.broadcast_to([block, output], (len(sizes), 2))
        places.append(np.column_stack([np.sign(sizes), owner]))
    every = np.concatenate(places)
    owners = every[:, 1:].astype(np.int64)
    return Matrices(program, np.concatenate(vectors), every[:, 0], owners[:, 0], owners[:, 1])


@dataclass(frozen=True, eq=False)
class Matrices:
    """w_j, which sign p_j p_j' has, and which block and output it serves, for m factors."""

    program: Program
    vectors: Floats
    """(m, s), or (m, s - 1) for points of the sphere."""
    signs: Floats
    blocks: NDArray[np.int64]
    outputs: NDArray[np.int64]

    cost = 1.0

    @property
    def _sphere(self) -> bool:
        return isinstance(self.program.penalty, SphereMoments)

    def _points(self, vectors: Floats) -> Floats:
        """Return the p_j, (m, s)."""
        if not self._sphere:
            return vectors
        return np.concatenate([vectors, np.linalg.norm(vectors, axis=1, keepdims=True)], axis=1)

    def composed(self, vectors: Floats) -> Array:
        """Return the blocks (p, t, c) whose factors are these vectors (m, s)."""
        (p, _, c), points = self.program.lift.in_shape, self._points(vectors)
        matrices = np.zeros((p, c, points.shape[1], points.shape[1]))
        for block, output in {*zip(self.blocks.tolist(), self.outputs.tolist(), strict=True)}:
            mine = (self.blocks == block) & (self.outputs == output)
            matrices[block, output] = (points[mine].T * self.signs[mine]) @ points[mine]
        return to_blocks(like(matrices, double(self.program.free)))

    @cached_property
    def _parts(self) -> list[tuple[float, Array]]:
        """x'(K o pp')x is the sum of k ((x o g)'p)^2 over the eigenpairs (k, g) of K."""
        lift = cast(QuadraticForms, self.program.lift)
        x = double(lift.features)
        sizes, axes = np.linalg.eigh(to_numpy(double(lift.weights)))
        kept = np.abs(sizes) > _FLAT * np.abs(sizes).max()
        return [
            (float(size), x * like(axis, x))
            for size, axis in zip(sizes[kept], axes.T[kept], strict=True)
        ]

    @cached_property
    def _mix(self) -> Array:
        """(m, c): the sign of a factor in its output."""
        lift = cast(QuadraticForms, self.program.lift)
        host = np.eye(lift.outputs)[self.outputs] * self.signs[:, None]
        host = host * to_numpy(double(lift.signs))[self.blocks, None]
        return like(host, double(self.program.free))

    @cached_property
    def _rows(self) -> list[slice]:
        n = self.program.lift.out_shape[0]
        return list(row_blocks(n, max(1, len(self.signs))))

    def _values(self, points: Array, rows: slice) -> list[tuple[float, Array]]:
        """Return k and (x o g)'p for some samples and every eigenpair (k, g)."""
        return [(k, x[rows, :] @ points.T) for k, x in self._parts]

    def image(self, vectors: Floats) -> tuple[Array, Callable[[Array], Floats]]:
        """Return the values of the forms (n, c), and the way back."""
        points = self._points(vectors)
        there = like(points, double(self.program.free))
        xp, blocks = namespace(there), self._rows
        held = self._values(there, blocks[0]) if len(blocks) == 1 else None
        forms: Any = [
            sum(k * h**2 for k, h in held or self._values(there, rows)) @ self._mix
            for rows in blocks
        ]

        def back(pull: Array) -> Floats:
            slope = 0.0 * there
            for rows in blocks:
                spread = pull[rows, :] @ self._mix.T
                values = held or self._values(there, rows)
                for (k, x), (_, h) in zip(self._parts, values, strict=True):
                    slope = slope + 2 * k * ((h * spread).T @ x[rows, :])
            down = to_numpy(slope)
            if self._sphere:
                lengths = points[:, -1:]
                unit = vectors / np.where(lengths > 0, lengths, 1.0)
                down = down[:, :-1] + down[:, -1:] * unit
            return down

        return xp.concat(forms), back
