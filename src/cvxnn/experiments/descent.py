"""The non-convex rival: stochastic gradient descent on a two-layer ReLU network, in NumPy."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import ReLUNetwork

Floats = NDArray[np.float64]

POINTS = 150
"""About how many points of a curve are kept, evenly on a logarithmic scale of steps."""


class Weights(NamedTuple):
    """Both layers of one network per start."""

    inward: Floats
    """(starts, m, d)."""
    outward: Floats
    """(starts, m)."""


Watch = Callable[[Weights], Floats]
"""Turns the weights of all starts into one number each, (starts,)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Descent:
    """Where some starts of gradient descent went."""

    steps: NDArray[np.int64]
    """(k,), the steps at which the curves were recorded; the first is 0."""
    seconds: Floats
    """(k,), of wall time until then, for all starts together, less what recording took."""
    objective: Floats
    """(starts, k), mean loss + alpha/2 * (sum of squared weights); not finite once diverged."""
    watched: Floats
    """(starts, k), what `watch` returned; (starts, 0) without one."""
    weights: Weights

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """(starts,), whether the last objective is above the first, or not finite."""
        return ~(self.objective[:, -1] <= self.objective[:, 0])

    @property
    def best(self) -> int:
        """The start with the least objective at its end."""
        return int(np.argmin(np.where(self.diverged, np.inf, self.objective[:, -1])))

    def network(self, index: int) -> ReLUNetwork:
        """Return the network that a start ended with."""
        inward, outward = self.weights.inward[index], self.weights.outward[index]
        return ReLUNetwork(
            weights_in=inward,
            weights_out=outward[:, None],
            intercept=np.zeros(1),
            skip=np.zeros((inward.shape[1], 1)),
        )


def descend(
    X: Floats,
    y: Floats,
    alpha: float,
    *,
    width: int,
    starts: int,
    steps: int,
    step_size: float,
    rng: np.random.Generator,
    spread: float = 1.0,
    batch: int | None = None,
    cool: float = 1.0,
    places: int = 1,
    watch: Watch | None = None,
) -> Descent:
    """Minimise mean of (f(x_i) - y_i)^2 / 2 + alpha/2 * (|W|^2 + |a|^2), f(x) = max(0, x'W') a.

    All starts run side by side on X (n, d) and y (n,), from normal weights of deviation `spread`;
    those that diverge are kept. Every step draws a `batch` of samples without replacement; None
    takes all, which is plain gradient descent. The step size falls geometrically, in the end to
    `cool` times what it was: batches keep descent with a fixed one away from the optimum. With
    several `places` the rows of X (n * places, d) are the patches of the samples, one sample after
    the other, and f is a convolutional network: the sum over a sample's patches.

    >>> rng = np.random.default_rng(0)
    >>> X, y = np.array([[1.0], [-1.0]]), np.array([1.0, 1.0])
    >>> run = descend(X, y, 0.1, width=4, starts=3, steps=500, step_size=0.1, rng=rng)
    >>> run.objective.shape[0], run.diverged.tolist()
    (3, [False, False, False])
    """
    due = np.unique(np.append(0, np.geomspace(1, steps, POINTS).astype(np.int64)))
    objectives: list[Floats] = []
    watched: list[Floats] = []
    seconds: list[float] = []
    first = start(rng, starts, width, X.shape[1], spread)
    sizes = step_size * cool ** (np.arange(steps) / steps)
    began = time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):  # divergence is a result, not an error
        for step, weights in enumerate(_walk(X, y, alpha, first, sizes, batch, places, rng)):
            if step == due[len(objectives)]:
                stopped = time.perf_counter()
                seconds.append(stopped - began)
                objectives.append(objective(X, y, alpha, weights, places))
                watched += [] if watch is None else [watch(weights)]
                began += time.perf_counter() - stopped
    return Descent(
        steps=due,
        seconds=np.array(seconds),
        objective=np.stack(objectives, axis=1),
        watched=np.stack(watched, axis=1) if watched else np.empty((starts, 0)),
        weights=weights,
    )


def start(rng: np.random.Generator, starts: int, width: int, d: int, spread: float) -> Weights:
    """Return normal weights of deviation `spread` for both layers."""
    inward = rng.standard_normal((starts, width, d))
    return Weights(spread * inward, spread * rng.standard_normal((starts, width)))


def outputs(X: Floats, weights: Weights, places: int = 1) -> Floats:
    """Return f(x_i) of every start, (starts, n)."""
    hidden = np.maximum(weights.inward @ X.T, 0)
    return summed((weights.outward[:, None, :] @ hidden)[:, 0], places)


def summed(values: Floats, places: int) -> Floats:
    """Return the sums over each sample's places, (starts, n * places) to (starts, n)."""
    return np.asarray(values.reshape(len(values), -1, places).sum(axis=2))


def objective(X: Floats, y: Floats, alpha: float, weights: Weights, places: int = 1) -> Floats:
    """Return mean of (f - y)^2 / 2 + alpha/2 * (|W|^2 + |a|^2) of every start, (starts,)."""
    squares = (weights.inward**2).sum(axis=(1, 2)) + (weights.outward**2).sum(axis=1)
    loss = ((outputs(X, weights, places) - y) ** 2).mean(axis=1) / 2
    return np.asarray(loss + alpha / 2 * squares)


def curvature(X: Floats, weights: Weights, alpha: float) -> Floats:
    """Return the largest eigenvalue of J J' / n + alpha per start, J the Jacobian of f (n, md + m).

    It is the curvature of the objective but for the part that the residual multiplies; descent
    with steps beyond 2 / curvature is unstable [Cohen2021].
    """
    values = weights.inward @ X.T
    open_, hidden = (values > 0).astype(np.float64), np.maximum(values, 0)
    pulled = open_ * weights.outward[:, :, None]
    kernel = (pulled.swapaxes(1, 2) @ pulled) * (X @ X.T) + hidden.swapaxes(1, 2) @ hidden
    return np.asarray(np.linalg.eigvalsh(kernel)[:, -1] / len(X) + alpha)


def _walk(
    X: Floats,
    y: Floats,
    alpha: float,
    weights: Weights,
    sizes: Floats,
    batch: int | None,
    places: int,
    rng: np.random.Generator,
) -> Iterator[Weights]:
    yield weights
    patches = X.reshape(len(y), places, -1)
    for size in sizes:
        rows = slice(None) if batch is None else rng.permutation(len(y))[:batch]
        some = patches[rows].reshape(-1, X.shape[1])
        weights = _step(some, y[rows], alpha, weights, size, places)
        yield weights


def _step(
    X: Floats, y: Floats, alpha: float, weights: Weights, size: float, places: int
) -> Weights:
    inward, outward = weights
    values = inward @ X.T
    hidden = np.maximum(values, 0)
    residual = (summed((outward[:, None, :] @ hidden)[:, 0], places) - y) / len(y)
    residual = np.repeat(residual, places, axis=1)
    pull = (values > 0) * (outward[:, :, None] * residual[:, None, :])
    slope_in = pull @ X + alpha * inward
    slope_out = (hidden @ residual[:, :, None])[:, :, 0] + alpha * outward
    return Weights(inward - size * slope_in, outward - size * slope_out)
