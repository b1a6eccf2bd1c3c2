"""Losses of one sample: sums over its outputs, with `f` and `y` (n, c) and every row a sample.

`mean_loss` makes a function of them. The conjugates are those of [ShalevShwartzZhang2013, section
5]. At the edge of a domain they forgive `SLACK` units of rounding, so a dual point that is feasible
in exact arithmetic is feasible here.
"""

import math
from dataclasses import dataclass

from cvxnn.arrays import Array, like, namespace
from cvxnn.functions.base import Root
from cvxnn.functions.roots import SLACK, log_probabilities, newton


@dataclass(frozen=True)
class Squared:
    """|f - y|^2 / 2 per sample, the regression loss with its half.

    >>> import numpy as np
    >>> Squared().value(np.array([[3.0, 1.0]]), np.array([[1.0, 1.0]]))
    array([2.])
    """

    name = "squared"
    smoothness = 1.0

    def value(self, f: Array, y: Array) -> Array:
        """Return |f - y|^2 / 2, (n,)."""
        return _row_sum((f - y) ** 2) / 2

    def gradient(self, f: Array, y: Array) -> Array:
        """Return f - y."""
        return f - y

    def curvature(self, f: Array, y: Array) -> Array:
        """Return ones."""
        return 0 * f + 1

    def root(self, f: Array, y: Array) -> Root:
        """Return ones."""
        return Root(0 * f + 1, None)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Return (f + step y) / (1 + step)."""
        return (f + step * y) / (1 + step)

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return |g|^2 / 2 + <g, y>, (n,)."""
        return _row_sum(g * (g / 2 + y))


@dataclass(frozen=True)
class Logistic:
    """log(1 + exp(-y f)) summed over outputs, labels y = -1 or 1.

    >>> import numpy as np
    >>> Logistic().value(np.array([[0.0], [1e6]]), np.array([[1.0], [-1.0]]))
    array([6.93147181e-01, 1.00000000e+06])
    """

    name = "logistic"
    smoothness = 0.25

    def value(self, f: Array, y: Array) -> Array:
        """Return the sum of log(1 + exp(-y f)), (n,); no |f| overflows."""
        xp = namespace(f)
        margin = y * f
        return _row_sum(xp.clip(-margin, min=0.0) + xp.log1p(xp.exp(-xp.abs(margin))))

    def gradient(self, f: Array, y: Array) -> Array:
        """Return -y / (1 + exp(y f))."""
        margin = y * f
        tail = _tail(margin)
        return -y * namespace(f).where(margin > 0, tail, 1 - tail)

    def curvature(self, f: Array, y: Array) -> Array:
        """Return t (1 - t) with t = 1 / (1 + exp(y f))."""
        tail = _tail(y * f)
        return tail * (1 - tail)

    def root(self, f: Array, y: Array) -> Root:
        """Return the square root of the curvature."""
        return Root(namespace(f).sqrt(self.curvature(f, y)), None)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Solve m - step / (1 + exp(m)) = y f for the margin m = y z by Newton's method.

        The left side is convex below 0 and concave above, so from the point of the bracket
        [y f, y f + step] nearest to 0 the iterates go to the root without passing it. Each side of
        0 uses the form of the equation in which nothing large cancels.
        """
        xp = namespace(f)
        low = y * f
        high = low + step

        def move(margin: Array) -> Array:
            tail = _tail(margin)
            residual = xp.where(margin > 0, margin - low - step * tail, margin - high + step * tail)
            return residual / (1 + step * tail * (1 - tail))

        return y * newton(move, xp.clip(xp.zeros_like(low), min=low, max=high))

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return the sum of t log t + (1 - t) log(1 - t) with t = -g y in [0, 1], (n,)."""
        t, cost = _domain(-g * y, 0.0, 1.0)
        return _row_sum(_xlogx(t) + _xlogx(1 - t) + cost)


