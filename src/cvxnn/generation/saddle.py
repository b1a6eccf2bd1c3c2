"""Linear generators against critics of ReLU neurons: local saddle points, by convex programs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxnn.generation.critics import Discrepancy, critic_distance
from cvxnn.generation.generators import whitened
from cvxnn.solvers.standard import conic

Floats = NDArray[np.float64]

MOST = 2000
"""Weights of a generator that programs are written out for."""
_ROUNDS = 300
_SLACK = 100.0
"""What a unit of what critics see too much costs, in units of the shortest generator's price."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Saddle:
    """A generator and a critic of which neither improves alone, near by.

    A critic's neuron u asks that mean of (x.u)_+ and of (g.u)_+ differ by at most lam. That a
    generator makes too much of it is convex in its weights; too little is the opposite, and is made
    convex by holding the samples that u is active on. So `lower` bounds those generators alone on
    which the critic's neurons stay active where they are, or gain: it is local, and nothing is said
    of generators that are far away.
    """

    weights: Floats
    """Of a one and the latents, (1 + r, d)."""
    upper: float
    """The mean of |G|^2 over the latents of training."""
    lower: float
    """No generator near by that this critic lets pass is below it."""
    seen: float
    """The largest difference that a neuron sees; at most lam, but for rounding."""
    lam: float
    exact: bool
    """Whether every neuron was looked at; else the best were sought."""
    directions: Floats
    """The critic's neurons, (k, d)."""
    amplitudes: Floats
    """Their outward weights, (k,)."""

    @property
    def gap(self) -> float:
        """What either side could still gain near by: upper - lower."""
        return self.upper - self.lower

    @property
    def relative_gap(self) -> float:
        """The gap as a share of the upper value; zero for the generator of zeros."""
        return self.gap / self.upper if self.upper > 0 else 0.0


@dataclass
class _Row:
    """A neuron, which side of it was crossed, and the samples that it is held active on."""

    direction: Floats
    sign: float
    """1 where too much was made, -1 where too little."""
    real: float
    """The mean of (x.u)_+."""
    active: Floats
    """(m,), 0 or 1."""


def saddle(
    X: Floats,
    latents: Floats,
    lam: float,
    *,
    tol: float = 1e-6,
    max_rounds: int = _ROUNDS,
    random_state: int | None = None,
) -> Saddle:
    """Return a linear generator of least mean |G|^2 that ReLU critics tell from X by at most lam.

    `X` (n, d) are samples and `latents` (m, r) what G = (1, z) W is made of. Round by round the
    neuron that sees most is found, exactly up to two columns, and the quadratic program of all
    neurons so far is solved, each held active where it is on the last generator: the convex-concave
    procedure, with cuts. It ends where no neuron sees more than lam and the generator stays.

    Raises ValueError where that does not happen in `max_rounds`, and for too many weights.

    >>> rng = np.random.default_rng(0)
    >>> X, Z = rng.standard_normal((40, 1)) + 2.0, rng.standard_normal((50, 1))
    >>> found = saddle(X, Z, 0.1)
    >>> bool(found.seen <= 0.1 + 1e-6), found.exact, bool(0 <= found.relative_gap < 1e-4)
    (True, True, True)
    """
    size = X.shape[1] * (1 + latents.shape[1])
    if size > MOST:
        raise ValueError(
            f"a linear generator has {size} weights here and ReLU critics are for at most {MOST}; "
            "pass fewer columns or latents, or critic='quadratic'"
        )
    ones = np.ones((len(latents), 1))
    flat, into = whitened(latents - latents.mean(axis=0))
    features = np.concatenate([ones, flat], axis=1)  # their second moments are exactly I
    start = _start(X, features.shape[1] - 1)
    rows: list[_Row] = []
    lower, prices, last = 0.0, np.zeros(0), np.inf
    worst = critic_distance(X, np.zeros((1, X.shape[1])), "relu", random_state=random_state)
    scale, weights = worst.value, 0.0 * start  # from nothing: the first critic sees all there is
    for _ in range(max_rounds):
        if worst.value > lam + 0.1 * tol * scale:
            rows.append(_row(X, features, weights, start, worst.direction))
        for row in rows:
            active = features @ weights @ row.direction > 0
            if row.sign < 0 and active.any():  # cuts of what is too much hold everywhere
                row.active = active.astype(float)
        weights, prices, lower = _program(features, X.shape[1], rows, lam, _SLACK * scale)
        worst = _worst(X, features, weights, random_state)
        value = float((weights**2).sum())
        stays = abs(value - last) <= tol * value
        last = value
        if stays and worst.value <= lam + tol * scale:
            break
    else:
        raise ValueError(
            f"after {max_rounds} rounds ReLU critics see a difference of {worst.value:.4g} and lam "
            f"is {lam:.4g}: no linear generator of {latents.shape[1]} latents was found that they "
            "let pass; pass a larger lam, or more latents"
        )
    kept = prices > 1e-9 * prices.max(initial=0.0)
    outward = np.zeros((into.shape[0], X.shape[1])) + into @ weights[1:]
    return Saddle(
        weights=np.concatenate([weights[:1] - latents.mean(axis=0) @ outward, outward]),
        upper=float((weights**2).sum()),
        lower=lower,
        seen=worst.value,
        lam=lam,
        exact=worst.exact,
        directions=np.array([row.direction for row in rows]).reshape(-1, X.shape[1])[kept],
        amplitudes=np.array([-row.sign for row in rows])[kept] * prices[kept],
    )


