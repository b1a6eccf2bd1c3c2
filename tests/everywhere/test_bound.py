"""Proved bounds: below the optimum over all networks, the same when rechecked, proof to forgery."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvxnn.everywhere import bound
from cvxnn.everywhere.bound import Proof, prove, recheck
from cvxnn.everywhere.duals import scaled
from cvxnn.everywhere.neurons import Neurons, Training
from cvxnn.functions import (
    Hinge,
    Huber,
    Logistic,
    Quantile,
    SampleLoss,
    Squared,
    SquaredHinge,
    mean_loss,
)
from cvxnn.gates.enumerate import enumerate_patterns

SMOOTH: list[SampleLoss] = [Squared(), Huber(delta=0.4), Logistic(), SquaredHinge()]
ALL: list[SampleLoss] = [*SMOOTH, Hinge(), Quantile(level=0.3)]


def problem(
    seed: int, loss: SampleLoss, *, n: int = 11, d: int = 2, c: int = 1, intercept: bool = False
) -> Training:
    """A random problem with weights, a bias, a zero row and two parallel ones."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.standard_normal((n, d - 1)), np.ones(n)])
    X[0], X[1] = 0.0, -2 * X[2]
    y = rng.standard_normal((n, c))
    if loss.name in ("logistic", "hinge", "squared_hinge"):
        y = np.where(y > 0, 1.0, -1.0)
    columns = np.ones((n, 1)) if intercept else np.zeros((n, 0))
    return Training(X, mean_loss(loss, y, rng.uniform(0.5, 2, n)), columns, alpha=0.05)


def interior(training: Training) -> np.ndarray | None:
    """A point inside every domain and orthogonal to a column of ones: the two classes balance."""
    if not np.isin(training.loss.target, (-1, 1)).all():
        return None
    up = training.loss.target > 0
    share = np.where(up, training.loss.weights[~up].sum(), training.loss.weights[up].sum())
    return np.where(up, 1, -1) * training.loss.weights * share * 0.3


def cvxpy_loss(loss: SampleLoss, f: cp.Expression, y: np.ndarray) -> cp.Expression:
    match loss:
        case Squared():
            return cp.square(f - y) / 2
        case Huber():
            return cp.huber(f - y, loss.delta) / 2
        case Logistic():
            return cp.logistic(-cp.multiply(y, f))
        case SquaredHinge():
            return cp.square(cp.pos(1 - cp.multiply(y, f))) / 2
        case Hinge():
            return cp.pos(1 - cp.multiply(y, f))
    e = y - f
    return cp.maximum(loss.level * e, (loss.level - 1) * e)


def trained(training: Training) -> tuple[Neurons, float]:
    """The optimal network of one output, by Clarabel on every pattern, and its own objective."""
    X, y = training.features, training.loss.target[:, 0]
    masks = enumerate_patterns(X).masks
    neurons = [(cp.Variable(X.shape[1]), D, s) for D in masks for s in (1.0, -1.0)]
    free = cp.Variable(training.columns.shape[1] + 1)
    fit = np.column_stack([training.columns, np.zeros(len(X))]) @ free
    fit = fit + sum(s * (D[:, None] * X) @ u for u, D, s in neurons)
    cones = [((2.0 * D - 1)[:, None] * X) @ u >= 0 for u, D, _ in neurons]
    loss = training.loss.weights[:, 0] @ cvxpy_loss(training.loss.loss, fit, y)
    decay = training.alpha * sum(cp.norm(u) for u, _, _ in neurons)
    cp.Problem(cp.Minimize(loss + decay), cones).solve(solver=cp.CLARABEL)
    found = Neurons(
        np.stack([u.value for u, _, _ in neurons]),
        np.array([[s] for _, _, s in neurons]),
        free.value[:-1, None],
    )
    kept = found.keep(found.sizes > 1e-6 * max(found.sizes.max(), 1e-3))
    return kept, training.objective(kept)


