"""The search for the maximum of M: it is never below what anything else finds."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvxnn.everywhere import cells
from cvxnn.everywhere.duals import scaled
from cvxnn.everywhere.ladder import proved_gauge, row_space, rung
from cvxnn.everywhere.neurons import Training
from cvxnn.everywhere.patterns import pattern_gauge
from cvxnn.everywhere.price import price
from cvxnn.everywhere.quadratics import Rows
from cvxnn.everywhere.relaxed import QUICK, isotropic, relax
from cvxnn.everywhere.search import replay, search
from cvxnn.everywhere.trees import Tree, families, preorder, root
from cvxnn.functions import Squared, mean_loss

SEEDS = st.integers(0, 10**6)


def instance(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of all sizes; by turns ties, parallel, integer and zero rows."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * rng.lognormal(0, 0.7, (n, 1))
    v = rng.standard_normal(n)
    if seed % 4 == 0:
        X = np.vstack([X, X[:3], -2 * X[3:5], 0 * X[:2]])
        v = np.concatenate([v, rng.standard_normal(7)])
    if seed % 4 == 1:
        X = np.round(2 * X)
    if seed % 4 == 2:
        X[:, -1] = X[:, 0]  # rank d - 1
    return X, v


def turned(X: np.ndarray) -> np.ndarray:
    _, sizes, turn = np.linalg.svd(X, full_matrices=False)
    return X @ turn[sizes > 1e-13 * sizes[0]].T


def exact(X: np.ndarray, v: np.ndarray) -> float:
    """max over |u| <= 1 of v'(Xu)_+ on the plane, by all arcs and their stationary points."""
    angles = np.arctan2(X[:, 1], X[:, 0])
    walls = np.concatenate([angles + np.pi / 2, angles - np.pi / 2])
    middles = np.sort(np.mod(walls, 2 * np.pi))
    middles = (middles + np.append(middles[1:], middles[0] + 2 * np.pi)) / 2
    masks = np.stack([np.cos(middles), np.sin(middles)], axis=1) @ X.T > 0
    pulls = (masks * v) @ X
    candidates = np.concatenate([pulls, np.stack([np.cos(walls), np.sin(walls)], axis=1)])
    sizes = np.maximum(np.linalg.norm(candidates, axis=1, keepdims=True), 1e-300)
    return max(float((np.maximum(candidates / sizes @ X.T, 0) @ v).max()), 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_quick_bound_ends_where_rounds_gain_little(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 6))
    y = np.maximum(X @ rng.standard_normal((6, 3)), 0).sum(axis=1, keepdims=True)
    none = np.zeros((200, 0))
    relaxed = relax(Training(X, mean_loss(Squared(), y), none, 0.1), rng, QUICK)
    rows, start = Rows(X, relaxed.dual[:, 0], 0.1), relaxed.moments[0]
    rounds: list[int] = []
    one = cells._Play.round
    monkeypatch.setattr(
        cells._Play, "round", lambda self, count: rounds.append(count) or one(self, count)
    )
    most = root(rows, start)[1].upper[0]
    whole = len(rounds)
    quick = search(rows, start)
    assert most <= quick.upper <= 1.003 * most
    assert len(rounds) - whole < whole == 31
    assert replay(rows, quick.tree) <= quick.upper


