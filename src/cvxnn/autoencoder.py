"""Autoencoders as convex programs: networks that give back what they are given."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from cvxnn.architectures import Architecture, DeepLinear
from cvxnn.certificate import Evidence
from cvxnn.estimators import ConvexRegressor
from cvxnn.lags import Floats
from cvxnn.solve import Solver

_SHARE = 0.01
"""alpha="auto" without clean targets, as a share of the largest variance along a direction."""
_PASSED = (
    "gates",
    "n_gates",
    "solver",
    "tol",
    "fit_intercept",
    "max_iter",
    "max_time",
    "proof_time",
    "random_state",
)


class ConvexAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An autoencoder of two layers, or a denoising one, trained to a certified optimum.

        mean of |f(x_i) - y_i|^2 / 2 + alpha * sum over neurons of |w_in| |w_out|

    with y = x, or y the clean version of x. The activations of the neurons are the code, whose
    width is what training makes it: the rank of the convex program's solution [Sahiner2021].

    With architecture "linear" the program is a nuclear norm, and for y = x its optimum is written
    down: the code has a unit for every principal axis along which the variance is more than
    alpha, and what comes back along it is 1 - alpha / variance of what went in. "gated" is exact
    for its gates; "relu" trains over all ReLU networks of any width, and the certificate states
    the gap that is proved.

    Parameters
    ----------
    architecture : "linear" or as in `ConvexRegressor`, default="linear"
    alpha : float or "auto", default="auto"
        Strength, in units of variance. "auto" validates it where there are clean targets; where
        the targets are the data themselves validation would choose none, and it is a hundredth
        of the largest variance along a direction.
    gates, n_gates, solver, tol, fit_intercept, max_iter, max_time, proof_time, random_state
        As in `ConvexRegressor`.

    Attributes
    ----------
    network_, certificate_, solution_, alpha_, alpha_max_
        As of `ConvexRegressor`; no neurons are left from `alpha_max_` on.
    n_components_ : int
        Width of the code.
    regressor_ : ConvexRegressor
    n_iter_, n_features_in_, feature_names_in_
        As in scikit-learn.

    Raises
    ------
    ValueError
        For data that are not finite, clean targets of another shape, and options out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 2)) @ rng.standard_normal((2, 5))
    >>> model = ConvexAutoencoder(alpha=1e-3).fit(X)
    >>> model.transform(X).shape, round(model.score(X), 4), model.certificate_.proves(1e-9)
    ((50, 2), 1.0, True)
    """

    _held = ("regressor_",)

    def __init__(
        self,
        architecture: str | Architecture = "linear",
        *,
        alpha: float | str = "auto",
        gates: Any = "auto",
        n_gates: int = 64,
        solver: str | Solver = "auto",
        tol: float = 1e-4,
        fit_intercept: bool = True,
        max_iter: int = 20_000,
        max_time: float | None = None,
        proof_time: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.architecture = architecture
        self.alpha = alpha
        self.gates = gates
        self.n_gates = n_gates
        self.solver = solver
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.max_time = max_time
        self.proof_time = proof_time
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "ConvexAutoencoder":
        """Train on samples `X` (n, d); return self.

        With `y` (n, d), clean versions of X, it is trained to restore these. Labels (n,) that a
        pipeline hands on are no targets and are ignored.
        """
        X = validate_data(self, X, dtype=np.float64)
        target = _clean(X, y)
        linear = isinstance(self.architecture, str) and self.architecture == "linear"
        architecture = DeepLinear(bias=False, depth=2) if linear else self.architecture
        words = {name: getattr(self, name) for name in _PASSED}
        alpha = self.alpha
        if isinstance(alpha, str) and alpha == "auto" and target is X:
            alpha = _SHARE * (_largest_variance(X, self.fit_intercept) or 1.0)
        self.regressor_ = ConvexRegressor(architecture, alpha=alpha, **words).fit(X, target)
        self._settle(X.shape[1])
        return self

    def _settle(self, features: Any) -> None:
        """Take over what the regressor found; ValueError where that gives back no samples."""
        network = self.regressor_.network_
        if network.weights_out.ndim != 2 or network.skip.shape != (features, features):
            raise ValueError(f"its network does not map samples of {features} columns to such")
        for name in ("network_", "certificate_", "solution_", "alpha_", "alpha_max_", "n_iter_"):
            setattr(self, name, getattr(self.regressor_, name))
        self.n_components_ = self._n_features_out = int(network.weights_out.shape[0])

    def transform(self, X: Any) -> Floats:
        """Return the codes (n, k) of samples (n, d): the activations of the neurons."""
        return np.asarray(self.regressor_.transform(self._checked(X)))

    def inverse_transform(self, X: Any) -> Floats:
        """Return the samples (n, d) that codes `X` (n, k) stand for."""
        check_is_fitted(self)
        empty = self.n_components_ == 0
        codes = check_array(X, dtype=np.float64, ensure_min_features=0 if empty else 1)
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"codes have {codes.shape[1]} columns and the network has {self.n_components_} "
                "neurons; pass what transform returns"
            )
        return np.asarray(codes @ self.network_.weights_out + self.network_.intercept)

    def reconstruct(self, X: Any) -> Floats:
        """Return what the network makes of samples (n, d), (n, d): inverse_transform(transform)."""
        return np.asarray(self.regressor_.predict(self._checked(X)).reshape(np.shape(X)))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the share of the variance of X, or of clean targets `y`, that comes back.

        1 - sum of |f(x) - y|^2 / sum of |y - mean of y|^2, the same as what PCA calls its explained
        variance ratio for projections on principal axes.
        """
        X = self._checked(X)
        restored = self.reconstruct(X)
        return float(r2_score(_clean(X, y), restored, multioutput="variance_weighted"))

    def evidence(self, X: Any, y: Any = None, sample_weight: Any = None) -> Evidence:
        """Return what `verify` checks: the claim, and what these data say about it."""
        X = self._checked(X)
        return self.regressor_.evidence(X, _clean(X, y), sample_weight)

    def _checked(self, X: Any) -> Floats:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float64, reset=False))


def _clean(X: Floats, y: Any) -> Floats:
    """Return clean targets, or X itself where there are none; ValueError for another shape."""
    if y is None or np.asarray(y).ndim < 2:
        return X
    target = check_array(y, dtype=np.float64, input_name="y")
    if target.shape != X.shape:
        raise ValueError(
            f"y has shape {target.shape} and X {X.shape}; expected clean samples of one shape "
            "with X, or None"
        )
    return np.asarray(target)


def _largest_variance(X: Floats, centred: bool) -> float:
    rows = X - X.mean(axis=0) if centred else X
    return float(np.linalg.norm(rows, 2) ** 2 / len(rows))
