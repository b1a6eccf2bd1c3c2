"""Bounds on odd data, and from wrong knowledge: never above what anybody finds.

Equal, parallel, opposite, zero and integer rows, dependent columns, equal targets.
"""

from collections.abc import Callable

import numpy as np
import pytest
from tests.everywhere import restarts
from tests.everywhere.restarts import Task, ascent, best_of

from cvxnn import ConvexRegressor, ReLU
from cvxnn.everywhere.bound import Proof, prove, recheck
from cvxnn.everywhere.grow import pack
from cvxnn.everywhere.ladder import row_space
from cvxnn.everywhere.neurons import Neurons
from cvxnn.everywhere.open import OpenProblem
from cvxnn.everywhere.patterns import few_patterns, pattern_gauge
from cvxnn.everywhere.quadratics import Rows
from cvxnn.everywhere.relaxed import isotropic
from cvxnn.everywhere.search import replay, search
from cvxnn.training import LOSSES, open_problem_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning"),  # some have no neurons
]

PROBLEMS, CHUNK = 200, 20
CHUNKS = range(PROBLEMS // CHUNK)


def equal(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return X[rng.integers(0, max(len(X) // 2, 1), len(X))]


def parallel(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    lengths = rng.choice([-3.0, -1.0, 0.5, 2.0, 1e-6], (len(X), 1))
    return lengths * equal(X, rng)


def integer(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.round(1.5 * X)


def zero(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return X * (rng.uniform(size=(len(X), 1)) < 0.7)


def dependent(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([X[:, :-1], X[:, :-1].sum(axis=1)]) if X.shape[1] > 1 else X


def everything(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return dependent(zero(parallel(integer(X, rng), rng), rng), rng)


ODDITIES: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    equal,
    parallel,
    integer,
    zero,
    dependent,
    everything,
)


def odd(seed: int) -> np.ndarray:
    """Rows of rank one to six."""
    rng = np.random.default_rng([13, seed])
    n, d = int(rng.integers(4, 25)), 1 + seed // 6 % 6
    X = ODDITIES[seed % 6](rng.standard_normal((n, d)), rng)
    return X if X.any() else np.ones_like(X)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_no_threshold_below_the_best_value_is_proved(chunk: int) -> None:
    """The largest v'(Xu)_+ / alpha is above 1 / 0.999, whoever says it is not."""
    wrong = []
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        X, rng = odd(seed), np.random.default_rng(seed)
        v = rng.standard_normal(len(X)) if seed % 4 else rng.integers(-2, 3, len(X)) + 0.0
        space, bests = row_space(X).features, ascent(X, v, rng)
        best = max(bests)
        if best == 0:  # v is zero wherever X is not
            continue
        threshold = 0.999 * best
        rows = Rows(space, v if best == bests[0] else -v, threshold)
        found = search(rows, isotropic(rows.rank), seconds=0.05)
        proved = [found.upper]
        if seed % 4 == 0:
            proved.append(replay(rows, found.tree))
        if few_patterns(space, space.shape[1]):
            proved.append(pattern_gauge(space, v[:, None], threshold))
        wrong += [(seed, one) for one in proved if not one >= (1 - 1e-9) / 0.999]
    assert wrong == []


def posed(seed: int) -> tuple[Task, OpenProblem]:
    """A training problem on odd rows, for the restarts and for the library."""
    rng, X = np.random.default_rng([17, seed]), odd(seed)
    n, loss = len(X), ("squared", "huber", "logistic", "squared_hinge")[seed // 2 % 4]
    y = rng.standard_normal(n) if seed % 3 else rng.integers(-2, 3, n) + 0.0
    if seed % 11 == 0:
        y = np.ones(n)
    elif loss in ("logistic", "squared_hinge"):
        y = np.where(y > np.median(y), 1.0, -1.0)
    weights, intercept = rng.uniform(0.2, 2, n), bool(seed % 2) and len(set(y)) > 1
    weights /= weights.sum()
    alpha = float(rng.uniform(0.02, 0.5)) * max(max(ascent(X, weights * y, rng)), 1e-3)
    task = Task(X, y, weights, loss, alpha, intercept)
    words = {"intercept": intercept, "skip": False}
    problem = open_problem_of(ReLU(bias=False), X, y[:, None], weights, LOSSES[loss], **words)
    return task, problem.at(alpha)


def misinformed(
    kind: int, problem: OpenProblem, dual: np.ndarray, best: float, rng: np.random.Generator
) -> Proof:
    """A proof by one who was told the truth, or something else, about a network."""
    working = problem.working()
    wild = rng.standard_normal(dual.shape) * np.abs(dual).max()
    if kind == 0:  # the network handed over is a random one
        d = working.features.shape[1]
        turned = rng.choice([-1.0, 1.0], (3, 1))
        free = np.zeros((working.columns.shape[1], 1))
        iterate = pack(working, Neurons(rng.standard_normal((3, d)), turned, free))
        certificate = problem.certificate(best)
        network = problem.network(iterate)
        return problem.settle(network, iterate, certificate, 1e-4, 0.05)[2]
    told: tuple[np.ndarray | None, float | None] = (
        (dual, best),
        (dual, 3 * best),
        (dual, 0.5 * best),
        (wild, best),
        (1e6 * dual, best),
        (-dual, 0.9 * best),
        (None, None),
    )[kind - 1]
    return prove(
        working,
        dual=told[0],
        objective=told[1],
        interior=problem.program.interior,
        tol=1e-4,
        seconds=0.05,
        rng=rng,
    )


@pytest.mark.parametrize("chunk", CHUNKS)
def test_wrong_knowledge_proves_nothing_wrong(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "HALVINGS", ((200, 30), (8, 120)))
    wrong = []
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        task, problem = posed(seed)
        rng, working = np.random.default_rng(seed), problem.working()
        best, net = best_of(task, rng)
        slope = restarts.losses(task.loss, restarts.outputs(task, net), task.y)[1]
        proof = misinformed(seed % 8, problem, -(task.weights * slope)[:, None], best, rng)
        slack = 1e-9 * best + 1e-12 * working.loss.value(0 * working.loss.target)
        proved = [proof.lower] if seed % 4 else [proof.lower, recheck(working, proof)]
        wrong += [(seed, one, best) for one in proved if not 0 <= one <= best + slack]
    assert wrong == []


@pytest.mark.parametrize("seed", range(3, PROBLEMS, 17))
def test_grown_networks_of_odd_problems(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    task, _ = posed(seed)
    if task.loss not in ("squared", "huber"):
        task = task._replace(loss="squared")
    found, _ = best_of(task, np.random.default_rng(seed))
    model = ConvexRegressor(
        ReLU(bias=False),
        gates="grow",
        loss=task.loss,
        alpha=task.alpha,
        fit_intercept=task.intercept,
        proof_time=0.2,
        random_state=0,
    )
    claim = model.fit(task.X, task.y, task.weights).certificate_
    assert 0 <= claim.lower <= min(claim.upper, found) * (1 + 1e-9) + claim.resolution
    assert claim.upper <= found * (1 + 1e-4) + claim.resolution
