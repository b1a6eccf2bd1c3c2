import numpy as np
import pytest

from cvxnn.gates import enumerate_patterns, gaussian


def draw(features, n_gates, seed=0):
    return gaussian(features, n_gates, np.random.default_rng(seed))


def test_masks_belong_to_the_generators_and_are_distinct_and_open():
    features = np.random.default_rng(1).standard_normal((6, 3))
    gates = draw(features, 400)
    np.testing.assert_array_equal(gates.masks, (features @ gates.generators.T >= 0).T)
    assert len({mask.tobytes() for mask in gates.masks}) == len(gates)
    assert gates.masks.any(axis=1).all()
    assert 15 < len(gates) < 32  # Cover's count is 32


def test_a_seed_decides_the_gates():
    features = np.random.default_rng(1).standard_normal((20, 5))
    first, again, other = draw(features, 30), draw(features, 30), draw(features, 30, seed=1)
    np.testing.assert_array_equal(first.generators, again.generators)
    np.testing.assert_array_equal(first.masks, again.masks)
    assert not np.array_equal(first.masks, other.masks)


def test_more_draws_keep_the_gates_of_fewer():
    features = np.random.default_rng(1).standard_normal((20, 5))
    few, many = draw(features, 30), draw(features, 60)
    np.testing.assert_array_equal(many.generators[: len(few)], few.generators)


def test_two_samples_differ_with_probability_angle_over_pi():
    """The SimHash law, for every pair of 60 samples; so many patterns that none is repeated."""
    features = np.random.default_rng(2).standard_normal((60, 20)) + 0.25
    gates = draw(features, 5000)
    assert len(gates) == 5000
    pairs = np.triu_indices(60, k=1)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = np.arccos((units @ units.T)[pairs]) / np.pi
    bits = gates.masks.astype(float)
    both = (bits.T @ bits / len(gates))[pairs]
    found = bits.mean(axis=0)[pairs[0]] + bits.mean(axis=0)[pairs[1]] - 2 * both
    scores = (found - expected) / np.sqrt(expected * (1 - expected) / len(gates))
    assert np.abs(scores).max() < 5
    assert 0.8 < np.mean(scores**2) < 1.2


def test_a_draw_that_closes_every_sample_is_reversed():
    features = np.array([[1.0, 2.0], [2.0, 4.0]])
    seeds = range(20)
    drawn = [np.random.default_rng(seed).standard_normal((1, 2)) for seed in seeds]
    closed = [bool((features @ g.T < 0).all()) for g in drawn]
    assert 0 < sum(closed) < 20
    for seed, generator, reverse in zip(seeds, drawn, closed, strict=True):
        gates = draw(features, 1, seed)
        assert gates.masks.tolist() == [[True, True]]
        np.testing.assert_array_equal(gates.generators, -generator if reverse else generator)


@pytest.mark.parametrize("features", [np.zeros((1, 3)), np.zeros((4, 2)), np.ones((2, 0))])
def test_samples_that_no_gate_tells_apart_leave_one_gate(features):
    assert draw(features, 10).masks.tolist() == [[True] * len(features)]


@pytest.mark.parametrize("integer", [False, True])
def test_sampled_patterns_are_among_the_enumerated(integer):
    rng = np.random.default_rng(3)
    features = rng.integers(-2, 3, (9, 3)).astype(float) if integer else rng.normal(size=(9, 3))
    every = {mask.tobytes() for mask in enumerate_patterns(features).masks}
    sampled = {mask.tobytes() for mask in draw(features, 2000).masks}
    assert len(sampled) > 20
    assert sampled <= every


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="n_gates is 0"):
        draw(np.ones((2, 2)), 0)
    with pytest.raises(ValueError, match="NaN"):
        draw(np.array([[np.nan]]), 3)
