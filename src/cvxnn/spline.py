"""Networks of one column whose hidden bias is free: linear splines, trained at once."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from cvxnn import memory
from cvxnn.architectures import ReLU, evaluate
from cvxnn.certificate import Certificate, Evidence, Exactness, Scope
from cvxnn.everywhere.splines import Places
from cvxnn.functions import Mean, Squared, mean_loss
from cvxnn.program import Program
from cvxnn.samples import fingerprint, positive_weights
from cvxnn.training import open_problem_of

Floats = NDArray[np.float64]


class ConvexSpline(RegressorMixin, BaseEstimator):
    """Two-layer ReLU networks of one column without a penalty on hidden biases, to the optimum.

    Minimises, over networks f(x) = c + sum_j a_j max(0, w_j x + b_j) of any width,

        mean of (f(x_i) - y_i)^2 / 2 + alpha * sum_j |w_j| |a_j|

    The best network is a linear spline with its knots among the data, and training is a lasso over
    the columns (x - x_j)_+ and (x_j - x)_+ [Ergen2021], which is solved here in the spline's slopes
    as one sparse quadratic program. `ConvexRegressor` penalises the hidden bias too: another
    problem, whose kinks need not be at data.

    Parameters
    ----------
    alpha : float, default=1e-3
        Strength of weight decay, > 0.
    skip : bool, default=False
        Add an unpenalised linear part: the penalty is then the total variation of the slope.
    tol : float, default=1e-6
        Relative duality gap above which a ConvergenceWarning says what was attained.

    Attributes
    ----------
    network_ : ReLUNetwork
        Its `weight_decay()` counts hidden biases; `decay_` does not.
    knots_ : array (k,)
        Where the spline bends, sorted. Splines of more than 400 knots are an interior point's
        answer as it is, proved alike, in which knots may bend by next to nothing.
    decay_ : float
        sum_j |w_j| |a_j|, what alpha multiplies.
    certificate_ : Certificate
        Bounds over all networks of this kind; the lower one is a formula at the dual point.
    alpha_max_ : float
        The smallest alpha whose network is constant, or linear with `skip`.
    dual_ : array (n, 1)
        The dual vector that proves the lower bound.

    Raises
    ------
    ValueError
        For more than one column, data that are not finite and options out of range.
    MemoryBudgetError
        When the fit would not fit into memory.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 21)[:, None]
    >>> model = ConvexSpline(alpha=1e-6).fit(x, np.abs(x[:, 0]))
    >>> abs(model.knots_).max() < 1e-9, model.certificate_.proves(1e-6)
    (np.True_, True)
    """

    _held = (
        "network_",
        "knots_",
        "decay_",
        "certificate_",
        "alpha_max_",
        "dual_",
        "fingerprint_",
    )

    def __init__(self, alpha: float = 1e-3, *, skip: bool = False, tol: float = 1e-6) -> None:
        self.alpha = alpha
        self.skip = skip
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "ConvexSpline":
        """Train on samples `X` (n, 1) and targets `y` (n,); return self."""
        for name in ("alpha", "tol"):
            value = getattr(self, name)
            if not (isinstance(value, int | float | np.number) and 0 < float(value) < np.inf):
                raise ValueError(f"{name} is {value!r}; expected a positive number")
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        x, y = self._column(X), np.asarray(y, dtype=np.float64)
        memory.require(memory.of_splines(len(x)), ways_out="fit on fewer samples")
        given, kept = positive_weights(sample_weight, len(x))
        loss = mean_loss(Squared(), y[kept, None], given[kept])
        data = Places.of(x[kept], loss, float(self.alpha), bool(self.skip))
        self.fingerprint_ = fingerprint(X, y[:, None], given)
        spline, proof = data.optimum()
        self.network_, self.decay_ = data.network(spline), data.penalty(spline)
        self.knots_ = data.knots[1:-1][spline.kinks != 0] if len(data.knots) > 2 else np.zeros(0)
        dual = np.zeros((len(x), 1))
        dual[kept] = proof
        self.dual_ = dual
        self.alpha_max_ = data.gauge(-loss.gradient(data.null())) * data.alpha
        upper = loss.value(evaluate(self.network_, X[kept])) + float(self.alpha) * self.decay_
        self.certificate_ = Certificate(
            upper=upper,
            lower=data.bound(proof),
            scope=Scope.ALL_NETWORKS,
            exactness=Exactness.EXACT,
            bound="closed form",
            resolution=1e-14 * loss.value(np.zeros((int(kept.sum()), 1))),
        )
        if not self.certificate_.proves(self.tol):
            warnings.warn(
                f"the relative gap is {self.certificate_.relative_gap:.1e}, above tol "
                f"{self.tol:.1e}; merge values of X that are nearly equal",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _settle(self, features: Any) -> None:
        """Raise ValueError where what a file held does not fit together."""
        if features != 1 or np.shape(self.network_.skip) != (1, 1) or self.dual_.ndim != 2:
            raise ValueError("its network is not one of a column, or its dual vector no column")

    def predict(self, X: Any) -> Floats:
        """Return the spline at samples (n, 1), (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(evaluate(self.network_, X)[:, 0])

    def evidence(self, X: Any, y: Any, sample_weight: Any = None) -> Evidence:
        """Return what `verify` checks: the claim, and what these data say about it."""
        check_is_fitted(self)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, reset=False)
        x, y = self._column(X), np.asarray(y, dtype=np.float64)
        given, kept = positive_weights(sample_weight, len(x))
        loss = mean_loss(Squared(), y[kept, None], given[kept])
        data = Places.of(x[kept], loss, float(self.alpha), bool(self.skip))
        other = fingerprint(X, y[:, None], given) != self.fingerprint_
        sizes = np.abs(self.network_.weights_in[:, 0] * self.network_.weights_out[:, 0])
        outputs = evaluate(self.network_, X[kept])
        return Evidence(
            claim=self.certificate_,
            program=self._program(X[kept], loss),
            objective=loss.value(outputs) + float(self.alpha) * float(sizes.sum()),
            dual=self.dual_[kept] if self.dual_.shape == (len(x), 1) else np.zeros_like(outputs),
            prove=data.bound,
            objections=("these are not the data that the model was trained on",) * other,
        )

    def _program(self, X: Floats, loss: Mean) -> Program:
        words = {"intercept": True, "skip": bool(self.skip)}
        weights = loss.weights[:, 0]
        problem = open_problem_of(ReLU(), X, loss.target, weights, Squared(), **words)
        program: Program = problem.program
        return program

    def _column(self, X: Floats) -> Floats:
        if X.shape[1] != 1:
            raise ValueError(f"X has {X.shape[1]} columns; a spline has one: use ConvexRegressor")
        return np.asarray(X[:, 0])
