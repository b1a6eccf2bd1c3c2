"""The weighted mean over samples."""

import math

import numpy as np
import pytest
from tests.conftest import Backend
from tests.instances import SAMPLE_LOSSES, TARGETS

from cvxnn.functions import Logistic, SampleLoss, Squared, mean_loss

EVERY = pytest.mark.parametrize(
    ("loss", "kind"), [row[1:] for row in SAMPLE_LOSSES], ids=[row[0] for row in SAMPLE_LOSSES]
)


@EVERY
def test_an_integer_weight_is_a_repetition(loss: SampleLoss, kind: str) -> None:
    y = TARGETS[kind]
    counts = np.array([1, 3, 2, 1])
    rows = np.repeat(np.arange(4), counts)
    weighted, repeated = mean_loss(loss, y, counts), mean_loss(loss, y[rows])
    x = np.random.default_rng(0).standard_normal(y.shape)
    assert weighted.value(x) == pytest.approx(repeated.value(x[rows]), rel=1e-14)
    slope = weighted.gradient(x)
    copies = repeated.gradient(x[rows])
    np.testing.assert_allclose(slope, [np.sum(copies[rows == i], axis=0) for i in range(4)])
    shared = slope[rows] / counts[rows, None]
    assert weighted.conjugate(slope) == pytest.approx(repeated.conjugate(shared), rel=1e-12)


@EVERY
def test_only_ratios_of_weights_count(loss: SampleLoss, kind: str) -> None:
    y, weights = TARGETS[kind], np.array([1.0, 2.0, 0.5, 1.5])
    x = np.random.default_rng(0).standard_normal(y.shape)
    for factor in (4.0, 2.0**1020, 2.0**-1020):
        scaled = mean_loss(loss, y, factor * weights)
        assert scaled.value(x) == mean_loss(loss, y, weights).value(x)
    assert mean_loss(loss, y).value(x) == mean_loss(loss, y, np.full(4, 7)).value(x)
    assert mean_loss(loss, y).value(x) == pytest.approx(np.mean(loss.value(x, y)))


def test_weights_live_with_the_target(backend: Backend) -> None:
    target = backend.asarray(np.ones((3, 2), np.float32))
    mean = mean_loss(Squared(), target, np.array([1, 2, 1]))
    assert type(mean.weights) is type(target)
    assert mean.weights.dtype == target.dtype
    assert np.asarray(mean.weights).tolist() == [[0.25], [0.5], [0.25]]
    assert mean.smoothness == 0.5


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_weights_must_be_positive_and_finite(bad: float) -> None:
    message = rf"sample_weight holds {bad} but must be positive and finite; drop the samples"
    with pytest.raises(ValueError, match=message):
        mean_loss(Squared(), np.ones((3, 1)), np.array([1.0, bad, 2.0]))


def test_weights_may_not_vanish_beside_others() -> None:
    target = np.ones((2, 1), np.float32)
    with pytest.raises(ValueError, match=r"ranges from 1e-100 to 1.0 but must stay positive in f"):
        mean_loss(Squared(), target, np.array([1.0, 1e-100]))


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r"target has shape \(3,\) but must be \(n, c\)"):
        mean_loss(Logistic(), np.ones(3))
    with pytest.raises(ValueError, match=r"target has shape \(0, 1\) but must be \(n, c\)"):
        mean_loss(Logistic(), np.ones((0, 1)))
    with pytest.raises(ValueError, match=r"shape \(2,\) but target has 3 rows; pass one weight"):
        mean_loss(Logistic(), np.ones((3, 1)), np.ones(2))
    with pytest.raises(ValueError, match=r"shape \(3, 1\) but target has 3 rows; pass one weight"):
        mean_loss(Logistic(), np.ones((3, 1)), np.ones((3, 1)))
