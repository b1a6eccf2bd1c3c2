"""The half-space that a dual point wants most, against lists of every pattern."""

import numpy as np
import pytest

from cvxnn.gates import Faces, enumerate_patterns, reached_masks
from cvxnn.gates.arrangement import arrange
from cvxnn.gates.planes import most
from cvxnn.gates.turning import turned

Floats = np.ndarray


def worth(masks: Floats, v: Floats, both: bool) -> Floats:
    """Columns and products, written out."""
    columns = 2.0 * masks - 1.0 if both else 1.0 * masks
    return np.linalg.norm(columns @ v, axis=1)


def instance(seed: int) -> tuple[Floats, Floats, bool]:
    """Data of up to two columns and a bias, ties and zero rows among them, and a dual point."""
    rng = np.random.default_rng(seed)
    n, d, outputs = int(rng.integers(2, 14)), int(rng.integers(0, 3)), int(rng.integers(1, 4))
    data = rng.integers(-2, 3, size=(n, d)) if seed % 3 else rng.standard_normal((n, d))
    X = np.column_stack([data, np.ones(n)]).astype(float)
    X[0] *= seed % 5 > 0
    return X, rng.standard_normal((n, outputs)), bool(seed % 2)


@pytest.mark.parametrize("seed", range(30))
def test_circles_hold_the_best_of_every_pattern(seed: int) -> None:
    X, v, both = instance(seed)
    arrangement = arrange(X)
    values, points = most(arrangement, v, both=both)
    every = np.vstack([Faces().every(X).masks, np.zeros((1, len(X)), dtype=bool)])
    assert values.max() == pytest.approx(worth(every, v, both).max())
    own = worth(reached_masks(points @ arrangement.lift.T, X), v, both)
    np.testing.assert_allclose(own, values)


@pytest.mark.parametrize("seed", range(30))
def test_what_turning_says_is_what_its_half_spaces_are_worth(seed: int) -> None:
    X, v, both = instance(seed)
    vectors, values = turned(X, v, np.random.default_rng(0), both=both)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(worth(reached_masks(vectors, X), v, both), values)
    every = np.vstack([Faces().every(X).masks, np.zeros((1, len(X)), dtype=bool)])
    assert values[0] <= worth(every, v, both).max() * (1 + 1e-12)


def test_turning_finds_the_best_of_twenty_thousand_patterns() -> None:
    hits = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = np.column_stack([rng.standard_normal((40, 3)), np.ones(40)])
        v = rng.standard_normal((40, 1))
        best = np.abs(enumerate_patterns(X).masks @ v).max()
        found = turned(X, v, np.random.default_rng(1))[1][0]
        assert 0.95 * best <= found <= best * (1 + 1e-12)
        hits += found >= best * (1 - 1e-12)
    assert hits >= 4


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(("n", "d", "bias"), [(8, 2, 0), (60, 2, 1), (9, 4, 1), (5, 9, 0)])
def test_what_is_proved_is_the_best_of_every_pattern(n: int, d: int, bias: int, both: bool) -> None:
    """Few patterns, circles, few patterns again, and data of which every pattern is one."""
    rng = np.random.default_rng(n)
    X = np.column_stack([rng.standard_normal((n, d)), np.ones((n, bias))])
    v = rng.standard_normal((n, 1))
    search = Faces(both).search(X)
    every = np.vstack([Faces().every(X).masks, np.zeros((1, n), dtype=bool)])
    found = search.wanted(v, np.random.default_rng(0))
    assert search.most(v) == pytest.approx(worth(every, v, both).max())
    np.testing.assert_array_equal(reached_masks(found.generators, X), found.masks)
    assert (np.diff(search.worth(found, v)) <= 0).all()
    assert search.worth(found, v)[0] == pytest.approx(search.most(v))


def test_independent_rows_have_every_pattern() -> None:
    rng = np.random.default_rng(0)
    X, v = rng.standard_normal((30, 40)), rng.standard_normal((30, 1))
    search = Faces().search(X)
    assert search.most(v) == pytest.approx(max(v[v > 0].sum(), -v[v < 0].sum()))
    best = search.wanted(v, np.random.default_rng(0))
    assert search.worth(best, v)[0] == pytest.approx(search.most(v))
    assert search.most(np.column_stack([v, v])) is None  # a norm is not looked at side by side


def test_where_patterns_are_many_nothing_is_proved() -> None:
    X, v = np.random.default_rng(0).standard_normal((200, 8)), np.ones((200, 1))
    search = Faces().search(X)
    assert search.most(v) is None
    found = search.wanted(v, np.random.default_rng(0))
    assert search.worth(found, v)[0] == 200  # the zero vector's half-space holds every sample
