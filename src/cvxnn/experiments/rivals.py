"""What trains the same ReLU network on the same objective, with the CPU seconds that it took."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.certificate import Scope
from cvxnn.everywhere.grow import Grow
from cvxnn.everywhere.open import OpenProblem
from cvxnn.experiments.descent import Floats
from cvxnn.functions import Squared
from cvxnn.gates import gaussian
from cvxnn.path import alpha_max, null_start
from cvxnn.solve import Progress, solve
from cvxnn.solver_choice import solver_for
from cvxnn.training import open_problem_of, problem_of

Singles = NDArray[np.float32]
T = TypeVar("T")

RATES = {"Adam": (3e-4, 1e-1), "SGD": (1e-3, 1.0)}
"""The least and the largest step size."""
BATCHES = 10
"""Steps in an epoch."""
LOOKS = 40
"""About how many epochs of a descent are looked at, evenly on a logarithmic scale."""
_GATES = 256


@dataclass(frozen=True, eq=False)
class Task:
    """Minimise mean of (f(x_i) - y_i)^2 / 2 + alpha * sum_j |u_j| |a_j| over ReLU networks f."""

    X: Floats
    """(n, d), the last column of ones."""
    y: Floats
    """(n,)."""
    alpha: float

    def value(self, inward: Any, outward: Any) -> float:
        """Return the objective of f(x) = sum_j a_j max(0, x'u_j), u (m, d) and a (m,)."""
        u, a = inward.astype(np.float64), outward.astype(np.float64)
        misfit = np.maximum(self.X @ u.T, 0) @ a - self.y
        decay = (np.linalg.norm(u, axis=1) * np.abs(a)).sum()
        return float((misfit**2).mean() / 2 + self.alpha * decay)


class Trace(NamedTuple):
    """Seconds of CPU time and what had been reached by then, both in order."""

    seconds: tuple[float, ...]
    reached: tuple[float, ...]

    def until(self, goal: float) -> float:
        """Return when the goal was reached, infinity if never.

        >>> Trace((1.0, 2.0), (0.5, 0.1)).until(0.2)
        2.0
        """
        pairs = zip(self.seconds, self.reached, strict=True)
        return next((seconds for seconds, value in pairs if value <= goal), float("inf"))


class Grid(NamedTuple):
    """How a descent is tried: all starts with all step sizes."""

    starts: int
    rates: int
    epochs: int
    width: int


class Grown(NamedTuple):
    """What growth did."""

    trace: Trace
    neurons: int


def largest_alpha(X: Floats, y: Floats) -> float:
    """Return the least alpha of which the best network is empty."""
    return alpha_max(_open(Task(X, y, 1.0)))


def grow(task: Task, *, seed: int, tol: float, most: float) -> Grown:
    """Grow a network over all neurons, in `most` CPU seconds; the trace has its objectives."""
    problem, clock = _open(task).at(task.alpha), _Clock()

    def note(event: Progress) -> bool:
        return clock.note(event.certificate.upper) > most

    solution = solve(
        problem.working(),
        Grow(seed=seed, tol=tol),
        start=null_start(problem),
        tol=tol,
        callbacks=[note],
        judge=problem.judge,
    )
    return Grown(clock.trace(), int(problem.network(solution.iterate).n_neurons))


def gated(task: Task, share: float, *, seed: int, tol: float, most: float) -> Trace:
    """Solve the gated program at a share of its own largest alpha; the trace has relative gaps."""
    gates = gaussian(task.X, _GATES, np.random.default_rng(seed))
    problem = problem_of(
        GatedReLU(bias=False),
        task.X,
        task.y[:, None],
        np.ones(len(task.y)),
        Squared(),
        gates,
        scope=Scope.GIVEN_GATES,
        intercept=False,
        skip=False,
    )
    problem, clock = problem.at(share * alpha_max(problem)), _Clock()

    def note(event: Progress) -> bool:
        return clock.note(event.certificate.relative_gap) > most

    solver = solver_for(problem.program, "auto")[0]
    solve(problem.program, solver, tol=tol, callbacks=[note], judge=problem.judge)
    return clock.trace()


def quasi_newton(task: Task, *, starts: int, width: int, steps: int, seed: int) -> Trace:
    """Run L-BFGS from one start after the other; the trace has the best so far."""
    rng, clock, best = np.random.default_rng(seed), _Clock(), np.inf
    shape = (width, task.X.shape[1])

    def note(intermediate_result: object) -> None:
        nonlocal best
        u, a = _parted(intermediate_result.x, shape)  # type: ignore[attr-defined]
        best = min(best, clock.off(lambda: task.value(u, a)))
        clock.note(best)

    for u, a in zip(*_starts(rng, starts, *shape), strict=True):
        minimize(
            slope,
            np.concatenate([u.ravel(), a]),
            (task, shape),
            method="L-BFGS-B",
            jac=True,
            callback=note,
            options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 0, "gtol": 1e-9},
        )
    return clock.trace()


def slope(point: Floats, task: Task, shape: tuple[int, int]) -> tuple[float, Floats]:
    """Return mean loss + alpha/2 * (squared weights) at (u, a) in one vector, and its gradient."""
    u, a = _parted(point, shape)
    hidden = np.maximum(task.X @ u.T, 0)
    misfit = (hidden @ a - task.y) / len(task.y)
    back = (hidden > 0) * np.outer(misfit, a)
    value = len(task.y) * misfit @ misfit / 2 + task.alpha / 2 * point @ point
    slopes = np.concatenate([(back.T @ task.X).ravel(), hidden.T @ misfit])
    return float(value), slopes + task.alpha * point


