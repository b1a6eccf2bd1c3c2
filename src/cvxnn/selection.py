"""Which strength suits the data: one path a fold, and a rule that reads the validation losses."""

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from cvxnn.architectures import Architecture, Network
from cvxnn.arrays import Array, device, double, namespace, to_numpy
from cvxnn.errors import CertificateWarning
from cvxnn.linalg import threads
from cvxnn.path import Mark, grid, interior_dual, path, row_keys
from cvxnn.program import Iterate
from cvxnn.solve import Solver

Floats = NDArray[np.float64]
Measure = Callable[[Array, Array], Array]
"""The loss (n,) of outputs (n, c) against targets (n, c), the smaller the better."""


class Seen(NamedTuple):
    """What a fold says of a strength."""

    score: float
    """The mean validation loss by the measure."""
    loss: float
    """By the loss that is trained."""
    network: Network | None
    """In host memory, where networks are kept."""


RULES = ("min", "1se")
_PATIENCE, _DOUBT = 2, 3
"""Strengths without a better mean loss after which the paths end, and of wrong labels, whose shares
are steps: another choice in none of 63 fits, and in 3 of 168 for want of a fourth."""
_EQUAL = 1e-9
"""Relative difference of mean losses that is rounding."""
_AHEAD = 4
"""Strengths that a parallel fold goes ahead before patience is asked."""


@dataclass(frozen=True)
class Search:
    """How alpha is chosen: the grid, the rule, and when to stop descending."""

    alphas: int | Floats = 16
    """How many, or the strengths themselves, in any order."""
    ratio: float = 1e-4
    """The least strength over the largest."""
    rule: str = "min"
    """"min": the least mean loss; "1se": the largest alpha within a standard error of it."""
    patience: int | None = None
    """Strengths without a better mean loss after which the paths end; 0: they never do; None: two,
    or three where what is counted are labels."""
    tol: float = 1e-3
    """Relative gap of the solves inside the folds."""
    rough: float = 1e-2
    """The same with cones, where the last digits cost most of the time."""
    max_iter: int = 2000
    n_jobs: int | None = None
    """Folds at a time, each in its own process; None: one, in this process."""
    keep: bool = False
    """Whether the networks of the folds are kept."""

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}; expected one of 'min', '1se'")
        if not 0 < self.ratio < 1:
            raise ValueError(f"ratio is {self.ratio}; it must lie between 0 and 1")

    def strengths(self, largest: float) -> Floats:
        """Return the alphas (k,), falling; `largest` is the least that leaves no neurons."""
        if isinstance(self.alphas, (int, np.integer)):
            if self.alphas < 1:
                raise ValueError(f"alphas is {self.alphas}; expected at least 1, or the strengths")
            return grid(largest, self.ratio, int(self.alphas))
        given = np.unique(np.asarray(self.alphas, dtype=np.float64))[::-1]
        if given.ndim != 1 or not len(given) or not np.all((given > 0) & np.isfinite(given)):
            raise ValueError(
                f"alphas is {self.alphas!r}; expected how many strengths, or positive finite ones"
            )
        return given


class Fold(NamedTuple):
    """The weights (n,) of the samples in training and in validation; zero where they have none."""

    train: Floats
    test: Floats


class Table(NamedTuple):
    """What cross-validation saw, a row a strength."""

    alphas: Floats
    """(k,), falling."""
    losses: Floats
    """(k, folds): the mean validation loss of every fold."""
    weights: Floats
    """(folds,): what a fold counts, summing to 1."""
    guide: Floats
    """(k,): the mean of the loss that is trained, which may still fall while labels stay."""
    networks: tuple[tuple[Any, ...], ...] = ()
    """The networks of every strength, one a fold, where they were kept."""

    @property
    def mean(self) -> Floats:
        """The mean loss of all validated samples, (k,)."""
        return np.asarray(self.losses @ self.weights)

    @property
    def error(self) -> Floats:
        """The standard error of the mean over folds, (k,); zero with one fold."""
        folds = self.losses.shape[1]
        spread = self.losses.std(axis=1, ddof=1) if folds > 1 else np.zeros(len(self.losses))
        return np.asarray(spread / np.sqrt(folds))

    @property
    def rows(self) -> Floats:
        """(k, 3): alpha, mean loss, standard error."""
        return np.column_stack([self.alphas, self.mean, self.error])

    def best(self, rule: str) -> int:
        """Return the row that a rule chooses.

        Of equal losses, as shares of labels often are, the one that is trained decides, and then
        the larger alpha.
        """
        mean, least = self.mean, int(np.argmin(self.mean))
        if rule == "min":
            equal = np.flatnonzero(mean <= mean[least] * (1 + _EQUAL))
            return int(equal[np.argmin(self.guide[equal])])
        return int(np.flatnonzero(mean <= mean[least] + self.error[least])[0])

    def ended(self, patience: int) -> bool:
        """Tell whether the last `patience` strengths were no better than one before them."""
        latest = max(int(np.argmin(self.mean)), int(np.argmin(self.guide)))
        return 0 < patience <= len(self.alphas) - 1 - latest


