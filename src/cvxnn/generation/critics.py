"""What critics of one hidden layer tell between two samples, and the moments they leave free."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn import memory
from cvxnn.everywhere.price import price
from cvxnn.support import as_data

Floats = NDArray[np.float64]

CRITICS = ("quadratic", "linear", "relu")

_STARTS = 512
"""Directions from which the best ReLU neuron is sought where it is not found exactly."""


class Discrepancy(NamedTuple):
    """The largest value of a critic's neuron; see `critic_distance`."""

    value: float
    direction: Floats
    """The neuron that attains it, of unit length, (d,)."""
    exact: bool
    """Whether no neuron attains more; else it is the best that was found."""


def critic_distance(
    X: Any, G: Any, critic: str = "quadratic", *, random_state: Any = None
) -> Discrepancy:
    """Return how far samples G are from samples X, as the best neuron of a critic sees it.

    max over |u| <= 1 of |mean of s(x.u) - mean of s(g.u)|, s(t) = t, t^2 or max(0, t)

    `X` (n, d), `G` (m, d). The maximum over critics sum_j a_j s(x.u_j) with weight decay is finite
    exactly where this is at most the strength lam of that decay: generators are trained subject to
    it [SahinerGAN2022]. It is the distance of the means for "linear", the spectral norm of the
    difference of the second moments for "quadratic", which are not centred here, and for "relu" a
    sum over the arrangement of both samples together: exact up to two features, else the best
    neuron that ascent finds, a lower bound.

    Raises ValueError for samples that are not finite tables of one width, and other critics.

    >>> X, G = np.array([[2.0, 0.0], [-2.0, 0.0]]), np.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> [round(critic_distance(X, G, name).value, 6) for name in CRITICS]
    [3.0, 0.0, 0.5]
    """
    if critic not in CRITICS:
        raise ValueError(f"critic is {critic!r}; expected one of {', '.join(CRITICS)}")
    pair = [np.asarray(x) for x in (X, G)]
    if pair[0].ndim != 2 or pair[1].ndim != 2 or pair[0].shape[1] != pair[1].shape[1]:
        raise ValueError(
            f"X and G are {pair[0].shape} and {pair[1].shape}; expected (n, d), (m, d)"
        )
    real, made = (as_data(x, x.shape[1]) for x in pair)
    if critic == "linear":
        apart = real.mean(axis=0) - made.mean(axis=0)
        size = float(np.linalg.norm(apart))
        return Discrepancy(size, apart / size if size > 0 else _first(len(apart)), True)
    if critic == "quadratic":
        values, vectors = np.linalg.eigh(real.T @ real / len(real) - made.T @ made / len(made))
        place = int(np.abs(values).argmax())
        return Discrepancy(float(abs(values[place])), vectors[:, place], True)
    rows = np.concatenate([real, made])
    signs = np.repeat([1 / len(real), -1 / len(made)], [len(real), len(made)])
    if rows.shape[1] <= 2:
        return _swept(rows, signs)
    found = price(rows, signs[:, None], np.random.default_rng(random_state), starts=_STARTS)
    best = np.asarray(found.directions[0])
    return Discrepancy(float(abs(signs @ np.maximum(rows @ best, 0))), best, False)


def _first(d: int) -> Floats:
    return np.asarray(np.eye(1, d)[0])


def _swept(rows: Floats, signs: Floats) -> Discrepancy:
    """Return the best neuron of samples (n, 1) or (n, 2): of every arc, its ends and its middle.

    On an arc of directions between two that are orthogonal to a sample the sum is c.u, with c the
    sum over the active samples; its extreme is c itself where that lies on the arc, else an end.
    """
    if rows.shape[1] == 1:
        ends = np.array([[1.0], [-1.0]])
    else:
        angles = np.arctan2(rows[:, 1], rows[:, 0])
        walls = np.unique(
            np.mod(np.concatenate([angles + np.pi / 2, angles - np.pi / 2]), 2 * np.pi)
        )
        after = np.roll(walls, -1)
        after[-1] += 2 * np.pi
        middle = (walls + after) / 2
        inside = np.column_stack([np.cos(middle), np.sin(middle)])
        sums = ((rows @ inside.T > 0) * signs[:, None]).T @ rows
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-300)
        ends = np.concatenate([np.column_stack([np.cos(walls), np.sin(walls)]), sums, -sums])
        ends = ends[np.abs(np.linalg.norm(ends, axis=1) - 1) < 1e-9]
    values = np.abs(signs @ np.maximum(rows @ ends.T, 0))
    place = int(values.argmax())
    return Discrepancy(float(values[place]), ends[place], True)


