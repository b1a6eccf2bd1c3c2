"""The worked example and closed forms of two-layer ReLU networks, to the last printed digit.

X = [[2, 2], [3, 3], [1, 0]] has four patterns; the objectives below are sums over the samples, so
they are n times ours at alpha = beta / n [Pilanci2020; Ergen2021].
"""

from typing import Any

import numpy as np
import pytest

from cvxnn import ConvexClassifier, ConvexRegressor, GatedReLU, ReLU, Scope, verify
from cvxnn.architectures import Problem, assemble, free_columns
from cvxnn.certificate import feasible_dual
from cvxnn.functions import (
    CrossEntropy,
    Hinge,
    Huber,
    Logistic,
    Quantile,
    SampleLoss,
    Squared,
    SquaredHinge,
    mean_loss,
)
from cvxnn.gates import distinct, enumerate_patterns
from cvxnn.path import alpha_max
from cvxnn.solve import Status, solve
from cvxnn.solvers import ADMM, FISTA, Reference, WorkingSet
from cvxnn.training import train

X = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])

# y, beta, ReLU optimum, gated optimum
ROWS = [
    ((1, -1, 1), 0.1, 1.10026751, 1.06178544),
    ((1, -1, 1), 0.5, 1.44749140, 1.35892719),
    ((1, 2, -1), 0.1, 0.23103674, 0.17678350),
    ((1, 2, -1), 0.5, 0.79364524, 0.62622517),
    ((-1, 1, 2), 0.1, 1.22881546, 1.15653846),
    ((-1, 1, 2), 0.5, 2.09451092, 1.83653846),
]
PATH = [(0.7, 0.9503341), (0.72, 0.9616000), (2.0, 1.5422534), (5.0, 2.3930054), (10.6302, 3.0)]
LARGEST = [((1, -1, 1), 1.0), ((1, 2, -1), 113**0.5), ((-1, 1, 2), 10**0.5)]


def fit(architecture: ReLU | GatedReLU, y: tuple[int, ...], beta: float) -> ConvexRegressor:
    model = ConvexRegressor(
        architecture, alpha=beta / 3, gates="enumerate", fit_intercept=False, tol=1e-9
    )
    return model.fit(X, np.array(y, dtype=float))


def problem(
    architecture: ReLU | GatedReLU, loss: SampleLoss, target: np.ndarray, beta: float
) -> Problem:
    n = len(target)
    data = X if n == 3 else np.concatenate([X, [[-1.0, 1.0]]])
    return assemble(
        architecture,
        data,
        distinct(enumerate_patterns(data)),
        mean_loss(loss, target),
        beta / n,
        free=free_columns(data, intercept=False, skip=False),
        outputs=target.shape[1],
        scope=Scope.ALL_NETWORKS,
    )


@pytest.mark.parametrize(("y", "beta", "relu", "gated"), ROWS)
def test_table(y: tuple[int, ...], beta: float, relu: float, gated: float) -> None:
    network = fit(ReLU(bias=False), y, beta)
    certificate = network.certificate_
    assert certificate.scope is Scope.ALL_NETWORKS
    assert certificate.bound == "enumeration"
    assert 3 * certificate.upper == pytest.approx(relu, abs=1e-6)
    assert 3 * certificate.lower == pytest.approx(relu, abs=1e-6)
    assert verify(network, X, y).accepted
    outputs = network.network_(X)[:, 0]
    recovered = ((outputs - y) ** 2).sum() / 2 + beta * network.network_.weight_decay()
    assert recovered == pytest.approx(relu, abs=1e-6)
    model = fit(GatedReLU(bias=False), y, beta)
    assert 3 * model.certificate_.upper == pytest.approx(gated, abs=1e-6)
    assert 3 * model.certificate_.lower == pytest.approx(gated, abs=1e-6)
    assert model.certificate_.scope is Scope.GIVEN_GATES


@pytest.mark.parametrize(("y", "beta", "relu", "gated"), ROWS)
@pytest.mark.parametrize("solver", [ADMM(), WorkingSet(), Reference()], ids=lambda s: s.name)
def test_table_by_every_solver(
    solver: object, y: tuple[int, ...], beta: float, relu: float, gated: float
) -> None:
    target = np.array(y, dtype=float)[:, None]
    for architecture, expected in ((ReLU(bias=False), relu), (GatedReLU(bias=False), gated)):
        here = problem(architecture, Squared(), target, beta)
        solution = solve(here.working(), solver, tol=1e-8, judge=here.judge)
        assert 3 * solution.certificate.upper == pytest.approx(expected, abs=1e-6)
        assert 3 * solution.certificate.lower == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")  # the last has no neurons
