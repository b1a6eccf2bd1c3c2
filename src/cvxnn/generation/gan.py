"""Wasserstein generative networks whose critic is solved for: in closed form, to the optimum."""

import warnings
from collections.abc import Callable
from math import isqrt, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from cvxnn.architectures import Architecture
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.errors import CertificateWarning
from cvxnn.generation.critics import critic_distance, least_mean, moments_of
from cvxnn.generation.generators import Generator, Recipe, claim_of, generator_of, whitened
from cvxnn.generation.latents import (
    as_table,
    check_strength,
    count_of,
    latents_of,
    left_out,
    noise_like,
    say_zero,
    seed_of,
    strength,
    way_between,
)
from cvxnn.generation.saddle import Saddle, saddle

Floats = NDArray[np.float64]

_FEWEST = 500
"""Latents that a generator beside a ReLU critic is trained on, at least."""

CRITICS = ("quadratic", "linear", "relu")


def is_linear(what: str) -> Callable[[Any], bool]:
    """Return the check that a model's generator is linear, for methods that others lack."""

    def check(model: Any) -> bool:
        if model.generator != "linear" or model.critic != "quadratic":
            raise AttributeError(
                f"{what} needs the density of what is generated, and that of generator="
                f"{model.generator!r} with critic={model.critic!r} has no formula"
            )
        return True

    return check


