"""The score of a density, the gradient of its logarithm, by score matching as a convex program."""

import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cvxnn import memory, training
from cvxnn.architectures import Architecture
from cvxnn.certificate import Evidence
from cvxnn.errors import CertificateWarning, UnsupportedError
from cvxnn.estimators import ConvexRegressor
from cvxnn.everywhere.matching import GatedMatch, LineMatch, Match, validated_strength
from cvxnn.everywhere.scores import objective
from cvxnn.generation.antiderivative import log_density
from cvxnn.generation.langevin import langevin
from cvxnn.generation.noisy import Level, noisy_copies, noisy_loss, silverman, steepness
from cvxnn.lags import Floats
from cvxnn.samples import fingerprint
from cvxnn.solve import Solver


class ConvexScore(BaseEstimator):
    """The score of a density, grad log p(x), trained by score matching to a certified optimum.

    Without noise it minimises, over networks s, the loss of Hyvarinen [Hyvarinen2005]

        mean of |s(x_i)|^2 / 2 + trace of the Jacobian of s at x_i + alpha * weight decay

    whose trace is linear in the blocks of the convex program [ZhangPilanci2024]. For one column and
    "relu" it is over all ReLU networks of any width. For several columns blocks are matrices with a
    nuclear norm, and the bound is for the gates at hand and the loss as it stands, which does not
    see that gated networks jump: for a score that is to be used there pass `noise`. Neurons whose
    kink is on a sample change the Jacobian and no output: below a threshold of alpha the objective
    has no lower bound, which is told before training. At kinks the derivative counts as the side
    that is less, which networks come as near as one likes.

    With `noise` it is denoising score matching [Vincent2011]: `ConvexRegressor` predicts
    -noise / sigma from copies of the samples with noise added. That is bounded for every alpha, and
    the score is that of the density of the noisy samples.

    Parameters
    ----------
    architecture : {"auto", "relu", "gated"} or Architecture, default="auto"
        "auto" is "relu" for one column and "gated" for more.
    noise : None, float or decreasing sequence of floats, default=None
        Standard deviations of the noise, a network for each.
    copies : int, default=10
        How many noisy copies of every sample there are at each level.
    alpha : float or "auto", default="auto"
        "auto" takes the strength of the least loss on held-out samples.
    skip, fit_intercept : bool, default=True
        Unpenalised linear part and intercept: the score of a Gaussian, to which neurons add.
    gates, n_gates, solver, tol, max_iter, max_time, proof_time, random_state
        As in `ConvexRegressor`; `proof_time` and `solver` are for denoising.

    Attributes
    ----------
    network_, certificate_, alpha_
        Of the only level, or the one of least noise.
    regressors_ : list of ConvexRegressor
        One for each level; empty without noise.
    bandwidth_ : array (d,)
        Standard deviation of the noise that `score` and alpha="auto" measure with: the least
        noise, or a quarter of Silverman's rule for kernels [Silverman1986], which is wide for a
        density of several humps.
    threshold_ : float
        Strength from which on the objective is proved to be bounded; 0 with noise.
    alpha_max_ : float
        The least strength whose best network has no neurons.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Raises
    ------
    ValueError
        For an alpha at which the objective is not bounded below, dependent or constant columns
        with `skip`, "relu" for several columns without noise, and options out of range.

    Examples
    --------
    >>> x = np.array([[-1.5], [-0.4], [0.3], [1.1], [2.0]])
    >>> model = ConvexScore(alpha=0.9 / 5, skip=False, fit_intercept=False).fit(x)
    >>> round(5 * model.certificate_.upper, 6), round(5 * model.threshold_, 4)
    (-1.170347, 0.5547)
    >>> ConvexScore(alpha=0.5 / 5, skip=False, fit_intercept=False).fit(x)
    Traceback (most recent call last):
    ...
    ValueError: alpha is 0.1 and up to 0.1109 score matching has no lower bound on these samples...
    """

    _held = (
        *("regressors_", "network_", "certificate_", "alpha_", "alpha_max_", "threshold_"),
        *("dual_", "generators_", "interior_", "seed_", "fingerprint_"),
        *("mean_", "spread_", "farthest_", "bandwidth_", "steepness_"),
    )

    def __init__(
        self,
        architecture: str | Architecture = "auto",
        *,
        noise: Any = None,
        copies: int = 10,
        alpha: float | str = "auto",
        skip: bool = True,
        fit_intercept: bool = True,
        gates: Any = "auto",
        n_gates: int = 64,
        solver: str | Solver = "auto",
        tol: float = 1e-4,
        max_iter: int = 20_000,
        max_time: float | None = None,
        proof_time: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.architecture = architecture
        self.noise = noise
        self.copies = copies
        self.alpha = alpha
        self.skip = skip
        self.fit_intercept = fit_intercept
        self.gates = gates
        self.n_gates = n_gates
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.max_time = max_time
        self.proof_time = proof_time
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "ConvexScore":
        """Train on samples `X` (n, d); return self."""
        X = np.asarray(validate_data(self, X, dtype=np.float64))
        self._check_options()
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.fingerprint_ = fingerprint(X, X, np.ones(len(X)))
        self.mean_ = X.mean(axis=0)
        # a root of the covariance: unlike a factor of Cholesky's it is there for constant columns
        _, sizes, axes = np.linalg.svd(X - self.mean_, full_matrices=False)
        self.spread_ = (axes.T * (sizes / len(X) ** 0.5)) @ axes
        levels = self._levels()
        self.bandwidth_ = np.full(X.shape[1], levels[-1]) if levels else silverman(X) / 4
        self.farthest_ = float(np.linalg.norm(X - self.mean_, axis=1).max())
        if levels:
            self._regress(X)
        else:
            self._match(X)
        self.steepness_ = np.array(
            [steepness(self._network(k), X, s, self.seed_) for k, s in enumerate(levels or [0.0])]
        )
        return self

    def _regress(self, X: Floats) -> None:
        """Train a network for every noise level."""
        names = ("skip", "fit_intercept", "gates", "n_gates", "solver", "tol", "max_iter")
        words = {name: getattr(self, name) for name in (*names, "max_time", "proof_time", "alpha")}
        architecture = self._architecture(X.shape[1])
        self.regressors_ = []
        for place in range(len(self._levels())):
            noisy, target = self._noisy(X, place)
            regressor = ConvexRegressor(architecture, random_state=self.seed_, **words)
            self.regressors_.append(regressor.fit(noisy, target))
        last = self.regressors_[-1]
        self.threshold_, self.dual_, self.interior_ = 0.0, np.zeros((0, 1)), np.zeros((0, 1))
        self.generators_ = last.generators_
        for name in ("network_", "certificate_", "alpha_", "alpha_max_"):
            setattr(self, name, getattr(last, name))

    def _match(self, X: Floats) -> None:
        """Train on the loss of Hyvarinen."""
        self.regressors_ = []
        match = self._problem(X, None)
        self.alpha_max_ = match.alpha_max
        self.alpha_ = self._strength(X, match)
        bounds = match.threshold(self.alpha_)
        if not self.alpha_ > bounds.most:
            raise ValueError(bounds.why(self.alpha_))
        self.threshold_, self.interior_ = float(bounds.most), bounds.interior
        if self.alpha_ >= self.alpha_max_ * (1 + 1e-12):
            warnings.warn(
                f"alpha is {self.alpha_:.6g} and alpha_max_ is {self.alpha_max_:.6g}: at such "
                "strengths the best network has no neurons; pass a smaller alpha",
                CertificateWarning,
                stacklevel=3,
            )
        limits = {"tol": self.tol, "max_iter": self.max_iter, "max_time": self.max_time}
        self.network_, self.dual_, self.certificate_ = match.solve(
            self.alpha_, bounds.interior, **limits
        )
        self.generators_ = match.generators
        if not self.certificate_.proves(self.tol):
            warnings.warn(
                f"the relative gap is {self.certificate_.relative_gap:.1e}, above tol "
                f"{self.tol:.1e}; raise alpha, which is near the threshold {self.threshold_:.4g} "
                "if this goes on, max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )

    def predict(self, X: Any, *, level: int = -1) -> Floats:
        """Return the score at points (n, d), (n, d); `level` is the place of a noise level."""
        X = self._checked(X)
        count = max(1, len(self.regressors_))
        if not (isinstance(level, Integral) and -count <= level < count):
            raise ValueError(f"level is {level!r} and there are {count}; expected a place of one")
        return np.asarray(self._network(int(level))(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Return minus the mean of |s|^2 / 2 + s.noise / sigma at noisy samples: larger is better.

        Up to a constant it is minus the mean of |s - grad log p|^2 / 2, with p the density of the
        samples with noise of `bandwidth_`. The loss of Hyvarinen is its limit without noise for
        smooth scores alone: it does not see where s jumps up between samples.
        """
        return -self._loss(self.network_, self._checked(X))

    def _loss(self, network: Any, X: Floats) -> float:
        return noisy_loss(network, X, self.bandwidth_, self.seed_)

    def log_density(self, X: Any) -> Floats:
        """Return log p at points (n, 1), (n,), for one column: the integral of the score.

        Raises ValueError for more columns, and for a score that is that of no density since it
        pushes outward on one side.
        """
        X = self._checked(X)
        if X.shape[1] != 1:
            raise ValueError(
                f"X has {X.shape[1]} columns; the log density is the integral of the score for "
                "one column only"
            )
        return log_density(self.network_, X[:, 0], float(self.mean_[0]), self.farthest_)

    def sample(
        self,
        n_samples: int = 1,
        *,
        steps: int = 500,
        rate: float = 0.2,
        random_state: Any = None,
    ) -> Floats:
        """Return samples (n_samples, d) by Langevin dynamics, annealed over the noise levels.

        It starts from the Gaussian of the samples' moments and takes `steps` steps at every level,
        of length `rate` over the steepness of the score there. Samples stay within twice the
        distance of the farthest sample from the mean.
        """
        check_is_fitted(self)
        for name, value in (("n_samples", n_samples), ("steps", steps)):
            if not (isinstance(value, Integral) and int(value) >= 1):
                raise ValueError(f"{name} is {value!r}; expected a positive integer")
        if not (isinstance(rate, Real) and 0 < float(rate) <= 1):
            raise ValueError(f"rate is {rate!r}; expected a number in (0, 1]")
        rng = check_random_state(random_state)
        start = rng.standard_normal((int(n_samples), len(self.mean_)))
        return langevin(
            [self._network(k) for k in range(max(1, len(self.regressors_)))],
            self.mean_ + start @ self.spread_.T,
            rates=float(rate) / self.steepness_,
            steps=int(steps),
            centre=self.mean_,
            radius=2 * self.farthest_,
            rng=rng,
        )

    def parts(self, X: Any) -> Iterator[tuple[ConvexRegressor, Floats, Floats]]:
        """Yield (network, noisy samples, its targets) of every level, so that `verify` may check.

        `all(verify(*part) for part in model.parts(X))`
        """
        X = self._checked(X)
        for place, regressor in enumerate(self.regressors_):
            yield regressor, *self._noisy(X, place)

    def evidence(self, X: Any, y: Any = None, sample_weight: Any = None) -> Evidence:
        """Return what `verify` checks: the claim, and what these data say about it.

        Raises UnsupportedError for several noise levels, whose `parts` are checked one by one.
        """
        X = self._checked(X)
        if self.regressors_:
            if len(self.regressors_) > 1:
                raise UnsupportedError(
                    f"there are {len(self.regressors_)} noise levels with a certificate each; "
                    "use all(verify(*part) for part in model.parts(X))"
                )
            return self.regressors_[0].evidence(*self._noisy(X, 0))
        same = fingerprint(X, X, np.ones(len(X))) == self.fingerprint_
        match = self._problem(X, self.generators_)
        fits = self.dual_.shape == self.interior_.shape == match.dual_shape
        dual, interior = (
            (each if fits else np.zeros(match.dual_shape)) for each in (self.dual_, self.interior_)
        )
        return Evidence(
            claim=self.certificate_,
            program=match.program,
            objective=objective(self.network_, X, np.full(len(X), 1 / len(X)), self.alpha_),
            dual=dual,
            prove=lambda each: match.bound(each, interior, self.alpha_),
            objections=() if same else ("these are not the data that the model was trained on",),
        )

    def _settle(self, features: Any) -> None:
        """Raise ValueError where what a file held does not fit together."""
        self._check_options()
        shapes = {np.shape(self._network(k).skip) for k in range(max(1, len(self.regressors_)))}
        if shapes != {(features, features)} or len(self.regressors_) != len(self._levels()):
            raise ValueError(f"its networks are not scores of {features} columns, one a level")
        if (self.mean_.shape, self.spread_.shape) != ((features,), (features, features)):
            raise ValueError(f"its moments are not those of {features} columns")
        if self.steepness_.shape != (max(1, len(self.regressors_)),):
            raise ValueError("it has not one steepness for every level")

    def _network(self, place: int) -> Any:
        return self.regressors_[place].network_ if self.regressors_ else self.network_

    def _levels(self) -> list[float]:
        if self.noise is None:
            return []
        return [float(each) for each in np.atleast_1d(np.asarray(self.noise, dtype=np.float64))]

    def _noisy(self, X: Floats, place: int) -> Level:
        """Return copies of the samples with noise of a level, and minus the noise over sigma."""
        return noisy_copies(X, self._levels()[place], int(self.copies), [self.seed_, place])

    def _architecture(self, width: int) -> Architecture:
        choice = self.architecture
        if isinstance(choice, str) and choice == "auto":
            choice = "relu" if width == 1 else "gated"
        found = training.architecture_of(choice)
        if found.name not in ("relu", "gated"):
            raise ValueError(f"architecture is {choice!r}; expected 'auto', 'relu' or 'gated'")
        return found

    def _problem(self, X: Floats, generators: Any) -> Match:
        """Return the program of samples (n, d), on given gates if there are any."""
        architecture: Any = self._architecture(X.shape[1])
        words = {"intercept": bool(self.fit_intercept), "skip": bool(self.skip)}
        if architecture.name == "relu":
            if X.shape[1] > 1:
                raise ValueError(
                    f"architecture is 'relu' and X has {X.shape[1]} columns: without noise ReLU "
                    "networks are for one column; pass 'gated', or noise="
                )
            if not architecture.bias:
                raise ValueError("ReLU(bias=False) has no kinks but zero; pass ReLU()")
            memory.require(memory.of_lines(len(X)), ways_out="fit on fewer samples")
            return LineMatch.of(X, **words)
        choice = self.gates if generators is None else generators
        count, wide = int(self.n_gates), X.shape[1] + int(architecture.bias)
        if not isinstance(choice, str):
            count = len(np.atleast_2d(choice))
        columns = memory.of_columns(len(X), count * wide, X.shape[1])
        memory.require(columns, ways_out="use fewer gates (n_gates) or samples")
        rng = np.random.default_rng(self.seed_)
        gates, _ = training.gates_of(architecture, X, choice, self.n_gates, rng)
        return GatedMatch.of(architecture, X, gates, **words)

    def _strength(self, X: Floats, match: Match) -> float:
        """Return alpha, or the strength of the least loss on held-out samples."""
        if not isinstance(self.alpha, str):
            if not (isinstance(self.alpha, Real) and 0 < float(self.alpha) < np.inf):
                raise ValueError(f"alpha is {self.alpha!r}; expected 'auto' or a positive number")
            return float(self.alpha)
        if self.alpha != "auto":
            raise ValueError(f"alpha is {self.alpha!r}; expected 'auto' or a positive number")

        def part(rows: Floats) -> Match:
            return self._problem(rows, match.generators)

        return validated_strength(match, X, part, self._loss, self.seed_)

    def _checked(self, X: Any) -> Floats:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float64, reset=False))

    def _check_options(self) -> None:
        levels = np.atleast_1d(np.asarray([] if self.noise is None else self.noise, dtype=float))
        good = np.isfinite(levels).all() and (levels > 0).all() and (np.diff(levels) < 0).all()
        if levels.ndim != 1 or not good or (self.noise is not None and not len(levels)):
            raise ValueError(
                f"noise is {self.noise!r}; expected None, a positive number, or several, falling"
            )
        for name in ("copies", "n_gates", "max_iter"):
            value = getattr(self, name)
            if not (isinstance(value, Integral) and int(value) >= 1):
                raise ValueError(f"{name} is {value!r}; expected a positive integer")
        if self.noise is None and self.solver != "auto":
            raise ValueError(f"solver is {self.solver!r} and noise is None; expected 'auto' there")
        if not (isinstance(self.tol, Real) and float(self.tol) > 0):
            raise ValueError(f"tol is {self.tol!r}; expected a positive number")
