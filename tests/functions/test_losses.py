"""Losses against torch, decimal arithmetic and numerical maximisation."""

import math
import warnings
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from tests.instances import SAMPLE_LOSSES, TARGETS

from cvxnn.functions import (
    CrossEntropy,
    Hinge,
    Huber,
    Logistic,
    Quantile,
    SampleLoss,
    Squared,
    SquaredHinge,
)

EVERY = pytest.mark.parametrize(
    ("loss", "kind"), [row[1:] for row in SAMPLE_LOSSES], ids=[row[0] for row in SAMPLE_LOSSES]
)


def test_names() -> None:
    losses = [Squared(), Logistic(), SquaredHinge(), Hinge(), Huber(), Quantile(), CrossEntropy()]
    assert [loss.name for loss in losses] == [
        "squared",
        "logistic",
        "squared_hinge",
        "hinge",
        "huber",
        "quantile",
        "cross_entropy",
    ]


@EVERY
def test_value_and_gradient_are_those_of_torch(loss: SampleLoss, kind: str) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    theirs = {
        "squared": lambda f, y: functional.mse_loss(f, y, reduction="none") / 2,
        "huber": lambda f, y: functional.huber_loss(f, y, reduction="none", delta=loss.delta),
        "quantile": lambda f, y: torch.maximum(loss.level * (y - f), (loss.level - 1) * (y - f)),
        "logistic": lambda f, y: functional.softplus(-y * f, threshold=1e3),
        "squared_hinge": lambda f, y: functional.relu(1 - y * f) ** 2 / 2,
        "hinge": lambda f, y: functional.relu(1 - y * f),
        "cross_entropy": lambda f, y: functional.cross_entropy(
            f, y.argmax(dim=1), reduction="none"
        ),
    }[loss.name]
    rng = np.random.default_rng(0)
    y = torch.asarray(TARGETS[kind])
    for size in (0.1, 1.0, 30.0):
        f = torch.asarray(size * rng.standard_normal(y.shape)).requires_grad_()
        values = theirs(f, y).reshape(y.shape[0], -1).sum(dim=1)
        values.sum().backward()
        plain = f.detach()
        torch.testing.assert_close(loss.value(plain, y), values.detach())
        torch.testing.assert_close(loss.gradient(plain, y), f.grad)