def cross_validate(
    problem: Any,
    alphas: Floats,
    folds: list[Fold],
    solver: Solver,
    measure: Measure,
    search: Search,
    deadline: float | None = None,
) -> Table:
    """Return the validation losses of strengths `alphas` (k,), falling, over `folds`.

    Every fold goes down its own path, each solution the start of the next, on one thread; all stop
    after some strengths without gain, so that the table does not depend on n_jobs.
    After an interrupt, or at `deadline` (of `time.perf_counter`), the strengths that all folds
    have finished are returned and a warning says so; with none the interrupt is raised again.

    An error inside a fold is raised with a note of the fold and the strength.
    """
    runs = [
        _Run(problem, fold, f"fold {k + 1} of {len(folds)}", solver, measure, search)
        for k, fold in enumerate(folds)
    ]
    weights = np.array([fold.test.sum() for fold in folds])
    patience = search.patience
    if patience is None:
        patience = _DOUBT if measure is misclassified else _PATIENCE
    rows: list[list[Seen]] = []
    ahead = 1 if search.n_jobs in (None, 1) else _AHEAD
    parallel = Parallel(n_jobs=search.n_jobs)
    behind: list[list[Mark]] = [[] for _ in folds]

    def table() -> Table:
        losses = np.array([[seen.score for seen in row] for row in rows])
        guide = np.array([[seen.loss for seen in row] for row in rows])
        kept = [tuple(seen.network for seen in row) for row in rows] if search.keep else []
        share = weights / weights.sum()
        return Table(alphas[: len(rows)], losses, share, guide @ share, tuple(kept))

    try:
        while len(rows) < len(alphas):
            some = alphas[len(rows) : len(rows) + ahead]
            done = parallel(
                delayed(run)(some, marks) for run, marks in zip(runs, behind, strict=True)
            )
            behind = [marks for _, marks in done]
            for row in zip(*(seen for seen, _ in done), strict=True):
                rows.append(list(row))
                if table().ended(patience):
                    return table()
            if deadline is not None and time.perf_counter() > deadline and len(rows) < len(alphas):
                _cut("the time for it was over", rows, alphas)
                break
    except KeyboardInterrupt:
        if not rows:
            raise
        _cut("it was interrupted", rows, alphas)
    return table()


def _cut(why: str, rows: list[list[Seen]], alphas: Floats) -> None:
    warnings.warn(
        f"cross-validation ended early, {why}: alpha is the best of {len(rows)} of {len(alphas)} "
        "strengths",
        CertificateWarning,
        stacklevel=5,
    )


