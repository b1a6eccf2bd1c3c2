"""Certificates over all networks against a thousand restarts of an independent local descent."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize_scalar
from tests.every import numbers
from tests.everywhere import restarts
from tests.everywhere.restarts import Many, Task, ascent, best_of

from cvxnn import ConvexClassifier, ConvexRegressor, ReLU, verify
from cvxnn.certificate import Scope

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("all_networks"),  # what is cached is computed once
    pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning"),  # some have no neurons
]

LOSSES = ("squared", "squared", "huber", "logistic", "squared_hinge")
PROBLEMS, SEVERAL = 200, 13
"""Of these problems every thirteenth is run; with EVERY=1 in the environment all, in minutes."""
SEEDS = numbers(PROBLEMS, SEVERAL)
RANKS = (4, 5, 6)
TOL, SHARE = 1e-3, 0.95
"""The gap that is to be proved, and of how many problems."""
SECONDS = 5.0
"""For a proof."""


def drawn(seed: int) -> Task:
    """A problem as users have them: noise or a teacher's outputs, all losses, biases, weights."""
    rng = np.random.default_rng([11, seed])
    rank, bias = RANKS[seed % 3], bool(seed // 3 % 2)
    n = int(rng.integers(12, 31))
    X = rng.standard_normal((n, rank - bias))
    if seed % 2:
        y = rng.standard_normal(n)
    else:
        k = int(rng.integers(1, 5))
        teacher = rng.standard_normal((k, X.shape[1]))
        hidden = np.maximum(X @ teacher.T + bias * rng.standard_normal(k), 0)
        y = hidden @ rng.choice([-1.0, 1.0], k)
        y = y - np.median(y) + 0.1 * rng.standard_normal(n)
    loss = LOSSES[seed // 6 % 5]
    weights = rng.uniform(0.2, 2, n) if seed % 4 == 3 else np.ones(n)
    share = float(np.exp(rng.uniform(np.log(0.05), np.log(0.5))))
    if loss in ("logistic", "squared_hinge"):
        y = np.where(y > np.median(y), 1.0, -1.0)
    X = np.column_stack([X, np.ones(n)]) if bias else X
    task = Task(X, y, weights / weights.sum(), loss, 1.0, bool(seed // 2 % 2))
    return task._replace(alpha=share * largest(task))


def largest(task: Task) -> float:
    """The strength above which the best network is empty."""

    def value(b: float) -> float:
        return float(task.weights @ restarts.losses(task.loss, np.full(len(task.y), b), task.y)[0])

    b = minimize_scalar(value, tol=1e-12).x if task.intercept else 0.0
    v = task.weights * restarts.losses(task.loss, np.full(len(task.y), b), task.y)[1]
    return max(ascent(task.X, v, np.random.default_rng(0))) or 1.0


def fitted(task: Task, seconds: float) -> ConvexRegressor | ConvexClassifier:
    """The grown network of a task; the architecture adds the column of ones itself."""
    kind = ConvexClassifier if task.loss in ("logistic", "squared_hinge") else ConvexRegressor
    bias = bool((task.X[:, -1] == 1).all())
    model = kind(
        ReLU(bias=bias),
        gates="grow",
        loss=task.loss,
        alpha=task.alpha,
        tol=TOL,
        fit_intercept=task.intercept,
        proof_time=seconds,
        random_state=0,
    )
    return model.fit(data(task), task.y, task.weights)


def data(task: Task) -> np.ndarray:
    return task.X[:, :-1] if (task.X[:, -1] == 1).all() else task.X


class Case(NamedTuple):
    """A problem, the best of its restarts, and the certificate of its grown network."""

    seed: int
    restarted: float
    grown: float
    lower: float

    @property
    def gap(self) -> float:
        return 1 - self.lower / self.grown


@cache
def case(seed: int) -> Case:
    task = drawn(seed)
    found, _ = best_of(task, np.random.default_rng(seed))
    model = fitted(task, SECONDS)
    claim = model.certificate_
    assert claim.scope is Scope.ALL_NETWORKS
    again = verify(model, data(task), task.y, task.weights) if seed % 8 == 0 else None
    assert again is None or again.accepted, again.reason
    return Case(seed, found, claim.upper, claim.lower)


@pytest.mark.parametrize("rank", RANKS)
def test_no_restart_of_a_thousand_is_below_the_bound(rank: int) -> None:
    cases = [case(seed) for seed in SEEDS if RANKS[seed % 3] == rank]
    assert [each for each in cases if not 0 <= each.lower <= each.restarted * (1 + 1e-9)] == []
    assert [each for each in cases if not each.lower <= each.grown * (1 + 1e-9)] == []
    # nor is the grown network worse than any
    assert [each for each in cases if not each.grown <= each.restarted * (1 + TOL)] == []


def test_the_gap_is_proved() -> None:
    cases = [case(seed) for seed in SEEDS]
    open_ones = [(each.seed, each.gap) for each in cases if each.gap > TOL]
    assert len(open_ones) <= (1 - SHARE) * len(cases), open_ones


def flat(nets: Many) -> np.ndarray:
    return np.concatenate([part.ravel() for part in nets])


@pytest.mark.parametrize("loss", sorted(set(LOSSES)))
@pytest.mark.parametrize("intercept", [False, True])
def test_the_slopes_of_the_restarts(loss: str, intercept: bool) -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal(9)
    y = np.sign(y) if loss in ("logistic", "squared_hinge") else 3 * y
    task = Task(rng.standard_normal((9, 3)), y, rng.uniform(0.1, 1, 9), loss, 0.3, intercept)
    nets = Many(rng.standard_normal((3, 2, 4)), rng.standard_normal((2, 4)), rng.standard_normal(2))
    ends = np.cumsum([part.size for part in nets])[:-1]

    def total(z: np.ndarray) -> float:
        parts = np.split(z, ends)
        moved = Many(*(new.reshape(old.shape) for new, old in zip(parts, nets, strict=True)))
        return float(restarts.slopes(task, moved)[0].sum())

    ours = restarts.slopes(task, nets)[1]
    numbers = approx_fprime(flat(nets), total, 1e-7)
    if not intercept:  # it is not moved
        numbers[-2:] = 0
    assert flat(ours) == pytest.approx(numbers, rel=1e-4, abs=1e-5)
    # with layers in balance the two forms of weight decay are one
    lengths = np.linalg.norm(nets.u, axis=0)
    ratio = np.sqrt(np.abs(nets.a) / lengths)
    even = nets._replace(u=nets.u * ratio, a=nets.a / ratio)
    exact = restarts.objectives(task, nets)
    assert restarts.slopes(task, even)[0] == pytest.approx(exact)
    assert (exact <= restarts.slopes(task, nets)[0]).all()


def test_restarts_find_the_optimum_of_a_worked_example() -> None:
    X, y = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    task = Task(X, y, np.ones(3) / 3, "squared", 0.1 / 3, False)
    found, net = best_of(task, np.random.default_rng(0))
    assert 3 * found == pytest.approx(0.23103674, rel=1e-4)  # [Pilanci2020]
    assert 3 * found >= 0.23103674 - 1e-8
    by_hand = ((restarts.outputs(task, net) - y) ** 2).mean() / 2
    by_hand += task.alpha * (np.linalg.norm(net.u[:, 0], axis=0) * np.abs(net.a[0])).sum()
    assert found == pytest.approx(by_hand, rel=1e-12)
