"""A bound on M(v) over every box of a batch: row quadratics, two multipliers, fictitious play.

Every bound is a sum of row inequalities and weak duality for one quadratic, so that it holds for
any multipliers; how well they were searched for matters to its tightness alone.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.everywhere.multipliers import (
    Form,
    Local,
    Point,
    centered,
    localise,
    step,
    verified,
)
from cvxnn.everywhere.neurons import Floats
from cvxnn.everywhere.quadratics import TINY, Boxes, Ranges, Rows, quadratics, ranges


class Guess(NamedTuple):
    """Where the search for a box's multipliers starts; any numbers do, good ones save work."""

    mean: Floats
    """(B, d), of directions."""
    second: Floats
    """(B, d, d), their second moments."""
    box: Floats
    """(B,), multiplier of the box."""
    ball: Floats
    """(B,), multiplier of the ball."""
    upper: Floats
    """(B,), a bound known already, or inf."""

    def take(self, index: NDArray[np.generic]) -> "Guess":
        """Return the guesses at `index`."""
        return Guess(*(part[index] for part in self))


class Bounds(NamedTuple):
    """What is known of M(v) / alpha on every box."""

    upper: Floats
    """(B,), nothing in the box exceeds it; -inf for a box that does not matter."""
    value: Floats
    """(B,), the largest value seen near the box, and where."""
    direction: Floats
    """(B, d)."""
    guess: Guess
    """For the children."""
    spread: Floats
    """(B, d), how much is lost by each coordinate's width."""


@dataclass(frozen=True)
class Effort:
    """How hard to look for multipliers."""

    rounds: int = 5
    """Of fictitious play, at most."""
    newton: int = 8
    """Steps on the two multipliers in each."""
    memory: float = 1.0
    """How many rounds the guess counts for."""
    barrier: float = 1e-2
    """Keeps the multipliers central: moments of central ones make better bounds."""
    near: float = 1e-3
    """Closer to 1 than this, the barrier falls in proportion."""
    floor: float = 5e-3
    """Least standard deviation that a row is given, relative to its range."""
    blur: float = 1e-3
    """Rounds the choice among lower bounds, relative to the range."""
    polish: tuple[float, ...] = (0.1, 0.01)
    """Shares of the barrier that the final values are taken at, in turn, as far as needed."""
    patience: float = 1.0
    """How many times what the barrier loses a bound may be above 1 to be worth it."""
    least: float = 0.0
    """Gain of the highest bound in six rounds below which there are no more."""


_PATIENCE = 6
"""Rounds over which a gain is counted."""
ROOT = Effort(rounds=30, newton=20, barrier=1e-3, patience=1e9)
BRIEF = replace(ROOT, least=1e-3)
CELL = Effort()


def bound(rows: Rows, boxes: Boxes, guess: Guess, effort: Effort = CELL) -> Bounds:
    """Return bounds on M(v) / alpha over every box, no better than 1 where that is quickly so.

    Each round takes the best row quadratics at the moments of the maximisers so far, averages
    their sum with the earlier ones, which is a bound as they are, and maximises it.

    >>> X, v = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([1.0, 1.0])
    >>> rows, one = Rows(X, v, alpha=1.0), np.ones((1, 2))
    >>> guess = Guess(np.zeros((1, 2)), np.eye(2)[None] / 2, *np.array([[0.0], [1.0], [np.inf]]))
    >>> found = bound(rows, Boxes(-one, one), guess, ROOT)
    >>> bool(found.upper[0] >= 5**0.5 >= found.value[0] - 1e-12)
    True
    """
    play = _Play(rows, boxes, guess, effort)
    course: list[float] = []
    for count in range(effort.rounds + 1):
        if not len(play.live) or not play.round(count):
            break
        course.append(float(play.upper.max()))
        if len(course) > _PATIENCE and course[-1 - _PATIENCE] - course[-1] < effort.least:
            break
    return play.result()


