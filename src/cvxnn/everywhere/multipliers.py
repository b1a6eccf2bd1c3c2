"""The largest value of a quadratic on a box in the unit ball: bounds by two multipliers.

One for the ellipsoid about the box, one for the ball. By weak duality any pair with a positive
definite matrix gives a bound; a few Newton steps find a good one, for a batch of boxes at a time.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.everywhere.neurons import Floats
from cvxnn.everywhere.quadratics import Boxes

SLACK = 1e-10
"""Relative slack of every bound against rounding; errors near 1e-14 were observed."""
THIN = 1e-6
"""Half-widths below this count as this, which makes the box larger."""
CENTRAL = 1.0
"""Newton stops where a step promises less than so many barriers."""


class Form(NamedTuple):
    """c + b'u + u'A u for every box, (B, d, d), (B, d) and (B,)."""

    matrix: Floats
    vector: Floats
    constant: Floats

    def mix(self, other: "Form", share: float) -> "Form":
        """Return (1 - share) self + share other."""
        return Form(*((1 - share) * a + share * b for a, b in zip(self, other, strict=True)))

    def take(self, index: NDArray[np.generic]) -> "Form":
        """Return the forms at `index`."""
        return Form(*(part[index] for part in self))


class Local(NamedTuple):
    """A form about the box's middle c, and the two constraints: delta = u - c."""

    matrix: Floats
    gradient: Floats
    value: Floats
    center: Floats
    shape: Floats
    """(B, d), 1 / half-width^2 of split coordinates, 0 elsewhere."""
    splits: Floats
    """(B,), their number: sum of shape delta^2 <= splits."""
    room: Floats
    """(B,), 1 - |c|^2: |delta|^2 + 2 c'delta <= room."""

    def take(self, index: NDArray[np.generic]) -> "Local":
        """Return the parts at `index`."""
        return Local(*(part[index] for part in self))


class Point(NamedTuple):
    """Multipliers, and what they give."""

    box: Floats
    ball: Floats
    inverse: Floats
    """Of P = box shape + ball I - A."""
    delta: Floats
    """The maximiser of the Lagrangian."""
    upper: Floats
    """Its maximum; inf where P is not positive definite."""


def localise(form: Form, boxes: Boxes) -> Local:
    """Return the form about the middle of every box."""
    center, split = boxes.centers, boxes.split
    pushed = (form.matrix @ center[:, :, None])[:, :, 0]
    value = form.constant + ((form.vector + pushed) * center).sum(axis=1)
    shape = np.where(split, 1 / np.maximum(boxes.halves, THIN) ** 2, 0.0)
    room = 1 - (center**2).sum(axis=1)
    gradient = form.vector + 2 * pushed
    return Local(form.matrix, gradient, value, center, shape, split.sum(axis=1).astype(float), room)


def evaluate(local: Local, box: Floats, ball: Floats) -> Point:
    """Return the Lagrangian's maximum at multipliers with P positive definite.

    f + delta'g + delta'A delta + box (splits - delta'S delta) + ball (room - |delta|^2 - 2 c'delta)
    is largest at delta = P^-1 r / 2, r = g - 2 ball c.
    """
    right = local.gradient - 2 * ball[:, None] * local.center
    inverse: Floats = np.asarray(np.linalg.inv(_matrix(local, box, ball)), dtype=np.float64)
    delta = (inverse @ right[:, :, None])[:, :, 0] / 2
    upper = local.value + box * local.splits + ball * local.room + (right * delta).sum(axis=1) / 2
    return Point(box, ball, inverse, delta, upper)


def verified(local: Local, point: Point) -> Floats:
    """Return the bounds with their slack; inf where Cholesky denies that P is positive definite.

    With e = r - 2 P delta, what an inexact delta misses is delta'e / 2 to first order.
    """
    matrix = _matrix(local, point.box, point.ball)
    right = local.gradient - 2 * point.ball[:, None] * local.center
    error = right - 2 * (matrix @ point.delta[:, :, None])[:, :, 0]
    missed = np.linalg.norm(error, axis=1) * np.linalg.norm(point.delta, axis=1)
    slack = SLACK * (1 + np.abs(local.value) + np.abs(point.upper - local.value))
    sound = positive(matrix) & (point.box >= 0) & (point.ball >= 0)
    sound &= np.isfinite(point.upper + missed)
    return np.where(sound, point.upper + missed + slack, np.inf)


