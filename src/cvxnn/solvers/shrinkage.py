"""Linear networks whose optimum is written down: autoencoders, and data with orthogonal columns."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.arrays import to_numpy
from cvxnn.functions import Nuclear, Squared
from cvxnn.maps import Gated
from cvxnn.program import Iterate, Program

Floats = NDArray[np.float64]

_ROUNDING = 1e-13
"""Distance of a Gram matrix from a multiple of the identity that counts as rounding."""


class _Pair(NamedTuple):
    """Features and targets in the metric of the sample weights, without their free parts."""

    features: Floats
    target: Floats

    @classmethod
    def of(cls, program: Program) -> "_Pair":
        weights, free, target = (
            to_numpy(x).astype(np.float64)
            for x in (program.loss.weights, program.free, program.loss.target)
        )
        lift = program.lift
        assert isinstance(lift, Gated), "why_not refuses other lifts"
        roots = np.sqrt(weights)
        basis = np.linalg.qr(roots * free)[0]
        both = (roots * to_numpy(lift.features).astype(np.float64), roots * target)
        return cls(*(x - basis @ (basis.T @ x) for x in both))

    @property
    def square(self) -> float:
        """c where X'X = c I, 0 for other features."""
        n, d = self.features.shape
        if n < d:
            return 0.0
        gram = self.features.T @ self.features
        size = float(np.trace(gram)) / d
        return size if np.abs(gram - size * np.eye(d)).max() <= _ROUNDING * size else 0.0


@dataclass(frozen=True)
class Shrinkage:
    """The nuclear norm of a linear network in one step, by a singular value decomposition.

    minimise |X Z - Y|^2 / 2 + alpha |Z|_* is solved by Z = V diag(max(0, 1 - alpha / s^2)) V' for
    an autoencoder, Y = X = U diag(s) V', and by thresholding the singular values of X'Y / c at
    alpha / c where X'X = c I [CaiCandesShen2010]. Rows are weighted, and free of their part along
    unpenalised columns.
    """

    name = "shrinkage"
    heuristic = False
    copies = (3, 0)
    period = 1

    def workspace(self, n: int, d: int, p: int) -> int:
        """Return the singular vectors of the data, and the data weighted."""
        return 4 * n * d

    def why_not(self, program: Program) -> str | None:
        """Return None for linear networks that give back their data, or have orthogonal columns."""
        lift = program.lift
        if not isinstance(program.loss.loss, Squared) or not isinstance(program.penalty, Nuclear):
            return "this closed form is for the squared loss with a nuclear norm; use solver='auto'"
        if not isinstance(lift, Gated) or not isinstance(program.free, np.ndarray):
            return "this closed form is for linear networks in NumPy; use solver='auto'"
        if lift.in_shape[0] != 1 or not (lift.masks == 1).all():
            return "this closed form is for linear networks; pass DeepLinear(), or solver='auto'"
        if np.array_equal(lift.features, program.loss.target):
            return None
        if _Pair.of(program).square == 0:
            return (
                "targets are not the data themselves, nor are the data's columns orthogonal and of "
                "one length; use solver='auto'"
            )
        return None

    def init(self, program: Program, start: Iterate | None) -> Iterate:
        """Return the optimum."""
        pair, penalty, lift = _Pair.of(program), program.penalty, program.lift
        assert isinstance(penalty, Nuclear)
        assert isinstance(lift, Gated)
        if np.array_equal(lift.features, program.loss.target):
            _, sizes, right = np.linalg.svd(pair.features, full_matrices=False)
            floor = penalty.alpha / np.where(sizes > 0, sizes, 1.0) ** 2
            shares = np.where(sizes > 0, np.maximum(1 - floor, 0.0), 0.0)
            blocks = ((right.T * shares) @ right)[None]
        else:
            size = pair.square
            blocks = penalty.prox((pair.features.T @ pair.target)[None] / size, 1 / size)
        weights = to_numpy(program.loss.weights).astype(np.float64)
        free = to_numpy(program.free).astype(np.float64)
        target = to_numpy(program.loss.target).astype(np.float64)
        rest = target - to_numpy(lift.features).astype(np.float64) @ blocks[0]
        roots = np.sqrt(weights)
        shift = np.linalg.lstsq(roots * free, roots * rest, rcond=None)[0]
        return Iterate(blocks, shift, weights * (rest - free @ shift))

    def step(self, program: Program, state: Iterate) -> Iterate:
        """Return the optimum again."""
        return state

    def read(self, program: Program, state: Iterate) -> Iterate:
        """Return the optimum."""
        return state

    def done(self, state: Iterate) -> bool:
        """Return True."""
        return True