@dataclass(frozen=True)
class SquaredHinge:
    """max(0, 1 - y f)^2 / 2 summed over outputs, labels y = -1 or 1.

    >>> import numpy as np
    >>> SquaredHinge().value(np.array([[-1.0], [2.0]]), np.array([[1.0], [1.0]]))
    array([2., 0.])
    """

    name = "squared_hinge"
    smoothness = 1.0

    def value(self, f: Array, y: Array) -> Array:
        """Return the sum of max(0, 1 - y f)^2 / 2, (n,)."""
        return _row_sum(_shortfall(f, y) ** 2) / 2

    def gradient(self, f: Array, y: Array) -> Array:
        """Return -y max(0, 1 - y f)."""
        return -y * _shortfall(f, y)

    def curvature(self, f: Array, y: Array) -> Array:
        """Return 1 where the margin falls short of 1, else 0."""
        return like(_shortfall(f, y) > 0, f)

    def root(self, f: Array, y: Array) -> Root:
        """Return the square root of the curvature."""
        return Root(namespace(f).sqrt(self.curvature(f, y)), None)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Divide the shortfall max(0, 1 - y f) by 1 + step."""
        return f + y * _shortfall(f, y) * (step / (1 + step))

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return the sum of t^2 / 2 - t with t = -g y >= 0, (n,)."""
        t, cost = _domain(-g * y, 0.0, math.inf)
        return _row_sum(t * (t / 2 - 1) + cost)


@dataclass(frozen=True)
class Hinge:
    """max(0, 1 - y f) summed over outputs, labels y = -1 or 1 [CortesVapnik1995].

    >>> import numpy as np
    >>> Hinge().value(np.array([[-1.0], [2.0]]), np.array([[1.0], [1.0]]))
    array([2., 0.])
    """

    name = "hinge"
    smoothness = math.inf

    def value(self, f: Array, y: Array) -> Array:
        """Return the sum of max(0, 1 - y f), (n,)."""
        return _row_sum(_shortfall(f, y))

    def gradient(self, f: Array, y: Array) -> Array:
        """Return -y where y f < 1 and 0 elsewhere, a subgradient."""
        return namespace(f).where(_shortfall(f, y) > 0, -y, 0.0)

    def curvature(self, f: Array, y: Array) -> Array:
        """Return zeros: the pieces are linear."""
        return 0 * f

    def root(self, f: Array, y: Array) -> Root:
        """Return zeros."""
        return Root(0 * f, None)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Raise the margin y f by `step`, but not past 1."""
        return f + y * namespace(f).minimum(_shortfall(f, y), step)

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return the sum of -t with t = -g y in [0, 1], (n,)."""
        t, cost = _domain(-g * y, 0.0, 1.0)
        return _row_sum(cost - t)


@dataclass(frozen=True)
class Huber:
    """e^2 / 2 where |e| <= delta, delta |e| - delta^2 / 2 beyond, e = f - y [Huber1964].

    Raises ValueError unless delta is positive and finite.

    >>> import numpy as np
    >>> Huber(delta=1.0).value(np.array([[0.5], [3.0]]), np.array([[0.0], [0.0]]))
    array([0.125, 2.5  ])
    """

    delta: float = 1.0
    name = "huber"
    smoothness = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.delta < math.inf:
            raise ValueError(
                f"delta is {self.delta} but must be positive and finite; pass the size of the "
                "residual beyond which the loss grows linearly"
            )

    def value(self, f: Array, y: Array) -> Array:
        """Return the sum of s (e - s / 2) with s = e clipped to [-delta, delta], (n,)."""
        slope = self.gradient(f, y)
        return _row_sum(slope * (f - y - slope / 2))

    def gradient(self, f: Array, y: Array) -> Array:
        """Return f - y clipped to [-delta, delta]."""
        return namespace(f).clip(f - y, min=-self.delta, max=self.delta)

    def curvature(self, f: Array, y: Array) -> Array:
        """Return 1 where |f - y| < delta, else 0."""
        return like(namespace(f).abs(f - y) < self.delta, f)

    def root(self, f: Array, y: Array) -> Root:
        """Return the square root of the curvature."""
        return Root(namespace(f).sqrt(self.curvature(f, y)), None)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Return f - step s with s = (f - y) / (1 + step) clipped to [-delta, delta]."""
        slope = namespace(f).clip((f - y) / (1 + step), min=-self.delta, max=self.delta)
        return f - step * slope

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return |g|^2 / 2 + <g, y> where all |g| <= delta, (n,)."""
        g, cost = _domain(g, -self.delta, self.delta)
        return _row_sum(g * (g / 2 + y) + cost)


