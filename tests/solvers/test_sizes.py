"""The atoms of blocks, their best sizes against Clarabel, and the matrix that they make."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from numpy.typing import NDArray

from cvxnn.certificate import certify
from cvxnn.functions import (
    ColumnNorm,
    CrossEntropy,
    GroupNorm,
    Huber,
    Logistic,
    Nuclear,
    Penalty,
    Ridge,
    SampleLoss,
    Squared,
    SquaredHinge,
    mean_loss,
)
from cvxnn.maps import Gated, Signed
from cvxnn.program import Iterate, Program
from cvxnn.solve import solve
from cvxnn.solvers import Newton, newton
from cvxnn.solvers.atoms import atoms
from cvxnn.solvers.sizes import sized
from cvxnn.solvers.systems import Slope

Floats = NDArray[np.float64]

LOSSES: list[tuple[SampleLoss, int]] = [
    (Squared(), 1),
    (Huber(delta=0.4), 1),
    (Logistic(), 1),
    (SquaredHinge(), 1),
    (Squared(), 3),
    (CrossEntropy(), 3),
]
MARGINS = ("logistic", "squared_hinge")


def _program(loss: SampleLoss, outputs: int, seed: int) -> Program:
    rng = np.random.default_rng([seed, outputs])
    X, n = rng.normal(size=(60, 5)), 60
    y = X @ rng.normal(size=(5, outputs)) + rng.normal(size=(n, outputs))
    if loss.name in MARGINS:
        y = np.where(y > 0, 1.0, -1.0)
    if loss.name == "cross_entropy":
        y = np.eye(outputs)[y.argmax(axis=1)]
    lift = Gated(X, (X @ rng.normal(size=(5, 7)) > 0).astype(float), outputs)
    loss_of = mean_loss(loss, y, rng.uniform(0.5, 2.0, n))
    free = np.ones((n, seed % 2))
    return Program(loss=loss_of, lift=lift, penalty=GroupNorm(0.02), free=free)


def _blocks(program: Program, seed: int) -> Floats:
    """Return blocks along the dual point of zero, some of them too small and most too large."""
    dual = -program.loss.gradient(np.zeros(program.loss.target.shape))
    blocks = np.asarray(program.lift.adjoint(dual))
    return blocks * np.random.default_rng(seed).uniform(0.1, 5.0, len(blocks))[:, None, None]


def _truth(program: Program, blocks: Floats) -> float:
    """Return min over s >= 0 and b of loss(sum_i s_i A_i u_i + F b) + sum_i s_i penalty(u_i)."""
    y, weights, k = program.loss.target, program.loss.weights[:, 0], len(blocks)
    s, b = cp.Variable(k, nonneg=True), cp.Variable((program.free.shape[1], y.shape[1]))
    one = [blocks * (np.arange(k) == i)[:, None, None] for i in range(k)]
    score = sum(s[i] * program.lift.apply(one[i]) for i in range(k)) + program.free @ b
    each = {
        "squared": lambda: cp.sum(cp.square(score - y), axis=1) / 2,
        "huber": lambda: cp.sum(cp.huber(score - y, 0.4), axis=1) / 2,
        "logistic": lambda: cp.sum(cp.logistic(-cp.multiply(y, score)), axis=1),
        "squared_hinge": lambda: cp.sum(cp.square(cp.pos(1 - cp.multiply(y, score))), axis=1) / 2,
        "cross_entropy": lambda: (
            cp.log_sum_exp(score, axis=1) - cp.sum(cp.multiply(y, score), axis=1)
        ),
    }[program.loss.loss.name]()
    prices = np.array([program.penalty.value(block) for block in one])
    return float(cp.Problem(cp.Minimize(weights @ each + prices @ s)).solve(solver="CLARABEL"))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("loss", "outputs"), LOSSES)
def test_the_optimum_is_clarabels(loss: SampleLoss, outputs: int, seed: int) -> None:
    program = _program(loss, outputs, seed)
    blocks, free = _blocks(program, seed), np.zeros((program.free.shape[1], outputs))
    found = sized(program, blocks, free)
    assert found is not None
    assert found.value == pytest.approx(program.objective(found.blocks, found.free), rel=1e-12)
    assert found.score == pytest.approx(
        program.predict(found.blocks, found.free), rel=1e-9, abs=1e-9
    )
    first, truth = program.objective(blocks, free), _truth(program, blocks)
    left = 1e-6 if isinstance(loss, Squared) else 0.01  # one step, and a few that end early
    assert truth * (1 - 1e-6) <= found.value <= truth + left * (first - truth)


def test_they_are_left_as_they_are_where_they_are_the_best() -> None:
    program = _program(Squared(), 1, 1)
    found = sized(program, _blocks(program, 1), np.zeros((1, 1)))
    assert found is not None
    alive = np.flatnonzero(found.blocks.any(axis=(1, 2)))
    lift = program.lift.restrict(alive)
    again = sized(replace(program, lift=lift), found.blocks[alive], found.free)
    assert again is None or again.value >= found.value * (1 - 1e-12)


def test_penalties_that_are_no_norms_and_maps_without_gates_have_none() -> None:
    program = _program(Squared(), 1, 1)
    blocks, free = _blocks(program, 1), np.zeros((1, 1))
    assert sized(replace(program, penalty=Ridge(0.02)), blocks, free) is None
    assert (
        sized(replace(program, lift=Signed(program.lift)), np.tile(blocks, (2, 1, 1)), free) is None
    )
    assert sized(program, blocks[:0], free) is None
    lift = Gated(program.lift.features[:7], program.lift.masks[:7], 1)
    loss = mean_loss(Squared(), program.loss.target[:7])  # and seven sizes and an intercept
    few = replace(program, lift=lift, loss=loss, free=program.free[:7])
    assert sized(few, blocks, free) is None


def test_they_close_the_gap_of_a_proximal_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its solution lags behind in the sizes of its blocks alone."""
    monkeypatch.setattr(newton, "sized", lambda *_: None)
    for seed in range(6):
        program = _program(Squared(), 1, seed)
        rough = solve(program, Newton(), tol=1e-3).iterate
        alive = np.flatnonzero(rough.blocks.any(axis=(1, 2)))
        small = replace(program, lift=program.lift.restrict(alive))
        found = sized(small, rough.blocks[alive], rough.free)
        assert found is not None
        dual = -program.loss.gradient(found.score)
        after = certify(small, Iterate(found.blocks, found.free, dual))[0].relative_gap
        before = certify(small, rough._replace(blocks=rough.blocks[alive]))[0].relative_gap
        assert after <= 0.1 * before


