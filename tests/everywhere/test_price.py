"""Pricing: what it finds is there, and in small dimensions it finds the best."""

import numpy as np
import pytest
from tests.conftest import Backend

from cvxnn.arrays import to_numpy
from cvxnn.everywhere.patterns import pattern_gauge
from cvxnn.everywhere.polish import climb
from cvxnn.everywhere.price import price

SEEDS = range(8)


def data(seed: int, outputs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(4, 25)), int(rng.integers(1, 4))
    return rng.standard_normal((n, d)), rng.standard_normal((n, outputs))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_candidate_is_worth_what_it_says(backend: Backend, seed: int, outputs: int) -> None:
    X, V = data(seed, outputs)
    rng = np.random.default_rng(seed)
    found = price(backend.asarray(X), backend.asarray(V), rng, starts=20, generations=seed % 3)
    directions, turned, values = (to_numpy(x).astype(float) for x in found)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1, rel=1e-5)
    assert np.linalg.norm(turned, axis=1) == pytest.approx(1, rel=1e-5)
    worth = ((np.maximum(X @ directions.T, 0).T @ V) * turned).sum(axis=1)
    assert values == pytest.approx(worth, rel=1e-3, abs=1e-4)
    assert (np.diff(values) <= 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_of_few_dimensions_is_found(seed: int) -> None:
    X, V = data(seed)
    best = float(price(X, V, np.random.default_rng(seed), starts=500, steps=60).values[0])
    exact = max(pattern_gauge(X, sign * V, 1.0) for sign in (1.0, -1.0))
    assert best <= exact * (1 + 1e-9)
    assert best >= exact * 0.995  # the maximiser is on a kink, where ascent comes near


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_generations_lose_nothing(seed: int, outputs: int) -> None:
    """The best of one are among the starts of the next."""
    rng = np.random.default_rng(seed)
    X, V = rng.standard_normal((80, 12)), rng.standard_normal((80, outputs))
    best = [
        float(price(X, V, np.random.default_rng(seed), starts=30, generations=k).values[0])
        for k in (1, 2, 6)
    ]
    assert best[0] * (1 - 1e-12) <= best[1] <= best[2] * (1 + 1e-12)


def test_generations_find_what_many_starts_find() -> None:
    gains = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, V = rng.standard_normal((80, 12)), rng.standard_normal((80, 1))
        words = {"starts": 40, "steps": 24}
        few = price(X, V, np.random.default_rng(seed), generations=4, **words).values[0]
        many = price(X, V, np.random.default_rng(seed), starts=160, steps=24).values[0]
        gains.append(float(few / many))
    assert np.mean(gains) > 1 - 1e-4  # one generation of them is 4e-4 below


def test_neurons_at_hand_are_starts_too() -> None:
    X, V = data(3)
    own = np.eye(X.shape[1])
    found = price(X, V, np.random.default_rng(0), starts=2, steps=1, own=own)
    assert max(abs(found.directions @ own[0])) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(6))
def test_ascent_ends_where_no_cell_is_better(seed: int) -> None:
    """Ascent follows kinks: projection on the last cell and those beside it adds little."""
    rng = np.random.default_rng(seed)
    X, v = rng.standard_normal((60, 6)), rng.standard_normal((60, 1))
    found = price(X, v, rng, starts=30, steps=60)
    gains = []
    for u, sign, value in zip(found.directions, found.outputs[:, 0], found.values, strict=True):
        if value > 0:
            best = np.linalg.norm(climb(X, sign * v[:, 0], X @ u > 0)[1])
            gains.append(best / value - 1)
    assert np.median(gains) < 2e-3
    assert np.mean(np.array(gains) > 0.01) < 0.2