class ConvexGAN(TransformerMixin, BaseEstimator):
    """A Wasserstein generative network with a convex critic, trained to a certified optimum.

        min over G of R(G) + max over critics D of mean D(x) - mean D(G) - lam * decay of D

    The best critic of one hidden layer is infinite unless every neuron sees a difference of at most
    lam, so that training is to find the least generator within lam of the samples
    [SahinerGAN2022]. With quadratic neurons that is within lam of their covariance C in spectral
    norm, and the least mean of |G|^2 is attained by G = L (C - lam)_+^{1/2} V', any L of
    orthonormal columns: a generator of it is certified to be optimal, whatever else it does. A
    linear one of Gaussian latents is probabilistic PCA with noise variance lam, in closed form. The
    others take L from the samples themselves, which optimal transport assigns to latents, and learn
    those pairs: their covariance is the same exactly, and their shape is nearer to the samples'.

    Parameters
    ----------
    critic : {"quadratic", "linear", "relu"}, default="quadratic"
        "linear" sees means alone: it generates one point, (1 - lam / |mean|)_+ mean. "relu" is
        experimental: which samples a neuron is active on moves with the generator, so that a linear
        one is trained to a local saddle point, `saddle_`, on tables of few columns.
    generator : {"linear", "polynomial"}, str or Architecture, default="linear"
        "polynomial" is of degree two; any architecture of `ConvexRegressor`, such as "relu",
        "gated" or "gated_ridge", is a network of latents with a linear skip connection.
    lam : float or "auto", default="auto"
        What the critic may see, >= 0, in squares of the samples' unit for the quadratic one. "auto"
        is the first eigenvalue of C that `n_components` leaves out, 0 for the linear critic, and a
        twentieth of what a generator of zeros shows to a ReLU critic, whose unit is the samples'.
    n_components : int, float or None, default=None
        How many directions to generate, or which share of the variance they hold; None: 0.95. Only
        with lam="auto", which it sets.
    latent : int or None, default=None
        How many latents there are; None: one for every direction.
    alpha, n_gates, tol, max_time
        Of the network of latents, as in `ConvexRegressor`, its targets scaled to a largest standard
        deviation of one; `alpha` is the ridge of polynomials too.
    n_pairs : int or None, default=None
        How many pairs of a latent and a sample it learns; None: one for each sample, up to 2000.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    generator_ : Generator
        What makes samples of latents.
    certificate_ : Certificate
        Bounds on the least mean of |G - mean|^2 over everything that the critic lets pass. `upper`
        is that of this generator: of all latents for a linear one, else of 4000 that it did not
        learn from. `violation` is by how much the critic sees more than lam there. None for a ReLU
        critic: nothing is proved over all generators.
    saddle_ : Saddle or None
        Of a ReLU critic, with the gap to a local saddle point.
    lam_, noise_variance_ : float
        The strength, and the mean variance of the directions that are not generated.
    n_components_, latent_ : int
    n_features_in_, feature_names_in_, shape_
        As in scikit-learn, and the shape of a sample.

    Raises
    ------
    ValueError
        For samples that are not finite or fewer than two, options out of range, and less latents
        than eigenvalues above lam.
    MemoryBudgetError
        Where covariances or monomials would not fit, before they are made.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((500, 3)) * [3.0, 1.0, 0.1]
    >>> model = ConvexGAN(n_components=2).fit(X)
    >>> model.sample(4, random_state=0).shape, model.certificate_.proves(1e-6)
    ((4, 3), True)
    """

    _held = (
        "generator_",
        "certificate_",
        "saddle_",
        "spectrum_",
        "lam_",
        "noise_variance_",
        "shape_",
    )

    def __init__(
        self,
        critic: str = "quadratic",
        generator: str | Architecture = "linear",
        *,
        lam: float | str = "auto",
        n_components: int | float | None = None,
        latent: int | None = None,
        alpha: float = 1e-2,
        n_gates: int = 32,
        tol: float = 1e-3,
        max_time: float | None = None,
        n_pairs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.critic = critic
        self.generator = generator
        self.lam = lam
        self.n_components = n_components
        self.latent = latent
        self.alpha = alpha
        self.n_gates = n_gates
        self.tol = tol
        self.max_time = max_time
        self.n_pairs = n_pairs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "ConvexGAN":
        """Train on samples `X` (n, d), or images (n, h, w) or (n, h, w, c); return self."""
        recipe = self._check_options()
        table, self.shape_ = as_table(self, X)
        moments = moments_of(table, center=self.critic == "quadratic")
        rng = np.random.default_rng(seed_of(self.random_state))
        self.saddle_: Saddle | None = None
        self.certificate_: Certificate | None = None
        if self.critic == "linear":
            self._fit_mean(table)
            return self
        if self.critic == "relu":
            self._fit_saddle(table, moments.eigenvalues, recipe.count(len(table)), rng)
            return self
        self.lam_, k = strength(moments, self.lam, self.n_components, self.latent)
        self.noise_variance_ = left_out(moments, k, table.shape[1])
        if k == 0:
            say_zero(self.lam_, moments)
        self.latent_ = max(k, 1) if self.latent is None else int(self.latent)
        draws = recipe.draws(len(table)) if k else 0
        latents = np.zeros((0, self.latent_))
        if draws:
            latents = whitened(rng.standard_normal((max(draws, 4 * self.latent_), self.latent_)))[0]
        turn = np.eye(self.latent_, k)
        made = generator_of(table, moments, self.lam_, latents, turn, recipe, rng)
        judged = latents[recipe.count(len(table)) :] if draws else None
        self.generator_ = made
        self.certificate_ = claim_of(table, moments, self.lam_, made, judged)
        self.spectrum_ = moments.eigenvalues
        self._settle(table.shape[1])
        return self

    def _fit_mean(self, table: Floats) -> None:
        """Fit what a linear critic asks for: one point."""
        mean, d = table.mean(axis=0), table.shape[1]
        self.lam_ = 0.0 if self.lam == "auto" else float(self.lam)
        point = least_mean(mean, self.lam_)
        size = float(np.linalg.norm(mean))
        seen = float(np.linalg.norm(mean - point))
        if size <= self.lam_:
            warnings.warn(
                f"lam is {self.lam_:.4g} and the mean has length {size:.4g}: the zero generator is "
                "optimal; pass a smaller lam",
                CertificateWarning,
                stacklevel=3,
            )
        self.certificate_ = Certificate(
            upper=float(point @ point),
            lower=max(0.0, size - self.lam_) ** 2 * (1 - 1e-12),
            scope=Scope.ALL_NETWORKS,
            exactness=Exactness.EXACT,
            bound="closed form",
            violation=max(0.0, seen - self.lam_) / size if size > 0 else 0.0,
            resolution=1e-12 * size**2,
        )
        self.generator_ = Generator(
            mean=point,
            components=np.zeros((0, d)),
            weights=np.zeros((1, 0)),
            centre=np.zeros(1),
            degree=1,
            regressor=None,
        )
        self.spectrum_, self.noise_variance_ = np.zeros(1), 0.0
        self._settle(d)

    def _fit_saddle(
        self, table: Floats, spectrum: Floats, count: int, rng: np.random.Generator
    ) -> None:
        """Fit a linear generator that ReLU critics let pass, least near by."""
        d = table.shape[1]
        most = critic_distance(table, np.zeros((1, d)), "relu", random_state=0).value
        self.lam_ = most / 20 if self.lam == "auto" else float(self.lam)
        if self.lam_ >= most:
            warnings.warn(
                f"lam is {self.lam_:.4g} and ReLU critics tell zeros from the samples by "
                f"{most:.4g}: the zero generator is optimal; pass a smaller lam",
                CertificateWarning,
                stacklevel=3,
            )
        latents = rng.standard_normal((max(count, _FEWEST), self.latent or d))
        found: Saddle = saddle(table, latents, self.lam_, tol=self.tol / 10, random_state=0)
        self.saddle_ = found
        self.spectrum_, self.noise_variance_ = spectrum, 0.0
        self.generator_ = Generator(
            mean=found.weights[0],
            components=np.eye(d),
            weights=found.weights[1:],
            centre=np.zeros(len(found.weights) - 1),
            degree=1,
            regressor=None,
        )
        self._settle(d)

    def _settle(self, features: Any) -> None:
        """Set what follows from the rest; ValueError where that does not fit together."""
        made, self.shape_ = self.generator_, tuple(self.shape_)
        self.n_components_ = len(made.components)
        inside = made.regressor
        if inside is not None:
            self.latent_ = int(inside.n_features_in_)
        elif made.degree == 1:
            self.latent_ = len(made.weights)
        else:
            self.latent_ = (isqrt(9 + 8 * len(made.weights)) - 3) // 2
        fits = (
            made.components.shape
            == (self.n_components_, features)
            == (
                made.weights.shape[1],
                len(made.mean),
            )
        )
        if not fits or prod(self.shape_) != features or len(made.centre) != len(made.weights):
            raise ValueError("its generator, components and the shape of samples do not fit")

    def sample(
        self, n_samples: int = 1, *, noise: bool = False, random_state: Any = None
    ) -> Floats:
        """Return new samples (n_samples, d), or images of the shape of those in training.

        `noise` adds what the generator leaves: lam along its directions and `noise_variance_`
        across, so that the covariance is that of probabilistic PCA by maximum likelihood.
        """
        check_is_fitted(self)
        count_of(n_samples)
        if noise and self.critic != "quadratic":
            raise ValueError(f"noise is what a quadratic critic leaves; this is {self.critic!r}")
        rng = np.random.default_rng(seed_of(random_state))
        rows = self.generator_(rng.standard_normal((int(n_samples), self.latent_)))
        if noise:
            rows = rows + noise_like(self.generator_, self.lam_, self.noise_variance_, rows, rng)
        return rows.reshape(-1, *self.shape_)

    def inverse_transform(self, X: Any) -> Floats:
        """Return what is generated from latents `X` (m, latent), (m, ...)."""
        check_is_fitted(self)
        return self.generator_(latents_of(X, self.latent_)).reshape(-1, *self.shape_)

    def interpolate(self, first: Any, last: Any, steps: int = 8) -> Floats:
        """Return what is generated on the way between two latents (latent,), (steps, ...).

        The way is a great circle, on which latents are as long as Gaussian ones.
        """
        check_is_fitted(self)
        return self.inverse_transform(way_between(first, last, steps, self.latent_))

    @available_if(is_linear("transform"))  # type: ignore[untyped-decorator]
    def transform(self, X: Any) -> Floats:
        """Return the mean latents (n, latent) of samples, given the noise of probabilistic PCA."""
        check_is_fitted(self)
        rows, _ = as_table(self, X, reset=False)
        k, made = self.n_components_, self.generator_
        deviations = np.sqrt(np.maximum(self.spectrum_[:k] - self.lam_, 0.0))
        shares = deviations / np.maximum(self.spectrum_[:k], np.finfo(float).tiny)
        found = np.zeros((len(rows), self.latent_))
        found[:, :k] = (rows - made.mean) @ made.components.T * shares
        return found

    @available_if(is_linear("score_samples"))  # type: ignore[untyped-decorator]
    def score_samples(self, X: Any) -> Floats:
        """Return log densities (n,) under probabilistic PCA, the generator with its noise.

        Raises ValueError where it has no density: directions without variance.
        """
        check_is_fitted(self)
        rows, _ = as_table(self, X, reset=False)
        k, d = self.n_components_, rows.shape[1]
        rest, inside = d - k, self.spectrum_[:k]
        if rest and self.noise_variance_ <= 0:
            raise ValueError(
                "the samples have no variance across the generated directions, and no density; "
                "pass fewer n_components"
            )
        apart = rows - self.generator_.mean
        own = apart @ self.generator_.components.T
        across = np.maximum((apart**2).sum(axis=1) - (own**2).sum(axis=1), 0.0)
        value = (own**2 / inside).sum(axis=1) + np.log(inside).sum() + d * np.log(2 * np.pi)
        if rest:
            value = value + across / self.noise_variance_ + rest * np.log(self.noise_variance_)
        return np.asarray(-value / 2)

    @available_if(is_linear("score"))  # type: ignore[untyped-decorator]
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def _check_options(self) -> Recipe:
        if self.critic not in CRITICS:
            raise ValueError(f"critic is {self.critic!r}; expected one of {', '.join(CRITICS)}")
        if self.critic != "quadratic" and self.generator != "linear":
            raise ValueError(
                f"generator is {self.generator!r} and a {self.critic} critic goes with a linear "
                "one; pass generator='linear', or critic='quadratic'"
            )
        check_strength(self.lam, self.n_components, self.latent)
        return Recipe.of(self)
