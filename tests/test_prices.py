"""Bounds on gauges that linearity gives, against the products themselves."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cvxnn.architectures import GatedReLU
from cvxnn.certificate import Scope, certify
from cvxnn.functions import ColumnNorm, CrossEntropy, GroupNorm, Nuclear, Squared, mean_loss
from cvxnn.functions.base import Penalty
from cvxnn.gates import gaussian
from cvxnn.maps import Gated
from cvxnn.path import alpha_max, path
from cvxnn.prices import Prices
from cvxnn.program import Program
from cvxnn.projection import gauges
from cvxnn.solvers import WorkingSet
from cvxnn.training import problem_of

PENALTIES: tuple[Callable[[float], Penalty], ...] = GroupNorm, ColumnNorm, Nuclear


def _program(penalty: Penalty, outputs: int, seed: int = 0) -> Program:
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(60, 5)), rng.normal(size=(60, outputs))
    lift = Gated(X, (X @ rng.normal(size=(5, 80)) > 0).astype(float), outputs)
    loss = mean_loss(Squared(), y)
    return Program(loss=loss, lift=lift, penalty=penalty, free=np.ones((60, 1)))


@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("step", [0.0, 1e-9, 1e-3, 0.1, 10.0])
def test_they_bound_all_gauges_and_the_largest_is_exact(
    kind: Callable[[float], Penalty], outputs: int, step: float
) -> None:
    """Whatever comes: steps of all lengths, points twice, multiples, zero and other strengths."""
    program, prices = _program(kind(0.02), outputs), Prices()
    rng = np.random.default_rng(7)
    point = program.loss.target
    points = [point]
    for _ in range(8):
        point = point + step * rng.normal(size=point.shape)
        points += [point, point, 0.5 * point]
    for count, v in enumerate([*points, 0 * point, *points[::-1]]):
        here = replace(program, penalty=kind(0.02 / (1 + count)))
        bounds, exact = np.asarray(prices(here, v)), np.asarray(gauges(here, v))
        assert (bounds >= exact * (1 - 1e-12)).all()
        assert bounds.max() == pytest.approx(exact.max(), rel=1e-12, abs=1e-12)


def _products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that every adjoint product adds its number of gates to."""
    gates: list[int] = []
    adjoint = Gated.adjoint

    def counted(self: Gated, z: Any) -> Any:
        gates.append(self.in_shape[0])
        return adjoint(self, z)

    monkeypatch.setattr(Gated, "adjoint", counted)
    return gates


def test_points_that_move_little_are_priced_by_a_few_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, prices, gates = _program(GroupNorm(0.02), 1), Prices(), _products(monkeypatch)
    rng = np.random.default_rng(1)
    at, along = program.loss.target, rng.normal(size=(60, 1))
    for t in np.linspace(0.0, 1.0, 11):
        prices(program, at + t * along)  # on a line, two products tell all
    assert gates[:2] == [80, 80]
    assert max(gates[2:]) <= 8


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e-200, 1e200])
def test_numbers_out_of_range_do_not_stay(value: float) -> None:
    program, prices = _program(GroupNorm(0.02), 1), Prices()
    v = program.loss.target
    with np.errstate(invalid="ignore", over="ignore"):
        for point in (v, value * v, 0.99 * value * v, v, 0.99 * v, 0.98 * v):
            bounds, exact = np.asarray(prices(program, point)), np.asarray(gauges(program, point))
            np.testing.assert_allclose(bounds.max(), exact.max(), rtol=1e-12)


def test_data_whose_norm_is_rounded_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    program, prices, gates = _program(GroupNorm(0.02), 1), Prices(), _products(monkeypatch)
    program = replace(program, lift=program.lift.astype(np.float32))
    for share in (1.0, 0.9, 0.8):
        prices(program, share * program.loss.target)
    assert gates == [80, 80, 80]


def test_another_map_is_priced_anew() -> None:
    prices, v = Prices(), np.random.default_rng(2).normal(size=(60, 1))
    for seed in range(3):
        program = _program(GroupNorm(0.02), 1, seed)
        for share in (1.0, 0.9, 0.8):
            assert np.asarray(prices(program, share * v)).max() == pytest.approx(
                np.asarray(gauges(program, share * v)).max(), rel=1e-12
            )


@pytest.mark.parametrize("loss", [Squared(), CrossEntropy()])
def test_a_path_proves_what_its_certificates_would_alone(loss: Any) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(120, 6))
    hidden = np.maximum(X @ rng.normal(size=(6, 3)), 0.0)
    y = hidden if isinstance(loss, Squared) else np.eye(3)[hidden.argmax(axis=1)]
    words: dict[str, Any] = {"scope": Scope.GIVEN_GATES, "intercept": True, "skip": False}
    gates = gaussian(X, 500, np.random.default_rng(0))
    problem = problem_of(GatedReLU(bias=True), X, y, np.ones(120), loss, gates, **words)
    alphas = alpha_max(problem) * np.geomspace(0.9, 0.05, 25)
    for alpha, solution in path(problem, alphas, WorkingSet(), tol=1e-5):
        alone, _ = certify(problem.at(alpha).program, solution.iterate)
        said = solution.certificate
        assert said.proves(1e-5)
        assert said.upper == pytest.approx(alone.upper, rel=1e-12)
        assert said.lower == pytest.approx(alone.lower, rel=1e-9)