@pytest.mark.parametrize(
    ("loss", "f", "y"),
    [
        (Squared(), [3.0], [1.0]),
        (Logistic(), [0.0], [1.0]),
        (SquaredHinge(), [-1.0], [1.0]),
        (Huber(delta=0.1), [2.0], [2.0]),
        (CrossEntropy(), [0.0, 0.0, -60.0], [0.0, 0.0, 1.0]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_smoothness_is_attained(loss: SampleLoss, f: list[float], y: list[float]) -> None:
    """No smaller constant would do: it is the largest curvature at the worst point."""
    at, target, nudge = np.array([f]), np.array([y]), 1e-5 * np.eye(len(f))
    hessian = [
        (loss.gradient(at + e, target)[0] - loss.gradient(at - e, target)[0]) / 2e-5 for e in nudge
    ]
    assert np.linalg.eigvalsh(hessian)[-1] == pytest.approx(loss.smoothness, rel=1e-8)


def _shares(loss: SampleLoss, f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A point within the conjugate's domain: a mixture of gradients."""
    mean = sum(loss.gradient(f + shift, y) for shift in (-3.0 * y, 0.0 * y, 2.0 * y)) / 3
    return np.asarray(mean)


@EVERY
def test_conjugate_is_the_supremum(loss: SampleLoss, kind: str) -> None:
    y = TARGETS[kind]
    g = _shares(loss, np.random.default_rng(1).standard_normal(y.shape), y)
    ours = loss.conjugate(g, y)
    for i in range(len(y)):
        row = slice(i, i + 1)

        def rest(f: np.ndarray, row: slice = row) -> float:
            return float(loss.value(f[None, :], y[row])[0] - g[row][0] @ f)

        starts = np.random.default_rng(2).standard_normal((3, y.shape[1])) + y[row]
        options = {"xatol": 1e-10, "fatol": 1e-13, "maxfev": 20_000, "maxiter": 20_000}
        best = max(-minimize(rest, s, method="Nelder-Mead", options=options).fun for s in starts)
        assert best <= ours[i] + 1e-12
        assert best == pytest.approx(ours[i], abs=1e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("loss", "y", "edges"),
    [
        (Logistic(), 1.0, (-1.0, 0.0)),
        (Logistic(), -1.0, (0.0, 1.0)),
        (Hinge(), 1.0, (-1.0, 0.0)),
        (SquaredHinge(), -1.0, (0.0,)),
        (Huber(delta=1e3), 0.5, (-1e3, 1e3)),
        (Huber(delta=1e-3), 0.5, (-1e-3, 1e-3)),
        (Quantile(level=0.9), 0.5, (-0.9, 0.1)),
    ],
    ids=repr,
)
def test_domain_of_the_conjugate(
    loss: SampleLoss, y: float, edges: tuple[float, ...], dtype: type
) -> None:
    """A few rounding errors beyond the edge count as the edge; more do not."""
    eps = float(np.finfo(dtype).eps)
    width = edges[-1] - edges[0] or 1.0
    middle = (edges[0] + edges[-1]) / 2 if len(edges) == 2 else edges[0] + y * -0.5

    def conjugate(g: float) -> float:
        return float(loss.conjugate(np.array([[g]], dtype), np.array([[y]], dtype))[0])

    assert math.isfinite(conjugate(middle))
    for edge in edges:
        outwards = math.copysign(width, edge - middle)
        assert conjugate(edge + 5 * eps * outwards) == pytest.approx(conjugate(edge), rel=30 * eps)
        assert conjugate(edge + 40 * eps * outwards) == math.inf


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_domain_of_the_cross_entropy_conjugate(dtype: type) -> None:
    loss, eps = CrossEntropy(), float(np.finfo(dtype).eps)
    y = np.array([[0.0, 1.0, 0.0]], dtype)

    def conjugate(*g: float) -> float:
        return float(loss.conjugate(np.array([g], dtype), y)[0])

    assert conjugate(0, 0, 0) == 0
    assert conjugate(1, -1, 0) == 0
    assert conjugate(1 / 3, -2 / 3, 1 / 3) == pytest.approx(-math.log(3), rel=4 * eps)
    assert conjugate(1 + 4 * eps, -1 - 4 * eps, 0) == pytest.approx(0, abs=16 * eps)
    assert conjugate(1, -1, 4 * eps) == pytest.approx(0, abs=200 * eps)
    assert conjugate(0.5, -0.5, 64 * eps) == math.inf  # entries sum to more than 1
    assert conjugate(-64 * eps, 0, 64 * eps) == math.inf  # a negative entry
    assert conjugate(-1, 0, 1) == math.inf


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@EVERY
def test_huge_predictions_stay_finite(loss: SampleLoss, kind: str, dtype: type) -> None:
    y = TARGETS[kind].astype(dtype)
    signs = np.sign(np.random.default_rng(3).standard_normal(y.shape)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in (1e6, 1e-6):
            f = signs * dtype(size)
            for step in (1e-6, 1.0, 1e6):
                z = loss.prox(f, y, np.full((len(y), 1), step, dtype))
                assert np.all(np.isfinite(z))
                assert z.dtype == dtype
            assert np.all(np.isfinite(loss.value(f, y)))
            assert np.all(np.isfinite(loss.conjugate(loss.gradient(f, y), y)))


def test_small_losses_keep_their_digits() -> None:
    """The tails are exp(-40), not 0, and their gradients neither."""
    small = math.exp(-40.0)
    f, y = np.array([[40.0]]), np.array([[1.0]])
    assert Logistic().value(f, y)[0] == pytest.approx(small, rel=1e-14)
    assert Logistic().gradient(f, y)[0, 0] == pytest.approx(-small, rel=1e-14)
    f, y = np.array([[40.0, 0.0]]), np.array([[1.0, 0.0]])
    assert CrossEntropy().value(f, y)[0] == pytest.approx(small, rel=1e-14)
    assert CrossEntropy().gradient(f, y)[0] == pytest.approx([-small, small], rel=1e-14)


LOGITS = st.one_of(st.floats(-10, 10), st.floats(-1e6, 1e6))
POWERS = st.floats(-8, 8).map(lambda power: 10.0**power)


@settings(max_examples=200, deadline=None)
@given(f=LOGITS, step=POWERS, label=st.sampled_from([-1.0, 1.0]))
def test_logistic_prox_to_the_last_digit(f: float, step: float, label: float) -> None:
    """The Newton step that is left, taken with 60 digits, bounds the error."""
    z = Logistic().prox(np.array([[f]]), np.array([[label]]), np.array([[step]]))[0, 0]
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
        m, s = Decimal(float(z)) * int(label), Decimal(step)
        chance = 1 / (1 + m.exp())
        residual = m - Decimal(f) * int(label) - s * chance
        error = residual / (1 + s * chance * (1 - chance))
        assert abs(error) <= Decimal("1e-14") * max(1, abs(m))


@settings(max_examples=200, deadline=None)
@given(
    f=st.lists(st.one_of(st.floats(-10, 10), st.floats(-1e3, 1e3)), min_size=1, max_size=5),
    step=POWERS,
    label=st.integers(0, 4),
)
def test_cross_entropy_prox_to_the_last_digit(f: list[float], step: float, label: int) -> None:
    """The Newton step that is left, taken with 60 digits, bounds the error."""
    y = np.eye(len(f))[label % len(f)]
    answer = CrossEntropy().prox(np.array([f]), y[None, :], np.array([[step]]))[0]
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
        z, s = [Decimal(float(v)) for v in answer], Decimal(step)
        odds = [(v - max(z)).exp() for v in z]
        chance = [o / sum(odds) for o in odds]
        residual = [
            a - Decimal(b) + s * (p - Decimal(float(t)))
            for a, b, p, t in zip(z, f, chance, y, strict=True)
        ]
        # the Hessian I + s (diag p - p p') is inverted by Sherman and Morrison's formula
        damped = [r / (1 + s * p) for r, p in zip(residual, chance, strict=True)]
        lift = sum(p * d for p, d in zip(chance, damped, strict=True))
        lift *= s / sum(p / (1 + s * p) for p in chance)
        errors = [d + lift * p / (1 + s * p) for d, p in zip(damped, chance, strict=True)]
        size = max(1, *(abs(Decimal(v)) for v in f))
        assert max(abs(e) for e in errors) <= Decimal("1e-13") * size


@pytest.mark.parametrize("delta", [0.0, -1.0, math.inf, math.nan])
def test_huber_refuses_a_bad_delta(delta: float) -> None:
    with pytest.raises(
        ValueError, match=rf"delta is {delta} but must be positive and finite; pass"
    ):
        Huber(delta=delta)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, math.nan])
def test_quantile_refuses_a_bad_level(level: float) -> None:
    with pytest.raises(ValueError, match=rf"level is {level} but must lie strictly between 0 and"):
        Quantile(level=level)
