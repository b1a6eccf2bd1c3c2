"""Column generation over directions: a few do on data whose singular values fall, all where not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.conftest import Backend

from cvxnn.architectures import GatedReLU, Problem, ReLU
from cvxnn.arrays import to_numpy
from cvxnn.certificate import Scope, certify
from cvxnn.functions import L1, CrossEntropy, Nuclear, SampleLoss, Squared
from cvxnn.gates import gaussian
from cvxnn.maps import Dense, Gated
from cvxnn.path import alpha_max
from cvxnn.program import Program
from cvxnn.solve import Progress, Status, solve
from cvxnn.solver_choice import solver_for
from cvxnn.solvers import Reference, Subspace, WorkingSet
from cvxnn.solvers.subspace import State
from cvxnn.training import problem_of

SQUARED = Squared()
FEW = Subspace(first=2, most=0.9)
"""Rounds at sizes at which the reference is quick."""


def problem(
    fall: float, outputs: int, loss: SampleLoss = SQUARED, backend: Backend | None = None
) -> Problem:
    """60 samples of 12 columns, whose k-th singular value is about k to the power of -fall."""
    rng = np.random.default_rng(outputs)
    X = rng.standard_normal((60, 12)) * np.arange(1.0, 13.0) ** -fall
    X = X @ np.linalg.qr(rng.standard_normal((12, 12)))[0]
    y = rng.standard_normal((60, outputs)) + np.maximum(X @ rng.standard_normal((12, outputs)), 0)
    if isinstance(loss, CrossEntropy):
        y = np.eye(outputs)[y.argmax(axis=1)]
    asarray = np.asarray if backend is None else backend.asarray
    architecture, X = GatedReLU(), asarray(X)
    gates = gaussian(architecture.features(X), 6, rng)
    words: Any = {"scope": Scope.GIVEN_GATES, "intercept": True, "skip": False}
    found = problem_of(architecture, X, asarray(y), np.ones(60), loss, gates, **words)
    return found.at(0.1 * alpha_max(found))


def rounds(program: Program, solver: Subspace, tol: float) -> list[State]:
    """The states of a run to `tol`."""
    states = [solver.init(program, None)]
    while not certify(program, solver.read(program, states[-1]))[0].proves(tol):
        assert len(states) < 1000
        states.append(solver.step(program, states[-1]))
    return states


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("loss", [Squared(), CrossEntropy()], ids=lambda one: one.name)
@pytest.mark.parametrize("fall", [0.0, 2.0])
def test_the_optimum_is_the_reference_s(fall: float, loss: SampleLoss, outputs: int) -> None:
    if isinstance(loss, CrossEntropy) and outputs == 1:
        outputs = 2
    program = problem(fall, outputs, loss).working()
    truth = solve(program, Reference(), tol=1e-8).certificate
    found = solve(program, FEW, tol=1e-6, max_iter=5000)
    assert found.status is Status.OPTIMAL
    assert found.certificate.upper == pytest.approx(truth.upper, rel=2e-6)
    assert found.certificate.lower <= truth.upper * (1 + 1e-9)


def test_in_every_library(backend: Backend) -> None:
    program = problem(2.0, 2, backend=backend).working()
    found = solve(program, FEW, tol=1e-4)
    assert found.status is Status.OPTIMAL
    assert type(found.iterate.blocks) is type(program.free)
    here = solve(problem(2.0, 2).working(), Reference(), tol=1e-7).certificate
    assert found.certificate.upper == pytest.approx(here.upper, rel=2e-4)


def test_few_directions_do_where_singular_values_fall() -> None:
    program = problem(2.0, 1).working()
    states = rounds(program, FEW, 1e-2)
    assert states[-1].whole is None
    assert [state.directions.shape[1] for state in states] == [0, 2, 4][: len(states)]
    # and they are the blocks': orthonormal, and their coordinates stand for what is read
    for state in states[1:]:
        V = to_numpy(state.directions)
        np.testing.assert_allclose(V.T @ V, np.eye(V.shape[1]), atol=1e-12)
        here, there = state.inside, FEW.read(program, state)
        lift: Any = program.lift
        inside = replace(program, lift=lift.along(state.directions))
        value = inside.objective(here.blocks, here.free)
        assert program.objective(there.blocks, there.free) == pytest.approx(value, rel=1e-12)
        assert state.value == pytest.approx(value, rel=1e-12)


def test_all_directions_are_taken_where_none_stand_out() -> None:
    program = problem(0.0, 1).working()
    states = rounds(program, Subspace(first=2), 1e-6)
    assert [state.whole is None for state in states[:3]] == [True, True, False]
    # what was found in the few is where the others begin
    before, after = (Subspace().read(program, state) for state in states[1:3])
    np.testing.assert_allclose(after.blocks, before.blocks, atol=1e-12)


def test_a_solution_is_a_start_in_its_own_directions() -> None:
    here = problem(2.0, 2)
    first = solve(here.working(), FEW, tol=1e-3)
    weaker = here.at(0.8 * here.alpha).working()
    state = FEW.init(weaker, first.iterate)
    assert 0 < state.directions.shape[1] <= 8
    np.testing.assert_allclose(FEW.read(weaker, state).blocks, first.iterate.blocks, atol=1e-3)
    again = solve(weaker, FEW, start=first.iterate, tol=1e-3)
    assert again.status is Status.OPTIMAL
    assert again.trace[0][2].upper < solve(weaker, FEW, tol=1e-3).trace[0][2].upper


def test_a_start_in_more_directions_than_are_worth_it_begins_in_all() -> None:
    program = problem(0.0, 1).working()
    first = solve(program, FEW, tol=1e-6)
    state = Subspace().init(program, first.iterate)
    assert state.whole is not None
    np.testing.assert_array_equal(Subspace().read(program, state).blocks, first.iterate.blocks)


def test_inner_solves_that_are_cut_off_get_more_iterations() -> None:
    program = problem(2.0, 1).working()
    hasty = replace(FEW, max_iter=1, most=2.0)
    states = rounds(program, hasty, 1e-4)
    assert max(state.patience for state in states) > 2
    assert all(state.whole is None for state in states)


def test_nothing_to_find_above_the_largest_strength() -> None:
    here = problem(2.0, 1)
    found = solve(here.at(1.01 * alpha_max(here)).working(), FEW, tol=1e-6)
    assert found.status is Status.OPTIMAL
    assert not found.iterate.blocks.any()


def test_why_not() -> None:
    program = problem(2.0, 2).working()
    assert FEW.why_not(program) is None
    dense = Dense(np.ones((60, 12)), blocks=1, outputs=2)
    assert "under gates" in str(FEW.why_not(replace(program, lift=dense)))
    assert "turned" in str(FEW.why_not(replace(program, penalty=L1(1.0))))
    assert "cone" in str(FEW.why_not(relu().working()))


def relu() -> Problem:
    """The same with cones."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal((20, 1))
    architecture = ReLU()
    gates = gaussian(architecture.features(X), 4, rng)
    words: Any = {"scope": Scope.GIVEN_GATES, "intercept": True, "skip": False}
    return problem_of(architecture, X, y, np.ones(20), Squared(), gates, **words)


