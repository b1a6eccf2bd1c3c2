"""Densities of binary vectors, against exhaustive enumeration and against CVXPY (section N)."""

from itertools import product
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from cvxnn import ConvexDensity, ReLU, Scope, load, save, verify
from cvxnn.errors import ModelFormatError, UnsupportedError
from cvxnn.gates import distinct, enumerate_patterns

EVERY = np.array(list(product([0.0, 1.0], repeat=4)))
FEW: dict[str, Any] = {"alpha": 1e-3, "n_gates": 12, "random_state": 0}


def draw(n: int, seed: int = 0) -> np.ndarray:
    """Bits of which the third is whether the first two differ, mostly; the fourth a coin."""
    rng = np.random.default_rng(seed)
    X = (rng.uniform(size=(n, 4)) < [0.5, 0.4, 0.5, 0.7]).astype(float)
    X[:, 2] = np.where(rng.uniform(size=n) < 0.9, X[:, 0] != X[:, 1], X[:, 2])
    return X


@pytest.fixture(scope="module")
def fitted() -> ConvexDensity:
    return ConvexDensity(**FEW).fit(draw(3000))


def test_probabilities_of_all_vectors_sum_to_one(fitted: ConvexDensity) -> None:
    assert np.exp(fitted.score_samples(EVERY)).sum() == pytest.approx(1.0, rel=1e-12)


def test_the_density_is_near_the_frequencies(fitted: ConvexDensity) -> None:
    X = draw(20_000, seed=1)
    shares = (X[:, None, :] == EVERY).all(axis=2).mean(axis=0)
    np.testing.assert_allclose(np.exp(fitted.score_samples(EVERY)), shares, atol=0.03)
    independent = np.where(X > 0, X.mean(axis=0), 1 - X.mean(axis=0))
    assert fitted.score(X) > np.log(independent).sum(axis=1).mean() + 0.2


def test_samples_have_the_probabilities_that_are_told(fitted: ConvexDensity) -> None:
    n = 20_000
    drawn = fitted.sample(n, random_state=0)
    counts = (drawn[:, None, :] == EVERY).all(axis=2).sum(axis=0)
    p = np.exp(fitted.score_samples(EVERY))
    assert (np.abs(counts - n * p) < 5 * np.sqrt(n * p * (1 - p))).all()
    np.testing.assert_array_equal(
        fitted.sample(5, random_state=3), fitted.sample(5, random_state=3)
    )


def test_the_certificate_is_the_sum_and_every_part_is_verified(fitted: ConvexDensity) -> None:
    X = draw(3000)
    parts = list(fitted.parts(X))
    assert [seen.shape[1] for _, seen, _ in parts] == [1, 2, 3]
    assert all(verify(*part) for part in parts)
    claim = fitted.certificate_
    assert claim.upper == pytest.approx(sum(part[0].certificate_.upper for part in parts))
    assert claim.proves(1e-4)
    assert claim.scope is Scope.GIVEN_GATES
    losses = 0.0
    for i, part in enumerate(parts, 1):
        odds = part[0].decision_function(2 * X[:, :i] - 1)
        losses += np.logaddexp(0, -(2 * X[:, i] - 1) * odds).mean()
        losses += FEW["alpha"] * part[0].network_.weight_decay()
    assert claim.upper == pytest.approx(losses, rel=1e-9)


def test_lags_are_all_that_is_seen() -> None:
    X = draw(100)
    model = ConvexDensity(lags=1, **FEW).fit(X)
    assert [seen.shape[1] for _, seen, _ in model.parts(X)] == [1, 1, 1]
    changed = EVERY.copy()
    changed[:, 0] = 1 - changed[:, 0]
    given = model.score_samples(EVERY) - model.score_samples(changed)
    pairs = {(a, b, value.round(12)) for (a, b, *_), value in zip(EVERY, given, strict=True)}
    assert len(pairs) == 4  # what the first bit changes depends on the second alone


def test_constant_coordinates_have_rates() -> None:
    X = draw(50)
    X[:, [0, 2]] = [1.0, 0.0]
    model = ConvexDensity(**FEW).fit(X)
    assert [part is None for part in model.conditionals_] == [True, True, True, False]
    assert model.rates_[0] == pytest.approx(50.5 / 51)
    assert np.isfinite(model.score_samples(1 - X)).all()


