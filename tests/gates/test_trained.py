import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cvxnn.gates import from_generators, from_weights, masks_of

MAKERS = [from_generators, from_weights]


def integers(shape):
    return arrays(np.float64, shape, elements=st.integers(-2, 2))


@given(integers((5, 3)), integers((8, 3)))
def test_weights_give_the_patterns_of_the_live_neurons(features, weights):
    gates = from_weights(features, weights)
    hidden = np.maximum(features @ weights.T, 0)
    live = weights[(hidden > 0).any(axis=0)]
    expected = {mask.tobytes() for mask in masks_of(live, features)}
    assert expected <= {mask.tobytes() for mask in gates.masks}
    assert len({mask.tobytes() for mask in gates.masks}) == len(gates)
    assert gates.masks.any(axis=1).all()
    assert gates.generators.any(axis=1).all()
    np.testing.assert_array_equal(gates.masks, masks_of(gates.generators, features))
    rows = weights.tolist()
    places = [rows.index(g) for g in gates.generators.tolist()]
    assert places == sorted(places)


def test_a_dead_network_gives_no_gates():
    gates = from_weights(np.array([[1.0, 2.0]]), np.array([[-1.0, 0.0], [0.0, 0.0]]))
    assert len(gates) == 0
    assert gates.generators.shape == (0, 2)
    assert gates.masks.shape == (0, 1)


@given(integers((5, 3)), integers((8, 3)))
def test_given_generators_are_kept_as_they_are(features, generators):
    gates = from_generators(features, generators)
    np.testing.assert_array_equal(gates.generators, generators)
    np.testing.assert_array_equal(gates.masks, (features @ generators.T >= 0).T)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_any_library_gives_float64_gates_on_the_host(make, library):
    xp = array_api_strict if library == "array_api_strict" else pytest.importorskip("torch")
    vectors = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    features = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    gates = make(xp.asarray(features), xp.asarray(vectors))
    assert isinstance(gates.generators, np.ndarray)
    assert gates.generators.dtype == np.float64
    np.testing.assert_array_equal(gates.masks, make(features, vectors).masks)


def test_weights_that_carry_a_gradient_are_read():
    torch = pytest.importorskip("torch")
    weights = torch.ones((1, 2), requires_grad=True)
    assert from_weights(np.ones((3, 2)), weights).masks.all()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((3, 4)), r"have shape \(3, 4\); expected \(p, 5\)"),
        (np.ones(5), r"have shape \(5,\); expected \(p, 5\)"),
        (np.ones((0, 5)), r"have shape \(0, 5\); expected \(p, 5\) with p >= 1"),
        (np.full((1, 5), np.inf), "NaN or infinite"),
    ],
)
def test_vectors_of_the_wrong_kind_are_refused_by_name(make, vectors, message):
    name = make.__name__.removeprefix("from_")
    with pytest.raises(ValueError, match=f"{name} (hold )?{message}"):
        make(np.ones((2, 5)), vectors)
