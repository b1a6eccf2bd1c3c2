"""The estimators that choose alpha themselves, with every word that the choice can have."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from cvxnn.architectures import Architecture
from cvxnn.arrays import Array
from cvxnn.estimators import ConvexClassifier, ConvexRegressor
from cvxnn.functions import SampleLoss
from cvxnn.samples import Rows
from cvxnn.selection import Fold, Measure, Search, Table, folds_from, misclassified, squared_error
from cvxnn.solve import Progress, Solver


class _Validated:
    """What both have in common: where folds, grid and rule come from."""

    alpha = "auto"
    alphas: Any
    ratio: float
    cv: Any
    rule: str
    scoring: str
    refit: str
    n_jobs: int | None

    def _search(self) -> Search:
        if self.refit not in ("all", "average"):
            raise ValueError(f"refit is {self.refit!r}; expected 'all' or 'average'")
        return Search(
            alphas=self.alphas,
            ratio=self.ratio,
            rule=self.rule,
            patience=0 if np.ndim(self.alphas) else None,
            n_jobs=self.n_jobs,
            keep=self.refit == "average",
        )

    def _folds(self: Any, rows: Rows, seed: int) -> list[Fold]:
        if isinstance(self.cv, (int, np.integer)):
            if self.cv < 2:
                raise ValueError(f"cv is {self.cv}; expected at least 2 folds, or a splitter")
            return list(self._content_folds(rows, int(self.cv), seed))
        y = rows.target[:, 0] if rows.labels is None else rows.labels
        splits = check_cv(self.cv, y, classifier=rows.labels is not None).split(rows.X, y)
        samples = rows.samples
        return folds_from(splits, samples.owner, rows.weights, len(samples.index))

    def _keep(self: Any, table: Table) -> None:
        self.alpha_path_, self.alphas_, self.losses_ = table.rows, table.alphas, table.losses


class ConvexRegressorCV(_Validated, ConvexRegressor):
    """`ConvexRegressor` with alpha chosen by cross-validation.

    Every fold goes down one warm-started path, from half of `alpha_max_`; the network is then
    trained on all samples at the alpha chosen, and its certificate is about that training.
    With skip="auto" there are two paths a fold, and what is told is of the better one.

    Parameters
    ----------
    alphas : int or array (k,), default=16
        How many strengths, falling geometrically, or the strengths themselves. Those that were
        counted end early when two of them in turn (three where wrong labels are counted) were no
        better than one before.
    ratio : float, default=1e-4
        The least strength over `alpha_max_`, in (0, 1).
    cv : int or splitter or iterable of (train, test), default=5
        A number of folds: drawn by the content of the samples, so that equal samples share a fold
        and the order of the rows does not matter. Or any splitter of scikit-learn without groups.
    rule : {"min", "1se"}, default="min"
        The least mean validation loss, or the largest alpha within a standard error of it.
    scoring : {"loss", "squared_error"}, default="loss"
        What is compared on the samples that were left out.
    refit : {"all", "average"}, default="all"
        "all" trains on all samples at the strength chosen. "average" takes the mean of the folds'
        networks there, which is a two-layer network too and costs nothing more. It was trained for
        no objective of its own: its certificate says what is proved of it, with a wide gap.
    n_jobs : int or None, default=None
        Folds at a time, each in its own process and on one thread; the result is the same.
    architecture, loss, gates, n_gates, solver, tol, fit_intercept, skip, rank, max_iter, \
    max_time, proof_time, device, warm_start, random_state, callbacks, verbose
        As in `ConvexRegressor`. When `max_time` is short, or on an interrupt, the best of the
        strengths that all folds finished is taken, with a warning.

    Attributes
    ----------
    alpha_ : float
        The strength chosen.
    alphas_ : array (k,)
        The strengths that were tried, falling.
    losses_ : array (k, folds)
        The mean validation loss of every fold.
    alpha_path_ : array (k, 3)
        Rows of alpha, mean loss and its standard error.

    All others are those of `ConvexRegressor`.

    Raises
    ------
    ValueError
        As `ConvexRegressor`, and for folds without samples and words out of range.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 60)[:, None]
    >>> model = ConvexRegressorCV(alphas=6, ratio=1e-3).fit(X, np.abs(X[:, 0]))
    >>> round(model.score(X, np.abs(X[:, 0])), 2), model.losses_.shape[1]
    (1.0, 5)
    """

    def __init__(
        self,
        architecture: str | Architecture = "relu",
        *,
        alphas: int | Array = 16,
        ratio: float = 1e-4,
        cv: Any = 5,
        rule: str = "min",
        scoring: str = "loss",
        refit: str = "all",
        n_jobs: int | None = None,
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
        self.alphas = alphas
        self.ratio = ratio
        self.cv = cv
        self.rule = rule
        self.scoring = scoring
        self.refit = refit
        self.n_jobs = n_jobs
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

    def _measure(self, outputs: int) -> Measure:
        measures = {"loss": self._loss(outputs).value, "squared_error": squared_error}
        return _named(self.scoring, measures)


class ConvexClassifierCV(_Validated, ConvexClassifier):
    """`ConvexClassifier` with alpha chosen by cross-validation, as in `ConvexRegressorCV`.

    Parameters
    ----------
    scoring : {"accuracy", "loss"}, default="accuracy"
        What is compared on the samples that were left out; of equal accuracies the one with the
        lesser loss is taken.
    alphas, ratio, cv, rule, refit, n_jobs
        As in `ConvexRegressorCV`; folds are stratified.
    architecture, loss, class_weight, gates, n_gates, solver, tol, fit_intercept, skip, rank, \
    max_iter, max_time, proof_time, device, warm_start, random_state, callbacks, verbose
        As in `ConvexClassifier`.

    Attributes
    ----------
    alpha_, alphas_, losses_, alpha_path_
        As in `ConvexRegressorCV`; with "accuracy" the losses are shares of wrong labels.

    All others are those of `ConvexClassifier`.

    Raises
    ------
    ValueError
        As `ConvexClassifier`, and for folds without samples and words out of range.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = ConvexClassifierCV("gated", alphas=5, n_gates=30, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        architecture: str | Architecture = "relu",
        *,
        alphas: int | Array = 16,
        ratio: float = 1e-4,
        cv: Any = 5,
        rule: str = "min",
        scoring: str = "accuracy",
        refit: str = "all",
        n_jobs: int | None = None,
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
        self.alphas = alphas
        self.ratio = ratio
        self.cv = cv
        self.rule = rule
        self.scoring = scoring
        self.refit = refit
        self.n_jobs = n_jobs
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

    def _measure(self, outputs: int) -> Measure:
        return _named(self.scoring, {"accuracy": misclassified, "loss": self._loss(outputs).value})


def _named(scoring: str, measures: dict[str, Measure]) -> Measure:
    if scoring not in measures:
        raise ValueError(
            f"scoring is {scoring!r}; expected one of {', '.join(map(repr, measures))}"
        )
    return measures[scoring]
