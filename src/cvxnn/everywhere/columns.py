"""The program of several outputs that is printed in places: nuclear norms, columns in cones.

It is here to be compared with, and trains nothing. Its singular vectors leave the cones, so that no
network belongs to it.
"""

from dataclasses import dataclass

import numpy as np

from cvxnn.architectures import ReLU
from cvxnn.arrays import Array
from cvxnn.everywhere.neurons import Floats
from cvxnn.functions import Nuclear, SampleLoss, Squared, mean_loss
from cvxnn.gates import Gates, distinct, enumerate_patterns
from cvxnn.program import Program
from cvxnn.solve import solve_part
from cvxnn.solvers import Reference

LABEL = "a relaxation of no known side: bounds training neither from above nor from below"


@dataclass(frozen=True)
class ColumnCones:
    """The optimum of the program with columns in cones, and what it says of networks: nothing."""

    value: float
    """Mean loss + alpha * sum of nuclear norms."""
    relative_gap: float
    """Of `value`, as the optimum of that program."""
    label: str = LABEL


def column_cones(
    X: Array,
    y: Array,
    *,
    alpha: float,
    loss: SampleLoss | None = None,
    gates: Gates | None = None,
) -> ColumnCones:
    """Solve the nuclear norm program whose columns lie in cones; it bounds no network's objective.

    minimise L(sum_i D_i X (U_i - V_i)) + alpha sum_i (|U_i|_* + |V_i|_*)
    subject to (2 D_i - I) X U_i >= 0 and (2 D_i - I) X V_i >= 0, column by column

    `X` (n, d), with a column of ones if neurons are to have a bias, `y` (n, c); `loss` is the
    squared loss if not given, and `gates` are all patterns. The exact program takes the gauge of
    u a' with u in the cone [Sahiner2021], where the singular vectors of U_i need not be in it: this
    program's optimum is above the best network's on some data and below it on others. Weight decay
    over all networks is what `gates="grow"` trains.

    Raises ValueError for `X` and `y` that are no two matrices of as many rows, or an alpha that is
    not positive.

    >>> found = column_cones(np.eye(2), np.eye(2), alpha=0.25)
    >>> round(found.value, 6), found.label[:33]
    (0.375, 'a relaxation of no known side: bo')
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    if X.ndim != 2 or y.ndim != 2 or len(X) != len(y):
        raise ValueError(
            f"X has shape {X.shape} and y {y.shape}; expected (n, d) and (n, c) of as many rows"
        )
    if not 0 < alpha < np.inf:
        raise ValueError(f"alpha is {alpha!r}; expected a positive number")
    program = _program(X, y, alpha, loss or Squared(), gates)
    certificate = solve_part(program, Reference(), tol=1e-9).certificate
    return ColumnCones(certificate.upper, certificate.relative_gap)


def _program(X: Floats, y: Floats, alpha: float, loss: SampleLoss, gates: Gates | None) -> Program:
    relu, outputs = ReLU(bias=False), y.shape[1]
    gates = distinct(enumerate_patterns(X)) if gates is None else gates
    return Program(
        loss=mean_loss(loss, y),
        lift=relu.lift(X, gates, outputs),
        penalty=Nuclear(alpha),
        free=np.zeros((len(X), 0)),
        constraint=relu.constraint(X, gates, outputs),
    )
