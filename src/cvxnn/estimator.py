"""What the estimators share: everything but the meaning of y."""

import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, check_X_y, validate_data

from cvxnn import solver_choice, training
from cvxnn.architectures import Architecture, as_rows, by_rows, shaped
from cvxnn.arrays import Array, like, to_numpy
from cvxnn.certificate import Scope
from cvxnn.encoding import ColumnEncoder, holds_text
from cvxnn.errors import CertificateWarning
from cvxnn.functions import SampleLoss
from cvxnn.linalg import threads
from cvxnn.path import alpha_max, is_separated, null_start
from cvxnn.reading import (
    by_blocks,
    of_columns,
    on_device,
    report_progress,
    require_directions,
    require_fit,
    validated,
)
from cvxnn.samples import Rows, Samples, distinct_samples, fingerprint, positive_weights
from cvxnn.selection import Fold, Measure, Search, Table, content_folds, cross_validate, folds_of
from cvxnn.solve import Progress, Solver, Status
from cvxnn.streamed import held
from cvxnn.truncation import inward, leading_directions, on_all_columns, outward, seen_of

Floats = NDArray[np.float64]

_FLOATS = [np.float64, np.float32]
_FOLDS = 5
_SEARCH = 0.7
"""Share of `max_time` after which the search for alpha ends."""


class Choice(NamedTuple):
    """A problem, with or without a skip connection, and the strength to train it at."""

    problem: Any
    solver: Solver
    reason: str
    skip: bool
    largest: float
    """The least strength that leaves no neurons."""
    alpha: float
    table: Table | None
    """What cross-validation saw; None where the strength was given."""

    @property
    def loss(self) -> float:
        """The least mean validation loss; if there is none, 0 where no neuron helps, or inf."""
        unseen = np.inf if self.largest > 0 else 0.0
        return unseen if self.table is None else float(self.table.mean.min())

    @property
    def networks(self) -> tuple[Any, ...]:
        """The folds' networks at the strength chosen, where they were kept."""
        if self.table is None or not self.table.networks:
            return ()
        return self.table.networks[int(np.argmin(np.abs(self.table.alphas - self.alpha)))]