class _Run:
    """A fold on its way down the path."""

    def __init__(
        self,
        problem: Any,
        fold: Fold,
        name: str,
        solver: Solver,
        measure: Measure,
        search: Search,
    ) -> None:
        keep, self.rows = np.flatnonzero(fold.train), np.flatnonzero(fold.test)
        index = namespace(problem.X).asarray(keep, device=device(problem.X))
        train = problem.subset(index, fold.train[keep])
        self.train = train.within(interior_dual(train.program))
        held = namespace(problem.X).asarray(self.rows, device=device(problem.X))
        self.problem, self.held = problem, held
        target = problem.program.loss.target
        self.target = namespace(target).take(target, held, axis=0)
        self.weights = fold.test[self.rows] / fold.test.sum()
        self.loss = problem.program.loss.loss.value
        self.solver, self.measure, self.search = solver, measure, search
        self.tol = search.tol if train.program.constraint is None else search.rough
        self.name = name

    def __call__(self, alphas: Floats, behind: Sequence[Mark]) -> tuple[list[Seen], list[Mark]]:
        """Return what there is to see at some strengths, and the last two solutions."""
        limits = {"tol": self.tol, "max_iter": self.search.max_iter}
        seen, marks = [], list(behind)
        with threads(None):
            try:
                for alpha, solution in path(self.train, alphas, self.solver, behind, **limits):
                    marks = [*marks[-1:], Mark(alpha, solution.iterate)]
                    seen.append(self._seen(alpha, solution.iterate))
            except Exception as error:
                alpha = alphas[len(seen)]
                error.add_note(f"in cross-validation: {self.name}, alpha = {alpha:.6g}")
                raise
        return seen, marks

    def _seen(self, alpha: float, iterate: Iterate) -> Seen:
        outputs = self.problem.outputs(self.train.at(alpha), iterate, self.held)
        score, loss = (
            float(self.weights @ to_numpy(double(each(outputs, self.target))))
            for each in (self.measure, self.loss)
        )
        if not self.search.keep:
            return Seen(score, loss, None)
        network = self.train.at(alpha).network(iterate)
        return Seen(score, loss, _on_host(self.train.architecture, network))


def _on_host(architecture: Architecture, network: Network) -> Network:
    held = network.parameters().items()
    return architecture.network({name: to_numpy(value) for name, value in held})


def misclassified(outputs: Array, target: Array) -> Array:
    """Return 1. where outputs (n, c) have another class than targets, one-hot or +-1."""
    found, truth = to_numpy(outputs), to_numpy(target)
    if truth.shape[1] == 1:
        return np.asarray((found[:, 0] > 0) != (truth[:, 0] > 0), dtype=np.float64)
    return np.asarray(found.argmax(axis=1) != truth.argmax(axis=1), dtype=np.float64)


def squared_error(outputs: Array, target: Array) -> Array:
    """Return the squared distance of outputs and targets, (n,)."""
    return namespace(outputs).sum((outputs - target) ** 2, axis=1)


def folds_of(groups: NDArray[np.int64], weights: Floats) -> list[Fold]:
    """Return the folds that leave out one group each, from the group of every sample (n,)."""
    return [
        Fold(np.where(groups == k, 0.0, weights), np.where(groups == k, weights, 0.0))
        for k in np.unique(groups)
    ]


def folds_from(
    splits: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]],
    owner: NDArray[np.int64],
    weights: Floats,
    count: int,
) -> list[Fold]:
    """Return the folds of (train, test) row indices, as `owner` (n,) merges rows into samples.

    Raises ValueError for a split without training or test rows of positive weight.
    """
    folds = []
    for number, (train, test) in enumerate(splits):
        sides = [np.asarray(rows, dtype=np.int64) for rows in (train, test)]
        sides = [rows[owner[rows] >= 0] for rows in sides]
        totals = [np.bincount(owner[rows], weights[rows], minlength=count) for rows in sides]
        fold = Fold(*(np.asarray(total, dtype=np.float64) for total in totals))
        for name, side in zip(("training", "test"), fold, strict=True):
            if not side.any():
                raise ValueError(
                    f"split {number} of cv has no {name} rows of positive weight; pass splits with "
                    "rows on both sides"
                )
        folds.append(fold)
    if not folds:
        raise ValueError("cv gives no splits; pass a number of folds, or at least one split")
    return folds


def content_folds(
    X: Array, y: Array, folds: int, labels: Array | None, seed: int
) -> NDArray[np.int64]:
    """Return the fold (n,) of every sample, from the samples' own content.

    Equal samples share a fold, and the order of the samples does not matter. With `labels` the
    folds are stratified.
    """
    keys = row_keys(X, y, int(seed).to_bytes(8, "little"))
    result = np.empty(len(keys), dtype=np.int64)
    strata = np.zeros(len(keys)) if labels is None else labels
    first = 0
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        order = np.unique(keys[members], return_inverse=True)[1]
        result[members] = (order + first) % folds
        first += int(order.max()) + 1
    return result
