"""The best sizes of atoms whose directions stay, which proximal steps are slow to find."""

import math
from typing import NamedTuple

import numpy as np

from cvxnn.arrays import Array, device, double, for_outputs, inner, like, namespace, to_numpy
from cvxnn.functions import Squared
from cvxnn.linalg import nonnegative_quadratic
from cvxnn.maps import Gated
from cvxnn.program import Program
from cvxnn.solvers.atoms import atoms

_STEPS, _HALVINGS = 10, 5
_HELD = 1e-12
"""How strongly sizes are held where their model is flat, in units of the most it can be curved."""
_RISE = 1e-4
"""Share of what a step promises that it must bring."""
_ENOUGH = 1e-3
"""Gain of a step, as a share of all, after which no further one is taken."""
_WORTH = 60.0
"""Squared number of sizes, in units of the entries of the blocks, beyond which their problem
costs as much as that of the directions."""
MOST = 6_000_000
"""Entries of the fits of single blocks beyond which they are not written out."""


class Sized(NamedTuple):
    """Blocks whose atoms have their best sizes."""

    blocks: Array
    """(k, d, c), zero for some."""
    free: Array
    """(q, c)."""
    score: Array
    """Their prediction, (n, c)."""
    value: float
    """Their objective."""


def sized(program: Program, blocks: Array, free: Array) -> Sized | None:
    """Return argmin over s >= 0 and b of loss(sum_i s_i A a_i + F b) + sum_i s_i penalty(a_i).

    By Newton's method from s = 1, its steps nonnegative quadratic programs. For gated maps and
    penalties that are norms. None where that does not apply, where more sizes than predictions
    leave them open, where it would cost more than the directions, and where the sizes are the best
    already.
    """
    (k, d, c), q = blocks.shape, free.shape[0]
    if k == 0 or not isinstance(program.lift, Gated) or math.isfinite(program.penalty.smoothness):
        return None
    found = atoms(program.penalty, blocks)
    m, parts = len(found.owner), found.parts
    width, rows = m + q * c, program.loss.target.shape[0] * c
    if width > rows or width**2 > _WORTH * m * d * c or rows * width > MOST:
        return None
    xp, lift = namespace(blocks), program.lift
    index = xp.asarray(found.owner, device=device(blocks))
    fits = (lift if found.whole else lift.restrict(index)).fits(parts)
    fits = xp.concat([fits, for_outputs(double(program.free), c)], axis=2)
    prices = xp.sum(program.penalty.gradient(parts) * parts, axis=(1, 2))
    prices = xp.concat([prices, xp.zeros_like(xp.reshape(free, (-1,)))])
    at = xp.concat([xp.ones_like(prices[:m]), xp.reshape(free, (-1,))])
    score = fits @ at
    first = value = program.loss.value(score) + inner(prices, at)
    for _ in range(_STEPS):
        step = _newton(program, fits, prices, score, at, m)
        if step is None:
            break
        move, promised = step
        along = fits @ move
        for halving in range(_HALVINGS):
            share = 0.5**halving
            now = program.loss.value(score + share * along) + inner(prices, at + share * move)
            if now < value - _RISE * share * promised:
                break
        else:
            break
        score, at, gain, value = score + share * along, at + share * move, value - now, now
        if isinstance(program.loss.loss, Squared) or gain <= _ENOUGH * (first - value):
            break
    if not value < first:
        return None
    return Sized(found.joined(at[:m]), xp.reshape(at[m:], (q, c)), score, value)


def _newton(
    program: Program, fits: Array, prices: Array, score: Array, at: Array, m: int
) -> tuple[Array, float] | None:
    """Return Newton's step in sizes and free coefficients, (m + q c,), and the gain it promises."""
    xp = namespace(fits)
    root, pull = program.loss.root(score), program.loss.gradient(score)
    slope = xp.tensordot(pull, fits, axes=2) + prices
    flat = xp.reshape(fits, (-1, fits.shape[2]))
    lengths = xp.sqrt(program.loss.smoothness * xp.linalg.vecdot(flat.T, flat.T))
    lengths = xp.where(lengths > 0, lengths, 1.0)
    bent = xp.reshape(root.adjoints(fits), flat.shape)
    gram = to_numpy((bent.T @ bent) / lengths[:, None] / lengths)
    here = to_numpy(lengths * at)
    gram = gram + _HELD * np.eye(len(gram))
    linear = gram @ here - to_numpy(slope / lengths)
    there = nonnegative_quadratic(gram, linear, here[:m] > 0, m)
    if there is None:
        return None
    move = like(there - here, at) / lengths
    return move, -inner(slope, move)
