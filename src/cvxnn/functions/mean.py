"""The weighted mean of a loss over samples: the loss of a program."""

import math
from dataclasses import dataclass

import numpy as np

from cvxnn.arrays import Array, like, namespace, to_numpy
from cvxnn.functions.base import Root, SampleLoss


@dataclass(frozen=True, eq=False)
class Mean:
    """The sum over samples i of w_i loss(F_i, y_i), a function of the predictions F (n, c).

    `weights` (n, 1) are positive and sum to one; `mean_loss` makes them so.

    >>> import numpy as np
    >>> from cvxnn.functions import Squared
    >>> mean_loss(Squared(), np.array([[1.0], [3.0]])).value(np.zeros((2, 1)))
    2.5
    """

    loss: SampleLoss
    target: Array
    weights: Array

    @property
    def smoothness(self) -> float:
        """The largest weight times the smoothness of one sample's loss."""
        return float(namespace(self.weights).max(self.weights)) * self.loss.smoothness

    def value(self, x: Array) -> float:
        """Return the sum of w_i loss(x_i, y_i)."""
        return self._mean(self.loss.value(x, self.target))

    def gradient(self, x: Array) -> Array:
        """Return w_i times the gradient of the loss in row i, (n, c)."""
        return self.weights * self.loss.gradient(x, self.target)

    def curvature(self, x: Array) -> Array:
        """Return w_i times the second derivative in every entry of row i, (n, c)."""
        return self.weights * self.loss.curvature(x, self.target)

    def root(self, x: Array) -> Root:
        """Return B with B B' the Hessian in every row, w_i in it."""
        scale, pull = self.loss.root(x, self.target)
        return Root(namespace(scale).sqrt(self.weights) * scale, pull)

    def prox(self, x: Array, step: float) -> Array:
        """Return the loss's prox in row i with step w_i step, (n, c)."""
        return self.loss.prox(x, self.target, step * self.weights)

    def conjugate(self, v: Array) -> float:
        """Return the sum of w_i loss*(v_i / w_i)."""
        return self._mean(self.loss.conjugate(v / self.weights, self.target))

    def _mean(self, losses: Array) -> float:
        return float(namespace(losses).sum(self.weights[:, 0] * losses))


def mean_loss(loss: SampleLoss, target: Array, sample_weight: Array | None = None) -> Mean:
    """Return the mean of `loss` against `target` (n, c); `sample_weight` (n,) up to a factor.

    A weight of k counts as k copies of the sample. Raises ValueError where the shapes do not fit
    or a weight is not positive and finite.

    >>> import numpy as np
    >>> from cvxnn.functions import Squared
    >>> mean_loss(Squared(), np.array([[1.0], [3.0]]), np.array([3.0, 1.0])).weights[:, 0]
    array([0.75, 0.25])
    """
    if target.ndim != 2 or target.shape[0] == 0:
        raise ValueError(
            f"target has shape {tuple(target.shape)} but must be (n, c) with n > 0; pass one row "
            "per sample and one column per output"
        )
    rows = target.shape[0]
    given = np.ones(rows) if sample_weight is None else to_numpy(sample_weight).astype(np.float64)
    if given.shape != (rows,):
        raise ValueError(
            f"sample_weight has shape {given.shape} but target has {rows} rows; pass one weight "
            "per sample"
        )
    good = (given > 0) & (given < math.inf)
    if not np.all(good):
        raise ValueError(
            f"sample_weight holds {given[~good][0]} but must be positive and finite; drop the "
            "samples that should not count"
        )
    share = given / np.max(given)
    weights = like((share / np.sum(share))[:, None], target)
    if not float(namespace(weights).min(weights)) > 0:
        raise ValueError(
            f"sample_weight ranges from {np.min(given)} to {np.max(given)} but must stay positive "
            f"in {target.dtype} when divided by its sum; drop the samples of least weight"
        )
    return Mean(loss, target, weights)