@dataclass(frozen=True)
class Quantile:
    """max(level e, (level - 1) e) with e = y - f: its fit is a quantile [KoenkerBassett1978].

    Raises ValueError unless level lies strictly between 0 and 1.

    >>> import numpy as np
    >>> Quantile(level=0.9).value(np.array([[0.0], [0.0]]), np.array([[1.0], [-1.0]]))
    array([0.9, 0.1])
    """

    level: float = 0.5
    name = "quantile"
    smoothness = math.inf

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(
                f"level is {self.level} but must lie strictly between 0 and 1; pass 0.5 for the "
                "median"
            )

    def value(self, f: Array, y: Array) -> Array:
        """Return the sum of max(level e, (level - 1) e), (n,)."""
        error = y - f
        return _row_sum(namespace(f).maximum(self.level * error, (self.level - 1) * error))

    def gradient(self, f: Array, y: Array) -> Array:
        """Return -level below the target, 1 - level above it and 0 on it, a subgradient."""
        xp = namespace(f)
        below = xp.where(f < y, -self.level, xp.zeros_like(f))
        return xp.where(f > y, 1 - self.level, below)

    def curvature(self, f: Array, y: Array) -> Array:
        """Return zeros: the pieces are linear."""
        return 0 * f

    def root(self, f: Array, y: Array) -> Root:
        """Return zeros."""
        return Root(0 * f, None)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Move f towards y by at most level step from below, (1 - level) step from above."""
        reach = namespace(f).clip(f - y, min=-self.level * step, max=(1 - self.level) * step)
        return f - reach

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return <g, y> where all g lie in [-level, 1 - level], (n,)."""
        g, cost = _domain(g, -self.level, 1 - self.level)
        return _row_sum(g * y + cost)


