"""Convex networks as scikit-learn estimators."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from cvxnn.architectures import Architecture
from cvxnn.arrays import Array
from cvxnn.certificate import Evidence
from cvxnn.estimator import ConvexNetworkBase, Floats
from cvxnn.evidence import evidence_of
from cvxnn.functions import CrossEntropy, SampleLoss
from cvxnn.samples import positive_weights
from cvxnn.selection import Measure, misclassified
from cvxnn.solve import Progress, Solver


class ConvexRegressor(RegressorMixin, ConvexNetworkBase):
    """Two-layer networks for regression, trained to a certified optimum.

    Minimises, over networks f with neurons (u_j, a_j) of the architecture,

        mean loss(f(x_i), y_i) + alpha * sum_j |u_j| |a_j|

    which at the optimum is mean loss + alpha/2 * (sum of squares of all weights but intercept and
    skip): weight decay on a mean loss. The program that is solved is convex [Pilanci2020];
    `certificate_` holds an upper and a lower bound on the best objective in its scope.

    Parameters
    ----------
    architecture : str or Architecture, default="relu"
        "relu", "gated", "batchnorm", "batchnorm_after", "threshold", "sign", "polynomial",
        "quadratic", "deep", "deep_gated", "deep_linear", "deep_threshold", "deep_sign", "circular",
        "circular_gated", or an object such as `ReLU(bias=False)`; for images `ConvReLU(shape=...)`
        and `ConvGated(shape=...)`, which "conv" and "conv_gated" are for those of 28 x 28 pixels,
        and with three layers `DeepConvReLU` and `DeepConvGated`, "deep_conv" and "deep_conv_gated";
        for sequences "linear_attention", "gated_attention", "linear_mixer", "gated_mixer",
        `Attention(...)` or `Mixer(...)`.
    alpha : float or "auto", default="auto"
        Strength of weight decay, > 0. "auto" takes the best of a warm-started geometric path below
        `alpha_max_` by five-fold validation of the loss; `ConvexRegressorCV` has more to say.
    loss : str or SampleLoss, default="squared"
        "squared" (half the squared error), "huber", "quantile", or an object such as
        `Quantile(0.9)`.
    gates : "auto", "grow", "sample", "enumerate" or array (p, d) or (p, d + 1), default="auto"
        "grow" trains over all ReLU networks of any width, adding neurons while one is found that
        helps, and over all threshold and sign networks, adding half-spaces. The others fix the
        activation patterns: Gaussian gates, every pattern of the data, or your own generators,
        whose last column belongs to the bias if there is one. "auto" is "grow" for these networks
        with a smooth loss, unless a solver for given gates is named, and "sample" else. Polynomial
        and quadratic networks have no gates: leave "auto".
    n_gates : int, default=256
        Number of Gaussian gates drawn; equal patterns are kept once.
    solver : str or Solver, default="auto"
        "auto", on given gates "fista", "subspace", "newton", "admm", "working_set" or
        "reference", for symmetric matrices "factored" too; `solution_` says which "auto" took
        and why.
    tol : float, default=1e-4
        Relative duality gap at which to stop.
    fit_intercept : bool, default=True
        Add an unpenalised output intercept.
    skip : bool or "auto", default=False
        Add an unpenalised linear skip connection. "auto", with alpha="auto", validates without and
        with one and takes the less loss, without of equals.
    rank : int or None, default=None
        Train on the first `rank` right singular vectors of X alone: fewer columns and patterns.
        The network acts on all columns; its neurons, and a skip connection, lie in their span.
        Columns are not centred: standardise first. At most the rank of X.
    max_iter : int, default=20000
        Iterations of the solver.
    max_time : float or None, default=None
        Seconds for the whole fit; the best network so far is kept.
    proof_time : float, default=1.0
        Seconds for the proof over all networks after gates="grow"; 0: the quick bound alone.
    device : str or None, default=None
        None solves in NumPy; "cpu" or "cuda" solves on torch tensors there.
    warm_start : bool, default=False
        Start from the last solution, on the gates of the last fit.
    random_state : int, RandomState or None, default=None
        Seed of the gates and of the validation folds.
    callbacks : sequence of callables or None, default=None
        Each is given a `Progress` at every check of the gap; returning True stops the run.
    verbose : int, default=0
        Print a line at every check of the gap.

    Attributes
    ----------
    network_ : Network
        Callable on (n, d); has `weights_in`, `weights_out`, `intercept`, `skip`, `n_neurons`.
    certificate_ : Certificate
        Bounds on the objective, with their scope. With `rank` they are about networks that see
        the leading directions alone, and `certificate_.whole` is a lower bound on the others too.
    solution_ : Solution
        Status, iterations, trace, the solver and the reason for it.
    alpha_, alpha_max_ : float
        The strength used, and the smallest one whose best network is empty.
    skip_ : bool
        Whether there is a skip connection.
    dual_ : array (n, c)
        The dual vector that proves the lower bound, one row per sample of positive weight.
    generators_ : array (p, d) or (p, d + 1)
        The gates.
    estimated_gap_ : float or None
        For grown networks the relative gap to the best of all, if a wide search for better neurons
        missed none. An estimate: only `certificate_` is proved.
    directions_ : array (d, rank) or None
        The singular vectors that the network sees; None: all columns.
    encoder_ : ColumnEncoder or None
        What turned a frame with text or categories into numbers; None where all were numbers.
    n_iter_, n_features_in_, feature_names_in_
        As in scikit-learn.

    Raises
    ------
    ValueError
        For data that are not finite or of the wrong shape, and for options out of range.
    DataChangedError
        When the file of a memory map was cut off before the fit. A file that changes during it ends
        it with the best network of before and a ConvergenceWarning.
    MemoryBudgetError
        When the fit would not fit into memory; nothing has been allocated then.

    Examples
    --------
    >>> import numpy as np
    >>> from cvxnn import ReLU
    >>> X = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])
    >>> model = ConvexRegressor(
    ...     ReLU(bias=False), alpha=0.1 / 3, gates="enumerate", fit_intercept=False, tol=1e-6
    ... )
    >>> model.fit(X, [1.0, 2.0, -1.0]).certificate_.scope.name
    'ALL_NETWORKS'
    >>> print(f"{3 * model.certificate_.upper:.4f}", model.network_.n_neurons)
    0.2310 2
    """

    _losses = ("squared", "huber", "quantile")

    def __init__(
        self,
        architecture: str | Architecture = "relu",
        *,
        alpha: float | str = "auto",
        loss: str | SampleLoss = "squared",
        gates: str | Array = "auto",
        n_gates: int = 256,
        solver: str | Solver = "auto",
        tol: float = 1e-4,
        fit_intercept: bool = True,
        skip: bool | str = False,
        rank: int | None = None,
        max_iter: int = 20_000,
        max_time: float | None = None,
        proof_time: float = 1.0,
        device: str | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        callbacks: Iterable[Callable[[Progress], object]] | None = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.alpha = alpha
        self.loss = loss
        self.gates = gates
        self.n_gates = n_gates
        self.solver = solver
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.skip = skip
        self.rank = rank
        self.max_iter = max_iter
        self.max_time = max_time
        self.proof_time = proof_time
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "ConvexRegressor":
        """Train on samples `X` (n, d) and targets `y` (n,) or (n, c); return self.

        For convolutional architectures `X` may be images (n, C, H, W) or signals (n, C, L) too, for
        attention it is sequences (n, tokens, width).
        Columns of a frame that hold text or categories become one column a category.

        `X` is an array, a memory map or a sparse matrix. With architecture "gated" large data are
        read by row blocks and not copied; ReLU networks, enumerated gates, `skip` and `device` make
        sparse and mapped data dense, or raise MemoryBudgetError where these would not fit.
        """
        X, y = self._checked(X, y, reset=True, multi_output=True, y_numeric=True)
        self._single = y.ndim == 1
        self._fit(X, self._target(y), sample_weight, None)
        return self

    def predict(self, X: Any) -> Array:
        """Return the predictions for samples (n, d), shaped like the targets of `fit`."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._single else outputs

    def evidence(self, X: Any, y: Any, sample_weight: Any = None) -> Evidence:
        """Return what `verify` checks: the claim, and what these data say about it."""
        X, y = self._checked(X, y, reset=False, multi_output=True, y_numeric=True)
        return evidence_of(self, X, self._target(y), sample_weight)

    def _target(self, y: Any) -> Floats:
        columns = np.asarray(y, dtype=np.float64)
        return columns[:, None] if columns.ndim == 1 else columns

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _has_probabilities(estimator: "ConvexClassifier") -> bool:
    if estimator.loss != "logistic":
        raise AttributeError(
            f"predict_proba needs loss='logistic' and loss is {estimator.loss!r}; other losses "
            "have no probabilities, use decision_function"
        )
    return True


