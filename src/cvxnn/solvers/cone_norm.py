"""A norm restricted to a cone per block: its prox is exact, by projection."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.functions import ColumnNorm, GroupNorm
from cvxnn.program import Constraint, Program
from cvxnn.projection import CLOSE, Faces, nearest

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_ROUNDING = 1e-9
"""How far behind a face, relative to its length, a point may be to count as in its cone."""


class Projector:
    """Projections onto the cones of a few blocks, each started from the faces of its last one.

    Between two steps of a solver most points stay on their faces. There the projection is a linear
    map, so all blocks are tried by it at once; those that left are projected one by one.
    """

    def __init__(self, constraint: Constraint, blocks: int) -> None:
        rows = [to_numpy(constraint.map.rows(block)).astype(float) for block in range(blocks)]
        shape = (blocks, *constraint.map.rows(0).shape) if blocks else (0, 0, 0)
        every = np.array(rows).reshape(shape)
        lengths = np.linalg.norm(every, axis=2, keepdims=True)
        self._rows: Floats = every / np.where(lengths > 0, lengths, 1.0)
        """(p, n, d), of unit length or zero."""
        self._faces: dict[tuple[int, int], Faces] = {}
        self._onto: Floats = np.zeros((blocks, 0, shape[2], shape[2]))
        """(p, c, d, d): the projection onto the last faces; NaN where there are none yet."""
        self._weights: Floats = self._onto
        """(p, c, d, d): what the faces must push with, in rows; zero rows beyond their number."""

    def __call__(self, blocks: Array, *, bound: bool = False) -> Array:
        """Return every column of every block (p, d, c), projected onto its block's cone.

        With `bound` a point that rounding keeps off its cone is returned all the same: its length
        is what counts then, and it is never too short.
        """
        host = to_numpy(blocks).astype(float)
        if not len(host):
            return blocks
        self._widen(host.shape[2])
        result = np.zeros_like(host)
        alive = np.flatnonzero(host.any(axis=(1, 2)))
        given = np.swapaxes(host[alive], 1, 2)  # (k, c, d)
        points, behind, known = self._on_last_faces(alive, given)
        for at, column in zip(*np.nonzero(~known & given.any(axis=2)), strict=True):
            point, least = self._anew(int(alive[at]), int(column), given[at, column])
            points[at, column], behind[at, column] = point, least
        if not bound:
            inside = behind <= _ROUNDING * np.linalg.norm(points, axis=2)
            points = np.where(inside[:, :, None], points, 0.0)
        result[alive] = np.swapaxes(points, 1, 2)
        return like(result, blocks)

    def _widen(self, columns: int) -> None:
        """Make room for so many columns a block."""
        p, have, d, _ = self._onto.shape
        if have < columns:
            more = np.full((p, columns - have, d, d), np.nan)
            self._onto = np.concatenate([self._onto, more], axis=1)
            self._weights = np.concatenate([self._weights, more], axis=1)

    def _on_last_faces(
        self, alive: Indices, given: Floats
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return points (k, c, d), how far behind a face each is, and whether they are right."""
        every, c = len(alive) == len(self._rows), given.shape[1]
        parts = (self._rows, self._onto[:, :c], self._weights[:, :c])
        rows, onto, weights = parts if every else (part[alive] for part in parts)
        points = (onto @ given[..., None])[..., 0]
        pushes = (weights @ given[..., None])[..., 0]
        behind = -np.min(points @ np.swapaxes(rows, 1, 2), axis=2, initial=0.0)
        sizes = np.linalg.norm(given, axis=2)
        known = (pushes.min(axis=2, initial=0.0) >= 0) & (behind <= CLOSE * sizes)
        return np.where(known[..., None], points, 0.0), behind, known

    def _anew(self, block: int, column: int, given: Floats) -> tuple[Floats, float]:
        """Return the projection and how far behind a face it is, and keep its faces."""
        none, rows = np.zeros(0, dtype=np.int64), self._rows[block]
        last = self._faces.get((block, column), none)
        point, faces = nearest(rows, given, last)
        self._faces[block, column] = faces
        normals = rows[faces]
        pushes = -np.linalg.pinv(normals.T) if len(faces) else normals
        self._weights[block, column] = 0.0 if len(faces) <= len(given) else np.nan
        if len(faces) <= len(given):
            self._weights[block, column, : len(faces)] = pushes
        self._onto[block, column] = np.eye(len(given)) + normals.T @ pushes
        return point, -float((rows @ point).min(initial=0.0))

    def jacobian(self, blocks: Array) -> Callable[[Array], Array]:
        """Return the derivative of the projection at `blocks`: orthogonal onto each one's face."""
        self(blocks)
        host = to_numpy(blocks)
        if not len(host):
            return lambda z: z
        moves = np.swapaxes(host.any(axis=1, keepdims=True), 1, 2)[..., None]
        onto = like(np.where(moves, self._onto[:, : host.shape[2]], 0.0), blocks)

        def apply(z: Array) -> Array:
            xp = namespace(z)
            turned = xp.permute_dims(z, (0, 2, 1))[..., None]
            return xp.permute_dims((onto @ turned)[..., 0], (0, 2, 1))

        return apply


@dataclass(frozen=True, eq=False)
class OnCones:
    """A norm per block or column plus the indicator of a cone per block.

    Scaling keeps a cone, so the prox is the norm's prox of the projection, and the polar gauge is
    the norm's polar of the projection [Mishkin2022].
    """

    norm: GroupNorm | ColumnNorm
    project: Projector
    smoothness: float = field(default=math.inf, init=False)

    def value(self, x: Array) -> float:
        """Return the norm; points are kept inside the cones by `prox`."""
        return self.norm.value(x)

    def gradient(self, x: Array) -> Array:
        """Return a subgradient of the norm."""
        return self.norm.gradient(x)

    def prox(self, x: Array, step: float) -> Array:
        """Project the blocks that the norm's prox would not make zero, then shrink."""
        xp = namespace(x)
        shrunk = self.norm.prox(x, step)
        alive = xp.where(xp.any(shrunk != 0, axis=1, keepdims=True), x, xp.zeros_like(x))
        return self.norm.prox(self.project(alive), step)

    def conjugate(self, v: Array) -> float:
        """Return the indicator of polar <= 1."""
        return self.norm.conjugate(self.project(v, bound=True))

    def polar(self, v: Array) -> Array:
        """Return the norm's polar gauge of the projections, (p,)."""
        return self.norm.polar(self.project(v, bound=True))

    def direction(self, v: Array) -> Array:
        """Return the norm's direction of the projections."""
        return self.norm.direction(self.project(v))

    def jacobian(self, x: Array, step: float) -> Callable[[Array], Array]:
        """Return the norm's derivative at the projection, after the projection's own."""
        flat, shrunk = self.project.jacobian(x), self.norm.jacobian(self.project(x), step)
        return lambda z: shrunk(flat(z))


def cones_in_penalty(program: Program) -> Program | None:
    """Return the same program with its cones inside the penalty, or None if that has no prox.

    Proximal gradient then needs tens to hundreds of steps where alternating directions need
    thousands, because no block is split from its cone; a step costs one small projection per block
    that is not zero.
    """
    if program.constraint is None or not isinstance(program.penalty, (GroupNorm, ColumnNorm)):
        return None
    projector = Projector(program.constraint, program.lift.in_shape[0])
    return replace(program, penalty=OnCones(program.penalty, projector), constraint=None)