@dataclass(frozen=True)
class CrossEntropy:
    """log(sum over k of exp(f_k)) - f_label, the softmax loss; the rows of `y` are one-hot.

    >>> import numpy as np
    >>> CrossEntropy().value(np.array([[0.0, 0.0], [0.0, 1e6]]), np.eye(2))
    array([0.69314718, 0.        ])
    """

    name = "cross_entropy"
    smoothness = 0.5

    def value(self, f: Array, y: Array) -> Array:
        """Return logsumexp(f) - f_label, (n,), exact to rounding also where it is tiny."""
        xp = namespace(f)
        lead = f - xp.sum(f * y, axis=1, keepdims=True)
        peak = xp.max(lead, axis=1, keepdims=True)
        rest = xp.sum((1 - y) * xp.exp(lead - peak), axis=1, keepdims=True) + xp.expm1(-peak)
        return _row_sum(peak + xp.log1p(rest))

    def gradient(self, f: Array, y: Array) -> Array:
        """Return softmax(f) - y; the label's entry is minus the sum of the others."""
        xp = namespace(f)
        odds = xp.exp(f - xp.max(f, axis=1, keepdims=True))
        others = (1 - y) * odds / xp.sum(odds, axis=1, keepdims=True)
        return others - y * xp.sum(others, axis=1, keepdims=True)

    def curvature(self, f: Array, y: Array) -> Array:
        """Return p (1 - p) for the probabilities p of the classes."""
        chance = namespace(f).exp(f - _logsumexp(f))
        return chance * (1 - chance)

    def root(self, f: Array, y: Array) -> Root:
        """Return (I - p 1') diag(sqrt p)."""
        xp = namespace(f)
        chance = xp.exp(f - _logsumexp(f))
        return Root(xp.sqrt(chance), chance)

    def prox(self, f: Array, y: Array, step: Array) -> Array:
        """Find L = logsumexp of the answer z, row by row, by Newton's method.

        Given L, the log-probabilities l = z - L solve l + step (exp(l) - y) = f - L, entry by
        entry (a Wright omega function [LawrenceCorlessJeffrey2012]). Then sum(exp(l)) - 1 is convex
        and decreasing in L, and L >= logsumexp(f + step (y - 1)) as no probability exceeds 1: from
        there the iterates grow to the root. l is concave in L, so its tangent, the next start, lies
        above the next l, whence Newton descends.
        """
        xp = namespace(f)
        eps = float(xp.finfo(f.dtype).eps)
        size = xp.max(xp.abs(f), axis=1, keepdims=True)
        norm = _logsumexp(f + step * (y - 1))
        bound = f - norm + step * y
        scaled = bound + xp.log(step)
        logs = xp.where(scaled < 1, bound, xp.log(xp.clip(scaled, min=1.0)) - xp.log(step))
        while True:
            logs = log_probabilities(f - norm, y, step, logs)
            chance = xp.exp(logs)
            own = xp.sum(y * logs, axis=1, keepdims=True)
            excess = xp.sum((1 - y) * chance, axis=1, keepdims=True) + xp.expm1(own)
            move = excess / xp.sum(chance / (1 + step * chance), axis=1, keepdims=True)
            norm = norm + move
            logs = logs - move / (1 + step * chance)
            noise = SLACK * eps * (size + xp.abs(norm))
            if not bool(xp.any(xp.abs(move) > math.sqrt(eps) + noise)):
                return norm + logs

    def conjugate(self, g: Array, y: Array) -> Array:
        """Return the sum of q log q with q = g + y on the simplex, (n,)."""
        xp = namespace(g)
        chance, cost = _domain(g + y, 0.0, 1.0)
        slack = SLACK * float(xp.finfo(g.dtype).eps) * g.shape[1]
        astray = xp.abs(_row_sum(g + y) - 1) > slack
        return xp.where(astray, math.inf, _row_sum(_xlogx(chance) + cost))


def _row_sum(x: Array) -> Array:
    return namespace(x).sum(x, axis=1)


def _shortfall(f: Array, y: Array) -> Array:
    """Return how far the margin y f stays below 1."""
    return namespace(f).clip(1 - y * f, min=0.0)


def _tail(margin: Array) -> Array:
    """Return 1 / (1 + exp(|margin|)), the smaller of the two class probabilities."""
    xp = namespace(margin)
    small = xp.exp(-xp.abs(margin))
    return small / (1 + small)


def _xlogx(x: Array) -> Array:
    """Return x log x, and 0 at 0."""
    xp = namespace(x)
    return x * xp.log(xp.where(x > 0, x, 1.0))


def _logsumexp(x: Array) -> Array:
    """Return the log of the sum of exponentials of every row, (n, c) to (n, 1)."""
    xp = namespace(x)
    peak = xp.max(x, axis=1, keepdims=True)
    return peak + xp.log(xp.sum(xp.exp(x - peak), axis=1, keepdims=True))


def _domain(t: Array, low: float, high: float) -> tuple[Array, Array]:
    """Return `t` clipped to [low, high] and what leaving that interval costs, 0 or `inf`."""
    xp = namespace(t)
    unit = high - low if high < math.inf else 1.0
    slack = SLACK * float(xp.finfo(t.dtype).eps) * unit
    inside = (t >= low - slack) & (t <= high + slack)
    return xp.clip(t, min=low, max=high), xp.where(inside, xp.zeros_like(t), math.inf)
