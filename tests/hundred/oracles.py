"""Every program written out for CVXPY and solved by Clarabel; the optimum of a mean loss."""

from collections.abc import Sequence
from typing import Any

import cvxpy as cp
import numpy as np
from scipy.linalg import null_space, orth

Floats = np.ndarray

EXACT = {"solver": cp.CLARABEL, "tol_gap_rel": 1e-10, "tol_gap_abs": 1e-10, "tol_feas": 1e-10}


def optimum(cost: Any, rules: Sequence[Any] = ()) -> float:
    """The least cost under the rules."""
    problem = cp.Problem(cp.Minimize(cost), list(rules))
    try:
        return float(problem.solve(**EXACT))
    except cp.SolverError:  # scaled, a first step may end on the edge of an exponential cone
        return float(problem.solve(**EXACT, equilibrate_enable=False))


def loss(name: str, fit: Any, Y: Floats) -> Any:
    """The mean loss of predictions (n, c)."""
    if name == "logistic":
        return cp.sum(cp.logistic(-cp.multiply(Y, fit))) / len(Y)
    return cp.sum_squares(fit - Y) / (2 * len(Y))


def trained(
    name: str,
    parts: tuple[Any, Any, list[Any]],
    Y: Floats,
    alpha: float,
    free: Floats | None = None,
) -> float:
    """The least mean loss + alpha * size over what the parts (fit, size, rules) allow.

    Columns `free` (n, q) carry no penalty.
    """
    fit, size, rules = parts
    if free is not None and free.shape[1]:
        fit = fit + free @ cp.Variable((free.shape[1], Y.shape[1]))
    return optimum(loss(name, fit, Y) + alpha * size, rules)


def relu(Z: Floats, masks: Floats, outputs: int = 1) -> tuple[Any, Any, list[Any]]:
    """Section A: two cones a pattern."""
    fit, size, rules = 0, 0, []
    for mask in masks:
        for sign in (1.0, -1.0):
            u = cp.Variable((Z.shape[1], outputs))
            fit = fit + sign * ((mask[:, None] * Z) @ u)
            size = size + sum(cp.norm(u[:, k], 2) for k in range(outputs))
            rules.append(np.where(mask[:, None], Z, -Z) @ u >= 0)
    return fit, size, rules


def gated(Z: Floats, masks: Floats, outputs: int = 1) -> tuple[Any, Any, list[Any]]:
    """Section B and G: nuclear norms on given gates."""
    fit, size = 0, 0
    for mask in masks:
        u = cp.Variable((Z.shape[1], outputs))
        fit = fit + (mask[:, None] * Z) @ u
        size = size + (cp.norm(u[:, 0], 2) if outputs == 1 else cp.normNuc(u))
    return fit, size, []


def steps(masks: Floats, sign: bool, outputs: int = 1) -> tuple[Any, Any, list[Any]]:
    """Section I: a Lasso over patterns."""
    columns = np.array(masks, dtype=float).T
    z = cp.Variable((columns.shape[1], outputs))
    fit = (2 * columns - 1 if sign else columns) @ z
    return fit, cp.sum(cp.norm(z, 2, axis=1)), []


def whitened(X: Floats, units: tuple[bool, bool]) -> Floats:
    """Section H: [h sqrt(n) U, k 1] with any orthonormal basis U of the centred data."""
    n = len(X)
    centred = X - X.mean(axis=0)
    U = orth(centred / np.maximum(np.abs(centred).max(axis=0), 1e-9), rcond=1e-9)
    ones = np.full(n, n**-0.5 if units[1] else 1.0)
    return np.column_stack([U * (1.0 if units[0] else n**0.5), ones])


def normalised_after(
    Z: Floats, masks: Floats, units: tuple[bool, bool]
) -> tuple[Any, Any, list[Any]]:
    """Section H after the ReLU: t, b and the part z that costs nothing, for each pattern."""
    n = len(Z)
    scale, shift = 1.0 if units[0] else n**0.5, n**-0.5 if units[1] else 1.0
    alone = cp.Variable((1, 1))
    fit, size, rules = shift * np.ones((n, 1)) @ alone, cp.sum(cp.abs(alone)), []
    for mask in masks:
        active = mask[:, None] * Z
        centred = active - active.mean(axis=0)
        left, values, right = np.linalg.svd(centred, full_matrices=False)
        kept = values > 1e-9 * max(values.max(initial=0.0), 1e-9)
        if not kept.any():
            continue
        back, idle = right[kept].T / values[kept], null_space(centred, rcond=1e-9)
        for sign in (1.0, -1.0):
            t, b = cp.Variable((int(kept.sum()), 1)), cp.Variable((1, 1))
            w = back @ t
            if idle.shape[1]:
                w = w + idle @ cp.Variable((idle.shape[1], 1))
            fit = fit + sign * scale * (left[:, kept] @ t) + shift * np.ones((n, 1)) @ b
            size = size + cp.norm(cp.vstack([t, b]), 2)
            rules.append(np.where(mask[:, None], Z, -Z) @ w >= 0)
    return fit, size, rules


def polynomial(
    Z: Floats, coefficients: tuple[float, float, float], outputs: int = 1
) -> tuple[Any, Any, list[Any]]:
    """Section J: moment matrices of either sign, or one symmetric matrix for a pure square."""
    square, linear, constant = coefficients
    d, size, rules, columns = Z.shape[1], 0, [], []
    for _ in range(outputs):
        if linear == constant == 0:
            S = cp.Variable((d, d), symmetric=True)
            columns.append(square * cp.sum(cp.multiply(Z @ S, Z), axis=1))
            size = size + cp.normNuc(S)
            continue
        pair = [cp.Variable((d + 1, d + 1), PSD=True) for _ in range(2)]
        rules += [cp.trace(S[:d, :d]) == S[d, d] for S in pair]
        S = pair[0] - pair[1]
        values = cp.sum(cp.multiply(Z @ S[:d, :d], Z), axis=1)
        columns.append(square * values + linear * (Z @ S[:d, d]) + constant * S[d, d])
        size = size + pair[0][d, d] + pair[1][d, d]
    return cp.vstack(columns).T, size, rules