@given(seed=SEEDS)
@settings(max_examples=30)
def test_exact_on_the_plane(seed: int) -> None:
    X, v = instance(seed, 12, 2)
    best = max(exact(X, v), exact(X, -v))
    assert pattern_gauge(X, v[:, None], 1.0) == pytest.approx(best, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("seed", range(12))
def test_closes_in_on_the_enumeration(seed: int) -> None:
    X, v = instance(seed, 20, 2 + seed % 2)
    both = []
    gauge = pattern_gauge(X, v[:, None], 1.0)
    for sign in (1, -1):
        rows = Rows(turned(X), sign * v, 1.001 * gauge)
        found = search(rows, isotropic(rows.rank), seconds=10)
        assert found.upper <= 1
        assert found.value <= found.upper
        both.append(found.value * 1.001)
    # what the bounds leave open the values fill: one of the signs attains the gauge, about
    assert max(both) > 0.9


@pytest.mark.parametrize("seed", range(12))
def test_never_proves_too_little(seed: int) -> None:
    X, v = instance(seed, 40, 2 + seed % 6)
    found = price(X, v[:, None], np.random.default_rng(0), starts=1000, steps=60)
    best = float(found.values[0])
    sign = float(found.outputs[0, 0])
    rows = Rows(turned(X), sign * v, 0.999 * best)
    for seconds in (0.0, 0.5):
        refuted = search(rows, isotropic(rows.rank), seconds=seconds)
        assert refuted.upper >= 1 / 0.999 * (1 - 1e-9)
    rng = np.random.default_rng(seed)
    rows = Rows(turned(X), sign * v, 1.0)
    upper = search(rows, isotropic(rows.rank)).upper
    assert rows.values(rng.standard_normal((5000, rows.rank))).max() <= upper


def test_no_rows_no_value() -> None:
    for X, v in [(np.zeros((3, 2)), np.ones(3)), (np.ones((3, 2)), np.zeros(3))]:
        rows = Rows(X, v, 1.0)
        assert search(rows, isotropic(2)).upper == 0
        assert replay(rows, search(rows, isotropic(2)).tree) == 0


@lru_cache
def medium(seed: int) -> tuple[Rows, Tree]:
    """Rows whose M / alpha is at least 1 / 1.005, and the tree that proves it to be at most 1."""
    X, v = instance(4 * seed + 3, 60, 6)
    priced = price(X, v[:, None], np.random.default_rng(0), starts=500, steps=60)
    sign, best = float(priced.outputs[0, 0]), float(priced.values[0])
    rows = Rows(turned(X), sign * v, 1.005 * best)
    found = search(rows, isotropic(rows.rank), seconds=30)
    assert found.upper <= 1
    assert len(found.tree.value) > 8
    return rows, found.tree


@pytest.mark.parametrize("seed", range(3))
def test_replay_proves_the_same(seed: int) -> None:
    rows, tree = medium(seed)
    assert replay(rows, tree) == pytest.approx(tree.upper, rel=1e-6)
    for seconds in (0.0, 0.1):
        found = search(rows, isotropic(rows.rank), seconds=seconds)
        assert replay(rows, found.tree) == pytest.approx(found.upper, rel=1e-6)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_a_forged_tree_proves_no_more_than_the_truth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, tree = medium(0)
    low = Rows(rows.units, rows.weights * 1.2, 1.0)  # the true M / alpha is above 1.19
    forged = [
        tree,
        replace(tree, upper=0.5),
        replace(tree, value=rng.uniform(-2, 2, len(tree.value)), upper=0.5),
        replace(tree, coordinate=np.where(tree.coordinate < 0, -1, rng.integers(0, 99)), upper=0.1),
        replace(tree, start=tree.start._replace(mean=rng.uniform(-1, 1, rows.rank)), upper=0.1),
        replace(tree, start=tree.start._replace(second=-tree.start.second), upper=0.1),
    ]
    truth = 1.2 / 1.005
    assert replay(low, forged[seed % 6]) >= truth * (1 - 1e-9)


def test_what_is_no_tree_proves_nothing() -> None:
    rows, tree = medium(0)
    broken = [
        replace(tree, coordinate=tree.coordinate[:-1]),
        replace(tree, coordinate=np.zeros_like(tree.coordinate)),
        replace(tree, coordinate=np.zeros(0, dtype=int), value=np.zeros(0)),
        replace(tree, value=tree.value * np.nan),
        replace(tree, value=tree.value[:-1]),
        replace(tree, unit=0.0),
        replace(tree, start=isotropic(rows.rank + 1)),
        replace(tree, start=tree.start._replace(blur=np.nan)),
        replace(tree, start=tree.start._replace(second=1e300 * tree.start.second)),
    ]
    for one in broken:
        assert replay(rows, one) == np.inf


@given(seed=SEEDS)
def test_preorder_keeps_the_tree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coordinate, value, pairs = [-1], [0.0], [(-1, -1)]
    for _ in range(int(rng.integers(0, 12))):
        leaf = int(rng.choice([k for k, c in enumerate(coordinate) if c < 0]))
        coordinate[leaf], value[leaf] = int(rng.integers(0, 5)), float(rng.uniform())
        pairs[leaf] = len(pairs), len(pairs) + 1
        coordinate += [-1, -1]
        value += [0.0, 0.0]
        pairs += [(-1, -1), (-1, -1)]
    order, cuts = preorder(coordinate, value, pairs)
    again = families(order)
    assert again is not None

    def same(node: int, place: int) -> bool:
        if (coordinate[node], value[node]) != (order[place], cuts[place]):
            return False
        return coordinate[node] < 0 or all(
            same(a, b) for a, b in zip(pairs[node], again[place], strict=True)
        )

    assert same(0, 0)


def test_what_a_tree_is_used_for_does_not_depend_on_rounding() -> None:
    """Leaves below 1 are done: another time, on numbers rounded otherwise, they may be higher."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((80, 4))
        v = rng.standard_normal((80, 1)) * (rng.random((80, 1)) < 0.5)
        best = float(price(X, v, rng, starts=200, steps=60).values[0])
        target = mean_loss(Squared(), 1e3 * v)  # the longer the dual point, the better
        training = Training(X, target, np.zeros((80, 0)), 1.001 * best)
        space, even = row_space(X), isotropic(4)
        found = rung(training, space, v, ((even, even),), seconds=30)
        assert max(len(tree.value) for tree in found.trees) > 2
        for _ in range(8):
            nearly = found.dual * (1 + 2e-16 * rng.integers(-2, 3, size=v.shape))
            again = proved_gauge(training, space, nearly, found.trees)
            assert scaled(training, nearly, max(again, 1.0)).lower >= found.lower * (1 - 1e-10)
