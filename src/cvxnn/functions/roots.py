"""Roots that the proxes of losses need, by Newton's method in every entry at once."""

from collections.abc import Callable

from cvxnn.arrays import Array, namespace

SLACK = 8.0
"""How many rounding units beyond the edge still count as inside a domain."""


def newton(move: Callable[[Array], Array], x: Array) -> Array:
    """Repeat x - move(x) until the moves are small, for f with |f''| <= f' as all are here.

    The error left is at most the last move squared, eps^1.5: as good as exact.
    """
    xp = namespace(x)
    eps = float(xp.finfo(x.dtype).eps)
    while True:
        last = move(x)
        x = x - last
        if not bool(xp.any(xp.abs(last) > eps**0.75 + SLACK * eps * xp.abs(x))):
            return x


def log_probabilities(target: Array, y: Array, step: Array, start: Array) -> Array:
    """Solve l + step (exp(l) - y) = target, all (n, c) but step (n, 1), from `start` above l.

    Convex and increasing in l, so Newton's iterates descend. A label's own l near 0 goes by expm1,
    which keeps the distance of a probability to 1.
    """
    xp = namespace(target)
    raised = target + step * y

    def move(logs: Array) -> Array:
        chance = xp.exp(logs)
        near = step * xp.expm1(xp.sum(y * logs, axis=1, keepdims=True)) - target
        far = step * chance - raised
        residual = logs + xp.where((y > 0) & (logs > -0.5), near, far)
        return residual / (1 + step * chance)

    return newton(move, start)
