"""Counts come from Cover's formula and from arrangements counted in the literature."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from cvxnn.gates import arrangement, cover_count, enumerate_patterns, incremental, masks_of, rays

METHODS = ["rays", "incremental"]


def gaussian(n, d):
    return np.random.default_rng(100 * n + d).standard_normal((n, d))


def with_ones(X):
    return np.column_stack([X, np.ones(len(X))])


def cube(values, k):
    return np.array(list(itertools.product(values, repeat=k)), dtype=float)


def differences(k):
    return np.array([a - b for a, b in itertools.combinations(np.eye(k), 2)])


def signed_roots(k):
    pairs = list(itertools.combinations(np.eye(k), 2))
    return np.array([*np.eye(k), *(a - b for a, b in pairs), *(a + b for a, b in pairs)])


@st.composite
def tied_matrices(draw, n=7, d=4):
    """Small integers, with rows that are zero, repeated, scaled, reversed or sums of others."""
    rows, columns = draw(st.integers(1, n)), draw(st.integers(1, d))
    X = draw(arrays(np.float64, (rows, columns), elements=st.integers(-2, 2)))
    for _ in range(draw(st.integers(0, 3))):
        target, one, other = (draw(st.integers(0, rows - 1)) for _ in range(3))
        X[target] = draw(st.integers(-3, 3)) * X[one] + draw(st.integers(-1, 1)) * X[other]
    return X


def realisable(X, mask):
    """Is there a u with x.u > 0 on ones and x.u < 0 on zeros of the mask, zero rows being ones?"""
    zero = ~X.any(axis=1)
    if not mask[zero].all():
        return False
    signed = np.where(mask[:, None], X, -X)[~zero]
    d = X.shape[1]
    margin = linprog(
        np.append(np.zeros(d), -1),
        A_ub=np.column_stack([-signed, np.ones(len(signed))]),
        b_ub=np.zeros(len(signed)),
        bounds=[(-1, 1)] * d + [(None, 1)],
    )
    return margin.x[-1] > 1e-7


def assert_generators_are_inside(gates, X):
    np.testing.assert_array_equal(masks_of(gates.generators, X), gates.masks)
    nonzero = X.any(axis=1)
    units = X[nonzero] / np.linalg.norm(X[nonzero], axis=1, keepdims=True)
    assert np.all(np.abs(gates.generators @ units.T) > 1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(gates.generators, axis=1), 1.0 if nonzero.any() else 0.0
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("X", "count"),
    [
        pytest.param(gaussian(5, 3), 22, id="5 in R^3"),
        pytest.param(gaussian(10, 3), 92, id="10 in R^3"),
        pytest.param(gaussian(8, 4), 128, id="8 in R^4"),
        pytest.param(gaussian(3, 5), 8, id="more features than samples"),
        pytest.param(with_ones(gaussian(6, 1)), 12, id="one feature and a bias: 2n"),
        pytest.param(with_ones(gaussian(7, 2)), 44, id="two features and a bias"),
        pytest.param(gaussian(9, 2) @ gaussian(2, 6), 18, id="rank 2 in R^6"),
        pytest.param(differences(4), math.factorial(4), id="braid 4: orderings"),
        pytest.param(differences(5), math.factorial(5), id="braid 5: orderings"),
        pytest.param(signed_roots(3), 2**3 * math.factorial(3), id="B3: signed orderings"),
        pytest.param(signed_roots(4), 2**4 * math.factorial(4), id="B4: signed orderings"),
        pytest.param(with_ones(cube([-1, 1], 3)), 104, id="threshold functions of 3 bits"),
        pytest.param(with_ones(cube([0, 1], 4)), 1882, id="threshold functions of 4 bits"),
        pytest.param(cube([0, 1], 3)[1:], 32, id="all-subsets arrangement of 3"),
        pytest.param(cube([0, 1], 4)[1:], 370, id="all-subsets arrangement of 4"),
    ],
)
def test_known_counts(X, count, method):
    gates = enumerate_patterns(X, method=method)
    assert len(gates) == count
    assert len({mask.tobytes() for mask in gates.masks}) == count
    assert_generators_are_inside(gates, X)
    algorithm = {"rays": rays, "incremental": incremental}[method]
    sides, _ = algorithm.half_cells(arrangement.arrange(X).normals)
    assert 2 * len(sides) == count


@pytest.mark.parametrize("method", METHODS)
def test_the_worked_example(method):
    gates = enumerate_patterns(np.array([[2, 2], [3, 3], [1, 0]]), method=method)
    assert gates.masks.astype(int).tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]]


@settings(deadline=None, max_examples=100)
@given(tied_matrices())
def test_the_two_algorithms_agree_and_their_generators_are_inside(X):
    by_rays, one_by_one = (enumerate_patterns(X, method=method) for method in METHODS)
    np.testing.assert_array_equal(by_rays.masks, one_by_one.masks)
    assert_generators_are_inside(by_rays, X)
    assert_generators_are_inside(one_by_one, X)
    assert len(by_rays) <= cover_count(len(X), np.linalg.matrix_rank(X))


@settings(deadline=None, max_examples=100)
@given(tied_matrices())
def test_either_algorithm_gives_half_the_cells_once_with_points_inside(X):
    """What `enumerate_patterns` would mend or drop does not come up in exact data."""
    normals = arrangement.arrange(X).normals
    if normals.size:
        halves = {}
        for algorithm in (rays, incremental):
            sides, points = algorithm.half_cells(normals)
            assert sides[:, 0].all()
            assert np.all(np.where(sides, 1, -1) * (points @ normals.T) > 1e-7)
            halves[algorithm] = sorted(sides.tolist())
        assert halves[rays] == halves[incremental]
        assert 2 * len(halves[rays]) == len(enumerate_patterns(X))


@settings(deadline=None, max_examples=20)
@given(tied_matrices())
def test_they_find_just_the_sign_vectors_that_linear_programs_find(X):
    every = cube([True, False], len(X)).astype(bool)
    expected = every[[realisable(X, mask) for mask in every]]
    np.testing.assert_array_equal(enumerate_patterns(X).masks, expected)


@settings(deadline=None, max_examples=50)
@given(tied_matrices(n=6), st.randoms(use_true_random=False))
def test_scales_of_rows_and_columns_change_no_pattern(X, random):
    plain = enumerate_patterns(X)
    for decades in ((1, 1), (12, 0), (0, 12), (100, 0), (1.5, 1.5)):
        rows, columns = (
            10.0 ** np.array([random.uniform(-spread, spread) for _ in range(size)])
            for spread, size in zip(decades, X.shape, strict=True)
        )
        scaled = rows[:, None] * X * columns
        np.testing.assert_array_equal(enumerate_patterns(scaled).masks, plain.masks)


@settings(deadline=None, max_examples=50)
@given(tied_matrices(), st.integers(0, 99))
def test_turning_or_mirroring_the_data_changes_the_patterns_accordingly(X, seed):
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.standard_normal((X.shape[1], X.shape[1])))
    plain = {tuple(mask) for mask in enumerate_patterns(X).masks.tolist()}
    assert {tuple(mask) for mask in enumerate_patterns(X @ turn).masks.tolist()} == plain
    order = rng.permutation(len(X))
    moved = {
        tuple(mask) for mask in enumerate_patterns(X[order]).masks[:, np.argsort(order)].tolist()
    }
    assert moved == plain
    zero = ~X.any(axis=1)
    assert {tuple((~np.array(mask) | zero).tolist()) for mask in plain} == plain


@pytest.mark.parametrize("X", [gaussian(40, 3), gaussian(14, 5), with_ones(cube(range(5), 2))])
def test_larger_arrangements_agree(X):
    by_rays, one_by_one = (enumerate_patterns(X, method=method) for method in METHODS)
    np.testing.assert_array_equal(by_rays.masks, one_by_one.masks)
    assert_generators_are_inside(by_rays, X)


@pytest.mark.parametrize("n", [100, 300])
def test_a_hundred_samples_and_more(n):
    X = gaussian(n, 3)
    gates = enumerate_patterns(X)
    assert len(gates) == cover_count(n, 3) == {100: 9902, 300: 89_702}[n]
    np.testing.assert_array_equal(masks_of(gates.generators, X), gates.masks)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "feature",
    [
        pytest.param(1.7e9 + np.arange(20.0), id="parallel to the bias to nine digits"),
        pytest.param(np.append(1e6 + np.arange(19.0), 0), id="large, with a zero"),
        pytest.param(1e-9 * np.arange(20.0), id="tiny, with a zero"),
    ],
)
def test_a_feature_in_awkward_units_is_no_obstacle(feature, method):
    assert len(enumerate_patterns(with_ones(feature[:, None]), method=method)) == 40


@settings(deadline=None, max_examples=50)
@given(tied_matrices(), st.integers(-16, -8), st.integers(0, 99))
def test_rounding_loses_no_cell(X, decade, seed):
    """Small integers make no thin cells, so every cell is there still when they are a bit off."""
    rng = np.random.default_rng(seed)
    off = rng.standard_normal(X.shape) * rng.integers(0, 2, X.shape) * X.any(axis=1, keepdims=True)
    before = {mask.tobytes() for mask in enumerate_patterns(X).masks}
    for method in METHODS:
        after = enumerate_patterns(X + 10.0**decade * off, method=method)
        assert before <= {mask.tobytes() for mask in after.masks}


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 1e-17], [1, 2e-17], [-3e-17, 1], [1, 1]],
        [[-2e-16, -1], [1, 0], [-1, 1], [-1e-16, -1], [-1, 0]],
    ],
)
def test_rounding_in_place_of_zeros_changes_nothing(rows):
    X = np.array(rows)
    np.testing.assert_array_equal(enumerate_patterns(X).masks, enumerate_patterns(X.round()).masks)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [1e-4, 1e-7, 1e-9, 1e-10])
def test_thin_cells_are_cells(width, method):
    plane = np.array([[1, 0], [1, width], [0, 1]])
    space = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, width]])
    for X, count in ((plane, 6), (space, 14)):
        gates = enumerate_patterns(X, method=method)
        assert len(gates) == count
        np.testing.assert_array_equal(masks_of(gates.generators, X), gates.masks)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 9999))
def test_generators_have_the_masks_in_exact_arithmetic(seed):
    """Rows that differ in their last bits: cells that doubles cannot enter are left out."""
    steps = np.cumsum(np.random.default_rng(seed).integers(1, 40, 6)) * 2.0**-52
    X = np.array([[1 + t, 1 - t] for t in (*steps, -(2.0**-28))])
    for method in METHODS:
        gates = enumerate_patterns(X, method=method)
        assert 4 <= len(gates) <= 14
        for generator, mask in zip(gates.generators, gates.masks, strict=True):
            u = [Fraction(entry) for entry in generator]
            exact = [sum(a * Fraction(b) for a, b in zip(u, x, strict=True)) >= 0 for x in X]
            assert exact == mask.tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("X", [np.zeros((3, 2)), np.ones((3, 0))])
def test_without_a_hyperplane_there_is_one_pattern(X, method):
    gates = enumerate_patterns(X, method=method)
    assert gates.masks.tolist() == [[True, True, True]]
    np.testing.assert_array_equal(gates.generators, np.zeros((1, X.shape[1])))


def test_auto_turns_to_the_incremental_search_where_rays_are_many(monkeypatch):
    X = gaussian(12, 10)
    expected = enumerate_patterns(X, method="rays").masks
    monkeypatch.setattr("cvxnn.gates.enumerate.RAY_WORK", 1000)
    monkeypatch.setattr(rays, "half_cells", None)
    np.testing.assert_array_equal(enumerate_patterns(X).masks, expected)


def test_points_on_or_behind_a_wall_are_moved_and_impossible_cells_dropped(monkeypatch):
    X = gaussian(6, 3)
    expected = enumerate_patterns(X)
    half_cells = rays.half_cells

    def careless(normals):
        sides, points = half_cells(normals)
        every = cube([True, False], len(normals)).astype(bool)
        impossible = [side for side in every if side[0] and side.tolist() not in sides.tolist()]
        on_walls = points - (points @ normals[1:2].T) * normals[1:2]
        return np.concatenate([sides, impossible]), np.concatenate(
            [on_walls, np.ones((len(impossible), 3))]
        )

    monkeypatch.setattr(rays, "half_cells", careless)
    found = enumerate_patterns(X, method="rays")
    np.testing.assert_array_equal(found.masks, expected.masks)
    assert_generators_are_inside(found, X)


def test_a_linear_program_decides_where_least_squares_gives_up(monkeypatch):
    X = with_ones(cube([-1, 0, 1], 2))
    expected = enumerate_patterns(X, method="incremental").masks

    def gives_up(*_):
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(arrangement, "nnls", gives_up)
    np.testing.assert_array_equal(enumerate_patterns(X, method="incremental").masks, expected)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 12), st.integers(0, 12))
def test_cover_count_is_the_formula(n, r):
    formula = 2 * sum(math.comb(n - 1, k) for k in range(r)) if n and r else 1
    assert cover_count(n, r) == formula


def test_too_many_patterns_are_refused_with_the_count_the_limit_and_a_way_out():
    X = gaussian(10, 3)
    assert len(enumerate_patterns(X, limit=92)) == 92
    with pytest.raises(ValueError, match=r'92 patterns and the limit is 91; .*gates="sample"'):
        enumerate_patterns(X, limit=91)
    assert len(enumerate_patterns(np.tile(X, (30, 1)), limit=92)) == 92
    with pytest.raises(ValueError, match="about 1e90 patterns"):
        enumerate_patterns(gaussian(300, 300))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
        (np.array([[1.0, -np.inf]]), "NaN or infinite"),
        (np.ones((0, 2)), "at least one row"),
        (np.ones(3), r"expected \(n, d\)"),
    ],
)
def test_bad_data_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        enumerate_patterns(X)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method is 'lp'; expected 'auto', 'rays' or"):
        enumerate_patterns(np.ones((2, 2)), method="lp")


def test_the_two_algorithms_are_independent(monkeypatch):
    X = gaussian(5, 3)
    for method, other in zip(METHODS, [incremental, rays], strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(other, "half_cells", None)
            assert len(enumerate_patterns(X, method=method)) == 22
