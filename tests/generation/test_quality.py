"""Figures of quality against scipy, closed forms and search by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from cvxnn.generation.quality import (
    frechet_distance,
    nearest_samples,
    precision_recall,
    sample_quality,
    sliced_wasserstein,
)

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3)), 2 * RNG.standard_normal((55, 3)) + 0.5


def test_frechet_distance_is_that_of_the_matrix_root() -> None:
    C, D = np.cov(X, rowvar=False), np.cov(Y, rowvar=False)
    apart = X.mean(axis=0) - Y.mean(axis=0)
    expected = apart @ apart + np.trace(C + D - 2 * sqrtm(C @ D).real)
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(X, X) == pytest.approx(0, abs=1e-9)
    flat = X[:2]  # covariances of rank one
    assert frechet_distance(flat, flat + 1) == pytest.approx(3)


@pytest.mark.parametrize("shift", [0.0, 1.0, -2.5])
def test_a_shift_and_a_scale_in_closed_form(shift: float) -> None:
    sd = X.std(axis=0, ddof=1)
    C = np.cov(X, rowvar=False)
    assert frechet_distance(X, X + shift) == pytest.approx(3 * shift**2, abs=1e-9)
    assert frechet_distance(X, 3 * (X - X.mean(axis=0))) == pytest.approx(
        4 * np.trace(C) + (X.mean(axis=0) ** 2).sum()
    )
    line = X[:, :1]
    assert sliced_wasserstein(line, line + shift, n_directions=3) == pytest.approx(abs(shift))
    assert sliced_wasserstein(line, line + shift, order=2) == pytest.approx(abs(shift))
    assert sd.min() > 0


@settings(max_examples=30)
@given(n=st.integers(2, 12), m=st.integers(2, 12), seed=st.integers(0, 10**6))
def test_one_feature_is_scipys_wasserstein_distance(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(-3, 4, (n, 1)) * 1.0, rng.standard_normal((m, 1))
    expected = wasserstein_distance(first[:, 0], second[:, 0])
    assert sliced_wasserstein(first, second, n_directions=2) == pytest.approx(expected, abs=1e-12)


def test_directions_are_averaged() -> None:
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((3, 100))
    directions /= np.linalg.norm(directions, axis=0)
    each = [wasserstein_distance(X @ u, Y @ u) for u in directions.T]
    found = sliced_wasserstein(X, Y, n_directions=100, random_state=3)
    assert found == pytest.approx(np.mean(each), rel=1e-12)
    assert found < sliced_wasserstein(X, Y, n_directions=100, order=2, random_state=3)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_by_hand(k: int) -> None:
    def share(base: np.ndarray, others: np.ndarray) -> float:
        own = np.sort(np.linalg.norm(base[:, None] - base, axis=2), axis=1)[:, k]
        apart = np.linalg.norm(others[:, None] - base, axis=2)
        return float((apart <= own).any(axis=1).mean())

    found = precision_recall(X, Y, n_neighbors=k)
    assert found == pytest.approx((share(X, Y), share(Y, X)))
    assert precision_recall(X, X, n_neighbors=k) == (1.0, 1.0)
    assert precision_recall(X, X + 100, n_neighbors=k) == (0.0, 0.0)


def test_half_of_the_samples_is_all_precision_and_half_the_recall() -> None:
    two = np.concatenate([X, X + 50])
    precision, recall = precision_recall(two, X)
    assert (precision, recall) == (1.0, 0.5)


def test_features_are_what_is_compared() -> None:
    images, others = X.reshape(40, 3, 1), Y.reshape(55, 3, 1)
    first = sample_quality(images, others, features=lambda x: x.reshape(len(x), -1)[:, :2])
    assert first == sample_quality(X[:, :2], Y[:, :2])


def test_neighbours_by_hand() -> None:
    distances, places = nearest_samples(Y[:1], X, n_neighbors=2)
    apart = np.linalg.norm(X - Y[0], axis=1)
    np.testing.assert_array_equal(places[0], np.argsort(apart)[:2])
    np.testing.assert_allclose(distances[0], np.sort(apart)[:2])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="3 and 2 features"):
        frechet_distance(X, Y[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        sliced_wasserstein(X, np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(X, Y[:1])
    with pytest.raises(ValueError, match="n_neighbors is 40"):
        precision_recall(X, Y, n_neighbors=40)
    with pytest.raises(ValueError, match="order is 3"):
        sliced_wasserstein(X, Y, order=3)
    with pytest.raises(ValueError, match="n_directions is 0"):
        sliced_wasserstein(X, Y, n_directions=0)
