"""Networks that see only the leading directions of the data, and what all networks cannot beat.

X V V' is the data in their first k right singular vectors V. A neuron V z on the data is the neuron
z on X V, of the same length: so the best network on X V, lifted, is a network on the data
themselves, and the best of all is no worse. How much better it may be is bounded here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import Architecture, Network, objective
from cvxnn.arrays import Array, double, to_numpy
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.functions import SampleLoss

Floats = NDArray[np.float64]

_RANK = 1e-10
"""Singular values below this share of the largest are rounding."""
_SAFETY = 1e-12
"""Relative slack of a bound against rounding."""

_SLOPES: dict[str, Callable[[Any, int], float]] = {
    "logistic": lambda loss, outputs: math.sqrt(outputs),
    "hinge": lambda loss, outputs: math.sqrt(outputs),
    "huber": lambda loss, outputs: loss.delta * math.sqrt(outputs),
    "quantile": lambda loss, outputs: max(loss.level, 1 - loss.level) * math.sqrt(outputs),
    "cross_entropy": lambda loss, outputs: math.sqrt(2.0),
}
"""How fast a sample's loss changes with its outputs, at most: |gradient|."""
_HALF_SQUARES = ("squared", "squared_hinge")
"""Losses e^2 / 2 in a distance e that changes by no more than the outputs do."""


def leading_directions(X: Array, weights: Floats, rank: Any) -> Floats:
    """Return the first right singular vectors V (d, rank) of samples (n, d), a row weighing w_i.

    Columns are not centred: centre them first, or the first direction is mostly their mean.

    Raises ValueError for a rank that is no positive integer or is above that of the data.

    >>> leading_directions(np.diag([3.0, 1.0]), np.ones(2), 1).round(6).tolist()
    [[1.0], [0.0]]
    """
    if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or rank < 1:
        raise ValueError(f"rank is {rank!r}; expected a positive integer, or None for all of X")
    rows = to_numpy(double(X)) * np.sqrt(weights / weights.sum())[:, None]
    _, sizes, right = np.linalg.svd(rows, full_matrices=False)
    most = int((sizes > _RANK * sizes.max(initial=0.0)).sum())
    if rank > most:
        raise ValueError(f"rank is {rank} but X has rank {most}; pass at most that, or None")
    vectors = right[:rank].T
    largest = np.abs(vectors).argmax(axis=0)  # of either sign each is as good
    return np.asarray(vectors * np.sign(vectors[largest, np.arange(rank)]))


def seen_of(X: Array, directions: Floats) -> Array:
    """Return X V, (n, k), in the dtype of X."""
    return np.asarray(to_numpy(X) @ directions.astype(X.dtype))


def lifted(architecture: Architecture, network: Network, directions: Floats) -> Network:
    """Return the network on the data of one on X V: every weight z of columns becomes V z."""
    arrays = {}
    for name, array in network.parameters().items():
        for place, axis in enumerate(architecture.axes[name]):
            if axis in ("features", "width", "reach", "inputs"):
                array = _outward(to_numpy(array), place, directions)
        arrays[name] = array
    return architecture.network(arrays)


def _outward(array: Floats, place: int, directions: Floats) -> Floats:
    """Return an array with the axis of k columns, or of k and a bias, turned to d of them."""
    last, k = np.moveaxis(array, place, -1), directions.shape[1]
    turned = np.concatenate([last[..., :k] @ directions.T, last[..., k:]], axis=-1)
    return np.moveaxis(turned, -1, place)


def inward(generators: Array, directions: Floats) -> Floats:
    """Return generators (p, ..., d + k) of gates on X as those on X V.

    The last k entries, a bias and weights between hidden layers, are kept.
    """
    given, d = to_numpy(generators), len(directions)
    return np.concatenate([given[..., :d] @ directions, given[..., d:]], axis=-1)


def outward(generators: Array, directions: Floats) -> Floats:
    """Return generators (p, ..., k + l) of gates on X V as those on X; the last l are kept."""
    return _outward(to_numpy(generators), -1, directions)


def orthonormal(directions: Floats) -> bool:
    """Tell whether V'V is the identity up to rounding, as a bound on the whole asks."""
    return bool(np.abs(directions.T @ directions - np.eye(directions.shape[1])).max() <= 1e-9)


@dataclass(frozen=True, eq=False)
class Whole:
    """What is known of networks that see all of the data.

    The best of these, of distance e and size R = sum |u| |a|, becomes a network on X V V' that is
    no larger and whose outputs differ by s R at most, s the largest singular value of X - X V V'
    with rows in units of their weights. So with its objective p and the best p_k on X V

    p_k <= p (1 + s sqrt(p / 2) / alpha)^2    for losses e^2 / 2 in a distance e,
    p_k <= p (1 + rho s / alpha)              for losses with gradients of at most rho,

    since e <= sqrt(2 p) and R <= p / alpha, and either is solved for p.
    """

    left_out: float
    """s."""
    slope: float | None
    """rho; None for half squares."""
    alpha: float

    def lower(self, bound: float) -> float:
        """Return a lower bound on the objective of them all from one on networks on X V.

        >>> Whole(left_out=0.4, slope=None, alpha=5.0).lower(5487.5) <= 1278.0351
        True
        """
        bound = max(bound, 0.0)
        if self.slope is not None:
            return bound / (1 + self.slope * self.left_out / self.alpha) * (1 - _SAFETY)
        reach = self.left_out / (math.sqrt(2.0) * self.alpha)
        root = 2 * math.sqrt(bound) / (1 + math.sqrt(1 + 4 * reach * math.sqrt(bound)))
        return root**2 * (1 - _SAFETY)


def whole_of(
    architecture: Architecture,
    claim: Certificate,
    X: Array,
    weights: Floats,
    directions: Floats,
    loss: SampleLoss,
    *,
    alpha: float,
    outputs: int,
    skip: bool,
) -> Whole | None:
    """Return what bounds the networks that see all of X (n, d); None where nothing is proved.

    It is proved for neurons that follow x'u no faster than it moves, on the same gates or on all:
    cones of given gates are others on X V. An unpenalised skip connection has no size to go by.
    """
    free = claim.scope is Scope.ALL_NETWORKS or claim.exactness is Exactness.GATED
    if not (architecture.steady and free) or skip:
        return None
    known = loss.name in _SLOPES
    if not known and loss.name not in _HALF_SQUARES:
        return None
    rows = to_numpy(double(X)) * np.sqrt(weights / weights.sum())[:, None]
    rest = rows - (rows @ directions) @ directions.T
    slope = _SLOPES[loss.name](loss, outputs) if known else None
    return Whole(float(np.linalg.norm(rest, 2)), slope, alpha)


def on_all_columns(
    problem: Any,
    network: Network,
    claim: Certificate,
    X: Array,
    weights: Floats,
    directions: Floats,
) -> tuple[Network, Certificate]:
    """Return a network trained on X V as one on samples X (n, d), and its claim about them."""
    network = lifted(problem.architecture, network, directions)
    loss = problem.program.loss
    upper = objective(network, X, loss, problem.alpha)
    claim = replace(claim, upper=upper, directions=directions.shape[1])
    whole = whole_of(
        problem.architecture,
        claim,
        X,
        weights,
        directions,
        loss.loss,
        alpha=problem.alpha,
        outputs=len(network.intercept),
        skip=problem.free.skip,
    )
    return network, claim if whole is None else replace(claim, whole=whole.lower(claim.lower))
