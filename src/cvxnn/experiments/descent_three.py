"""Stochastic gradient descent on convolutional networks of three layers, in NumPy."""

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.experiments.descent import Floats

POINTS = 80
"""About how many points of a curve are kept, evenly on a logarithmic scale of steps."""


class Layers(NamedTuple):
    """The weights of one network per start."""

    filters: Floats
    """(starts, m, h)."""
    places: Floats
    """(starts, m, K)."""
    outward: Floats
    """(starts, m)."""


class Open(NamedTuple):
    """Which units gates leave open on some samples, the same for all starts."""

    first: NDArray[np.bool_]
    """(m, n, K)."""
    second: NDArray[np.bool_]
    """(m, n)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Curves:
    """Where some starts of descent went."""

    seconds: Floats
    """(k,), of wall time, for all starts together, without the measuring."""
    objective: Floats
    """(starts, k)."""
    accuracy: Floats
    """(starts, k), on signals not seen."""

    @property
    def best(self) -> int:
        """The start with the least objective at its end; those that diverged do not count."""
        ends = self.objective[:, -1]
        return int(np.argmin(np.where(np.isfinite(ends), ends, np.inf)))


def descend(
    X: Floats,
    y: Floats,
    alpha: float,
    *,
    width: int,
    starts: int,
    steps: int,
    step_size: float,
    cool: float,
    batch: int,
    test: tuple[Floats, Floats],
    rng: np.random.Generator,
    gates: Floats | None = None,
) -> Curves:
    """Minimise mean of (f - y)^2 / 2 + alpha / 3 * sum_j (|u_j|^3 + |w_j|^3 + |a_j|^3).

    f(x) = sum_j (sum_k (x_k'u_j)_+ w_jk)_+ a_j on patches X (n, K, h). With `gates` (width, K,
    h + 1), filters and the weights of places, their units decide which are open. Every step draws
    a batch without replacement; the step size falls geometrically to `cool` times what it was.
    """
    first = _start(X.shape, width, starts, rng)
    open_ = None if gates is None else opened(X, gates)
    seen = None if gates is None else opened(test[0], gates)
    due = np.unique(np.append(0, np.geomspace(1, steps, POINTS).astype(np.int64)))
    layers, spent = first, 0.0
    seconds: list[float] = []
    objectives: list[Floats] = []
    accuracies: list[Floats] = []
    for step in range(steps + 1):
        if step == due[len(objectives)]:
            seconds.append(spent)
            objectives.append(objective(X, y, alpha, layers, open_))
            right = (outputs(test[0], layers, seen) > 0) == (test[1] > 0)
            accuracies.append(right.mean(axis=1))
            if step == steps:
                break
        began = time.perf_counter()
        rows = rng.permutation(len(y))[:batch]
        some = None if open_ is None else Open(open_.first[:, rows], open_.second[:, rows])
        slopes = gradient(X[rows], y[rows], alpha, layers, some)
        size = step_size * cool ** (step / steps)
        layers = Layers(*(x - size * g for x, g in zip(layers, slopes, strict=True)))
        spent += time.perf_counter() - began
    return Curves(
        seconds=np.array(seconds),
        objective=np.stack(objectives, axis=1),
        accuracy=np.stack(accuracies, axis=1),
    )


def _start(shape: tuple[int, ...], width: int, starts: int, rng: np.random.Generator) -> Layers:
    """Return normal weights of about equal norms, such that outputs are of the size of one."""
    _, places, h = shape
    size = width ** (-1 / 6)
    return Layers(
        size * h**-0.5 * rng.standard_normal((starts, width, h)),
        size * places**-0.5 * rng.standard_normal((starts, width, places)),
        size * rng.standard_normal((starts, width)),
    )


def opened(X: Floats, gates: Floats) -> Open:
    """Return the units of networks with the gates' weights that are open on patches (n, K, h)."""
    products = (X[None] * gates[:, None, :, :-1]).sum(axis=3)
    second = (np.maximum(products, 0) * gates[:, None, :, -1]).sum(axis=2)
    return Open(products >= 0, second >= 0)


def _forward(X: Floats, layers: Layers, open_: Open | None) -> tuple[Floats, Floats, Floats]:
    """Return the open parts of first products (starts, m, n, K), D2 and the second layer."""
    (starts, m, h), (n, places, _) = layers.filters.shape, X.shape
    flat = layers.filters.reshape(starts * m, h) @ X.reshape(n * places, h).T
    products = flat.reshape(starts, m, n, places)
    first = np.maximum(products, 0) if open_ is None else products * open_.first
    total = (first @ layers.places[:, :, :, None])[:, :, :, 0]
    second = (total > 0) if open_ is None else np.broadcast_to(open_.second, total.shape)
    return first, second.astype(np.float64), total * second


def outputs(X: Floats, layers: Layers, open_: Open | None = None) -> Floats:
    """Return f of every start, (starts, n)."""
    second = _forward(X, layers, open_)[2]
    return np.asarray((layers.outward[:, :, None] * second).sum(axis=1))


def objective(
    X: Floats, y: Floats, alpha: float, layers: Layers, open_: Open | None = None
) -> Floats:
    """Return mean of (f - y)^2 / 2 + alpha / 3 * cubes of every start, (starts,)."""
    norms = np.linalg.norm(layers.filters, axis=2), np.linalg.norm(layers.places, axis=2)
    cubes = sum((size**3).sum(axis=1) for size in (*norms, np.abs(layers.outward)))
    loss = ((outputs(X, layers, open_) - y) ** 2).mean(axis=1) / 2
    return np.asarray(loss + alpha / 3 * cubes)


def gradient(
    X: Floats, y: Floats, alpha: float, layers: Layers, open_: Open | None = None
) -> Layers:
    """Return the gradient of `objective` in the weights of every start."""
    u, w, a = layers
    (starts, m, h), (n, places, _) = u.shape, X.shape
    first, on, second = _forward(X, layers, open_)
    residual = ((a[:, :, None] * second).sum(axis=1) - y) / n
    pull = residual[:, None, :] * a[:, :, None] * on
    slope_w = (pull[:, :, None, :] @ first)[:, :, 0]
    first_open = first > 0 if open_ is None else open_.first
    back = (pull[:, :, :, None] * w[:, :, None, :]) * first_open
    slope_u = (back.reshape(starts * m, n * places) @ X.reshape(n * places, h)).reshape(u.shape)
    slope_a = (second @ residual[:, :, None])[:, :, 0]
    norms = np.linalg.norm(u, axis=2, keepdims=True), np.linalg.norm(w, axis=2, keepdims=True)
    return Layers(
        slope_u + alpha * norms[0] * u, slope_w + alpha * norms[1] * w, slope_a + alpha * abs(a) * a
    )
