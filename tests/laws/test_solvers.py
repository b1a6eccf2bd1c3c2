"""The laws of a solver: all agree, planted optima are found, and every end is an honest one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.conftest import Backend
from tests.every import share
from tests.instances import WITH_GATES as EVERY_ONE
from tests.planted import is_usable, plant
from tests.solvers.problems import LOSSES, MARGIN, REGRESSION, strength

from cvxnn.architectures import Architecture, GatedRidge, Problem, in_places
from cvxnn.arrays import to_numpy
from cvxnn.certificate import Scope
from cvxnn.errors import UnsupportedError
from cvxnn.functions import (
    CrossEntropy,
    Huber,
    Quantile,
    SampleLoss,
    Squared,
    mean_loss,
)
from cvxnn.gates import gaussian, masks_of
from cvxnn.solve import Solver, Status, solve
from cvxnn.solvers import ADMM, FISTA, Reference, Subspace, WorkingSet
from cvxnn.training import problem_of

OURS: tuple[Solver, ...] = (FISTA(), Subspace(first=1, most=0.9), ADMM(), WorkingSet())

# filters and circular convolutions: in tests/architectures, at sizes of theirs
WITH_GATES = [one for one in EVERY_ONE if not in_places(one)]
named = {"ids": lambda one: one.name}


def training_problem(
    backend: Backend, architecture: Architecture, loss: SampleLoss, outputs: int, n: int = 7
) -> Problem:
    """A small problem, with an intercept unless c = 2 and with a linear skip if c = 3."""
    rng = np.random.default_rng([outputs, LOSSES.index(loss)])
    X, scores = rng.standard_normal((n, 2)), rng.standard_normal((n, outputs))
    if loss in REGRESSION:
        y = scores
    elif loss in MARGIN:
        y = np.where(scores > 0, 1.0, -1.0)
    else:
        y = np.eye(max(2, outputs))[np.arange(n) % max(2, outputs)]
    if loss not in REGRESSION:  # every sample with every label: no free columns separate them
        labels = [y, -y] if loss in MARGIN else [np.roll(y, k, axis=1) for k in range(y.shape[1])]
        X, y = np.tile(X, (len(labels), 1)), np.concatenate(labels)
        X[:n] += 0.3
    X = backend.asarray(X)
    problem = problem_of(
        architecture,
        X,
        backend.asarray(y),
        rng.uniform(0.5, 2.0, len(y)),
        loss,
        architecture.source.draw(architecture.features(X), 5, rng),
        scope=Scope.GIVEN_GATES,
        intercept=outputs != 2,
        skip=outputs == 3,
    )
    return problem.at(0.03 * strength(on_host(problem), np.random.default_rng(0)))


def on_host(problem: Problem) -> Problem:
    """The same problem in NumPy."""
    program, c = problem.program, problem.program.lift.out_shape[-1]
    features = to_numpy(problem.architecture.features(problem.X))
    weights = to_numpy(program.loss.weights)[:, 0]
    loss = mean_loss(program.loss.loss, to_numpy(program.loss.target), weights)
    lift = problem.architecture.lift(features, problem.gates, c)
    constraint = problem.architecture.constraint(features, problem.gates, c)
    here = replace(
        program, loss=loss, lift=lift, constraint=constraint, free=to_numpy(program.free)
    )
    return replace(problem, X=to_numpy(problem.X), program=here)


def all_agree(
    backend: Backend,
    loss: SampleLoss,
    architecture: Architecture,
    c: int,
    solvers: tuple[Solver, ...] = OURS,
    tol: float = 1e-7,
) -> None:
    problem = training_problem(backend, architecture, loss, c)
    program = problem.working()
    reference = solve(program, Reference(), tol=1e-7, judge=problem.judge)
    assert reference.status is Status.OPTIMAL
    optimum = reference.certificate.upper
    takers = [solver for solver in solvers if solver.why_not(program) is None]
    alone = isinstance(architecture, GatedRidge) and loss.smoothness == math.inf
    assert len(takers) >= min(len(solvers), 1 if alone else 2)  # no kinks, no empty blocks
    for solver in takers:
        solution = solve(program, solver, tol=tol, judge=problem.judge)
        assert solution.status is Status.OPTIMAL, (solver.name, solution.certificate)
        assert solution.certificate.upper == pytest.approx(optimum, rel=10 * tol)
        assert solution.certificate.lower == pytest.approx(optimum, rel=10 * tol)
        assert type(solution.iterate.blocks) is type(problem.X)
        known = reference.certificate
        is_usable(problem.program, solution, known.lower, known.upper)


NUMPY = Backend("numpy", np)
KINKED = [loss for loss in LOSSES if loss.smoothness == math.inf]
SMOOTH = [loss for loss in LOSSES if loss.smoothness < math.inf]


# polynomial networks: in tests/architectures, at sizes at which cubes of matrices are cheap


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("architecture", WITH_GATES, **named)
@pytest.mark.parametrize("loss", SMOOTH, **named)
def test_all_agree(loss: SampleLoss, architecture: Architecture, outputs: int) -> None:
    all_agree(NUMPY, loss, architecture, outputs, apt(loss, architecture, outputs))


@pytest.mark.parametrize("architecture", WITH_GATES, **named)
@pytest.mark.parametrize("loss", KINKED, **named)
def test_all_agree_on_kinks(loss: SampleLoss, architecture: Architecture) -> None:
    all_agree(NUMPY, loss, architecture, 2, apt(loss, architecture, 2))


def apt(loss: SampleLoss, architecture: Architecture, outputs: int) -> tuple[Solver, ...]:
    """All solvers, but for alternating directions where they take tens of thousands of steps."""
    drifts = (loss.name, outputs) in (("hinge", 2), ("huber", 3))
    return (WorkingSet(),) if architecture.name == "batchnorm" and drifts else OURS


@pytest.mark.parametrize("architecture", WITH_GATES, **named)
@pytest.mark.parametrize("loss", [Squared(), CrossEntropy()], **named)
def test_all_agree_in_every_library(
    backend: Backend, loss: SampleLoss, architecture: Architecture
) -> None:
    if backend.name == "numpy":
        pytest.skip("test_all_agree has the same problem")
    if architecture.name == "batchnorm_after" and loss.name != "squared":
        pytest.skip("one loss shows what its maps do in a library; this one takes a minute")
    # the strict library is slow, and shows what is called, not how digits come
    tol = 1e-7 if backend.name == "torch" or share(2) == 1 else 1e-4
    listed = next(one for one in LOSSES if one.name == loss.name)
    all_agree(backend, listed, architecture, 2, tol=tol)


# planted optima


@pytest.mark.parametrize("cones", [False, True], ids=["gated", "relu"])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("loss", [Squared(), Huber(1.0), Quantile(0.4)], **named)
def test_planted_optima_are_found(loss: SampleLoss, outputs: int, cones: bool) -> None:
    finds_the_plant(NUMPY, loss, outputs, cones)


@pytest.mark.parametrize("cones", [False, True], ids=["gated", "relu"])
def test_planted_optima_are_found_in_every_library(backend: Backend, cones: bool) -> None:
    finds_the_plant(backend, Squared(), 2, cones)


def finds_the_plant(backend: Backend, loss: SampleLoss, outputs: int, cones: bool) -> None:
    planted = plant(loss, outputs, cones, 0, backend.asarray)
    program = planted.program
    # the plant is what it says: its own objective, and its cones
    blocks = backend.asarray(planted.blocks)
    free = backend.asarray(np.full((1, outputs), 0.7))
    assert program.objective(blocks, free) == pytest.approx(planted.optimum, rel=1e-12)
    assert program.violation(blocks) <= 1e-14
    for solver in (*OURS, Reference()):
        if solver.why_not(program) is None:
            solution = solve(program, solver, tol=1e-7)
            assert solution.status is Status.OPTIMAL, (solver.name, solution.certificate)
            assert solution.certificate.upper == pytest.approx(planted.optimum, rel=1e-6)
            is_usable(program, solution, planted.optimum)


def test_gates_of_a_plant_are_their_own_cones() -> None:
    X = np.random.default_rng(0).standard_normal((24, 2))
    gates = gaussian(X, 30, np.random.default_rng(1))
    assert (masks_of(gates.generators, X) == gates.masks).all()


# starts


@pytest.mark.parametrize("loss", [Squared(), CrossEntropy(), Quantile()], **named)
@pytest.mark.parametrize("architecture", WITH_GATES, **named)
def test_the_solution_is_a_start_that_ends_at_once(
    architecture: Architecture, loss: SampleLoss
) -> None:
    listed = next(one for one in LOSSES if one.name == loss.name)
    problem = training_problem(NUMPY, architecture, listed, 2)
    program = problem.working()
    for solver in (*OURS, Reference()):
        if solver.why_not(program) is None:
            first = solve(program, solver, tol=1e-7, judge=problem.judge)
            again = solve(program, solver, start=first.iterate, tol=1e-3, judge=problem.judge)
            assert again.status is Status.OPTIMAL
            assert again.iterations == 0, solver.name


# why not


def test_why_not() -> None:
    planted = plant(Squared(), 1, True, 0, np.asarray).program
    assert "no cone constraint" in str(FISTA().why_not(planted))
    kinked = plant(Quantile(0.4), 1, False, 0, np.asarray).program
    assert "smooth loss" in str(FISTA().why_not(kinked))
    for program in (planted, kinked):
        assert ADMM().why_not(program) is None
        assert WorkingSet().why_not(program) is None
        with pytest.raises(UnsupportedError, match="solver='admm'"):
            solve(program, FISTA())