def test_auto_takes_it_for_many_columns_and_large_products() -> None:
    """The arrays are views of one number: nothing of that size is held."""
    here = problem(2.0, 2).working()

    def chosen(n: int, d: int, p: int) -> str:
        X, masks = np.broadcast_to(1.0, (n, d)), np.broadcast_to(1.0, (n, p))
        lift = Gated(X, masks, outputs=2)
        loss = replace(here.loss, target=np.broadcast_to(1.0, (n, 2)))
        large = replace(here, lift=lift, loss=loss, penalty=Nuclear(1.0), free=np.zeros((n, 0)))
        return solver_for(large, "auto")[0].name

    assert chosen(20_000, 2000, 200) == "subspace"
    assert chosen(200_000, 50, 500) == "fista"


def test_another_solver_goes_on_in_all_directions() -> None:
    program = problem(0.0, 1).working()
    found = solve(program, Subspace(first=2, then=WorkingSet()), tol=1e-8)
    truth = solve(program, Reference(), tol=1e-9).certificate
    assert found.status is Status.OPTIMAL
    assert found.certificate.upper == pytest.approx(truth.upper, rel=1e-7)


def test_it_ends_where_the_data_have_no_more_directions() -> None:
    here = problem(0.0, 1)
    narrow = np.asarray(here.X)[:, :4] @ np.random.default_rng(1).standard_normal((4, 12))
    gates = gaussian(here.architecture.features(narrow), 6, np.random.default_rng(0))
    words: Any = {"scope": Scope.GIVEN_GATES, "intercept": True, "skip": False}
    y = np.asarray(here.program.loss.target)
    X = narrow.astype(np.float32)
    low = problem_of(GatedReLU(), X, y, np.ones(60), SQUARED, gates, **words)
    program = low.at(0.1 * alpha_max(low)).working()
    found = solve(program, FEW, tol=1e-15)
    assert found.status is Status.INACCURATE
    assert found.certificate.proves(1e-4)
    assert FEW.init(program, found.iterate).directions.shape[1] <= 5


def test_a_run_can_be_watched_and_stopped() -> None:
    program = problem(2.0, 2).working()

    def second(event: Progress) -> bool:
        return event.iteration == 1

    found = solve(program, FEW, tol=1e-12, callbacks=[second])
    assert found.status is Status.INTERRUPTED
    assert found.certificate.upper < found.trace[0][2].upper
