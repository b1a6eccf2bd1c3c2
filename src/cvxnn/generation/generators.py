"""Generators that meet a quadratic critic exactly: linear, of degree two, or a convex network."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from cvxnn import memory
from cvxnn.architectures import BY_NAME, Architecture
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.estimators import ConvexRegressor
from cvxnn.generation.critics import Moments, least_bound

Floats = NDArray[np.float64]

GENERATORS = ("linear", "polynomial")
_MOST = 2000
"""Pairs of latents and samples that a nonlinear generator is fitted to, by default."""
_CHECKED = 4000
"""Latents beside them, on which its covariance is set."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Generator:
    """x = mean + ((h(z) - centre) W) V with h the latents, their monomials or a network.

    >>> line = Generator(
    ...     mean=np.ones(2),
    ...     components=np.array([[1.0, 0.0]]),
    ...     weights=np.array([[2.0]]),
    ...     centre=np.zeros(1),
    ...     degree=1,
    ...     regressor=None,
    ... )
    >>> line(np.array([[3.0]])).tolist()
    [[7.0, 1.0]]
    """

    mean: Floats
    """(d,)."""
    components: Floats
    """V, (k, d), orthonormal rows."""
    weights: Floats
    """W, (h, k)."""
    centre: Floats
    """(h,)."""
    degree: int
    """Of the monomials, 1 or 2."""
    regressor: ConvexRegressor | None
    """The network, if there is one; `weights` is then a linear layer after it."""

    def hidden(self, latents: Floats) -> Floats:
        """Return h(z), (m, r) to (m, h)."""
        if self.regressor is not None:
            return np.asarray(self.regressor.predict(latents)).reshape(len(latents), -1)
        return latents if self.degree == 1 else monomials(latents)

    def scores(self, latents: Floats) -> Floats:
        """Return the coordinates of what is generated along the components, (m, r) to (m, k)."""
        return (self.hidden(latents) - self.centre) @ self.weights

    def __call__(self, latents: Floats) -> Floats:
        """Return what is generated from latents (m, r), (m, d)."""
        return self.mean + self.scores(latents) @ self.components


class Recipe(NamedTuple):
    """How the weights of a generator are found."""

    kind: str | Architecture
    alpha: Any
    n_gates: int
    tol: float
    max_time: float | None
    pairs: Any

    @classmethod
    def of(cls, model: Any) -> "Recipe":
        """Return how a model's generators are trained; ValueError for options out of range."""
        recipe = cls(
            model.generator, model.alpha, model.n_gates, model.tol, model.max_time, model.n_pairs
        )
        recipe._check()
        return recipe

    def _check(self) -> None:
        known = (*GENERATORS, *BY_NAME)
        if isinstance(self.kind, str) and self.kind not in known:
            raise ValueError(f"generator is {self.kind!r}; expected one of {', '.join(known)}")
        if not (isinstance(self.alpha, Real) and float(self.alpha) > 0):
            raise ValueError(f"alpha is {self.alpha!r}; expected a positive number")
        if self.pairs is not None and not (
            isinstance(self.pairs, Integral) and int(self.pairs) >= 2
        ):
            raise ValueError(
                f"n_pairs is {self.pairs!r}; expected an integer of at least 2, or None"
            )

    @property
    def linear(self) -> bool:
        """Whether the generator is linear, and everything in closed form."""
        return isinstance(self.kind, str) and self.kind == "linear"

    def count(self, n: int) -> int:
        """Return how many pairs are fitted for n samples."""
        return min(n, _MOST) if self.pairs is None else int(self.pairs)

    def draws(self, n: int) -> int:
        """Return how many latents training takes: those of the pairs, and others to check on."""
        return 0 if self.linear else self.count(n) + _CHECKED


def whitened(latents: Floats) -> tuple[Floats, Floats]:
    """Return latents (m, r) times a matrix (r, q) that makes their second moments exactly I.

    Directions of no spread are dropped, q <= r.
    """
    values, vectors = np.linalg.eigh(latents.T @ latents / len(latents))
    kept = values > 1e-10 * values.max(initial=0.0)
    into = vectors[:, kept] / np.sqrt(values[kept])
    if kept.all():  # the nearest such latents
        into = into @ vectors.T
    return latents @ into, into


def monomials(latents: Floats) -> Floats:
    """Return z_i, (z_i^2 - 1) / sqrt 2 and z_i z_j, (m, r) to (m, r + r (r + 1) / 2).

    Of Gaussian latents they are orthonormal.
    """
    rows, columns = np.triu_indices(latents.shape[1])
    products = latents[:, rows] * latents[:, columns]
    same = rows == columns
    return np.concatenate([latents, np.where(same, (products - 1) / 2**0.5, products)], axis=1)


