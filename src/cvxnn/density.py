"""Densities of binary vectors: a certified network for every coordinate, given those before."""

import warnings
from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cvxnn.architectures import Architecture
from cvxnn.certificate import Certificate, Scope
from cvxnn.errors import CertificateWarning
from cvxnn.estimators import ConvexClassifier
from cvxnn.lags import Floats
from cvxnn.solve import Solver

_PASSED = (
    "architecture",
    "alpha",
    "gates",
    "n_gates",
    "solver",
    "tol",
    "max_iter",
    "max_time",
    "proof_time",
    "random_state",
)
_WIDTH = (Scope.GIVEN_GATES, Scope.SEPARATE_OUTPUTS, Scope.ALL_NETWORKS)
"""From the narrowest scope on: a sum of bounds speaks of no more than the narrowest of them."""


class ConvexDensity(DensityMixin, BaseEstimator):
    """The density of binary vectors as a product of networks, each trained to certified optimality.

        p(x) = product over i of p(x_i | x_1, ..., x_{i-1})

    The log-odds of x_i are a two-layer network of the coordinates before it, as -1 and 1, trained
    with logistic loss and weight decay [Gupta2021]. The objective is a sum over i, so that the
    networks are trained one by one and their bounds add up.

    A coordinate that has no other before it, or is constant in training, has a rate instead: half a
    count more than was seen of each value [Krichevsky1981].

    Parameters
    ----------
    architecture : str or Architecture, default="gated"
        As in `ConvexClassifier`.
    lags : int or None, default=None
        How many coordinates before x_i its network sees; None: all of them.
    alpha, gates, n_gates, solver, tol, max_iter, max_time, proof_time, random_state
        As in `ConvexClassifier`, for every coordinate; `max_time` is for each.

    Attributes
    ----------
    conditionals_ : list of (ConvexClassifier or None)
        The networks; None where there is a rate.
    rates_ : array (d,)
        The share of ones among all samples, with half a count more of each value.
    certificate_ : Certificate
        Bounds on the sum over the networks of mean loss + alpha * weight decay.

    Raises
    ------
    ValueError
        For entries other than 0 and 1, and options out of range.

    Examples
    --------
    >>> import numpy as np
    >>> first = np.arange(40) % 2
    >>> X = np.column_stack([first, first, np.arange(40) % 4 < 2])
    >>> model = ConvexDensity(alpha=1e-3, n_gates=8, random_state=0).fit(X)
    >>> bool(np.exp(model.score_samples([[1, 1, 0]])) > 0.2), model.sample(4, random_state=0).shape
    (True, (4, 3))
    """

    def __init__(
        self,
        architecture: str | Architecture = "gated",
        *,
        lags: int | None = None,
        alpha: float | str = "auto",
        gates: Any = "auto",
        n_gates: int = 64,
        solver: str | Solver = "auto",
        tol: float = 1e-4,
        max_iter: int = 20_000,
        max_time: float | None = None,
        proof_time: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.architecture = architecture
        self.lags = lags
        self.alpha = alpha
        self.gates = gates
        self.n_gates = n_gates
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.max_time = max_time
        self.proof_time = proof_time
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "ConvexDensity":
        """Train on binary vectors `X` (n, d); return self."""
        if self.lags is not None and not (isinstance(self.lags, Integral) and self.lags >= 1):
            raise ValueError(f"lags is {self.lags!r}; expected a positive integer or None")
        X = self._checked(X, reset=True)
        n = len(X)
        self.rates_ = (X.sum(axis=0) + 0.5) / (n + 1)
        varies = X.min(axis=0) < X.max(axis=0)
        words = {name: getattr(self, name) for name in _PASSED}
        self.conditionals_: list[ConvexClassifier | None] = []
        for i in range(X.shape[1]):
            depends = varies[i] and varies[self._before(i)].any()
            network = ConvexClassifier(**words) if depends else None
            if network is not None:
                _train(network, self._seen(X, i), X[:, i], i)
            self.conditionals_.append(network)
        self.certificate_ = sum_of([c.certificate_ for c in self.conditionals_ if c is not None])
        return self

    def score_samples(self, X: Any) -> Floats:
        """Return the logarithms of the probabilities of binary vectors (n, d), (n,)."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        ones = np.column_stack([self._log_odds(X, i) for i in range(X.shape[1])])
        return np.asarray(-np.logaddexp(0.0, np.where(X > 0, -ones, ones)).sum(axis=1))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, *, random_state: Any = None) -> Floats:
        """Return binary vectors (n_samples, d) drawn from the density, coordinate by coordinate."""
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples is {n_samples!r}; expected a positive integer")
        rng = check_random_state(random_state)
        drawn = np.zeros((int(n_samples), self.n_features_in_))
        for i in range(self.n_features_in_):
            odds = self._log_odds(drawn, i)
            drawn[:, i] = np.log(rng.uniform(size=len(drawn))) < -np.logaddexp(0.0, -odds)
        return drawn

    def parts(self, X: Any) -> Iterator[tuple[ConvexClassifier, Floats, Floats]]:
        """Yield (network, what it sees, its labels), so that `verify` may check every one.

        `all(verify(*part) for part in model.parts(X))`
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        for i, network in enumerate(self.conditionals_):
            if network is not None:
                yield network, self._seen(X, i), X[:, i]

    def _before(self, i: int) -> slice:
        return slice(0 if self.lags is None else max(0, i - int(self.lags)), i)

    def _seen(self, X: Floats, i: int) -> Floats:
        return np.asarray(2.0 * X[:, self._before(i)] - 1.0)

    def _log_odds(self, X: Floats, i: int) -> Floats:
        """Return the log-odds (n,) of coordinate i given those before it."""
        network = self.conditionals_[i]
        if network is None:
            return np.full(len(X), np.log(self.rates_[i] / (1 - self.rates_[i])))
        return np.asarray(network.decision_function(self._seen(X, i)))

    def _checked(self, X: Any, reset: bool) -> Floats:
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        bad = np.argwhere((X != 0) & (X != 1))
        if len(bad):
            row, column = bad[0]
            raise ValueError(
                f"X is {X[row, column]} at row {row}, column {column}; expected 0 and 1: "
                "binarise it first"
            )
        return np.asarray(X)


def _train(network: ConvexClassifier, seen: Floats, labels: Floats, i: int) -> None:
    """Fit one network; that coordinates before it do not help is an answer, and no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "alpha is .* at such strengths", CertificateWarning)
        try:
            network.fit(seen, labels)
        except Exception as error:
            error.add_note(f"in the network of coordinate {i}")
            raise


def sum_of(parts: list[Certificate]) -> Certificate:
    """Return the bounds of a sum of problems that share nothing."""
    if not parts:
        raise ValueError("no coordinate depends on another that varies; there is nothing to train")
    return Certificate(
        upper=sum(part.upper for part in parts),
        lower=sum(part.lower for part in parts),
        scope=min((part.scope for part in parts), key=_WIDTH.index),
        exactness=parts[0].exactness,
        bound=" + ".join(sorted({part.bound for part in parts})),
        violation=max(part.violation for part in parts),
        resolution=sum(part.resolution for part in parts),
    )