class _Play:
    """Fictitious play on the boxes of a batch that are still open."""

    def __init__(self, rows: Rows, boxes: Boxes, guess: Guess, effort: Effort) -> None:
        self.rows, self.boxes, self.effort = rows, boxes, effort
        empty = boxes.empty()
        self.upper = np.where(empty, -np.inf, guess.upper)
        self.value = np.full(len(empty), -np.inf)
        self.direction = np.zeros_like(boxes.low)
        self.ends = ranges(rows, boxes)
        low, high = self.ends
        width = (high - low) / 2
        straddling = np.where((low < 0) & (high > 0), np.abs(rows.weights), 0.0)
        self.cost = (straddling / np.maximum(width, TINY)) @ rows.squares
        mean = guess.mean @ rows.across
        varied = np.clip(rows.forms(guess.second) - mean * mean, 0.0, width**2)
        mean = np.clip(mean, low, high)
        self.mean, self.second = mean, mean * mean + varied
        self.guess = Guess(*(part.copy() for part in guess))
        self.total = np.zeros_like(boxes.low)
        self.squares = np.zeros_like(boxes.low)
        self.count = np.zeros(len(empty))
        self.live = np.flatnonzero(~empty)
        self.form: Form | None = None
        self._keep(self.live)

    def _keep(self, kept: NDArray[np.generic]) -> None:
        """Go on with `kept` of the live boxes alone."""
        low, high = self.ends
        if len(kept) < len(low):
            self.mean, self.second = self.mean[kept], self.second[kept]
            self.ends = Ranges(low[kept], high[kept])
            self.form = self.form if self.form is None else self.form.take(kept)

    def round(self, count: int) -> bool:
        """Bound, move the moments to the maximisers, and tell whether any box is open."""
        form = self._form()
        share = 2 / (count + 1 + self.effort.memory)
        self.form = form if self.form is None else self.form.mix(form, share)
        boxes = Boxes(self.boxes.low[self.live], self.boxes.high[self.live])
        local = localise(self.form, boxes)
        excess = (self.upper[self.live] - 1) / self.effort.near
        barrier = self.effort.barrier / self.rows.rank * np.clip(excess, 1e-4, 1.0)
        guess = self.guess.take(self.live)
        point = centered(local, guess.box, guess.ball, barrier, self.effort.newton)
        upper = self._polished(local, point, barrier)
        self.upper[self.live] = np.minimum(self.upper[self.live], upper)
        self._learn(
            point, local.center + point.delta, barrier, 1 / (count + 1 + self.effort.memory)
        )
        still = np.flatnonzero(self.upper[self.live] > 1)
        self.live = self.live[still]
        self._keep(still)
        return len(still) > 0

    def _form(self) -> Form:
        low, high = self.ends
        blur = self.effort.blur
        second = self.second + (self.effort.floor * (high - low)) ** 2
        bend, slope, level = quadratics(self.rows, self.ends, self.mean, second, blur)
        weights = self.rows.weights
        return Form(
            self.rows.gram(bend * weights), (slope * weights) @ self.rows.units, level @ weights
        )

    def _polished(self, local: Local, point: Point, barrier: Floats) -> Floats:
        """Return the bounds, of less central multipliers where these might bring them to 1."""
        upper = verified(local, point) + self.rows.slack
        for share in self.effort.polish:
            lost = self.effort.patience * barrier * (self.rows.rank + 2)
            near = np.flatnonzero((upper > 1) & (upper - lost < 1))
            if not len(near):
                break
            barrier = share * barrier
            part = local.take(near)
            better, _ = step(part, Point(*(x[near] for x in point)), barrier[near])
            upper[near] = np.minimum(upper[near], verified(part, better) + self.rows.slack)
        return upper

    def _learn(self, point: Point, found: Floats, barrier: Floats, share: float) -> None:
        live, rows = self.live, self.rows
        value = rows.values(found)
        higher = value > self.value[live]
        self.value[live[higher]] = value[higher]
        self.direction[live[higher]] = found[higher]
        self.total[live] += found
        self.squares[live] += found * found
        self.count[live] += 1
        second = found[:, :, None] * found[:, None, :] + barrier[:, None, None] * point.inverse
        size = np.maximum(np.trace(second, axis1=1, axis2=2), 1)
        found, second = found / np.sqrt(size)[:, None], second / size[:, None, None]
        guess = self.guess
        guess.mean[live] += share * (found - guess.mean[live])
        guess.second[live] += share * (second - guess.second[live])
        guess.box[live], guess.ball[live] = point.box, point.ball
        guess.upper[live] = self.upper[live]
        self.mean = self.mean + share * (found @ rows.across - self.mean)
        self.second = self.second + share * (rows.forms(second) - self.second)

    def result(self) -> Bounds:
        rows, boxes = self.rows, self.boxes
        count = np.maximum(self.count, 1)[:, None]
        varied = self.squares / count - (self.total / count) ** 2
        widest = boxes.halves**2
        varied = np.minimum(varied, widest)
        varied += 0.05 * np.where(boxes.split, widest, 1 / rows.rank)
        return Bounds(self.upper, self.value, self.direction, self.guess, self.cost * varied)