class ConvexClassifier(ClassifierMixin, ConvexNetworkBase):
    """Two-layer networks for classification, trained to a certified optimum.

    As `ConvexRegressor`, with classes for targets: two classes give one output, with labels -1
    and 1; more classes give one output each.

    Parameters
    ----------
    loss : str or SampleLoss, default="logistic"
        "logistic" (softmax with more than two classes), "squared_hinge", "hinge" or "squared";
        these are summed over one-vs-rest outputs when there are more than two classes.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into the sample weights.
    architecture, alpha, gates, n_gates, solver, tol, fit_intercept, skip, rank, max_iter, \
    max_time, proof_time, device, warm_start, random_state, callbacks, verbose
        As in `ConvexRegressor`.

    Attributes
    ----------
    classes_ : array (k,)
        The class labels, sorted.
    network_, certificate_, solution_, alpha_, alpha_max_, skip_, dual_, generators_, encoder_,
    n_iter_, estimated_gap_, directions_
        As in `ConvexRegressor`.

    Raises
    ------
    ValueError
        For data that are not finite or of the wrong shape, one class, options out of range.
    MemoryBudgetError
        When the fit would not fit into memory; nothing has been allocated then.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> model = ConvexClassifier("gated", alpha=0.01, random_state=0).fit(X, ["a", "b", "b", "a"])
    >>> model.predict(X).tolist(), model.certificate_.proves(1e-4)
    (['a', 'b', 'b', 'a'], True)
    """

    _losses = ("logistic", "squared_hinge", "hinge", "squared")

    def __init__(
        self,
        architecture: str | Architecture = "relu",
        *,
        alpha: float | str = "auto",
        loss: str | SampleLoss = "logistic",
        class_weight: Any = None,
        gates: str | Array = "auto",
        n_gates: int = 256,
        solver: str | Solver = "auto",
        tol: float = 1e-4,
        fit_intercept: bool = True,
        skip: bool | str = False,
        rank: int | None = None,
        max_iter: int = 20_000,
        max_time: float | None = None,
        proof_time: float = 1.0,
        device: str | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        callbacks: Iterable[Callable[[Progress], object]] | None = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.alpha = alpha
        self.loss = loss
        self.class_weight = class_weight
        self.gates = gates
        self.n_gates = n_gates
        self.solver = solver
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.skip = skip
        self.rank = rank
        self.max_iter = max_iter
        self.max_time = max_time
        self.proof_time = proof_time
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "ConvexClassifier":
        """Train on samples `X` (n, d) and class labels `y` (n,); return self.

        Columns of a frame that hold text or categories become one column a category; `X` has any
        form that `ConvexRegressor.fit` takes.
        """
        X, y = self._checked(X, y, reset=True)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        weights, keep = positive_weights(sample_weight, len(y))
        self.classes_ = np.unique(y)
        if len(np.unique(y[keep])) < 2:
            raise ValueError(
                f"y has one class among the samples of positive weight, {y[keep].tolist()[0]!r}; a "
                "classifier needs samples of at least two classes"
            )
        labels = np.searchsorted(self.classes_, y)
        self._fit(X, self._target(labels), self._weights(y, weights), labels)
        return self

    def decision_function(self, X: Any) -> Array:
        """Return the outputs: (n,), positive for `classes_[1]`, or (n, k) for k > 2 classes."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict(self, X: Any) -> Array:
        """Return the class labels of samples (n, d)."""
        outputs = self._outputs(X)
        single = outputs.shape[1] == 1
        chosen = (outputs[:, 0] > 0).astype(int) if single else outputs.argmax(axis=1)
        return self.classes_[chosen]

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]  # scikit-learn is untyped
    def predict_proba(self, X: Any) -> Array:
        """Return the class probabilities (n, k) that the logistic or softmax loss implies."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([-outputs / 2, outputs / 2], axis=1)
        odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]  # scikit-learn is untyped
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))

    def evidence(self, X: Any, y: Any, sample_weight: Any = None) -> Evidence:
        """Return what `verify` checks: the claim, and what these data say about it."""
        X, y = self._checked(X, y, reset=False)
        y = column_or_1d(y)
        strange = np.setdiff1d(y, self.classes_)
        if len(strange):
            raise ValueError(
                f"y holds {strange.tolist()[0]!r}, which is none of the classes of the model, "
                f"{self.classes_.tolist()}"
            )
        weights, _ = positive_weights(sample_weight, len(y))
        labels = np.searchsorted(self.classes_, y)
        return evidence_of(self, X, self._target(labels), self._weights(y, weights))

    def _target(self, labels: Any) -> Floats:
        if len(self.classes_) == 2:
            return np.asarray(2.0 * labels[:, None] - 1.0)
        one_hot: Floats = np.eye(len(self.classes_))[labels]
        return one_hot if self.loss == "logistic" else 2.0 * one_hot - 1.0

    def _weights(self, y: Any, weights: Floats) -> Floats:
        return np.asarray(weights * compute_sample_weight(self.class_weight, y))

    def _measure(self, outputs: int) -> Measure:
        return misclassified

    def _loss(self, outputs: int) -> SampleLoss:
        if self.loss == "logistic" and outputs > 1:
            return CrossEntropy()
        return super()._loss(outputs)
