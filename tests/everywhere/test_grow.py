"""Growth: the optimum of small problems to a millionth, and descents that descend.

Of three hundred problems every fifteenth is solved; with EVERY=1 in the environment all of them.
"""

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from tests.every import share

from cvxnn import ConvexClassifier, ConvexRegressor, ReLU, verify
from cvxnn.architectures import evaluate
from cvxnn.certificate import Scope
from cvxnn.errors import CertificateWarning, UnsupportedError
from cvxnn.everywhere.descend import Course, newton
from cvxnn.everywhere.grow import Grow
from cvxnn.everywhere.merge import fuse, merge
from cvxnn.everywhere.neurons import Neurons, Training
from cvxnn.everywhere.patterns import pattern_gauge
from cvxnn.everywhere.polish import program_of, thin
from cvxnn.everywhere.reweigh import reweigh
from cvxnn.everywhere.slide import slide
from cvxnn.functions import CrossEntropy, Huber, Logistic, Squared, SquaredHinge, mean_loss
from cvxnn.gates import distinct, enumerate_patterns
from cvxnn.linalg import nonnegative_quadratic
from cvxnn.solve import Status, solve
from cvxnn.solvers import Reference

LOSSES = (Squared(), Logistic(), SquaredHinge(), Huber())
PROBLEMS, CHUNKS = 300, 20


