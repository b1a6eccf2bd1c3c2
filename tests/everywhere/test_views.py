"""Views of a dual point: together they bound what a neuron of several outputs attains."""

import numpy as np
import pytest

from cvxnn import ConvexClassifier, verify
from cvxnn.everywhere.flats import reach
from cvxnn.everywhere.views import FAN, views


def dual(seed: int) -> np.ndarray:
    """A dual point of rank 1 to 4, of classes (rows that add up to zero) or of regression."""
    rng = np.random.default_rng(seed)
    c = 1 + seed % 4
    V = rng.standard_normal((9, c))
    if seed % 3 == 1:
        V = np.concatenate([V, -V.sum(axis=1, keepdims=True)], axis=1)
    if seed % 3 == 2:
        V = V @ rng.standard_normal((c, c + 2))
    return V


@pytest.mark.parametrize("seed", range(24))
def test_the_views_bound_the_whole(seed: int) -> None:
    V, X = dual(seed), np.random.default_rng(seed).standard_normal((9, 2))
    rank, seen = np.linalg.matrix_rank(V), views(V)
    assert len(seen.directions) == (FAN if rank == 2 else rank)
    assert np.linalg.norm(seen.directions, axis=1) == pytest.approx(1)
    each = np.array([reach(X, (V @ g)[:, None]) for g in seen.directions])
    whole = reach(X, V)
    assert whole <= seen.joined(each) * (1 + 1e-9) + seen.missed(X, V)
    assert seen.missed(X, V) <= 1e-9 * whole
    if seen.flat:
        assert each.max() <= whole * (1 + 1e-9)
        assert seen.joined(each) <= 1.02 * whole


@pytest.mark.parametrize("seed", range(12))
def test_multiples_have_the_same_views(seed: int) -> None:
    V = dual(seed)
    for scale in (1e-9, 0.3, 7e5):
        assert views(scale * V).directions == pytest.approx(views(V).directions, abs=1e-9)


def test_what_is_in_no_view_is_accounted_for() -> None:
    V, X = dual(1), np.eye(9)
    seen = views(V)
    off = np.linalg.svd(seen.directions)[2][-1]
    part = np.outer(np.arange(9.0), off)
    assert seen.missed(X, V + part) == pytest.approx(np.arange(9).sum())
    assert len(views(0 * V).directions) == 1


def test_three_classes_are_proved_from_a_fan() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 5))
    labels = np.argmax(X[:, :3], axis=1)
    model = ConvexClassifier(alpha=0.1, random_state=0, proof_time=0.0).fit(X, labels)
    assert len(model.proof_.trees) == 2 * FAN
    assert 0.8 * model.certificate_.upper < model.certificate_.lower <= model.certificate_.upper
    assert verify(model, X, labels)