class ConvexNetworkBase(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The contract with scikit-learn, and the way from arrays to a certified network."""

    _losses: ClassVar[tuple[str, ...]]
    architecture: str | Architecture
    alpha: Any
    loss: str | SampleLoss
    gates: Any
    n_gates: Any
    solver: str | Solver
    tol: float
    fit_intercept: bool
    skip: Any
    rank: Any
    max_iter: int
    max_time: Any
    proof_time: Any
    device: str | None
    warm_start: bool
    random_state: Any
    callbacks: Iterable[Callable[[Progress], object]] | None
    verbose: int

    def _checked(self, X: Any, y: Any = "no_validation", *, reset: bool, **words: Any) -> Any:
        """Return the samples as numbers, and the targets beside them if there are any."""
        if not reset:
            check_is_fitted(self)
        if reset:
            self.architecture_ = shaped(training.architecture_of(self.architecture), X)
        X = as_rows(self.architecture_, X)
        if reset:
            self.encoder_ = ColumnEncoder().fit(X) if holds_text(X) else None
        if self.encoder_ is None:
            return validated(self, X, y, reset=reset, **words)
        validate_data(self, X, reset=reset, skip_check_array=True)
        numbers = self.encoder_.transform(X)
        if isinstance(y, str) and y == "no_validation":
            return numbers
        return check_X_y(numbers, y, dtype=_FLOATS, estimator=self, **words)

    def _fit(self, X: Any, target: Floats, weights: Any, labels: Any) -> None:
        architecture = self.architecture_
        grown = training.grows(architecture, self._choice(architecture, target.shape[1]))
        with threads(None if grown else X.size):
            self._train(X, target, weights, labels)

    def _train(self, X: Any, target: Floats, weights: Any, labels: Any) -> None:
        begin = time.perf_counter()
        self._check_limits()
        weights, _ = positive_weights(weights, X.shape[0])
        architecture = self.architecture_
        self._require_memory(architecture, X, target.shape[1])
        X = held(X, by_blocks(self, architecture))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        samples = distinct_samples(X, target, weights)
        self.fingerprint_ = fingerprint(X, target, weights)
        self.directions_ = self._directions(X, samples)
        seen = X if self.directions_ is None else seen_of(X, self.directions_)
        rows = Rows(seen, target, weights, labels, samples, begin)
        choice = self._chosen(architecture, rows, seed)
        self.alpha_max_, self.alpha_, self.skip_ = choice.largest, choice.alpha, choice.skip
        if choice.table is not None:
            self._keep(choice.table)
        problem = choice.problem.at(self.alpha_)
        trained = self._trained(problem, choice, begin)
        generators = None if trained.gates is None else trained.gates.generators
        if (directions := self.directions_) is not None:
            if generators is not None and of_columns(architecture):
                generators = outward(generators, directions)
            data = X[samples.index], samples.weights
            network, claim = on_all_columns(
                problem, trained.network, trained.certificate, *data, directions
            )
            trained = replace(trained, network=network, certificate=claim)
        self.network_ = architecture.network(
            {name: to_numpy(value) for name, value in trained.network.parameters().items()}
        )
        self.certificate_, self.solution_ = trained.certificate, trained.solution
        self.estimated_gap_ = trained.estimate
        self.generators_ = self.network_.rules if generators is None else generators
        self.dual_, self.proof_ = samples.spread(to_numpy(trained.dual)), trained.proof
        self.n_iter_ = max(1, trained.solution.iterations)
        self._n_features_out = math.prod(self.network_.weights_out.shape[:-1])
        self._report()

    def _directions(self, X: Any, samples: Samples) -> Floats | None:
        """Return the leading directions (d, rank) of the samples, None where all are seen."""
        if self.rank is None:
            return None
        require_directions(self.architecture_)
        return leading_directions(X[samples.index], samples.weights, self.rank)

    def _trained(self, problem: Any, choice: "Choice", begin: float) -> training.Trained:
        """Return the network of the strength chosen, by training or from the folds' networks."""
        if choice.networks:
            return training.average(
                problem, choice.networks, tol=self.tol, proof_time=self.proof_time
            )
        return training.train(
            problem,
            choice.solver,
            start=self._warm(problem),
            tol=self.tol,
            max_iter=self.max_iter,
            max_time=None if self.max_time is None else self._left(begin),
            proof_time=self.proof_time,
            callbacks=self._callbacks(),
            reason=choice.reason,
        )

    def _chosen(self, architecture: Architecture, rows: Rows, seed: int) -> "Choice":
        """Return the problem with or without a skip connection, and its strength."""
        index = rows.samples.index
        X, target = (on_device(each[index], self.device) for each in (rows.X, rows.target))
        skips, choices = self._skips(rows, seed), []
        for place, skip in enumerate(skips, 1):
            problem, solver, reason = self._problem(
                architecture, X, target, rows.samples.weights, seed, skip
            )
            largest = alpha_max(problem)
            if skip and is_separated(problem, largest):
                continue
            share = _SEARCH * place / len(skips)
            alpha, table = self._alpha(problem, solver, rows, seed, largest, share)
            choices.append(Choice(problem, solver, reason, skip, largest, alpha, table))
        if not choices:
            raise ValueError(
                f"a line separates the classes: the {self._loss(target.shape[1]).name} loss "
                "has no minimum with skip=True; pass skip=False"
            )
        return min(choices, key=lambda choice: choice.loss)  # the first of equals

    def _skips(self, rows: Rows, seed: int) -> list[bool]:
        """Return whether to have a skip connection, or both answers if that is to be found out."""
        if not isinstance(self.skip, str):
            return [bool(self.skip)]
        if self.skip != "auto" or not isinstance(self.alpha, str):
            raise ValueError(
                f"skip is {self.skip!r} and alpha {self.alpha!r}; expected skip to be True or "
                "False, or 'auto', which is found out with alpha='auto'"
            )
        fewest = min(np.count_nonzero(fold.train) for fold in self._folds(rows, seed))
        # a linear part with a weight for every sample would fit the folds and tell nothing
        return [False, True] if fewest > rows.X.shape[1] + 1 else [False]

    def _problem(
        self,
        architecture: Architecture,
        X: Array,
        target: Array,
        weights: Floats,
        seed: int,
        skip: bool,
    ) -> tuple[Any, Solver, str]:
        """Return the problem at alpha = 1, on gates or over all, its solver, and why that one."""
        loss = self._loss(target.shape[1])
        words = {"intercept": self.fit_intercept, "skip": skip}
        if training.grows(architecture, self._choice(architecture, target.shape[1])):
            problem = training.open_problem_of(architecture, X, target, weights, loss, **words)
            return problem, *solver_choice.open_solver(problem, self.solver, seed, self.tol)
        gates, scope = self._gates(architecture, X, seed)
        given = training.problem_of(
            architecture, X, target, weights, loss, gates, scope=scope, **words
        )
        return solver_choice.posed(given, *solver_choice.solver_for(given.program, self.solver))

    def _require_memory(self, architecture: Architecture, X: Any, outputs: int) -> None:
        gates, choice = self._gate_count(), self._choice(architecture, outputs)
        require_fit(self, architecture, X, outputs, self._loss(outputs), choice, gates)

    def _check_limits(self) -> None:
        if not (isinstance(self.proof_time, Real) and float(self.proof_time) >= 0):
            raise ValueError(
                f"proof_time is {self.proof_time!r}; it must be a number of seconds, at least 0"
            )
        for name in ("tol", "max_iter", "max_time"):
            value = getattr(self, name)
            if value is None and name == "max_time":
                continue
            if not (isinstance(value, Real) and float(value) > 0):
                raise ValueError(f"{name} is {value!r}; it must be a positive number")

    def _left(self, begin: float) -> float:
        return float(max(1e-3, self.max_time - (time.perf_counter() - begin)))

    def _gate_count(self) -> int:
        if not isinstance(self.n_gates, (int, np.integer)) or self.n_gates < 1:
            raise ValueError(f"n_gates is {self.n_gates!r}; expected a positive integer")
        return (
            int(self.n_gates) if isinstance(self.gates, str) else np.atleast_1d(self.gates).shape[0]
        )

    def _choice(self, architecture: Architecture, outputs: int) -> Any:
        return training.chosen(architecture, self.gates, self.solver, self._loss(outputs))

    def _gates(self, architecture: Architecture, X: Array, seed: int) -> Any:
        sampled = isinstance(self.gates, str) and self.gates != "enumerate"
        if self.warm_start and sampled and hasattr(self, "generators_"):
            last = self._inward(self.generators_)
            gates = architecture.source.given(architecture.features(X), last)
            return gates, Scope.GIVEN_GATES  # all patterns of other data are not all of these
        rng = np.random.default_rng(seed)
        given = self.gates if isinstance(self.gates, str) else self._inward(self.gates)
        return training.gates_of(architecture, X, given, self.n_gates, rng)

    def _inward(self, generators: Array) -> Array:
        """Return generators on all columns as those on the directions that are seen."""
        if self.directions_ is None or not of_columns(self.architecture_):
            return generators
        return inward(np.atleast_2d(np.asarray(generators)), self.directions_)

    def _warm(self, problem: Any) -> Any:
        if not (self.warm_start and hasattr(self, "solution_")):
            return None
        null, last = null_start(problem), self.solution_.iterate
        if not problem.admits(last.blocks):
            return None
        same = (last.free.shape, last.dual.shape) == (null.free.shape, null.dual.shape)
        return null._replace(
            blocks=like(last.blocks, null.blocks),
            free=like(last.free, null.free) if same else null.free,
            dual=like(last.dual, null.dual) if same else null.dual,
        )

    def _alpha(
        self, problem: Any, solver: Solver, rows: Rows, seed: int, largest: float, share: float
    ) -> tuple[float, Table | None]:
        """Return the strength, and what cross-validation saw if it chose that."""
        if isinstance(self.alpha, str):
            if self.alpha != "auto":
                raise ValueError(f"alpha is {self.alpha!r}; expected 'auto' or a positive number")
            return self._validated(problem, solver, rows, seed, largest, share)
        if not (isinstance(self.alpha, Real) and 0 < float(self.alpha) < np.inf):
            raise ValueError(f"alpha is {self.alpha!r}; expected 'auto' or a positive number")
        alpha, kinked = float(self.alpha), problem.program.penalty.smoothness == np.inf
        if kinked and alpha >= largest * (1 + 1e-12):
            warnings.warn(
                f"alpha is {alpha:.6g} and alpha_max_ is {largest:.6g}: at such "
                "strengths the best network has no neurons; pass a smaller alpha",
                CertificateWarning,
                stacklevel=5,
            )
        return alpha, None

    def _validated(
        self, problem: Any, solver: Solver, rows: Rows, seed: int, largest: float, share: float
    ) -> tuple[float, Table | None]:
        search, folds = self._search(), self._folds(rows, seed)
        if largest == 0:  # a constant target: every alpha gives the zero network
            return 1.0, None
        table = cross_validate(
            problem,
            search.strengths(largest),
            folds,
            solver_choice.roughly(solver, kept=search.keep),
            self._measure(rows.target.shape[1]),
            search,
            None if self.max_time is None else rows.begin + share * self.max_time,
        )
        return float(table.alphas[table.best(search.rule)]), table

    def _search(self) -> Search:
        return Search()

    def _folds(self, rows: Rows, seed: int) -> list[Fold]:
        return self._content_folds(rows, _FOLDS, seed)

    def _content_folds(self, rows: Rows, count: int, seed: int) -> list[Fold]:
        index = rows.samples.index
        strata = None if rows.labels is None else rows.labels[index]
        groups = content_folds(rows.X[index], rows.target[index], count, strata, seed)
        if len(np.unique(groups)) < 2:
            raise ValueError(
                f"alpha='auto' validates on held-out samples, but all of the n_samples = "
                f"{len(index)} samples are equal or there is 1 sample; pass a positive alpha"
            )
        return folds_of(groups, rows.samples.weights)

    def _measure(self, outputs: int) -> Measure:
        """Return the validation loss."""
        return self._loss(outputs).value

    def _keep(self, table: Table) -> None:
        self.alpha_path_ = table.rows

    def _callbacks(self) -> Iterable[Callable[[Progress], object]]:
        given = tuple(self.callbacks or ())
        return (*given, report_progress) if self.verbose else given

    def _report(self) -> None:
        status, certificate = self.solution_.status, self.certificate_
        if status not in (Status.OPTIMAL, Status.BEST_FOUND, Status.AVERAGED):
            warnings.warn(
                f"{status.value} (relative gap {certificate.relative_gap:.1e} after "
                f"{self.n_iter_} iterations of {self.solution_.solver}, tol {self.tol:.1e})",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _outputs(self, X: Any) -> Array:
        X = held(self._checked(X, reset=False), True)
        return by_rows(self.network_, X, self.network_.n_neurons)

    def transform(self, X: Any) -> Array:
        """Return the activations of the hidden neurons, (n, d) to (n, m)."""
        X = held(self._checked(X, reset=False), True)
        return by_rows(self.network_.hidden, X, self.network_.n_neurons)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _loss(self, outputs: int) -> SampleLoss:
        loss: SampleLoss = solver_choice.named("loss", self.loss, training.LOSSES, self._losses)
        return loss