def _start(X: Floats, count: int) -> Floats:
    """Return weights (1 + count, d) whose samples have the mean and the leading covariance of X."""
    apart = X - X.mean(axis=0)
    _, sizes, right = np.linalg.svd(apart, full_matrices=False)
    k = min(count, len(sizes))
    inward = np.zeros((count, X.shape[1]))
    inward[:k] = sizes[:k, None] / len(X) ** 0.5 * right[:k]
    return np.concatenate([X.mean(axis=0)[None], inward])


def _worst(X: Floats, features: Floats, weights: Floats, seed: int | None) -> Discrepancy:
    return critic_distance(X, features @ weights, "relu", random_state=seed)


def _row(X: Floats, features: Floats, weights: Floats, start: Floats, direction: Floats) -> _Row:
    real = float(np.maximum(X @ direction, 0).mean())
    made = features @ weights @ direction
    sign = 1.0 if np.maximum(made, 0).mean() > real else -1.0
    if sign < 0 and not (made > 0).any():  # as samples like the real ones would be
        made = features @ start @ direction
    return _Row(direction, sign, real, (made > 0).astype(float))


def _program(
    features: Floats, d: int, rows: list[_Row], lam: float, cost: float
) -> tuple[Floats, Floats, float]:
    """Return the least weights (1 + r, d), the price of each row, and the bound they prove.

    Rows are sign * (c'W u - real) <= lam + t, with c the mean of features over the active samples
    and t >= 0 what is forgiven at a high cost. With prices p, at most `cost` together, the least
    |W|^2 is at least -|sum of p sign c u'|^2 / 4 - sum of p (lam + sign real).
    """
    q = features.shape[1]
    if not rows:
        return np.zeros((q, d)), np.zeros(0), 0.0
    sides = [
        row.sign * np.outer(features.T @ row.active / len(features), row.direction) for row in rows
    ]
    matrix = np.array(sides).reshape(len(rows), q * d)
    right = np.array([lam + row.sign * row.real for row in rows])
    every = np.block([[matrix, -np.ones((len(rows), 1))], [np.zeros((1, q * d)), -np.ones((1, 1))]])
    answer = conic(
        np.append(np.full(q * d, 2.0), 0.0),
        np.append(np.zeros(q * d), cost),
        [(sparse.csr_matrix(every), np.append(right, 0.0), "nonnegative")],
        sparse.csr_matrix((0, q * d + 1)),
        [],
    )
    weights = np.asarray(answer.x)[:-1].reshape(q, d)
    prices = np.maximum(np.asarray(answer.z)[:-1], 0.0)
    prices *= min(1.0, cost / max(float(prices.sum()), 1e-300))
    slope = prices @ matrix
    return weights, prices, float(-slope @ slope / 4 - prices @ right)
