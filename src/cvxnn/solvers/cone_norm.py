"""A norm restricted to a cone per block: its prox is exact, by projection."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.functions import ColumnNorm, GroupNorm
from cvxnn.program import Constraint, Program
from cvxnn.projection import Faces, inside, nearest, unit_rows


class Projector:
    """Projections onto the cones of a few blocks, each started from the faces of its last one."""

    def __init__(self, constraint: Constraint, blocks: int) -> None:
        self._rows = [unit_rows(constraint.map.rows(block)) for block in range(blocks)]
        self._faces: dict[tuple[int, int], Faces] = {}

    def __call__(self, blocks: Array, *, bound: bool = False) -> Array:
        """Return every column of every block (p, d, c), projected onto its block's cone.

        With `bound` a point that rounding keeps off its cone is returned all the same: its length
        is what counts then, and it is never too short.
        """
        host = to_numpy(blocks).astype(float)
        result, none = np.zeros_like(host), np.zeros(0, dtype=np.int64)
        for block, column in zip(*np.nonzero(np.abs(host).sum(axis=1)), strict=True):
            key = (int(block), int(column))
            point, self._faces[key] = nearest(
                self._rows[block], host[block, :, column], self._faces.get(key, none)
            )
            result[block, :, column] = point if bound else inside(self._rows[block], point)
        return like(result, blocks)

    def jacobian(self, blocks: Array) -> Callable[[Array], Array]:
        """Return the derivative of the projection at `blocks`: orthogonal onto each one's face."""
        self(blocks)
        zero = (to_numpy(blocks) == 0).all(axis=1, keepdims=True)
        frames = {
            key: np.linalg.qr(self._rows[key[0]][faces].T)[0]
            for key, faces in self._faces.items()
            if len(faces)
        }

        def apply(z: Array) -> Array:
            flat = to_numpy(z).astype(float)
            flat = np.where(zero, 0.0, flat)
            for (block, column), frame in frames.items():
                part = flat[block, :, column]
                flat[block, :, column] = part - frame @ (frame.T @ part)
            return like(flat, z)

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
