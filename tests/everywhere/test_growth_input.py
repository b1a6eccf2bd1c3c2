"""Odd data given to growth: right answers, and bounds that hold when numbers run out."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cvxnn import ConvexClassifier, ConvexRegressor, verify

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 3))
Y = np.abs(X[:, 0]) - 0.5 * X[:, 1] + 0.1 * RNG.standard_normal(30)

Floats = NDArray[np.float64]


def grown(X: Any, y: Any, **options: Any) -> ConvexRegressor:
    settings: dict[str, Any] = {"alpha": 0.05, "proof_time": 5.0, "random_state": 0}
    return ConvexRegressor(gates="grow", **settings | options).fit(X, y)


def test_bad_data_are_refused() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            grown(np.where(X[0, 0] == X, bad, X), Y)
    with pytest.raises(ValueError, match="inconsistent"):
        grown(X, Y[:-1])
    with pytest.raises(ValueError, match="one class"):
        ConvexClassifier(gates="grow", alpha=0.05).fit(X, np.zeros(30))
    with pytest.raises(ValueError, match="zero for every sample"):
        ConvexRegressor(gates="grow", alpha=0.05).fit(X, Y, sample_weight=np.zeros(30))


@pytest.mark.parametrize(
    "odd",
    [
        np.column_stack([X, np.full(30, 5.0)]),
        np.column_stack([X, X[:, 0]]),
        np.column_stack([X, np.zeros(30)]),
        np.column_stack([X, X @ np.ones(3)]),
    ],
    ids=["constant", "duplicate", "zero", "dependent"],
)
def test_columns_that_add_nothing(odd: Floats) -> None:
    """A column in the span of the others and the bias can only shorten the weights."""
    plain, model = grown(X, Y), grown(odd, Y)
    assert model.certificate_.proves(1e-3)
    assert model.certificate_.lower <= plain.certificate_.upper * (1 + 1e-9)
    assert verify(model, odd, Y)


def test_more_columns_than_rows() -> None:
    wide = RNG.standard_normal((8, 40))
    model = grown(wide, Y[:8], proof_time=0.0)
    assert verify(model, wide, Y[:8])
    turn = np.linalg.qr(RNG.standard_normal((40, 40)))[0]
    turned = grown(wide @ turn, Y[:8], proof_time=0.0)  # weight decay does not see a rotation
    assert turned.certificate_.upper == pytest.approx(model.certificate_.upper, rel=1e-4)


@pytest.mark.filterwarnings("ignore::cvxnn.errors.CertificateWarning")
def test_nothing_to_learn_has_no_neurons() -> None:
    for data, target in ((0 * X, Y), (X, 0 * Y + 3.0), (X[:1], Y[:1])):
        model = grown(data, target)
        assert model.network_.n_neurons == 0
        assert model.predict(data) == pytest.approx(np.full(len(data), target.mean()))


def test_a_weight_of_two_is_two_copies() -> None:
    weights = RNG.integers(0, 3, 30)
    model = ConvexRegressor(gates="grow", alpha=0.05, random_state=0).fit(
        X, Y, sample_weight=weights.astype(float)
    )
    copies = grown(np.repeat(X, weights, axis=0), np.repeat(Y, weights))
    assert model.certificate_.upper == pytest.approx(copies.certificate_.upper, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e3, 1e9])
def test_scales_of_data_and_alpha_together(scale: float) -> None:
    """alpha |u| |w| with X scaled is alpha / scale on the same data; y scales all alike."""
    plain = ConvexRegressor(gates="grow", architecture="relu", alpha=0.05, random_state=0)
    plain = plain.fit(X, Y).certificate_
    model = grown(X, scale * Y, alpha=0.05 * scale)
    assert model.certificate_.upper == pytest.approx(scale**2 * plain.upper, rel=1e-3)
    assert model.certificate_.proves(1e-3)


@pytest.mark.filterwarnings("ignore")  # growth that overflows single precision says so
@pytest.mark.parametrize(("rows", "target"), [(1e12, 1.0), (1.0, 1e12)])
def test_scales_beyond_precision_claim_no_more_than_is_proved(rows: float, target: float) -> None:
    model = grown(rows * X, target * Y, max_iter=8, proof_time=0.0)
    assert 0 <= model.certificate_.lower <= model.certificate_.upper < np.inf
    assert verify(model, rows * X, target * Y)
    assert model.score(rows * X, target * Y) > 0.99


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_estimate_is_below_what_is_proved() -> None:
    """Where the proof is exact, searching can only have missed what it would have to count."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        data, target = rng.standard_normal((25, 2)), rng.standard_normal(25)
        model = grown(data, target, alpha=0.01, max_iter=3)
        assert model.certificate_.bound == "enumeration"
        assert 0 <= model.estimated_gap_ <= model.certificate_.relative_gap + 1e-6
    given = ConvexRegressor(gates="sample", alpha=0.05, random_state=0).fit(X, Y)
    assert given.estimated_gap_ is None
