"""The best linear spline: networks of one column whose hidden bias carries no penalty."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import solve_triangular

from cvxnn.architectures import ReLUNetwork
from cvxnn.functions import Mean

Floats = NDArray[np.float64]

_SAFETY = 1e-12
"""Relative slack of the lower bound against rounding."""
_SHARES = (1.0, 1e-3, 1e-5, 1e-7)
"""Kinks up to a share of the largest are left out, whichever is best; 1: all of them."""
_EQUAL = 1e-9
"""Relative difference of objectives that counts as none."""
MOST_KINKS = 400
"""Kinks up to which the answer is computed to the last digits."""


class Spline(NamedTuple):
    """f(x) = level + slope (x - first knot) + sum_j kink_j (x - knot_j)_+ over inner knots."""

    level: float
    slope: float
    kinks: Floats


class Places(NamedTuple):
    """The places of the data on their line, and the training problem of splines on them."""

    x: Floats
    """(n,)."""
    loss: Mean
    alpha: float
    skip: bool
    knots: Floats
    """(m,), sorted."""
    place: NDArray[np.int64]
    """(n,): which knot a sample is at."""

    @classmethod
    def of(cls, x: Floats, loss: Mean, alpha: float, skip: bool) -> "Places":
        knots, place = np.unique(x, return_inverse=True)
        return cls(x, loss, alpha, skip, knots, place)

    def penalty(self, spline: Spline) -> float:
        """Return the least sum |w| |a| of networks with this spline on the data.

        With K+ and K- the kinks up and down, it is K+ + K- with a free linear part. Without, the
        slope has to come from neurons too: the largest of that, K+ + slope and K- - slope.
        """
        up, down = np.maximum(spline.kinks, 0).sum(), np.maximum(-spline.kinks, 0).sum()
        if self.skip:
            return float(up + down)
        return float(max(up + down, up + spline.slope, down - spline.slope))

    def basis(self, kinks: NDArray[np.int64]) -> Floats:
        """Return the columns 1, x - x_0 and (x - t)_+ of some inner knots on the knots."""
        steps = self.knots - self.knots[0]
        hinges = np.maximum(self.knots[:, None] - self.knots[1:-1][kinks][None], 0.0)
        return np.concatenate([np.ones((len(steps), 1)), steps[:, None], hinges], axis=1)

    def outputs(self, spline: Spline) -> Floats:
        """Return the spline on the samples, (n, 1)."""
        slopes = spline.slope + np.concatenate([[0.0], np.cumsum(spline.kinks)])
        rise = np.cumsum(slopes[: len(self.knots) - 1] * np.diff(self.knots))
        fit = spline.level + np.concatenate([[0.0], rise])
        return np.asarray(fit[self.place, None])

    def objective(self, spline: Spline) -> float:
        """Return mean loss + alpha * penalty."""
        return self.loss.value(self.outputs(spline)) + self.alpha * self.penalty(spline)

    def summed(self) -> tuple[Floats, Floats]:
        """Return the weights and the mean targets of the knots, (m,)."""
        weights = self.loss.weights[:, 0]
        totals = np.bincount(self.place, weights)
        sums = np.bincount(self.place, weights * self.loss.target[:, 0])
        return np.asarray(totals, dtype=np.float64), np.asarray(sums / totals)

    def null(self) -> Floats:
        """Return the outputs (n, 1) of the best network without neurons."""
        columns = self.x[:, None] ** np.arange(1 + self.skip) if self.skip else np.ones_like(self.x)
        columns = columns.reshape(len(self.x), -1)
        root = np.sqrt(self.loss.weights)
        found = np.linalg.lstsq(root * columns, root * self.loss.target, rcond=None)[0]
        return np.asarray(columns @ found)

    def optimum(self) -> tuple[Spline, Floats]:
        """Return the best spline and the best dual point (n, 1) that were found.

        They come from an interior point, and from the systems of the kinks that it has.
        """
        rough = self._interior()
        found = [rough, *self._exact(rough)]
        values = np.array([self.objective(spline) for spline in found])
        good = np.flatnonzero(values <= values.min() * (1 + _EQUAL))
        # an interior point has no zeros: of equals the one with the fewest kinks
        best = min(good, key=lambda k: (np.count_nonzero(found[k].kinks), values[k]))
        duals = [-self.loss.gradient(self.outputs(spline)) for spline in found]
        return found[best], max(duals, key=self.bound)

    def _interior(self) -> Spline:
        """Solve for values, slopes and kinks on the knots, in units of the data, with Clarabel."""
        weights, target = self.summed()
        m = len(self.knots)
        span = float(self.knots[-1] - self.knots[0])
        size = float(np.sqrt(weights @ (target - weights @ target) ** 2))
        level = float(weights @ target)
        if m == 1 or size == 0:
            return Spline(level, 0.0, np.zeros(max(m - 2, 0)))
        x = (self.knots - self.knots[0]) / span
        found = _quadratic(
            x, (target - level) / size, weights, self.alpha / (size * span), self.skip
        )
        values, slope, kinks = found
        unit = size / span
        return Spline(level + size * values[0], unit * slope, unit * kinks)

    def _exact(self, rough: Spline) -> list[Spline]:
        """Return the solutions of the linear systems that the optimality conditions may be."""
        largest, found = np.abs(rough.kinks).max(initial=0.0), []
        for share in _SHARES:
            (on,) = np.nonzero(np.abs(rough.kinks) > share * largest)
            if len(on) > MOST_KINKS or len(self.knots) < 2:
                continue
            up = (rough.kinks[on] > 0).astype(float)
            down = 1.0 - up
            # what each branch of the penalty counts of the kinks and of the slope, and whether the
            # slope is tied to the kinks because two branches are equal
            rules: list[tuple[Floats, float, Floats | None]] = [(np.ones(len(on)), 0.0, None)]
            if not self.skip:
                rules += [(up, 1.0, None), (down, -1.0, None)]
                rules += [(np.ones(len(on)), 0.0, -down), (np.ones(len(on)), 0.0, up)]
            found += [self._solved(on, 2 * up - 1, *rule) for rule in rules]
        return [spline for spline in found if np.isfinite(self.objective(spline))]

    def _solved(
        self,
        on: NDArray[np.int64],
        signs: Floats,
        counts: Floats,
        slope: float,
        tied: Floats | None,
    ) -> Spline:
        """Return the stationary point where penalty = slope * s + sum counts * signs * kinks.

        With `tied` the slope is minus the sum of tied * |kinks|.
        """
        weights, target = self.summed()
        design, price = self.basis(on), np.concatenate([[0.0, slope], counts * signs])
        if tied is not None:
            design[:, 2:] -= design[:, 1:2] * (tied * signs)
            design, price = np.delete(design, 1, axis=1), np.delete(price, 1)
        root = np.sqrt(weights)
        scale = np.linalg.norm(root[:, None] * design, axis=0)
        q, r = np.linalg.qr(root[:, None] * design / scale)
        if not np.abs(np.diag(r)).min() > 1e-13:
            return Spline(np.nan, np.nan, np.zeros(len(self.knots) - 2))
        pull = q.T @ (root * target) - solve_triangular(r.T, self.alpha * price / scale, lower=True)
        solution = solve_triangular(r, pull) / scale
        kinks = np.zeros(max(len(self.knots) - 2, 0))
        kinks[on] = solution[len(solution) - len(on) :]
        first = solution[1] if tied is None else -float(tied * signs @ kinks[on])
        return Spline(float(solution[0]), float(first), kinks)

    def network(self, spline: Spline) -> ReLUNetwork:
        """Return a network of the spline with the least penalty, its layers balanced.

        Kinks become neurons to the right or to the left of their knot: as many to the left as give
        the slope, and what they cannot give comes from a neuron at the end.
        """
        (on,) = np.nonzero(spline.kinks)
        kinks, knots = spline.kinks[on], self.knots[1:-1][on] if len(on) else np.zeros(0)
        left, rest = np.zeros(len(kinks)), 0.0
        if not self.skip:
            up, down = np.maximum(kinks, 0).sum(), np.maximum(-kinks, 0).sum()
            total = float(np.clip(-spline.slope, -down, up))
            rest = spline.slope + total
            part = np.maximum(np.sign(total) * kinks, 0)
            before = np.concatenate([[0.0], np.cumsum(part)[:-1]])
            left = np.sign(total) * np.clip(abs(total) - before, 0, part)
        ends = np.full(1, self.knots[0]) if rest else np.zeros(0)
        places = np.concatenate([knots, knots, ends])
        sides = np.concatenate([np.ones(len(on)), -np.ones(len(on)), np.ones(len(ends))])
        sizes = np.concatenate([kinks - left, left, np.full(len(ends), rest)])
        kept = sizes != 0
        places, sides, sizes = places[kept], sides[kept], sizes[kept]
        roots = np.sqrt(np.abs(sizes))
        # left neurons are there at the first knot already
        level = spline.level - float(left @ (knots - self.knots[0]))
        skip = spline.slope if self.skip else 0.0
        return ReLUNetwork(
            weights_in=np.stack([sides * roots, -sides * roots * places], axis=1),
            weights_out=(np.sign(sizes) * roots)[:, None],
            intercept=np.array([level - skip * self.knots[0]]),
            skip=np.array([[skip]]),
        )

    def feasible(self, dual: Floats) -> Floats:
        """Return a dual point (n, 1) without its part along the free columns."""
        columns = np.stack([np.ones_like(self.x), self.x - self.x.mean()][: 1 + self.skip], axis=1)
        basis = np.linalg.qr(columns)[0]
        for _ in range(2):  # twice, so that rounding leaves nothing
            dual = dual - basis @ (basis.T @ dual)
        return dual

    def gauge(self, dual: Floats) -> float:
        """Return max over t of |sum v_i (x_i - t)_+| and |sum v_i (t - x_i)_+|, over alpha.

        Both are linear in t between data, so the largest is at one of them.
        """
        v = np.bincount(self.place, self.feasible(dual)[:, 0])
        gaps = np.diff(self.knots)
        right = np.cumsum((np.cumsum(v[::-1])[::-1][1:] * gaps)[::-1])
        left = np.cumsum(np.cumsum(v)[:-1] * gaps)
        reach = np.abs(np.concatenate([right, left])).max(initial=0.0)
        # what rounding may have taken from the sums
        slack = 1e-15 * np.abs(v).sum() * float(self.knots[-1] - self.knots[0]) * len(v) ** 0.5
        return float(reach + slack) / self.alpha

    def bound(self, dual: Floats) -> float:
        """Return the lower bound on all networks that a dual point (n, 1) proves."""
        v, gauge = self.feasible(np.asarray(dual, dtype=np.float64)), self.gauge(dual)
        square = float((v**2 / self.loss.weights).sum())
        linear = float((v * self.loss.target).sum())
        if not square > 0:
            return 0.0
        scale = max(0.0, min(linear / square, 1 / gauge if gauge > 0 else np.inf))
        value = scale * linear - scale**2 * square / 2
        return value - _SAFETY * abs(value)


def _quadratic(
    x: Floats, y: Floats, weights: Floats, alpha: float, skip: bool
) -> tuple[Floats, float, Floats]:
    """Return values (m,), first slope and kinks (m - 2,) of the best spline on knots x (m,).

    Variables f (m), slopes g (m - 1), kinks up and down (m - 2 each) and the penalty t, with
    f[j+1] = f[j] + h[j] g[j] and g[j+1] - g[j] = up[j] - down[j]: no difference is divided.
    """
    import clarabel

    m, inner = len(x), max(len(x) - 2, 0)
    matrix = _rows(x, skip)
    square = np.concatenate([weights, np.zeros(m + 2 * inner)])
    cost = np.concatenate([-weights * y, np.zeros(m - 1 + 2 * inner), [alpha]])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.presolve_enable = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    cones = [
        clarabel.ZeroConeT(m - 1 + inner),
        clarabel.NonnegativeConeT(matrix.shape[0] - (m - 1 + inner)),
    ]
    solver = clarabel.DefaultSolver(
        sparse.csc_matrix(sparse.diags_array(square)),
        cost,
        matrix,
        np.zeros(matrix.shape[0]),
        cones,
        settings,
    )
    z = np.asarray(solver.solve().x)
    g = z[m : 2 * m - 1]
    return z[:m], float(g[0]), np.diff(g)


def _rows(x: Floats, skip: bool) -> Any:
    """Return the constraints: equations of values and slopes, then what must not be positive."""
    m, h, inner, eye = len(x), np.diff(x), max(len(x) - 2, 0), sparse.eye_array
    ends: Any = [-np.ones(m - 1), np.ones(m - 1)]
    rise = sparse.diags_array(ends, offsets=[0, 1], shape=(m - 1, m))
    both: Any = [-np.ones(inner), np.ones(inner)]
    bend = sparse.diags_array(both, offsets=[0, 1], shape=(inner, m - 1))
    first = sparse.csr_array(([1.0], ([0], [0])), shape=(1, m - 1))
    ones = sparse.csr_array(np.ones((1, inner)))
    one, sign = sparse.csr_array([[-1.0]]), [0.0] if skip else [0.0, 1.0, -1.0]
    rows: list[Any] = [
        [rise, -sparse.diags_array(h), None, None, None],
        [None, bend, -eye(inner), eye(inner), None],
        [None, None, -eye(inner), None, None],
        [None, None, None, -eye(inner), None],
    ]
    rows += [[None, s * first, (s >= 0) * ones, (s <= 0) * ones, one] for s in sign]
    width: Any = [sparse.csr_array((1, k)) for k in (m, m - 1, inner, inner, 1)]
    return sparse.csc_matrix(sparse.block_array([*rows, width], format="csc")[:-1])