def descents(task: Task, rule: str, grid: Grid, seed: int) -> tuple[Trace, Trace]:
    """Try Adam or SGD from all starts with all step sizes, side by side.

    Return the trace of the best of all, whose clock holds all runs, and that of the run that ends
    best, alone: the clock of somebody who was told its start and step size.
    """
    together, ends = _descended(task, rule, grid, seed, None)
    return together, _descended(task, rule, grid, seed, int(np.argmin(ends)))[0]


def _descended(
    task: Task, rule: str, grid: Grid, seed: int, only: int | None
) -> tuple[Trace, Floats]:
    """Return the trace of the best of all runs, or of `only` one, and where each run ended."""
    clock, best, ends = _Clock(), np.inf, np.zeros(0)
    due = set(np.unique(np.geomspace(1, grid.epochs, LOOKS).astype(int)).tolist())
    with np.errstate(all="ignore"):  # large steps may diverge
        for epoch, (u, a) in enumerate(_epochs(task, rule, grid, seed, only), start=1):
            if epoch in due:
                ends = clock.off(lambda u=u, a=a: _values(task, u, a))  # type: ignore[misc]
                best = min(best, float(ends.min()))
                clock.note(best)
    return clock.trace(), ends


def _values(task: Task, u: Singles, a: Singles) -> Floats:
    found = np.array([task.value(*weights) for weights in zip(u, a, strict=True)])
    return np.where(np.isfinite(found), found, np.inf)


def _epochs(
    task: Task, rule: str, grid: Grid, seed: int, only: int | None
) -> Iterator[tuple[Singles, Singles]]:
    """Yield (runs, m, d) and (runs, m) after every epoch, in single precision.

    A step takes a tenth of the samples; its size falls by a cosine to a hundredth.
    """
    X, y, n = task.X.astype(np.float32), task.y.astype(np.float32), len(task.y)
    rng, order = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    first = _starts(rng, grid.starts, grid.width, X.shape[1])
    chosen = slice(None) if only is None else slice(only, only + 1)
    z = [
        np.tile(part, (grid.rates, *[1] * (part.ndim - 1)))[chosen].astype(np.float32)
        for part in first
    ]
    rates = np.repeat(np.geomspace(*RATES[rule], grid.rates), grid.starts)[chosen]
    mover = _Rule(z, adam=rule == "Adam")
    size = max(1, -(-n // BATCHES))
    for epoch in range(grid.epochs):
        cool = 0.505 + 0.495 * np.cos(np.pi * epoch / grid.epochs)
        sizes, rows = (cool * rates).astype(np.float32), order.permutation(n)
        for begin in range(0, n, size):
            part = rows[begin : begin + size]
            mover.step(sizes, _slopes(X[part], y[part], task.alpha, z))
        yield z[0], z[1]


def _slopes(X: Singles, y: Singles, alpha: float, z: list[Singles]) -> tuple[Singles, Singles]:
    u, a = z
    hidden = np.maximum(u @ X.T, 0)
    misfit = ((a[:, None, :] @ hidden)[:, 0] - y) / np.float32(len(y))
    out = (hidden @ misfit[:, :, None])[:, :, 0] + np.float32(alpha) * a
    back = np.sign(hidden)
    back *= misfit[:, None, :]
    back *= a[:, :, None]
    return back @ X + np.float32(alpha) * u, out


class _Rule:
    """Adam [Kingma2015] or momentum 0.9, in place, with a step size for every run."""

    def __init__(self, z: list[Singles], adam: bool) -> None:
        self.z, self.adam, self.count = z, adam, 0
        self.mean, self.square = ([np.zeros_like(part) for part in z] for _ in range(2))

    def step(self, rates: Singles, slopes: tuple[Singles, Singles]) -> None:
        """Take a step of sizes (runs,) down the slopes."""
        self.count += 1
        near, far = np.float32(1 - 0.9**self.count), np.float32(1 - 0.999**self.count)
        for part, down, mean, square in zip(self.z, slopes, self.mean, self.square, strict=True):
            sizes = rates.reshape(-1, *[1] * (part.ndim - 1))
            if not self.adam:
                mean *= np.float32(0.9)
                mean += down
                part -= sizes * mean
                continue
            mean += np.float32(0.1) * (down - mean)
            square += np.float32(0.001) * (down**2 - square)
            part -= sizes / near * mean / (np.sqrt(square / far) + np.float32(1e-8))


class _Clock:
    """Seconds of CPU time since it was made, less those spent on looking."""

    def __init__(self) -> None:
        self.begin = time.process_time()
        self.seconds: list[float] = []
        self.reached: list[float] = []

    def off(self, look: Callable[[], T]) -> T:
        """Return what `look` returns, and do not count the time it takes."""
        begin = time.process_time()
        seen = look()
        self.begin += time.process_time() - begin
        return seen

    def note(self, value: float) -> float:
        """Write down the time and a value; return the time."""
        self.seconds.append(time.process_time() - self.begin)
        self.reached.append(value)
        return self.seconds[-1]

    def trace(self) -> Trace:
        """Return what was written down."""
        return Trace(tuple(self.seconds), tuple(self.reached))


def _starts(rng: np.random.Generator, starts: int, m: int, d: int) -> tuple[Floats, Floats]:
    """Return normal weights, (starts, m, d) of variance 1/d and (starts, m) of variance 1/m."""
    u = rng.standard_normal((starts, m, d)) / np.sqrt(d)
    return u, rng.standard_normal((starts, m)) / np.sqrt(m)


def _parted(point: Floats, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    size = shape[0] * shape[1]
    return point[:size].reshape(shape), point[size:]


def _open(task: Task) -> OpenProblem:
    ones = np.ones(len(task.y))
    target = task.y[:, None]
    problem: OpenProblem = open_problem_of(
        ReLU(bias=False), task.X, target, ones, Squared(), intercept=False, skip=False
    )
    return problem
