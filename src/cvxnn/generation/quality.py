"""How good generated samples are: distances between samples, and what they cover."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

Floats = NDArray[np.float64]


class Quality(NamedTuple):
    """Figures of generated samples against real ones; see `sample_quality`."""

    frechet: float
    """Squared Frechet distance of Gaussians, 0 is best."""
    sliced: float
    """Sliced Wasserstein distance, 0 is best."""
    precision: float
    """Share of generated samples among real ones, up to 1."""
    recall: float
    """Share of real samples among generated ones, up to 1."""


def sample_quality(
    real: Any,
    generated: Any,
    *,
    features: Callable[[Any], Any] | None = None,
    n_neighbors: int = 3,
    n_directions: int = 500,
    random_state: Any = 0,
) -> Quality:
    """Return all figures of generated samples (m, ...) against real ones (n, ...).

    They are measured on `features(samples)`, (n, k), such as the pooled features of a network or
    the components of a PCA; None: on the samples themselves, flattened. Distances of finite samples
    are above zero even where the distributions are the same: show those of real samples against
    others beside them.

    Raises ValueError for samples of different widths, fewer than two, or that are not finite.

    >>> rng = np.random.default_rng(0)
    >>> real, near, far = (rng.standard_normal((200, 2)) + shift for shift in (0, 0, 3))
    >>> good, bad = sample_quality(real, near), sample_quality(real, far)
    >>> good.frechet < bad.frechet, good.sliced < bad.sliced, good.precision > bad.precision
    (True, True, True)
    """
    given = (real, generated) if features is None else (features(real), features(generated))
    X, Y = _tables(*given)
    precision, recall = precision_recall(X, Y, n_neighbors=n_neighbors)
    return Quality(
        frechet_distance(X, Y),
        sliced_wasserstein(X, Y, n_directions=n_directions, random_state=random_state),
        precision,
        recall,
    )


def frechet_distance(X: Any, Y: Any) -> float:
    """Return the squared Frechet distance of Gaussians fitted to samples (n, d) and (m, d).

    |mean difference|^2 + trace(C + D - 2 (C^{1/2} D C^{1/2})^{1/2}), C and D the covariances with
    n - 1 in the denominator: on features of an Inception network it is called FID [Heusel2017].

    >>> X = np.array([[0.0], [2.0]])
    >>> round(frechet_distance(X, 2 * X + 1), 6)
    6.0
    """
    X, Y = _tables(X, Y)
    apart = X.mean(axis=0) - Y.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (X, Y))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    found = apart @ apart + np.trace(first) + np.trace(second) - 2 * cross
    return max(float(found), 0.0)


def sliced_wasserstein(
    X: Any, Y: Any, *, n_directions: int = 500, order: int = 1, random_state: Any = 0
) -> float:
    """Return the mean Wasserstein distance of samples (n, d), (m, d) projected on directions.

    (mean over directions of W_p^p)^(1/p) with p = `order`, 1 or 2, over `n_directions` drawn from
    the sphere [Bonneel2015]; with one feature it is the Wasserstein distance itself.

    >>> sliced_wasserstein([[0.0], [1.0]], [[3.0], [4.0], [3.0], [4.0]])
    3.0
    """
    X, Y = _tables(X, Y)
    if order not in (1, 2):
        raise ValueError(f"order is {order!r}; expected 1 or 2")
    if n_directions < 1:
        raise ValueError(f"n_directions is {n_directions!r}; expected a positive integer")
    rng = np.random.default_rng(random_state)
    directions = rng.standard_normal((X.shape[1], int(n_directions)))
    directions /= np.linalg.norm(directions, axis=0)
    places, sizes = _steps(len(X), len(Y))
    total = 0.0
    for some in np.array_split(np.arange(directions.shape[1]), max(1, directions.shape[1] // 64)):
        if len(some) == 0:
            continue
        first, second = (np.sort(each @ directions[:, some], axis=0) for each in (X, Y))
        apart = np.abs(first[places[0]] - second[places[1]]) ** order
        total += float((sizes @ apart).sum())
    return float((total / directions.shape[1]) ** (1 / order))


def _steps(n: int, m: int) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Floats]:
    """Return which sorted sample of each is at every step of both quantile functions, and how wide.

    Breakpoints are multiples of 1 / n and 1 / m; as integers, of m and n in units of 1 / (n m).
    """
    ends = np.unique(np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n]))
    starts = np.concatenate([[0], ends[:-1]])
    return (starts // m, starts // n), (ends - starts) / (n * m)


def precision_recall(real: Any, generated: Any, *, n_neighbors: int = 3) -> tuple[float, float]:
    """Return the shares of generated samples near real ones, and of real near generated ones.

    Near is within a ball around some sample of the other set, up to its `n_neighbors`-th neighbour
    in its own set [Kynkaanniemi2019].

    >>> precision_recall([[0.0], [1.0], [2.0]], [[0.5], [9.0], [9.5]], n_neighbors=1)
    (0.333..., 1.0)
    """
    X, Y = _tables(real, generated)
    if not 1 <= n_neighbors < min(len(X), len(Y)):
        raise ValueError(
            f"n_neighbors is {n_neighbors!r}; expected a number from 1 to the samples less one, "
            f"{min(len(X), len(Y)) - 1}"
        )
    return _inside(X, Y, n_neighbors), _inside(Y, X, n_neighbors)


def _inside(base: Floats, others: Floats, k: int) -> float:
    """Return the share of `others` in a ball of `base`."""
    radii = NearestNeighbors(n_neighbors=k).fit(base).kneighbors()[0][:, -1]
    inside = np.zeros(len(others), dtype=np.bool_)
    squares = (base**2).sum(axis=1)
    for rows in np.array_split(np.arange(len(others)), -(-len(others) * len(base) // 4_000_000)):
        some = others[rows]
        apart = (some**2).sum(axis=1)[:, None] + squares - 2 * some @ base.T
        slack = 1e-12 * (squares + (some**2).sum(axis=1)[:, None])
        inside[rows] = (apart <= radii**2 + slack).any(axis=1)
    return float(inside.mean())


def nearest_samples(
    samples: Any, X: Any, *, n_neighbors: int = 1
) -> tuple[Floats, NDArray[np.int64]]:
    """Return distances and indices (m, k) of the nearest of `X` (n, ...) to samples (m, ...).

    What shows beside a generated picture whether it is a copy.

    >>> nearest_samples([[0.9]], [[0.0], [1.0]])[1].tolist()
    [[1]]
    """
    made, base = _tables(samples, X, least=1)
    found = NearestNeighbors(n_neighbors=n_neighbors).fit(base)
    distances, places = found.kneighbors(made)
    return distances, places


def _tables(X: Any, Y: Any, least: int = 2) -> tuple[Floats, Floats]:
    """Return samples as finite tables (n, d) and (m, d) in float64."""
    pair = []
    for each in (X, Y):
        given = np.asarray(each, dtype=np.float64)
        if given.ndim < 2 or len(given) < least or given.size == 0:
            raise ValueError(
                f"samples have shape {given.shape}; expected (n, d) or images (n, h, w), n at "
                f"least {least}"
            )
        if not np.isfinite(given).all():
            raise ValueError("samples hold NaN or infinite numbers; drop or impute them first")
        pair.append(given.reshape(len(given), -1))
    if pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(
            f"samples have {pair[0].shape[1]} and {pair[1].shape[1]} features; expected as many"
        )
    return pair[0], pair[1]