def hinge_program(X: np.ndarray, y: np.ndarray, beta: float, rho: float) -> tuple[float, float]:
    """Solve N's program with rho times the cone violations for the cones; rho = inf: with cones.

    Returns the optimum and the largest cone multiplier.
    """
    masks = distinct(enumerate_patterns(X)).masks
    blocks = [(cp.Variable(X.shape[1]), cp.Variable(X.shape[1])) for _ in masks]
    fit = sum(
        cp.multiply(mask, X @ (v - w)) for mask, (v, w) in zip(masks * 1.0, blocks, strict=True)
    )
    objective = cp.sum(cp.logistic(-cp.multiply(y, fit)))
    rows = []
    for mask, pair in zip(masks, blocks, strict=True):
        for each in pair:
            objective += beta * cp.norm(each)
            rows.append(cp.multiply(2.0 * mask - 1.0, X @ each))
    hard = np.isinf(rho)
    cones = [row >= 0 for row in rows] if hard else []
    if not hard:
        objective += rho * sum(cp.sum(cp.pos(-row)) for row in rows)
    value = cp.Problem(cp.Minimize(objective), cones).solve(solver=cp.CLARABEL)
    return float(value), max((float(np.max(cone.dual_value)) for cone in cones), default=0.0)


def test_section_N_hinge_penalty_is_exact_from_the_largest_multiplier_on() -> None:
    rng = np.random.default_rng(3)
    bits = (rng.uniform(size=(9, 3)) < 0.5).astype(float)
    bits[:, 2] = bits[:, 0] != bits[:, 1]
    bits[0, 2] = 1 - bits[0, 2]
    model = ConvexDensity(
        ReLU(), gates="enumerate", alpha=0.1 / 9, lags=2, tol=1e-9, random_state=0
    ).fit(bits)
    network = model.conditionals_[2]
    assert network is not None
    *_, (_, seen, labels) = model.parts(bits)
    # the program of the notes has no free intercept: the same network without one
    network.set_params(fit_intercept=False).fit(seen, labels)
    rows, signs = np.column_stack([seen, np.ones(9)]), 2 * labels - 1
    exact, largest = hinge_program(rows, signs, 0.1, np.inf)
    assert 9 * network.certificate_.upper == pytest.approx(exact, rel=1e-6)
    assert 9 * network.certificate_.lower == pytest.approx(exact, rel=1e-6)
    assert network.certificate_.scope is Scope.ALL_NETWORKS
    assert largest > 0
    assert hinge_program(rows, signs, 0.1, 1.01 * largest)[0] == pytest.approx(exact, rel=1e-6)
    assert hinge_program(rows, signs, 0.1, 0.2 * largest)[0] < exact * (1 - 1e-4)


def test_a_saved_density_is_the_same(tmp_path: Path, fitted: ConvexDensity) -> None:
    path = tmp_path / "model.cvxnn"
    save(fitted, path)
    again = load(path)
    assert again.get_params() == fitted.get_params()
    assert again.certificate_ == fitted.certificate_
    np.testing.assert_array_equal(again.score_samples(EVERY), fitted.score_samples(EVERY))
    np.testing.assert_array_equal(again.sample(6, random_state=0), fitted.sample(6, random_state=0))
    assert all(verify(*part) for part in again.parts(draw(3000)))
    from cvxnn.files import sealed

    header, arrays = sealed.read(path)
    header["steps"][0]["parts"] = header["steps"][0]["parts"][1:]
    sealed.write(path, header, arrays)
    with pytest.raises(ModelFormatError):
        load(path)


@pytest.mark.parametrize(
    ("X", "words", "message"),
    [
        ([[0, 1], [1, 2]], {}, "X is 2.0 at row 1, column 1; expected 0 and 1"),
        ([[0, 1], [0, 1]], {}, "nothing to train"),
        ([[0, 1], [1, 0]], {"lags": 0}, "lags is 0"),
        ([[0, 1], [1, 0]], {"alpha": -1.0}, "alpha is -1"),
    ],
)
def test_what_is_refused(X: Any, words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvexDensity(**FEW | words).fit(X)


def test_other_models_are_not_saved_inside(tmp_path: Path, fitted: ConvexDensity) -> None:
    class Other(ConvexDensity):
        pass

    with pytest.raises(UnsupportedError, match="a model file cannot hold Other"):
        save(Other(), tmp_path / "model")