def start(local: Local, box: Floats, ball: Floats) -> Point:
    """Return the point at these multipliers, the ball's raised where P was not positive."""
    box = np.where(
        local.splits > 0, np.where(box > 0, box, 0.1 * ball / local.center.shape[1]), 0.0
    )
    matrix = _matrix(local, box, ball)
    bad = np.flatnonzero(~positive(matrix))
    if len(bad):
        top = ball[bad] - np.linalg.eigvalsh(matrix[bad])[:, 0]
        top = np.maximum(top, 0)
        pull = np.linalg.norm(local.gradient[bad] - 2 * top[:, None] * local.center[bad], axis=1)
        ball = ball.copy()
        ball[bad] = 1.05 * top + 0.3 * pull + 1e-9
    return evaluate(local, box, ball)


def centered(local: Local, box: Floats, ball: Floats, barrier: Floats, steps: int) -> Point:
    """Return points near the minima of upper - barrier log (det P box ball), by Newton steps."""
    whole = start(local, box, ball)
    index = np.arange(len(box))
    for _ in range(steps):
        part = Point(*(x[index] for x in whole))
        moved, promise = step(local.take(index), part, barrier[index])
        for old, new in zip(whole, moved, strict=True):
            old[index] = new
        index = index[promise > CENTRAL * barrier[index]]
        if not len(index):
            break
    return whole


def step(local: Local, point: Point, barrier: Floats) -> tuple[Point, Floats]:
    """Return the point after a Newton step on that, and the decrease that a full step promised.

    Its length keeps P positive definite: the least eigenvalue of P^-1 dP follows from its trace
    and Frobenius norm [WolkowiczStyan1980].
    """
    box, ball, inverse, delta, _ = point
    d = delta.shape[1]
    found = local.center + delta
    # column 0 is the derivative in the box's multiplier, column 1 that in the ball's
    shapes = np.ones((*delta.shape, 2))
    shapes[:, :, 0] = local.shape
    pair = np.stack([local.shape * delta, found], axis=2)
    cross = _gram(shapes, (inverse * inverse) @ shapes)
    hessian = 2 * _gram(pair, inverse @ pair) + barrier[:, None, None] * cross
    diagonal = np.diagonal(inverse, axis1=1, axis2=2)
    trace = (diagonal[:, None, :] @ shapes)[:, 0, :]
    slope = -barrier[:, None] * trace
    slope[:, 0] += local.splits - (pair[:, :, 0] * delta).sum(axis=1)
    slope[:, 1] += 1 - (found * found).sum(axis=1)
    # in units of the multipliers themselves, in which the barrier of their signs is 1
    size = np.stack([np.where(local.splits > 0, box, 0.0), ball], axis=1)
    slope = slope * size - barrier[:, None]
    a = hessian[:, 0, 0] * size[:, 0] ** 2 + barrier
    b = hessian[:, 0, 1] * size[:, 0] * size[:, 1]
    c = hessian[:, 1, 1] * size[:, 1] ** 2 + barrier
    determinant = np.maximum(a * c - b * b, 1e-12 * a * c)
    move = np.stack([b * slope[:, 1] - c * slope[:, 0], b * slope[:, 0] - a * slope[:, 1]], axis=1)
    move /= determinant[:, None]
    promise = -(slope * move).sum(axis=1) / 2
    by = move * size
    center = (by * trace).sum(axis=1) / d
    norm = ((cross @ by[:, :, None])[:, :, 0] * by).sum(axis=1) / d
    least = center - np.sqrt(np.maximum(norm - center * center, 0) * (d - 1))
    least = np.minimum(least, move.min(axis=1))
    by *= np.minimum(1, 0.9 / np.maximum(-least, 1e-12))[:, None]
    return evaluate(local, box + by[:, 0], ball + by[:, 1]), promise


def _gram(left: Floats, right: Floats) -> Floats:
    return np.asarray(np.swapaxes(left, 1, 2) @ right)


def positive(matrices: Floats) -> NDArray[np.bool_]:
    """Tell which matrices are positive definite, by Cholesky's pivots."""
    try:
        np.linalg.cholesky(matrices)
        return np.ones(len(matrices), dtype=bool)
    except np.linalg.LinAlgError:  # one is not: find which
        pass
    rest, good = matrices.copy(), np.ones(len(matrices), dtype=bool)
    for k in range(matrices.shape[1]):
        good &= rest[:, k, k] > 0
        rest[~good] = np.eye(matrices.shape[1])
        column = rest[:, k + 1 :, k]
        scaled = column / rest[:, k, k, None]
        rest[:, k + 1 :, k + 1 :] -= scaled[:, :, None] * column[:, None, :]
    return good


def _matrix(local: Local, box: Floats, ball: Floats) -> Floats:
    matrix = -local.matrix
    diagonal = np.arange(matrix.shape[1])
    matrix[:, diagonal, diagonal] += box[:, None] * local.shape + ball[:, None]
    return matrix