class Moments(NamedTuple):
    """What a generator with a quadratic critic must reproduce of samples (n, d)."""

    mean: Floats
    """(d,), zero where samples are not centred."""
    eigenvalues: Floats
    """Of the second moments about the mean, falling, (r,) with r = min(n, d)."""
    components: Floats
    """Their eigenvectors, as rows (r, d)."""

    def above(self, lam: float) -> int:
        """Return how many eigenvalues are above `lam`, by more than rounding."""
        least = max(lam, 0.0) + 1e-12 * float(self.eigenvalues[0])
        return int((self.eigenvalues > least).sum())

    def excess(self, lam: float) -> Floats:
        """Return the eigenvalues above `lam`, less `lam`, (k,)."""
        return np.asarray(self.eigenvalues[: self.above(lam)] - lam)


def moments_of(X: Floats, center: bool = True) -> Moments:
    """Return the spectrum of samples (n, d), about their mean or about zero.

    >>> moments_of(np.array([[3.0, 0.0], [1.0, 0.0]])).eigenvalues.tolist()
    [1.0, 0.0]
    """
    n, d = X.shape
    held = 8 * (n * d + 3 * min(n, d) * d)
    memory.require(held, ways_out="pass fewer samples, or smaller images")
    mean = X.mean(axis=0) if center else np.zeros(d)
    apart = X - mean
    if n >= d:
        values, vectors = np.linalg.eigh(apart.T @ apart / n)
        return Moments(
            mean, np.maximum(values[::-1], 0.0), np.ascontiguousarray(vectors[:, ::-1].T)
        )
    _, sizes, right = np.linalg.svd(apart, full_matrices=False)
    return Moments(mean, sizes**2 / n, right)


def least_bound(X: Floats, moments: Moments, lam: float) -> float:
    """Return a proved lower bound on the mean of |G|^2 where the quadratic critic sees at most lam.

    The dual is to maximise <C - lam I, Q> over 0 <= Q <= I: any such Q gives a bound, and the
    projection on the components above lam the best. <C, Q> is taken from the samples themselves.
    """
    kept = moments.components[: moments.above(lam)]
    if len(kept) == 0:
        return 0.0
    seen = ((X - moments.mean) @ kept.T) ** 2
    longest = float(np.linalg.eigvalsh(kept @ kept.T)[-1])  # rounding may lift Q above I
    value = float(seen.sum()) / len(X) - lam * float((kept**2).sum())
    return value / longest * (1 - 1e-12)


def least_weights(latents: Floats, moments: Moments, lam: float) -> Floats:
    """Return the linear generator of least |W|_F within `lam` of the second moments, (h, d).

    W = V_Z diag(sqrt((s_i - lam)_+ / t_i)) V_X', s and t the eigenvalues of the second moments of
    the samples and of the latents (m, h), paired from the largest down: jointly optimal over what
    is generated and over the weights, by von Neumann's and Weyl's inequalities.

    Raises ValueError where the latents have fewer directions than there are eigenvalues above lam.
    """
    _, sizes, right = np.linalg.svd(latents, full_matrices=False)
    spread = sizes**2 / len(latents)
    excess = moments.excess(lam)
    rank = int((spread > 1e-12 * spread[0]).sum())
    if rank < len(excess):
        raise ValueError(
            f"the latents have rank {rank} and {len(excess)} eigenvalues of the samples are above "
            f"lam = {lam:.4g}; pass lam of at least {moments.eigenvalues[rank]:.4g}, or more "
            "latents"
        )
    k = len(excess)
    scales = np.sqrt(excess / spread[:k])
    return np.asarray((right[:k].T * scales) @ moments.components[:k])


def least_mean(mean: Floats, lam: float) -> Floats:
    """Return the shortest g with |mean - g| <= lam, what a linear critic asks for: (d,).

    >>> least_mean(np.array([3.0, 4.0]), 1.0).round(6).tolist()
    [2.4, 3.2]
    """
    size = float(np.linalg.norm(mean))
    return np.asarray(mean * max(0.0, 1 - lam / size)) if size > 0 else np.zeros_like(mean)
