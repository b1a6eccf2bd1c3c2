"""Descent on factors: it ends where an interior point method does, from any start."""

from typing import Any

import numpy as np
import pytest

from cvxnn.architectures import Polynomial, Problem
from cvxnn.arrays import to_numpy
from cvxnn.certificate import Scope
from cvxnn.functions import CrossEntropy, Huber, Logistic, Quantile, SampleLoss, Squared
from cvxnn.gates import NoGates
from cvxnn.program import Iterate
from cvxnn.solve import solve
from cvxnn.solvers import FISTA, Factored, Reference
from cvxnn.symmetric import to_blocks
from cvxnn.training import null_start, problem_of

ARCHITECTURES = [
    Polynomial(square=1.0, linear=0.0, constant=0.0),
    Polynomial(square=-0.5, linear=0.0, constant=0.0, bias=False),
    Polynomial(),
    Polynomial(square=-1.0, linear=2.0, constant=0.3, bias=False),
]
LOSSES: list[SampleLoss] = [Squared(), Huber(0.4), Logistic(), CrossEntropy()]


def drawn(
    seed: int, architecture: Polynomial, loss: SampleLoss, *, n: int = 14, dtype: Any = np.float64
) -> Problem:
    """A random problem of three columns and two outputs, with or without free columns."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3)).astype(dtype)
    y = rng.standard_normal((n, 2))
    if isinstance(loss, Logistic):
        y = np.sign(y)
    if isinstance(loss, CrossEntropy):
        y = np.eye(2)[(y[:, 0] > 0).astype(int)]
    weights = rng.uniform(0.5, 2.0, n)
    gates = NoGates().draw(X, 0, rng)
    words: dict[str, Any] = {"intercept": seed % 2 == 0, "skip": seed % 3 == 0}
    here = problem_of(architecture, X, y, weights, loss, gates, scope=Scope.ALL_NETWORKS, **words)
    return here.at(10.0 ** rng.uniform(-3, -1))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: f"{one.square}{one.linear}")
@pytest.mark.parametrize("loss", LOSSES, ids=lambda one: one.name)
def test_it_ends_where_an_interior_point_method_does(
    architecture: Polynomial, loss: SampleLoss
) -> None:
    here = drawn(len(loss.name), architecture, loss)
    words: dict[str, Any] = {"judge": here.judge}
    truth = solve(here.working(), Reference(), tol=1e-9, **words).certificate
    found = solve(here.working(), Factored(), tol=1e-8, start=null_start(here), **words).certificate
    assert found.proves(1e-7)
    assert found.upper == pytest.approx(truth.upper, rel=2e-7, abs=truth.resolution)
    assert found.lower <= truth.upper + 1e-9 * abs(truth.upper) + truth.resolution


@pytest.mark.parametrize("architecture", ARCHITECTURES[::2], ids=lambda one: one.name)
def test_every_round_lowers_the_objective(architecture: Polynomial) -> None:
    program, solver = drawn(7, architecture, CrossEntropy()).working(), Factored(steps=3)
    state = solver.init(program, None)
    values = [state.value]
    for _ in range(12):
        state = solver.step(program, state)
        values.append(state.value)
        point = solver.read(program, state)
        assert program.objective(point.blocks, point.free) <= state.value * (1 + 1e-9)
    assert np.all(np.diff(values) <= 1e-14 * values[0])
    assert values[-1] < values[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES[::2], ids=lambda one: one.name)
def test_any_matrices_are_a_start(architecture: Polynomial) -> None:
    here = drawn(4, architecture, Squared())
    program, rng = here.working(), np.random.default_rng(0)
    side = program.lift.in_shape
    matrices = rng.standard_normal((side[0], side[2], 4 + (side[0] > 1), 4 + (side[0] > 1)))
    blocks = to_blocks(matrices + np.swapaxes(matrices, 2, 3))
    free = rng.standard_normal((program.free.shape[1], 2))
    start = Iterate(blocks, free, np.zeros(program.loss.target.shape))
    ends = [
        solve(program, Factored(), start=one, tol=1e-8, judge=here.judge).certificate
        for one in (start, None)
    ]
    assert all(end.proves(1e-7) for end in ends)
    assert ends[0].upper == pytest.approx(ends[1].upper, rel=2e-7)


def test_a_stationary_point_that_is_no_optimum_is_left() -> None:
    """At zero factors the gradient in them is zero, whatever the data."""
    here = drawn(2, ARCHITECTURES[0], Squared())
    program = here.working()
    state = Factored().init(program, null_start(here))
    assert not to_numpy(state.blocks).any()
    assert to_numpy(Factored().step(program, state).blocks).any()


def test_narrow_data_are_certified_wide() -> None:
    here = drawn(5, ARCHITECTURES[2], Logistic(), n=40, dtype=np.float32)
    wide = drawn(5, ARCHITECTURES[2], Logistic(), n=40)
    found = solve(here.working(), Factored(), tol=1e-6, judge=here.judge).certificate
    truth = solve(wide.working(), Reference(), tol=1e-9, judge=wide.judge).certificate
    assert found.proves(1e-6)
    assert found.upper == pytest.approx(truth.upper, rel=1e-5)


def test_what_it_does_not_take_it_says() -> None:
    kinked = drawn(1, ARCHITECTURES[0], Quantile(0.3)).working()
    assert "smooth loss" in str(Factored().why_not(kinked))
    assert FISTA().why_not(drawn(1, ARCHITECTURES[0], Squared()).working()) is None