def drawn(seed: int) -> Training:
    """A small problem: every loss, weights, intercepts, integer data, equal rows, bias columns."""
    rng = np.random.default_rng([7, seed])
    n, d = int(rng.integers(2, 31)), int(rng.integers(1, 4))
    X = rng.standard_normal((n, d))
    X = np.round(2 * X) if seed % 5 == 0 else X
    if seed % 7 == 0:
        X[n // 2 :] = X[: n - n // 2]
    if seed % 3 == 0 and d > 1:
        X[:, -1] = 1
    loss = LOSSES[seed % 4]
    y = rng.standard_normal((n, 1))
    if loss.name in ("logistic", "squared_hinge"):
        y = np.where(np.arange(n)[:, None] % 2 == 0, 1.0, -1.0) * (1 if n % 2 else -1)
    columns = np.ones((n, 1)) if seed % 2 else np.zeros((n, 0))
    mean = mean_loss(loss, y, rng.uniform(0.2, 2, n))
    start = Training(X, mean, columns, 1.0)
    pulled = np.abs(np.maximum(X, 0).T @ start.dual(_none(start))).max()
    alpha = float(rng.choice([0.3, 0.1, 0.03, 0.01])) * max(float(pulled), 1e-3)
    return Training(X, mean, columns, alpha)


def _none(training: Training) -> Neurons:
    d, q = training.features.shape[1], training.columns.shape[1]
    return Neurons(np.zeros((0, d)), np.zeros((0, 1)), np.zeros((q, 1)))


def neurons(training: Training, seed: int, count: int, outputs: int = 1) -> Neurons:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((count, training.features.shape[1]))
    turned = rng.standard_normal((count, outputs))
    free = rng.standard_normal((training.columns.shape[1], outputs))
    return Neurons(weights, turned / np.linalg.norm(turned, axis=1, keepdims=True), free)


def grown(training: Training) -> tuple[Neurons, Any]:
    solver = Grow()
    state = solver.init(training, None)
    while not state.done and state.rounds < 200:
        state = solver.step(training, state)
    return state.best, state


def optimum(training: Training) -> tuple[float, float]:
    """Upper and lower bound from all patterns, by Clarabel."""
    masks = distinct(enumerate_patterns(training.features)).masks
    found = solve(program_of(training, masks), Reference(), tol=1e-9).certificate
    return found.upper, found.lower


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_grown_network_is_the_best_of_all(chunk: int) -> None:
    size, wrong = PROBLEMS // CHUNKS, []
    step = share(15)
    for seed in range(chunk * size + chunk % step, (chunk + 1) * size, step):
        training = drawn(seed)
        best, state = grown(training)
        upper, lower = optimum(training)
        scale = 1e-6 * upper + 1e-9 * training.loss.value(0 * training.loss.target)
        ours = training.objective(best)
        if not state.done or not lower - scale <= ours <= upper + scale:
            wrong.append((seed, ours, upper, lower))
    assert wrong == []


def test_what_light_growth_calls_enough_is_near_the_optimum() -> None:
    """With the true largest price: of all patterns."""
    solver, count = Grow(tol=0.05, exact=False), {True: 0, False: 0}
    for seed in range(0, 24, 2):  # no free columns: the dual point is feasible as it is
        training = drawn(seed)
        least = optimum(training)[1]
        state = solver.init(training, None)
        while not state.done and state.rounds < 20:
            state = solver.step(training, state)
            dual = training.dual(state.best)
            worst = max(
                pattern_gauge(training.features, sign * dual, training.alpha) for sign in (1, -1)
            )
            if worst < 1 + solver.tol:
                continue
            enough = solver._enough(training, state.best, worst)
            count[enough] += 1
            if enough:
                assert training.objective(state.best) * (1 - solver.tol) <= least + 1e-9
    assert min(count.values()) >= 2


@pytest.mark.parametrize("seed", range(8))
def test_descents_do_not_rise(seed: int) -> None:
    training = drawn(seed + 40)
    start = neurons(training, seed, 6)
    before = training.objective(start)
    assert training.objective(slide(training, start, 30)) <= before * (1 + 1e-12)
    moved, _ = newton(training, start, 1e-4, 5, Course())
    assert training.objective(moved) <= before * (1 + 1e-3)  # exact at width zero
    assert training.objective(reweigh(training, start)) <= before * (1 + 1e-12)
    weights = np.concatenate([start.weights, 2 * start.weights])
    outputs = np.concatenate([start.outputs, start.outputs])
    merged = merge(training, Neurons(weights, outputs, start.free))
    doubled = Neurons(3 * start.weights, start.outputs, start.free)
    assert len(merged.weights) <= len(start.weights)
    assert training.objective(merged) <= training.objective(doubled) * (1 + 1e-9)


def test_neurons_that_are_nearly_equal_are_fused() -> None:
    turn = np.array([1.0, 0.0]), np.array([np.cos(0.01), np.sin(0.01)]), np.array([0.0, 2.0])
    three = Neurons(np.array(turn), np.ones((3, 1)), np.zeros((0, 1)))
    assert fuse(three).weights == pytest.approx(np.array([turn[0] + turn[1], turn[2]]))
    signs = three._replace(outputs=np.array([[1.0], [-1.0], [1.0]]))
    assert fuse(signs).weights == pytest.approx(signs.weights)
    assert len(fuse(three.keep(np.zeros(3, dtype=bool))).weights) == 0


def test_a_neuron_that_rounding_alone_keeps_goes() -> None:
    """Where optima are many a neuron can shrink without end; two are enough here."""
    X = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    training = Training(X, mean_loss(Squared(), np.ones((4, 1))), np.zeros((4, 0)), 0.05)
    directions = np.array([[-1.0, 1], [1, -1], [1, 1]]) / 2**0.5
    size = np.array([1.2142136, 1.2142136, 1e-7])  # the third is as wanted as those two
    several = Neurons(directions * size[:, None], np.ones((3, 1)), np.zeros((0, 1)))
    found = reweigh(training, several, 0.1)
    assert len(found.weights) == 2
    assert training.objective(found) <= training.objective(several)


@pytest.mark.parametrize("seed", range(6))
def test_newton_meets_its_own_smoothed_optimum(seed: int) -> None:
    """Many steps at a fixed width end where the smoothed objective has no slope."""
    training = drawn(4 * seed + 80)  # squared loss
    moved, course = neurons(training, seed, 3), Course()
    for _ in range(30):
        moved, course = newton(training, moved, 0.1, 10, course, 0.0)
    again, _ = newton(training, moved, 0.1, 1, course, 0.0)
    assert training.objective(again) == pytest.approx(training.objective(moved), rel=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_nonnegative_quadratic_program_is_solved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k, q = int(rng.integers(1, 12)), int(rng.integers(0, 3))
    root, linear = rng.standard_normal((k + q + 2, k + q)), rng.standard_normal(k + q)
    gram = root.T @ root
    x = nonnegative_quadratic(gram, linear, np.zeros(k, dtype=bool), k)
    z = cp.Variable(k + q)
    cp.Problem(cp.Minimize(cp.sum_squares(root @ z) / 2 - linear @ z), [z[:k] >= 0]).solve(
        solver=cp.CLARABEL
    )
    assert x is not None
    assert x == pytest.approx(z.value, abs=1e-5)


def test_section_G8_several_outputs_share_neurons() -> None:
    """Whitened one-hot targets have a closed form [Ergen2021]: one neuron a class."""
    counts, beta = (3, 2, 1), 0.8
    n = sum(counts)
    y = np.repeat(np.eye(3), counts, axis=0)
    model = ConvexRegressor(
        ReLU(bias=False), gates="grow", alpha=beta / n, fit_intercept=False, random_state=0
    )
    model.fit(np.eye(n), y)
    assert n * model.certificate_.upper == pytest.approx(2.35701150, rel=1e-6)
    assert model.certificate_.lower <= model.certificate_.upper
    assert model.certificate_.scope is Scope.ALL_NETWORKS


def test_softmax_descends_below_separate_outputs() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    labels = (X[:, 0] > 0).astype(int) + (np.abs(X[:, 1]) > 1)
    words = {"alpha": 0.02, "random_state": 0}
    joint = ConvexClassifier(gates="grow", **words).fit(X, labels)
    apart = ConvexClassifier(gates="sample", n_gates=40, **words).fit(X, labels)
    assert joint.certificate_.upper < apart.certificate_.upper
    assert apart.certificate_.scope is Scope.SEPARATE_OUTPUTS
    target = np.eye(3)[labels]
    objective = mean_loss(CrossEntropy(), target).value(evaluate(joint.network_, X))
    objective += 0.02 * joint.network_.weight_decay()
    assert joint.certificate_.upper == pytest.approx(objective, rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_a_thin_network_computes_the_same(seed: int) -> None:
    training = drawn(4 * seed + 120)
    start = neurons(training, seed, 40)
    fewer = thin(training, start)
    assert len(fewer.weights) <= len(training.features)
    assert training.predict(fewer) == pytest.approx(training.predict(start), abs=1e-6)
    assert fewer.sizes.sum() <= start.sizes.sum() * (1 + 1e-9)


def test_kinks_in_the_loss_are_refused_before_any_work() -> None:
    with pytest.raises(UnsupportedError, match="'hinge' has kinks; use gates='sample'"):
        ConvexClassifier(gates="grow", loss="hinge", alpha=0.1).fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ValueError, match="solver is 'admm' and gates is 'grow'"):
        ConvexRegressor(gates="grow", solver="admm", alpha=0.1).fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ValueError, match="proof_time is -1"):
        ConvexRegressor(gates="grow", proof_time=-1, alpha=0.1).fit([[0.0], [1.0]], [0, 1])


def test_limits_return_the_best_so_far() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((300, 12)), rng.standard_normal(300)
    model = ConvexRegressor(gates="grow", alpha=0.01, max_iter=2, proof_time=0, random_state=0)
    with pytest.warns(ConvergenceWarning, match="iteration limit"):
        model.fit(X, y)
    assert model.solution_.status is Status.MAX_ITER
    assert 0 < model.certificate_.lower < model.certificate_.upper
    assert verify(model, X, y)


def test_constant_targets_need_no_neuron() -> None:
    X = np.random.default_rng(0).standard_normal((20, 3))
    model = ConvexRegressor(gates="grow", alpha=0.1, random_state=0)
    with pytest.warns(CertificateWarning, match="no neurons"):
        model.fit(X, np.full(20, 3.0))
    assert model.network_.n_neurons == 0
    assert model.predict(X) == pytest.approx(3.0)
    assert verify(model, X, np.full(20, 3.0))
