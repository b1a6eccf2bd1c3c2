"""What each system of two layers refuses before it works, or answers rightly."""

from typing import Any

import numpy as np
import pytest

from cvxnn import (
    BatchNorm,
    BatchNormAfter,
    ConvexForecaster,
    ConvexRegressor,
    Polynomial,
    ReLU,
    Threshold,
    certify_network,
    max_margin,
    verify,
    wasserstein_direction,
)
from cvxnn.errors import CertificateWarning
from cvxnn.functions import PSD
from cvxnn.functions.decompose import decomposed
from cvxnn.gates import widest

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 2)), RNG.standard_normal(8)
CROSS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


@pytest.mark.parametrize("architecture", [BatchNorm(), BatchNormAfter()], ids=lambda one: one.name)
def test_a_column_without_variance_is_in_no_normalised_neuron(architecture: Any) -> None:
    words = {"alpha": 0.02, "gates": "enumerate", "tol": 1e-8}
    wider = np.column_stack([X, np.full(8, 1e6), np.zeros(8)])
    plain = ConvexRegressor(architecture, **words).fit(X, Y)
    padded = ConvexRegressor(architecture, **words).fit(wider, Y)
    assert padded.certificate_.upper == pytest.approx(plain.certificate_.upper, rel=1e-6)
    assert verify(padded, wider, Y)
    np.testing.assert_allclose(padded.predict(wider), plain.predict(X), atol=1e-3)
    moved = wider + np.eye(4)[3]  # a column of zeros was in no neuron
    np.testing.assert_array_equal(padded.predict(moved), padded.predict(wider))


def test_a_pattern_that_no_neuron_has() -> None:
    """No u is on one side of a cross: that cone is a point, and its network is empty."""
    y = np.array([1.0, -2.0, 0.5, 3.0])
    words = {"alpha": 1e-3, "fit_intercept": False}
    with pytest.warns(CertificateWarning, match="no neurons"):
        model = ConvexRegressor(ReLU(bias=False), gates=np.zeros((1, 2)), **words).fit(CROSS, y)
    assert model.network_.n_neurons == 0
    assert model.certificate_.upper == pytest.approx((y**2).mean() / 2)
    # a half-space of it is not to be had either, and the given vector comes back
    given = np.array([1.0, 2.0])
    assert widest(CROSS, np.ones(4, dtype=bool), given) is given


def test_a_network_whose_patterns_are_not_among_the_gates() -> None:
    words = {"alpha": 0.01, "fit_intercept": False}
    network = ConvexRegressor(Threshold(bias=False), gates="enumerate", **words).fit(X, Y).network_
    kind = Threshold(bias=False)
    with pytest.raises(ValueError, match=r"pattern of neuron \d+ is not among the 1 gates"):
        kind.unlift(network, kind.source.given(X, np.array([[1.0, 0.0]])), X)


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (np.array([[1.0, np.nan, 0.0]]), "generators hold NaN or infinite entries"),
        (np.array([[1.0, 0.0]]), r"expected \(p, 3\)"),
        (np.zeros((0, 3)), r"expected \(p, 3\) with p >= 1"),
    ],
)
@pytest.mark.parametrize("name", ["threshold", "batchnorm", "batchnorm_after"])
def test_generators_that_make_no_patterns(name: str, gates: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvexRegressor(name, gates=gates, alpha=0.1).fit(X, Y)


def test_an_unbounded_direction_is_refused_before_it_is_sought() -> None:
    with pytest.raises(ValueError, match=r"up to 0\.\d+ the program is unbounded .* pass \d"):
        wasserstein_direction(X, lambda x: -x, alpha=1e-3)


def test_no_margin_without_separation() -> None:
    with pytest.raises(ValueError, match=r"samples 0 \(no\), 1 \(yes\), numbered from 0; look for"):
        max_margin([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]], ["no", "yes", "no"])


def test_matrices_that_are_not_symmetric() -> None:
    skew = np.array([[1.0, 5.0], [0.0, 1.0]])
    assert PSD().value(skew[None]) == np.inf
    with pytest.raises(ValueError, match=r"entry \(0, 1\) is 5.* and \(1, 0\) is 0"):
        decomposed(skew)


def test_a_horizon_longer_than_the_series() -> None:
    with pytest.raises(ValueError, match="6 steps; lags=2 and 5 steps ahead need at least 7"):
        ConvexForecaster(lags=2, horizon=5, alpha=0.1).fit(Y[:6])
    just = ConvexForecaster(lags=2, horizon=4, alpha=0.1, skip=False, random_state=0)
    with pytest.warns(CertificateWarning, match="no neurons"):  # one window: the intercept is all
        just.fit(Y[:6])
    np.testing.assert_allclose(just.predict(Y[:6]), [Y[2:6]])


def test_gaps_in_time() -> None:
    times = np.array([0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    model = ConvexForecaster(lags=2, alpha=0.1, skip=False, random_state=0)
    with pytest.raises(ValueError, match=r"times go from 2\.0 to 4\.0 at step 3, where 1\.0 is"):
        model.fit(Y, times=times)
    whole = np.full(9, np.nan)
    whole[times.astype(int)] = Y
    found = model.set_params(missing="skip").fit(whole, times=np.arange(9.0))
    assert np.count_nonzero(found.dual_) == 4  # windows of three steps without the gap
    assert verify(found, whole)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"square": 0.0}, "square is 0: with a linear activation the network is a linear model"),
        ({"linear": np.inf}, "linear is inf; the coefficients must be finite"),
    ],
)
def test_activations_without_an_exact_program(words: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Polynomial(**words)


def test_a_polynomial_neuron_that_the_program_does_not_know() -> None:
    network = ConvexRegressor("polynomial", alpha=0.05).fit(X, Y).network_
    parts = network.parameters()
    longer = type(network)(**{**parts, "weights_in": 2 * parts["weights_in"]})
    with pytest.raises(ValueError, match="neuron 0 has inward weights of length 2 and the program"):
        certify_network(longer, X, Y, alpha=0.05)