PENALTIES = GroupNorm(0.02), ColumnNorm(0.02), Nuclear(0.02)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_penalty_adds_up_over_the_atoms(penalty: Penalty, outputs: int) -> None:
    blocks = np.random.default_rng(outputs).normal(size=(6, 5, outputs))
    blocks[2, :, 1:] = blocks[4] = 0.0
    found = atoms(penalty, blocks)
    assert found.joined(np.ones(len(found.owner))) == pytest.approx(blocks)
    assert sum(penalty.value(part[None]) for part in found.parts) == pytest.approx(
        penalty.value(blocks)
    )


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", [Squared(), CrossEntropy()])
def test_the_near_matrix_of_several_outputs_is_not_beyond(
    loss: SampleLoss, penalty: Penalty
) -> None:
    program = replace(_program(loss, 3, 1), penalty=penalty)
    rng = np.random.default_rng(5)
    moved = rng.normal(size=program.lift.in_shape)
    slope = Slope(program, moved, penalty.prox(moved, 40.0), 40.0)
    score = rng.normal(size=program.loss.target.shape)
    root, product = program.loss.root(score), slope.product(np.float64)
    every = np.eye(score.size).reshape(-1, *score.shape)
    whole = np.stack([root.adjoint(product(root.apply(one))).ravel() for one in every])
    narrow = slope.narrow(root)
    assert narrow.shape[1] == slope.width()
    rest = np.linalg.eigvalsh(whole - narrow @ narrow.T)
    assert rest.min() >= -1e-12 * np.linalg.norm(whole, 2)
    assert rest.sum() <= 0.7 * np.trace(whole)