@pytest.fixture(autouse=True, params=["enumeration", "search"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test twice: with the patterns gone through, and as if there were too many."""
    if request.param == "search":
        monkeypatch.setattr(bound, "few_patterns", lambda *_: False)
    return str(request.param)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
def test_below_the_optimum_and_near_it(loss: SampleLoss, intercept: bool, path: str) -> None:
    training = problem(2, loss, intercept=intercept)
    network, objective = trained(training)
    inside = interior(training)
    dual = training.dual(network)
    smooth = np.isfinite(loss.smoothness)
    for seconds in (0.0, 30.0 if smooth else 0.5):  # it ends at tol, long before
        rng = np.random.default_rng(0)
        proof = prove(
            training,
            dual=dual,
            objective=objective,
            interior=inside,
            tol=1e-3,
            seconds=seconds,
            rng=rng,
        )
        assert proof.lower <= objective * (1 + 1e-7)
        assert recheck(training, proof) == pytest.approx(proof.lower, rel=1e-6, abs=1e-12)
        assert abs(training.columns.T @ proof.dual).max(initial=0) < 1e-12
        if smooth and (seconds or path == "enumeration"):
            assert proof.lower >= objective * (1 - 2e-3)
    if smooth:
        assert proof.bound in (path, "relaxed network")


@pytest.mark.parametrize("seed", range(3))
def test_rank_three(seed: int, path: str) -> None:
    training = problem(seed, Squared(), n=10, d=3)
    network, objective = trained(training)
    rng = np.random.default_rng(seed)
    proof = prove(
        training,
        dual=training.dual(network),
        objective=objective,
        tol=1e-3,
        seconds=20,
        rng=rng,
    )
    assert objective * (1 - 1.1e-3) <= proof.lower <= objective * (1 + 1e-7)
    assert recheck(training, proof) == pytest.approx(proof.lower, rel=1e-6)


@pytest.mark.parametrize("loss", SMOOTH, ids=lambda loss: loss.name)
def test_without_a_network(loss: SampleLoss) -> None:
    training = problem(4, loss, intercept=True)
    _, objective = trained(training)
    proof = prove(training, interior=interior(training), rng=np.random.default_rng(0))
    assert 0.5 * objective < proof.lower <= objective * (1 + 1e-7)
    assert proof.found is None


@pytest.mark.parametrize("seed", range(4))
def test_a_forged_proof_shows_no_more_than_the_optimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    training = problem(seed, Squared(), n=9)
    network, objective = trained(training)
    proof = prove(
        training, dual=training.dual(network), objective=objective, seconds=1, tol=1e-2, rng=rng
    )
    noise = rng.standard_normal(proof.dual.shape) * abs(proof.dual).max()
    forged = [
        replace(proof, lower=2 * objective),
        replace(proof, dual=2 * proof.dual),
        replace(proof, dual=proof.dual + rng.uniform() * noise),
        replace(proof, dual=1e200 * proof.dual),
        replace(proof, trees=proof.trees[::-1]),
        replace(proof, trees=tuple(replace(t, unit=0.3 * t.unit) for t in proof.trees)),
        replace(proof, trees=tuple(replace(t, upper=0.1) for t in proof.trees)),
        replace(proof, bound="trivial"),
    ]
    for one in forged:
        assert recheck(training, one) <= objective * (1 + 1e-7)


def test_what_is_no_proof_shows_nothing() -> None:
    training = problem(0, Squared())
    proof = prove(training, rng=np.random.default_rng(0))
    for dual in (proof.dual[:-1], proof.dual[:, 0], np.nan * proof.dual):
        assert recheck(training, replace(proof, dual=dual)) == -np.inf
    assert recheck(training, replace(proof, bound="search", trees=())) == -np.inf
    # zero is feasible, always
    nothing = Proof(0 * proof.dual, 0.0, "trivial", None, 0.0)
    assert recheck(training, nothing) == 0


@pytest.mark.parametrize("seed", range(2))
def test_several_outputs(seed: int, path: str) -> None:
    """The upper side is a network: each output's best, its neurons side by side."""
    training = problem(seed, Squared(), c=2)
    parts = []
    for k in range(2):
        loss = replace(training.loss, target=training.loss.target[:, k : k + 1])
        network, _ = trained(replace(training, loss=loss))
        outputs = np.zeros((len(network.weights), 2))
        outputs[:, k] = network.outputs[:, 0]
        parts.append(network._replace(outputs=outputs))
    both = Neurons(
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.outputs for part in parts]),
        np.zeros((0, 2)),
    )
    objective, dual = training.objective(both), training.dual(both)
    last = -np.inf
    for seconds in (0.0, 5.0):
        rng = np.random.default_rng(seed)
        proof = prove(training, dual=dual, objective=objective, seconds=seconds, rng=rng)
        assert last <= proof.lower <= objective * (1 + 1e-7)
        assert recheck(training, proof) == pytest.approx(proof.lower, rel=1e-6)
        last = proof.lower
    assert last > 0.5 * objective


def test_directions_that_would_help_are_told(path: str) -> None:
    training = problem(1, Squared(), d=3)
    dual = -training.loss.gradient(np.zeros_like(training.loss.target))
    rng = np.random.default_rng(0)
    proof = prove(training, dual=dual, objective=1.0, seconds=0.5, rng=rng)
    if path == "search":
        assert proof.found is not None
        assert np.allclose(np.linalg.norm(proof.found, axis=1), 1)
        values = np.maximum(training.features @ proof.found.T, 0).T @ dual
        assert (np.abs(values) > training.alpha).all()
    assert recheck(training, proof) == pytest.approx(proof.lower)


def test_no_features_and_no_targets() -> None:
    training = problem(0, Squared())
    empty = replace(training, features=0 * training.features)
    proof = prove(empty, rng=np.random.default_rng(0))
    y = training.loss.target
    assert proof.lower == pytest.approx(float((training.loss.weights * y**2).sum()) / 2)
    zero = replace(training, loss=replace(training.loss, target=0 * y))
    proof = prove(zero, seconds=0.2, rng=np.random.default_rng(0))
    assert proof.lower == pytest.approx(0, abs=1e-9)
    assert recheck(zero, proof) == pytest.approx(0, abs=1e-9)
    again = prove(zero, dual=0 * y, objective=0.0, seconds=0.2, rng=np.random.default_rng(0))
    assert again.lower == pytest.approx(0, abs=1e-9)


@given(gauge=st.floats(0, 1e6), seed=st.integers(0, 1000))
def test_scaling_is_feasible_and_no_worse_than_others(gauge: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    training = problem(seed, Squared())
    dual = rng.standard_normal((11, 1))
    lower, point, scale = scaled(training, dual, gauge)
    assert 0 <= scale * gauge <= 1
    assert np.allclose(point, scale * dual)
    for other in np.linspace(0, min(1 / max(gauge, 1e-9), 10), 20):
        value = -training.loss.conjugate(-other * dual)
        assert lower >= value - 1e-7 * max(abs(value), 1)
