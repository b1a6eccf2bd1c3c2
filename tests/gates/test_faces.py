"""Patterns with borders, against a linear program for every conceivable pattern."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from cvxnn.gates import Faces, enumerate_patterns, reached, reached_masks, widest


def realised(X: np.ndarray) -> set[tuple[int, ...]]:
    """Every pattern 1[X u >= 0], each found by a feasibility program."""
    found = set()
    for bits in product([0, 1], repeat=len(X)):
        on = np.array(bits, dtype=bool)
        answer = linprog(
            np.zeros(X.shape[1]),
            A_ub=np.concatenate([-X[on], X[~on]]),
            b_ub=np.concatenate([np.zeros(on.sum()), -np.ones((~on).sum())]),
            bounds=[(None, None)] * X.shape[1],
            method="highs",
        )
        if answer.status == 0:
            found.add(bits)
    return found


def patterns(X: np.ndarray) -> set[tuple[int, ...]]:
    gates = Faces().every(X)
    assert np.array_equal(reached_masks(gates.generators, X), gates.masks)
    found = [tuple(mask.astype(int).tolist()) for mask in gates.masks]
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("seed", range(60))
def test_every_pattern_is_found(seed: int) -> None:
    """General, rounded, with a bias, with opposite rows, with zero rows, of low rank."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    X = rng.standard_normal((n, d))
    if seed % 2:
        X = np.round(1.3 * X)
    if seed % 3 == 0:
        X[:, -1] = 1.0
    if seed % 5 == 0 and n > 2:
        X[1] = -2.3 * X[0]
    if seed % 7 == 0 and d > 1:
        X[:, 1] = 0.7 * X[:, 0]
    expected = realised(X) - {(0,) * n}
    assert patterns(X) == (expected or {(0,) * n})


def test_section_I_a_cross_has_nine_patterns_and_fourteen_with_a_bias() -> None:
    cross = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert len(enumerate_patterns(cross)) == 4
    assert len(patterns(cross)) == len(realised(cross)) == 9
    biased = np.column_stack([cross, np.ones(4)])
    assert len(enumerate_patterns(biased)) == len(realised(biased)) == 14
    assert len(patterns(biased)) == 13  # without the closed one


def test_scales_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(-2, 3, size=(7, 3)).astype(float)
    scaled = X * 10.0 ** rng.integers(-6, 7, size=(7, 1)) * np.array([1e-5, 1.0, 1e7])
    assert patterns(scaled) == patterns(X)


def test_generators_hold_their_patterns_whatever_the_order_of_the_sum() -> None:
    X = np.random.default_rng(3).integers(-3, 4, size=(9, 3)) / 10.0
    gates = Faces().every(X)
    shuffled = reached(X[:, [2, 0, 1]], gates.generators[:, [2, 0, 1]]).T
    assert np.array_equal(shuffled, gates.masks)


def test_opposite_patterns_are_one_for_sign_neurons() -> None:
    X = np.random.default_rng(1).standard_normal((6, 2))
    whole, half = Faces().every(X), Faces(both=True).every(X)
    columns = {tuple((m == m[0]).tolist()) for m in whole.masks}
    assert len(half) == len(columns) == len(whole) // 2 + 1
    closed = Faces(both=True).given(np.ones((3, 1)), np.array([[-1.0]]))
    kept = Faces(both=True).useful(closed, np.ones((3, 1)))
    assert len(kept) == 1
    assert not kept.masks.any()


def test_too_many_flats_are_refused_before_the_search() -> None:
    X = np.random.default_rng(0).standard_normal((120, 4))
    with pytest.raises(ValueError, match="pass bias=True"):
        Faces().every(X)


@pytest.mark.parametrize("seed", range(15))
def test_the_margin_is_the_largest(seed: int) -> None:
    """Against SciPy's solution of min |w|^2 subject to margins of one."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((int(rng.integers(3, 60)), int(rng.integers(2, 4))))
    generator = rng.standard_normal(X.shape[1])
    mask = X @ generator >= 0
    signed = np.where(mask[:, None], X, -X)
    found = widest(X, mask, generator)
    start = generator / (signed @ generator).min()
    best = minimize(
        lambda w: w @ w / 2,
        start,
        jac=lambda w: w,
        constraints={"type": "ineq", "fun": lambda w: signed @ w - 1, "jac": lambda w: signed},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    ).x
    assert np.linalg.norm(found) == pytest.approx(1.0)
    assert (signed @ found).min() == pytest.approx(1 / np.linalg.norm(best), rel=1e-5)


def test_a_pattern_with_a_sample_on_its_border_keeps_its_generator() -> None:
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    generator = np.array([0.0, 1.0])
    assert widest(X, np.array([True, True, True]), generator) is generator
