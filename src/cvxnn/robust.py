"""Classifiers trained against the worst of a ball around every sample, as convex programs."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from cvxnn.architectures import ReLU, evaluate
from cvxnn.certificate import Certificate, Exactness, Scope
from cvxnn.everywhere.neurons import Floats
from cvxnn.everywhere.robust import Answer, Robust
from cvxnn.everywhere.worst import WorstCase, worst_of
from cvxnn.gates.enumerate import cover_count
from cvxnn.support import as_data, require_network
from cvxnn.training import gates_of

_FEW = 20_000
"""Patterns times samples up to which "auto" takes all of them."""
_SIZE = 3_000_000
"""Most numbers in the largest map of the program."""


def worst_case(network: Any, X: Any, y: Any, *, radius: float, norm: str = "linf") -> WorstCase:
    """Return the worst margins of a ReLU network over the balls of radius around samples (n, d).

    `y` (n,) are -1 and 1. `proved` is a bound that no point of the ball falls below, `attained`
    what an attack found there; where no neuron changes its side in a ball they agree, and `exact`
    says that the worst case is known [Zhang2018]. `norm` is "linf" or "l2".

    Raises ValueError for labels other than -1 and 1 and options out of range, UnsupportedError for
    other than ReLU networks with one output.

    >>> from cvxnn import ReLUNetwork
    >>> network = ReLUNetwork(
    ...     weights_in=np.array([[1.0, 2.0]]),
    ...     weights_out=np.array([[1.0]]),
    ...     intercept=np.zeros(1),
    ...     skip=np.zeros((2, 1)),
    ... )
    >>> found = worst_case(network, [[1.0, 1.0]], [1], radius=0.5)
    >>> found.proved.tolist(), found.attained.tolist(), found.exact.tolist()
    ([1.5], [1.5], [True])
    """
    network = require_network(network)
    rows, signs = as_data(np.asarray(X), len(network.skip)), np.asarray(y, dtype=np.float64)
    if signs.shape != (len(rows),) or not np.isin(signs, (-1.0, 1.0)).all():
        raise ValueError("y must be (n,) of -1 and 1, the sides that the network should be on")
    _check(radius, norm)
    return worst_of(network, rows, signs, float(radius), norm)


class RobustClassifier(ClassifierMixin, BaseEstimator):
    """Two-layer ReLU networks for two classes, trained against the worst of a ball.

    Minimises, over networks no neuron of which changes its side of a sample within its ball,

        mean over i of max over |delta| <= radius of max(0, 1 - y_i f(x_i + delta))
        + alpha * sum_j |w_j| |a_j|

    Such networks are linear on every ball, so that the objective is that of the network in hand,
    exactly; over all networks it is an upper bound on the least one [Bai2022]. Patterns none of
    whose neurons keeps clear of the balls have no neurons: radii beyond the distance of classes
    leave the zero network.

    Parameters
    ----------
    alpha : float, default=1e-2
        Strength of weight decay, > 0.
    radius : float, default=0.1
        Of the ball, >= 0, in the units of X.
    norm : "linf" or "l2", default="linf"
        Which ball.
    bias : bool, default=True
        A hidden bias, which is not disturbed.
    gates : "auto", "enumerate", "sample" or array (p, d), default="auto"
        Activation patterns; "auto" takes all of small data and else draws `n_gates`.
    n_gates : int, default=64
        How many are drawn: with a bias one that is open everywhere, which makes a linear model, and
        half-spaces of random directions whose border lies in a wide gap between the samples.
    tol : float, default=1e-6
        Relative gap above which a ConvergenceWarning says what was attained.
    random_state : int, RandomState or None, default=None
        For "sample".

    Attributes
    ----------
    network_ : ReLUNetwork
    certificate_ : Certificate
        Upper: the objective of the network with the loss proved in the worst case. Lower: over
        networks on the given gates that are stable on every ball.
    all_networks_ : Certificate or None
        The same upper bound, with the optimum without disturbance as the lower one, which holds for
        all networks; None unless the gates are all patterns.
    generators_ : array (p, d) or (p, d + 1)
        Of the gates.
    worst_case_ : WorstCase
        On the training samples.
    classes_ : array (2,)

    Raises
    ------
    ValueError
        For other than two classes, data that are not finite and options out of range.

    Examples
    --------
    >>> X = 2 * np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    >>> model = RobustClassifier(alpha=0.025, radius=0.5, bias=False).fit(X, [1, 1, -1, -1])
    >>> round(4 * model.certificate_.upper, 7), model.worst_case_.exact.all()
    (0.2591534, np.True_)
    """

    _held = (
        "classes_",
        "generators_",
        "network_",
        "certificate_",
        "all_networks_",
        "worst_case_",
    )

    def __init__(
        self,
        alpha: Any = 1e-2,
        *,
        radius: float = 0.1,
        norm: str = "linf",
        bias: bool = True,
        gates: Any = "auto",
        n_gates: int = 64,
        tol: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.radius = radius
        self.norm = norm
        self.bias = bias
        self.gates = gates
        self.n_gates = n_gates
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "RobustClassifier":
        """Train on samples `X` (n, d) and labels `y` (n,); return self."""
        _check(self.radius, self.norm)
        for name in ("alpha", "tol"):
            value = getattr(self, name)
            if not (isinstance(value, int | float | np.number) and 0 < float(value) < np.inf):
                raise ValueError(f"{name} is {value!r}; expected a positive number")
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) != 2:
            raise ValueError(
                f"Only binary classification is supported. y has {len(self.classes_)} classes: "
                "sklearn.multiclass.OneVsRestClassifier trains one model against the rest for each"
            )
        signs = np.where(y == self.classes_[1], 1.0, -1.0)
        kind = ReLU(bias=bool(self.bias))
        features = np.asarray(kind.features(X))
        choice, rng = self._choice(features), self._rng()
        if kind.bias and isinstance(choice, str) and choice == "sample":
            choice = _clear(X, int(self.n_gates), rng)
        gates, scope = gates_of(kind, X, choice, int(self.n_gates), rng)
        self.generators_ = gates.generators
        if (size := features.size * features.shape[1] * 2 * len(gates)) > _SIZE:
            raise ValueError(
                f"the program has {size:,} numbers in one map and the limit is {_SIZE:,}; pass "
                "gates='sample' with fewer n_gates, or fewer samples"
            )
        words = (float(self.alpha), float(self.radius), self.norm, X.shape[1])
        program = Robust(features, signs, gates, *words)
        self._certify(program, kind, X, scope)
        return self

    def _certify(self, program: Robust, kind: ReLU, X: Floats, scope: Scope) -> None:
        """Solve, and compare the network's worst case with what is proved."""
        answer, signs = program.solve(), program.signs
        self.network_ = self._network(kind, program.gates, answer, program.features)
        self.worst_case_ = worst_of(self.network_, X, signs, float(self.radius), self.norm)
        upper = self.worst_case_.hinge()[1] + float(self.alpha) * self.network_.weight_decay()
        self.certificate_ = Certificate(
            upper=upper,
            lower=answer.lower,
            scope=Scope.STABLE_GATES,
            exactness=Exactness.EXACT,
            resolution=1e-12,
        )
        if not self.certificate_.proves(self.tol):
            warnings.warn(
                f"the relative gap is {self.certificate_.relative_gap:.1e}, above tol "
                f"{self.tol:.1e}; standardise the data",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.all_networks_: Certificate | None = None
        if scope is Scope.ALL_NETWORKS:
            clean = replace(program, radius=0.0).solve().lower if self.radius else answer.lower
            self.all_networks_ = replace(
                self.certificate_,
                lower=clean,
                scope=scope,
                exactness=Exactness.RELAXATION if self.radius else Exactness.EXACT,
                bound="enumeration",
            )

    def decision_function(self, X: Any) -> Floats:
        """Return the network's outputs at samples (n, d), (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(evaluate(self.network_, X)[:, 0])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the labels of samples (n, d)."""
        check_is_fitted(self)
        return np.asarray(self.classes_[(self.decision_function(X) > 0).astype(int)])

    def worst_case(self, X: Any, y: Any, radius: float | None = None) -> WorstCase:
        """Return the worst margins over balls around samples (n, d) with labels (n,)."""
        check_is_fitted(self)
        X, y = validate_data(self, X, y, dtype=np.float64, reset=False)
        signs = np.where(y == self.classes_[1], 1.0, -1.0)
        size = self.radius if radius is None else radius
        return worst_case(self.network_, X, signs, radius=size, norm=self.norm)

    def robust_score(self, X: Any, y: Any, radius: float | None = None) -> float:
        """Return the share of samples that are proved right all over their balls."""
        return float((self.worst_case(X, y, radius).proved > 0).mean())

    def _network(self, kind: ReLU, gates: Any, answer: Answer, features: Floats) -> Any:
        blocks = answer.blocks
        largest = float(np.linalg.norm(blocks, axis=1).max(initial=0.0))
        small = np.linalg.norm(blocks, axis=1) <= 1e-9 * max(largest, 1.0)
        blocks = np.where(small[:, None], 0.0, blocks)
        d = self.n_features_in_
        return kind.recover(gates, blocks[:, :, None], np.zeros(1), np.zeros((d, 1)), features)

    def _settle(self, features: Any) -> None:
        """Raise ValueError where what a file held does not fit together."""
        if len(self.classes_) != 2 or np.shape(self.network_.skip) != (features, 1):
            raise ValueError("its network is not one of two classes and of its features")

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31))

    def _choice(self, features: Floats) -> Any:
        if not (isinstance(self.gates, str) and self.gates == "auto"):
            return self.gates
        n, d = features.shape
        return "enumerate" if cover_count(n, min(n, d)) * n <= _FEW else "sample"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _clear(X: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return generators (count, d + 1) of patterns that neurons may keep all over the balls.

    The first is open everywhere; the others have a random direction and their border in one of the
    three widest gaps between the samples along it.
    """
    n, d = X.shape
    directions = rng.standard_normal((count, d + 1))
    directions[0] = np.append(np.zeros(d), 1.0)
    if n > 1:
        for direction in directions[1:]:
            places = np.sort(X @ direction[:d])
            gap = rng.choice(np.argsort(-np.diff(places))[:3])
            direction[d] = -(places[gap] + places[gap + 1]) / 2
    return directions


def _check(radius: Any, norm: Any) -> None:
    """Raise ValueError for a ball that is none."""
    if not (isinstance(radius, int | float | np.number) and 0 <= radius < np.inf):
        raise ValueError(f"radius is {radius!r}; expected a number >= 0")
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm is {norm!r}; expected 'linf' or 'l2'")
