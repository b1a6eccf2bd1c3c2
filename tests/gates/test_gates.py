import tracemalloc

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cvxnn.gates import Gates, distinct, masks_of
from cvxnn.gates.base import pattern_keys, patterns_of


def boolean(max_rows, max_columns):
    shape = st.tuples(st.integers(0, max_rows), st.integers(1, max_columns))
    return shape.flatmap(lambda s: arrays(np.bool_, s))


def integers(shape):
    return arrays(np.float64, shape, elements=st.integers(-3, 3))


def test_the_bit_of_a_zero_product_is_one():
    features = np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    masks = masks_of(np.array([[1.0, -1.0], [0.0, 0.0]]), features)
    assert masks.tolist() == [[True, True, False], [True, True, True]]


@given(st.data(), st.integers(1, 9), st.integers(1, 4), st.integers(1, 6))
def test_blocks_of_any_size_give_the_masks_of_plain_products(data, n, d, p):
    features, generators = data.draw(integers((n, d))), data.draw(integers((p, d)))
    by_hand = [
        [sum(map(float.__mul__, x, g)) >= 0 for x in features.tolist()] for g in generators.tolist()
    ]
    for block_bytes in (1, 8 * p, 100, 2**20):
        masks = masks_of(generators, features, block_bytes=block_bytes)
        assert masks.tolist() == by_hand


def test_blocks_of_any_size_agree_on_gaussian_data():
    rng = np.random.default_rng(0)
    features, generators = rng.standard_normal((1000, 7)), rng.standard_normal((50, 7))
    whole = masks_of(generators, features)
    for block_bytes in (1, 5000, 123_456):
        np.testing.assert_array_equal(
            masks_of(generators, features, block_bytes=block_bytes), whole
        )


def test_memory_stays_near_the_masks_themselves():
    rng = np.random.default_rng(0)
    features, generators = rng.standard_normal((20_000, 4)), rng.standard_normal((500, 4))
    tracemalloc.start()
    masks = masks_of(generators, features, block_bytes=2**20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < masks.nbytes + 4 * 2**20 < features.shape[0] * 500 * 8


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_features_of_any_library_give_the_same_masks(library):
    xp = array_api_strict if library == "array_api_strict" else pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    features = rng.standard_normal((20, 3)).astype(np.float32)
    generators = rng.standard_normal((9, 3))
    masks = masks_of(generators, xp.asarray(features))
    assert isinstance(masks, np.ndarray)
    np.testing.assert_array_equal(masks, masks_of(generators, features))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones(3), r"shape \(3,\); expected \(n, d\)"),
        (np.ones((0, 3)), r"shape \(0, 3\)"),
        (np.array([[1.0, 2.0], [np.nan, np.inf]]), "2 NaN or infinite.*row 1, column 0"),
        (np.ones((2, 3)), r"generators have shape \(1, 2\); expected \(p, 3\)"),
    ],
)
def test_bad_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        masks_of(np.ones((1, 2)), features)


def test_gates_refuse_generators_and_masks_that_disagree():
    with pytest.raises(ValueError, match=r"generators are \(2, 3\) and masks \(1, 4\)"):
        Gates(np.ones((2, 3)), np.ones((1, 4), dtype=bool))
    with pytest.raises(ValueError, match=r"masks \(2,\)"):
        Gates(np.ones((2, 3)), np.ones(2, dtype=bool))


def test_take_keeps_the_order_asked_for():
    gates = Gates(np.arange(3.0)[:, None], np.eye(3, dtype=bool))
    taken = gates.take([2, 0])
    assert len(taken) == 2
    assert taken.generators.ravel().tolist() == [2.0, 0.0]
    np.testing.assert_array_equal(taken.masks, np.eye(3, dtype=bool)[[2, 0]])


@given(boolean(40, 20))
def test_distinct_keeps_the_first_of_every_nonzero_pattern_in_order(masks):
    first: dict[tuple[bool, ...], int] = {}
    for i, mask in enumerate(masks.tolist()):
        if any(mask):
            first.setdefault(tuple(mask), i)
    kept = distinct(Gates(np.arange(float(len(masks)))[:, None], masks))
    assert kept.generators.ravel().tolist() == list(first.values())
    np.testing.assert_array_equal(kept.masks, masks[list(first.values())])


@given(boolean(20, 20))
def test_keys_sort_like_masks_and_lead_back_to_them(masks):
    keys = pattern_keys(np.asfortranarray(masks))
    np.testing.assert_array_equal(patterns_of(keys, masks.shape[1]), masks)
    np.testing.assert_array_equal(masks[np.argsort(keys)].tolist(), sorted(masks.tolist()))