@pytest.mark.parametrize(("beta", "optimum"), PATH)
def test_path(beta: float, optimum: float) -> None:
    certificate = fit(ReLU(bias=False), (1, 2, -1), beta).certificate_
    assert 3 * certificate.upper == pytest.approx(optimum, abs=1e-6)
    assert 3 * certificate.lower == pytest.approx(optimum, abs=1e-6)


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.5, 0.7, 0.72, 0.9, 0.99])
def test_closed_form_of_the_path(beta: float) -> None:
    t, q = (8 - beta) / 13, np.sqrt(2) * max(0.0, 1 - np.sqrt(2) * beta)
    last = np.sqrt(2) * beta if q > 0 else 1.0
    loss = ((2 * t - 1) ** 2 + (3 * t - 2) ** 2 + last**2) / 2
    model = fit(ReLU(bias=False), (1, 2, -1), beta)
    assert 3 * model.certificate_.upper == pytest.approx(loss + beta * (t + q), abs=1e-6)
    assert model.network_.n_neurons == (2 if q > 0 else 1)


@pytest.mark.parametrize(("y", "largest"), LARGEST)
def test_largest_alpha(y: tuple[int, ...], largest: float) -> None:
    target = np.array(y, dtype=float)[:, None]
    assert 3 * alpha_max(problem(ReLU(bias=False), Squared(), target, 1.0)) == pytest.approx(
        largest
    )


@pytest.mark.parametrize("architecture", [ReLU(bias=False), GatedReLU(bias=False)])
@pytest.mark.parametrize(
    "loss",
    [Squared(), Logistic(), Hinge(), SquaredHinge(), Huber(), Quantile(0.3)],
    ids=lambda loss: loss.name,
)
@pytest.mark.parametrize("beta", [0.05, 0.3])
def test_primal_dual_and_recovered_agree(
    architecture: ReLU | GatedReLU, loss: SampleLoss, beta: float
) -> None:
    signs = loss.name in ("logistic", "hinge", "squared_hinge")
    target = np.array([1.0, 1.0, -1.0, 1.0] if signs else [1.0, 2.0, -1.0, 0.5])[:, None]
    here = problem(architecture, loss, target, beta)
    exact = solve(here.working(), Reference(), tol=1e-7, judge=here.judge)
    solver = FISTA() if FISTA().why_not(here.working()) is None else ADMM()
    trained = train(here, solver, tol=1e-8)
    assert trained.solution.status is Status.OPTIMAL
    for value in (trained.certificate.upper, trained.certificate.lower):
        assert value == pytest.approx(exact.certificate.upper, rel=1e-6, abs=1e-9)
    assert here.objective(trained.network) == pytest.approx(exact.certificate.upper, rel=1e-6)


def test_softmax_primal_dual_and_recovered_agree() -> None:
    target = np.eye(3)[[0, 1, 2, 1]]
    for architecture in (ReLU(bias=False), GatedReLU(bias=False)):
        here = problem(architecture, CrossEntropy(), target, 0.1)
        exact = solve(here.working(), Reference(), tol=1e-7, judge=here.judge)
        solver = FISTA() if FISTA().why_not(here.working()) is None else WorkingSet()
        trained = train(here, solver, tol=1e-7)
        assert trained.certificate.lower == pytest.approx(exact.certificate.upper, rel=1e-6)
        assert here.objective(trained.network) == pytest.approx(exact.certificate.upper, rel=1e-6)


def test_a_dual_point_of_the_true_optimum_proves_it() -> None:
    t = 7.9 / 13
    fit_values = np.array([2 * t, 3 * t, -(1 - np.sqrt(2) * 0.1)])
    dual = (np.array([1.0, 2.0, -1.0]) - fit_values)[:, None] / 3
    here = problem(ReLU(bias=False), Squared(), np.array([[1.0], [2.0], [-1.0]]), 0.1)
    lower, _ = feasible_dual(here.program, dual)
    assert 3 * lower == pytest.approx(0.23103674, abs=1e-8)


def test_gated_is_a_lower_bound_and_decomposes_the_same_fit() -> None:
    for y, beta, relu, gated in ROWS:
        assert gated <= relu, (y, beta)


def test_scaling_laws() -> None:
    y = np.array([1.0, 2.0, -1.0])
    base = fit(ReLU(bias=False), (1, 2, -1), 0.3).certificate_.upper
    both = ConvexRegressor(
        ReLU(bias=False), alpha=0.5, gates="enumerate", fit_intercept=False, tol=1e-9
    )
    assert both.fit(X, 5 * y).certificate_.upper == pytest.approx(25 * base, rel=1e-8)
    assert both.fit(5 * X, y).certificate_.upper == pytest.approx(base, rel=1e-8)


def test_exponential_cones_go_to_column_generation_sooner() -> None:
    rng = np.random.default_rng(0)
    X, scores = rng.standard_normal((120, 3)), rng.standard_normal((120, 3))
    words: dict[str, Any] = {"gates": "sample", "n_gates": 20, "alpha": 0.05, "random_state": 0}
    classes = ConvexClassifier("relu", loss="logistic", **words).fit(X, scores.argmax(axis=1))
    numbers = ConvexRegressor("relu", **words).fit(X, scores)  # a program of as many entries
    assert classes.solution_.solver == "working_set"
    assert numbers.solution_.solver == "reference"
    assert classes.certificate_.proves(1e-4)
