"""Programs that are made from their own solutions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from cvxnn.arrays import to_numpy
from cvxnn.certificate import feasible_dual
from cvxnn.functions import ColumnNorm, GroupNorm, Nonnegative, Nuclear, SampleLoss, mean_loss
from cvxnn.gates import Gates, distinct, gaussian
from cvxnn.maps import ConeRows, Gated, Signed
from cvxnn.program import Constraint, Program
from cvxnn.solve import Solution


@dataclass(frozen=True, eq=False)
class Planted:
    """A program made from its own solution."""

    program: Program
    blocks: np.ndarray
    optimum: float


def plant(loss: SampleLoss, outputs: int, cones: bool, seed: int, cast: Callable) -> Planted:
    """Choose directions and a dual point that meets them, then targets that make both optimal.

    X' D_i v = alpha e_i a_i' with unit e_i and a_i makes the gauge of an active block one; gates
    whose gauge is above one are left out. The target is f + v / w where the loss is a parabola
    near zero, and f itself, at the kink, for quantiles, whose v / w stays between the slopes.
    With cones e_i is the gate's own generator, inside its cone, and a_i a positive unit vector.
    """
    rng = np.random.default_rng(seed)
    n, d, active = 24, 2, 3
    X = rng.standard_normal((n, d))
    gates = distinct(gaussian(X, 30, rng))
    weights = rng.uniform(0.5, 2.0, n)
    weights /= weights.sum()
    directions = gates.generators[:active]
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    if not cones:
        directions = rng.standard_normal((active, d))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sides = np.eye(outputs)[rng.integers(outputs, size=active)]
    if not cones:
        sides = rng.standard_normal((active, outputs))
        sides /= np.linalg.norm(sides, axis=1, keepdims=True)
    free = np.ones((n, 1))
    maps = [gates.masks[i][:, None] * X for i in range(active)]
    equations = np.concatenate([free, *maps], axis=1).T
    rights = np.concatenate(
        [np.zeros((1, outputs)), *(np.outer(e, a) for e, a in zip(directions, sides, strict=True))]
    )
    unit = np.linalg.lstsq(equations, rights)[0]
    np.testing.assert_allclose(equations @ unit, rights, atol=1e-10)
    alpha = float(0.2 / np.abs(unit / weights[:, None]).max())
    dual = alpha * unit
    slopes = np.stack([(mask[:, None] * X).T @ dual for mask in gates.masks])
    norm = "fro" if outputs == 1 else 2
    sizes = np.array([np.linalg.norm(slope, norm) for slope in slopes])
    kept = np.flatnonzero(sizes <= alpha * (1 - 1e-3))
    gates = gates.take(np.concatenate([np.arange(active), kept[kept >= active]]))
    blocks = np.zeros(((2 if cones else 1) * len(gates), d, outputs))
    lengths = rng.uniform(0.5, 2.0, active)
    blocks[:active] = lengths[:, None, None] * directions[:, :, None] * sides[:, None, :]
    lift, constraint = program_maps(X, gates, outputs, cones, cast)
    fit = to_numpy(lift.apply(cast(blocks))) + 0.7
    residual = np.zeros_like(dual) if loss.name == "quantile" else dual / weights[:, None]
    penalty = GroupNorm(alpha) if outputs == 1 else (ColumnNorm if cones else Nuclear)(alpha)
    program = Program(
        loss=mean_loss(loss, cast(fit + residual), weights),
        lift=lift,
        penalty=penalty,
        free=cast(free),
        constraint=constraint,
    )
    optimum = float((weights[:, None] * residual**2).sum() / 2 + alpha * lengths.sum())
    return Planted(program, blocks, optimum)


def program_maps(
    X: np.ndarray, gates: Gates, outputs: int, cones: bool, cast: Callable
) -> tuple[Any, Constraint | None]:
    gated = Gated(cast(X), cast(gates.masks.T.astype(float)), outputs)
    if not cones:
        return gated, None
    signs = 2.0 * np.tile(gates.masks, (2, 1)) - 1.0
    return Signed(gated), Constraint(ConeRows(cast(X), cast(signs), outputs), Nonnegative())


def is_usable(
    program: Program, solution: Solution, optimum: float, above: float | None = None
) -> None:
    """The certificate is that of the very points handed over, and it holds.

    The optimum is known, or between `optimum` and `above`.
    """
    found, iterate = solution.certificate, solution.iterate
    slack = found.resolution + 1e-9 * abs(optimum)
    assert program.objective(iterate.blocks, iterate.free) == pytest.approx(found.upper, rel=1e-12)
    proved, _ = feasible_dual(program, iterate.dual)
    assert proved >= found.lower - slack
    assert found.lower <= (optimum if above is None else above) + slack
    assert found.upper >= optimum - slack
    assert program.violation(iterate.blocks) <= 1e-8
