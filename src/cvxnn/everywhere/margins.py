"""Networks of least norm with margin 1: neurons by column generation, and bounds on the norm.

The dual is: maximise the sum of m over m >= 0 with |sum_i m_i y_i max(0, x_i.u)| <= 1 for all unit
u [WangPilanci2022]. A multiple of any m >= 0 is feasible, so that every one proves a bound.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linprog

from cvxnn.errors import CvxnnError
from cvxnn.everywhere.closed import closed_gauge
from cvxnn.everywhere.duals import scaled
from cvxnn.everywhere.ladder import row_space, rung
from cvxnn.everywhere.neurons import Floats, Training
from cvxnn.everywhere.patterns import few_patterns, pattern_gauge
from cvxnn.everywhere.price import price
from cvxnn.everywhere.relaxed import isotropic
from cvxnn.functions import HardMargin, mean_loss

_CAPS = 10.0 ** np.arange(1, 12, 2)
"""Largest multipliers, in units of the reciprocal of a typical row, while margins fall short."""
_ROUNDS, _WAIT, _GAIN = 200, 10, 2e-3
"""Rounds at most; they end when so many bring less than this share of the norm."""
_ADD, _ALIKE = 60, 1 - 1e-6
"""Neurons added in a round at most, and the cosine from which two are one."""


class Bound(NamedTuple):
    """A proved lower bound on the norm of every network with margin 1."""

    lower: float
    dual: Floats
    """m, (n,), feasible; the bound is its sum."""
    kind: str


def norm_bound(features: Floats, signs: Floats, weights: Floats, seconds: float) -> Bound:
    """Return the bound that `weights` m (n,) prove once they are made feasible.

    The largest price over u is a formula on rank one and on orthogonal rows, the maximum over
    patterns where these are few, else bounded by branch and bound for so many seconds.
    """
    loss = mean_loss(HardMargin(), signs[:, None])
    training = Training(features, loss, np.zeros((len(signs), 0)), alpha=1.0)
    total = float(weights.sum())
    dual = (signs * weights)[:, None] / (total if total > 0 else 1.0)
    gauge, kind = closed_gauge(features, dual, 1.0), "closed form"
    if gauge is None:
        space = row_space(features)
        if not few_patterns(space.features, len(space.turn), seconds):
            even = isotropic(len(space.turn))
            found = rung(training, space, dual, ((even, even),), seconds=seconds)
            return Bound(max(found.lower, 0.0), signs * found.dual[:, 0], "search")
        gauge, kind = pattern_gauge(space.features, dual, 1.0), "enumeration"
    scale = 1 / gauge  # any length: the bound is linear along the ray
    proved = scaled(training, scale * dual, 1.0)
    return Bound(proved.lower, signs * proved.dual[:, 0], kind)


class Generated(NamedTuple):
    """Neurons of margin 1, and the multipliers that price them."""

    directions: Floats
    """u, (k, d), unit rows."""
    outputs: Floats
    """(k,), whose absolute values sum to the norm."""
    weights: Floats
    """m, (n,)."""


def generate(
    features: Floats, signs: Floats, rng: np.random.Generator, *, tol: float = 1e-4
) -> Generated:
    """Return neurons of about the least norm, by linear programs over directions found by pricing.

    minimise sum c over c >= 0 with margins 1, with shortfalls at a price that rises until there are
    none; each round adds the directions that the multipliers price highest above 1. Classes that
    networks separate are presupposed (`conflict`).
    """
    n, d = features.shape
    unit = float(np.linalg.norm(features, axis=1).mean())
    directions = rng.standard_normal((2 * min(n, 200) + 2 * d, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    senses = np.where(np.arange(len(directions)) % 2 == 0, 1.0, -1.0)
    for cap in _CAPS:
        course: list[float] = []
        for _ in range(_ROUNDS):
            sizes, weights, short = _program(features, signs, directions, senses, cap / unit)
            active = np.flatnonzero(sizes > 0)
            dual = (signs * weights)[:, None]
            found = price(features, dual, rng, own=directions[active], starts=128, steps=25)
            fresh = _fresh(found.directions, found.outputs[:, 0], found.values, tol)
            course.append(float(sizes.sum()) + cap / unit * short)
            stalls = len(course) > _WAIT and course[-1] > (1 - _GAIN) * course[-_WAIT]
            if stalls or not len(fresh):
                break
            kept = np.flatnonzero((sizes > 0) | (rng.uniform(size=len(sizes)) < 0.5))
            directions = np.concatenate([directions[kept], found.directions[fresh]])
            senses = np.concatenate([senses[kept], found.outputs[fresh, 0]])
        if short <= 1e-9 * n:
            return Generated(directions[active], senses[active] * sizes[active], weights)
    raise CvxnnError(
        "no network of a norm that can be computed separates the classes, though some network "
        "does: samples of different classes are all but on one ray; drop one of them"
    )


def _program(
    features: Floats, signs: Floats, directions: Floats, senses: Floats, cap: float
) -> tuple[Floats, Floats, float]:
    """Return sizes (k,), multipliers (n,) in [0, cap], and the shortfall in total."""
    atoms = signs[:, None] * np.maximum(features @ directions.T, 0) * senses
    n, k = atoms.shape
    found: Any = linprog(
        np.concatenate([np.ones(k), np.full(n, cap)]),
        A_ub=-np.concatenate([atoms, np.eye(n)], axis=1),
        b_ub=-np.ones(n),
        method="highs",
    )
    if found.status != 0:
        raise CvxnnError(
            f"the linear program over neurons ended with: {found.message}; standardise the data"
        )
    weights = np.maximum(-found.ineqlin.marginals, 0.0)
    return found.x[:k], weights, float(found.x[k:].sum())


def _fresh(directions: Floats, senses: Floats, values: Floats, tol: float) -> list[int]:
    """Return the candidates above 1 that are not alike, the best first."""
    chosen: list[int] = []
    for j in range(len(values)):
        if values[j] <= 1 + tol or len(chosen) >= _ADD:
            break
        alike = directions[chosen] @ directions[j] > _ALIKE
        if not (alike & (senses[chosen] == senses[j])).any():
            chosen.append(j)
    return chosen