def generator_of(
    X: Floats,
    moments: Moments,
    lam: float,
    latents: Floats,
    turn: Floats,
    recipe: Recipe,
    rng: np.random.Generator,
) -> Generator:
    """Return a generator whose scores on checked latents have covariance (C - lam)_+ exactly.

    `latents` (m, r) have second moments I, `turn` (r, k) orthonormal columns: z turn D, with D the
    root of the excess, is the linear generator that others start from. Any G = L D V' with L'L = m
    is optimal in the first stage. Others take the samples' own L: samples brought to covariance
    D^2, each given to a latent by the assignment nearest to the linear generator. What they learn
    of these pairs is then made optimal again by a last linear layer, the nearest that does it
    (Procrustes), on latents that were not learned from.
    """
    excess = moments.excess(lam)
    k, deviations = len(excess), np.sqrt(excess)
    words: Any = {"mean": moments.mean, "components": moments.components[:k]}
    if recipe.linear or k == 0:
        weights = turn * deviations
        return Generator(
            **words, weights=weights, centre=np.zeros(len(turn)), degree=1, regressor=None
        )
    pairs = recipe.count(len(X))
    if recipe.kind == "polynomial":
        width = latents.shape[1] * (latents.shape[1] + 3) // 2
        needed = 8 * (3 * len(latents) * width + min(width, pairs) ** 2)
        memory.require(needed, ways_out="pass fewer n_components, or generator='gated_ridge'")
    seen, others = latents[:pairs], latents[pairs:]
    targets = _paired(X, moments, deviations, (seen @ turn) * deviations, rng)
    scale = float(deviations[0])
    network = None
    if isinstance(recipe.kind, str) and recipe.kind == "polynomial":
        raw = _ridge(monomials(seen), targets / scale, recipe.alpha)
    else:
        network = ConvexRegressor(
            recipe.kind,
            alpha=recipe.alpha,
            n_gates=recipe.n_gates,
            tol=recipe.tol,
            skip=True,
            max_time=recipe.max_time,
            proof_time=0.0,
            random_state=int(rng.integers(2**31)),
        )
        network.fit(seen, targets[:, 0] / scale if k == 1 else targets / scale)
        raw = np.eye(k)
    degree = 1 if network is not None else 2
    found = Generator(
        **words, weights=raw, centre=np.zeros(len(raw)), degree=degree, regressor=network
    )
    hidden = found.hidden(others)
    centre = hidden.mean(axis=0)
    weights = raw @ _exact((hidden - centre) @ raw, deviations)
    return Generator(**words, weights=weights, centre=centre, degree=degree, regressor=network)


def _paired(
    X: Floats, moments: Moments, deviations: Floats, start: Floats, rng: np.random.Generator
) -> Floats:
    """Return scores (m, k) of samples with covariance D^2, in the order nearest to `start`."""
    order = np.concatenate([rng.permutation(len(X)) for _ in range(-(-len(start) // len(X)))])
    k = len(deviations)
    scores = (X[order[: len(start)]] - moments.mean) @ moments.components[:k].T
    scores = scores - scores.mean(axis=0)
    scores = scores @ _exact(scores, deviations)
    costs = (scores**2).sum(axis=1) - 2 * start @ scores.T
    return np.asarray(scores[linear_sum_assignment(costs)[1]])


def _exact(scores: Floats, deviations: Floats) -> Floats:
    """Return M (k, k) for which scores M have covariance D^2: the polar factor of scores / rms.

    Of all L with L'L = m it is nearest to them, in units of their own (Procrustes). Raises
    ValueError where the scores have less than k directions.
    """
    sizes = np.sqrt((scores**2).mean(axis=0))
    unit = scores / np.where(sizes > 0, sizes, 1.0)
    values, vectors = np.linalg.eigh(unit.T @ unit / len(unit))
    rank = int((values > 1e-10 * max(1.0, float(values[-1]))).sum())
    if rank < len(deviations):
        raise ValueError(
            f"what the generator makes spans {rank} of {len(deviations)} directions; pass a "
            "smaller alpha, more n_pairs, or fewer n_components"
        )
    root = (vectors / np.sqrt(values)) @ vectors.T
    return np.asarray(root / sizes[:, None] * deviations)


def _ridge(features: Floats, targets: Floats, alpha: float) -> Floats:
    """Return the weights of least mean of |f - y|^2 / 2 + alpha / 2 |weights|^2, (h, k)."""
    n, h = features.shape
    if h <= n:
        gram = features.T @ features / n + alpha * np.eye(h)
        return np.asarray(np.linalg.solve(gram, features.T @ targets / n))
    kernel = features @ features.T / n + alpha * np.eye(n)
    return np.asarray(features.T @ np.linalg.solve(kernel, targets) / n)


def claim_of(
    X: Floats, moments: Moments, lam: float, generator: Generator, latents: Floats | None
) -> Certificate:
    """Return the bounds on the mean of |G|^2 within `lam` of the second moments about the mean.

    `latents` are those the generator is judged on; None: all of a standard Gaussian, of a linear
    one. `violation` is what the critic sees above lam, as a share of the largest eigenvalue.
    """
    k = len(generator.components)
    if latents is None:
        spread = generator.weights.T @ generator.weights
    else:
        scores = generator.scores(latents)
        spread = scores.T @ scores / len(scores)
    own = (X - moments.mean) @ moments.components.T
    apart = own.T @ own / len(X)
    largest = float(np.linalg.norm(apart, 2))
    apart[:k, :k] -= spread
    seen = float(np.abs(np.linalg.eigvalsh(apart)).max())
    return Certificate(
        upper=float(np.trace(spread)),
        lower=least_bound(X, moments, lam),
        scope=Scope.ALL_NETWORKS,
        exactness=Exactness.EXACT,
        bound="semidefinite dual",
        violation=max(0.0, seen - lam) / largest if largest > 0 else 0.0,
        resolution=1e-10 * largest,
    )
