"""The two problems, and the one judge of what solvers return: float64, the same for all."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import ReLU
from cvxnn.certificate import certify
from cvxnn.everywhere.open import OpenProblem
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.gates import Gates, gaussian
from cvxnn.maps import Gated
from cvxnn.path import alpha_max
from cvxnn.program import Iterate, Program
from cvxnn.training import open_problem_of

Floats = NDArray[np.floating[Any]]
Measured = dict[str, float]

NONE = np.zeros((0, 1))
"""There are no unpenalised columns."""


@dataclass(frozen=True, eq=False)
class GatedProblem:
    """1/(2n) |sum_i D_i X u_i - y|^2 + alpha sum_i |u_i| over blocks u (p, d)."""

    X: Floats
    """(n, d), columns of unit norm."""
    y: Floats
    """(n,)."""
    gates: Gates
    alpha: float
    alpha_max: float
    """The least alpha of which the solution is zero."""
    network = "gated"

    @property
    def masks(self) -> Floats:
        """Return the diagonals of all D_i, (n, p)."""
        return np.ascontiguousarray(self.gates.masks.T, dtype=np.float64)

    def program(self, dtype: Any = np.float64) -> Program:
        """Return the program with its data in a precision."""
        loss = mean_loss(Squared(), self.y[:, None].astype(dtype))
        lift = Gated(self.X.astype(dtype), self.masks.astype(dtype), outputs=1)
        free = np.zeros((len(self.X), 0), dtype=dtype)
        return Program(loss=loss, lift=lift, penalty=GroupNorm(self.alpha), free=free)

    @cached_property
    def judging(self) -> Program:
        """The program that all are judged by."""
        return self.program()

    def nothing(self) -> dict[str, Any]:
        """Return the result without a neuron."""
        return {"blocks": np.zeros((len(self.gates), self.X.shape[1]))}

    def value(self, blocks: Floats) -> float:
        """Return the objective of blocks (p, d)."""
        return self.judging.objective(np.asarray(blocks, dtype=np.float64)[:, :, None], NONE)

    def judge(self, blocks: Floats, dual: Floats | None = None) -> Measured:
        """Measure blocks (p, d); the better of their residual and a dual point (n,) proves."""
        wide = np.asarray(blocks, dtype=np.float64)[:, :, None]
        residual = -self.judging.loss.gradient(self.judging.predict(wide, NONE))
        duals = [residual] if dual is None else [residual, np.asarray(dual, np.float64)[:, None]]
        found = [certify(self.judging, Iterate(wide, NONE, one))[0] for one in duals]
        lengths = np.linalg.norm(wide, axis=1)
        return measured(found[0].upper, max(one.lower for one in found), lengths)


@dataclass(frozen=True, eq=False)
class ReluProblem:
    """1/(2n) |f(X) - y|^2 + alpha sum_j |u_j| |a_j| over f(x) = sum_j a_j max(0, x'u_j)."""

    X: Floats
    """(n, d), columns of unit norm."""
    y: Floats
    """(n,)."""
    gates: Gates
    """Of the rivals that need some; a network may have any patterns."""
    alpha: float
    network = "relu"

    def open(self) -> OpenProblem:
        """Return the problem over networks of any width."""
        return _open(self.X, self.y).at(self.alpha)

    def nothing(self) -> dict[str, Any]:
        """Return the result without a neuron."""
        return {"inward": np.zeros((0, self.X.shape[1])), "outward": np.zeros(0)}

    def value(self, inward: Floats, outward: Floats) -> float:
        """Return the objective of the network of u (m, d) and a (m,)."""
        u, a = np.asarray(inward, np.float64), np.asarray(outward, np.float64)
        misfit = np.maximum(self.X @ u.T, 0) @ a - self.y
        return float((misfit**2).mean() / 2 + self.alpha * _sizes(u, a).sum())

    def judge(self, inward: Floats, outward: Floats, lower: float = 0.0) -> Measured:
        """Measure a network; `lower` is what the solver proved of all networks, if anything."""
        return measured(self.value(inward, outward), lower, _sizes(inward, outward))


Problem = GatedProblem | ReluProblem


def measured(upper: float, lower: float, sizes: Floats) -> Measured:
    """Return the metrics that benchopt stores; those of 1e-6 of the largest size are neurons."""
    return {
        "value": upper,
        "lower": lower,
        "relative_gap": max(upper - lower, 0.0) / upper if upper > 0 else 0.0,
        "neurons": int((sizes > 1e-6 * sizes.max(initial=1e-300)).sum()),
    }


def pose(network: str, X: Floats, y: Floats, share: float, n_gates: int, seed: int) -> Problem:
    """Return the problem at `share` of the least alpha of which the solution is empty."""
    gates = gaussian(X, n_gates, np.random.default_rng(seed))
    if network == "relu":
        return ReluProblem(X, y, gates, share * alpha_max(_open(X, y)))
    program = GatedProblem(X, y, gates, 1.0, 1.0).judging
    slope = program.lift.adjoint(program.loss.gradient(np.zeros((len(X), 1))))
    top = float(program.penalty.polar(slope).max())
    return GatedProblem(X, y, gates, share * top, top)


def _sizes(inward: Floats, outward: Floats) -> Floats:
    return np.asarray(np.linalg.norm(inward, axis=1) * np.abs(outward), dtype=np.float64)


def _open(X: Floats, y: Floats) -> OpenProblem:
    ones = np.ones(len(y))
    return open_problem_of(
        ReLU(bias=False), X, y[:, None], ones, Squared(), intercept=False, skip=False
    )
