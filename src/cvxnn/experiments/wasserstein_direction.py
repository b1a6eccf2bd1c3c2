"""The direction in which samples flow to a target: the semidefinite program and the networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from cvxnn.experiments.circle import units, walls
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.equality import Case, draw_cases, height, table, verdict
from cvxnn.experiments.figures import BLUE, GREY, INK, PALE, canvas, styled
from cvxnn.experiments.result import Result, record
from cvxnn.experiments.starts import Parts, Slope, adam
from cvxnn.solvers.standard import conic
from cvxnn.theory.wasserstein import Flowed, Potential, wasserstein_direction, wasserstein_flow

NAME = "wasserstein-direction"
TITLE = "The best direction of a two-layer network towards a target"
STARTS, WIDTH, STEPS = 20, 12, 800
LINE = np.array([[1.0], [2.0], [-1.0], [0.5], [-3.0]])
CENTRE, SPREAD = 1.5, 0.5
"""The target of the flow: two bumps at -CENTRE and CENTRE."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    cases: tuple[Case, ...]
    course: Floats
    """(steps + 1, n), the samples of the flow."""
    speeds: Floats


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes more problems."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=TITLE,
        table=table(findings.cases),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Find directions to a normal target on a line and in the plane, and flow to two bumps."""
    rng = np.random.default_rng(seed)
    cases = [compare("Line", LINE, 0.2, rng)]
    for k in range(8 if full else 3):
        X = rng.standard_normal((7, 2))
        cases.append(compare(f"Plane {k + 1}", X, 3 / 7, rng))
    first = np.linspace(-1, 1, 40 if full else 24)[:, None]
    moved: Flowed = wasserstein_flow(first, two_bumps, steps=40 if full else 20, rate=0.12)
    return Findings(cases=tuple(cases), course=moved.course[:, :, 0], speeds=moved.speeds)


def two_bumps(x: Floats) -> Floats:
    """Return the score of the density of two bumps."""
    right = 1 / (1 + np.exp(-np.clip(2 * CENTRE * x / SPREAD**2, -50, 50)))
    return np.asarray((CENTRE * (2 * right - 1) - x) / SPREAD**2)


def compare(name: str, X: Floats, alpha: float, rng: np.random.Generator) -> Case:
    """Return the program's optimum beside its network, another way, and descents."""
    found = wasserstein_direction(X, -X, alpha=alpha, bias=False)
    on_a_line = X.shape[1] == 1
    return Case(
        name=name,
        program=found.certificate.upper,
        bound=found.certificate.lower,
        network=objective(found.network, X, alpha),
        oracle=soft(X[:, 0], alpha) if on_a_line else over_angles(X, alpha),
        by="closed form" if on_a_line else "all angles",
        descents=adam(slope(X, alpha), start(rng, X.shape[1]), steps=STEPS).objective,
    )


def objective(network: Potential, X: Floats, alpha: float) -> float:
    """Return what the network is trained for, from its weights."""
    w, a = network.weights_in, network.weights_out
    squares = (w**2).sum(axis=1)
    pull = 2 * (np.maximum(X @ w.T, 0) * a) @ w
    bend = 2 * (X @ w.T >= 0) @ (a * squares)
    each = (pull**2 / 2 - X * pull).sum(axis=1) + bend
    return float(each.mean() + alpha * np.abs(a) @ squares)


def soft(x: Floats, alpha: float) -> float:
    """Return the optimum of one feature: a soft threshold on either side of zero."""
    total = 0.0
    for side in (x[x > 0], x[x < 0]):
        slope, square = 2 * len(side) - 2 * (side**2).sum(), 4 * (side**2).sum()
        total -= max(abs(slope) - len(x) * alpha, 0.0) ** 2 / (2 * square * len(x))
    return float(total)


def over_angles(X: Floats, alpha: float, rounds: int = 5) -> float:
    """Return the optimum over neurons of all angles; on both sides of where a sample leaves."""
    width = 2 * np.pi / 180
    edges = np.concatenate([walls(X) - 1e-9, walls(X) + 1e-9])
    best = np.inf
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    for _ in range(rounds):
        angles = np.unique(np.concatenate([angles, edges]) % (2 * np.pi))
        value, prices = lasso(X, angles, alpha)
        best = min(best, value)
        top = (prices >= np.roll(prices, 1)) & (prices >= np.roll(prices, -1))
        width /= 8
        kept = angles[top & (prices > 0.9 * alpha)]
        angles = (kept[:, None] + width * np.arange(-8, 9)).ravel()
    return best


def lasso(X: Floats, angles: Floats, alpha: float) -> tuple[float, Floats]:
    """Return the optimum over neurons of these angles, and every angle's price."""
    n, d = X.shape
    inward = units(angles)
    values = np.maximum(X @ inward, 0)
    pulls = (2 * values[:, None, :] * inward[None]).reshape(n * d, -1) / n**0.5
    lift = 2 * (X @ inward >= 0).mean(axis=0) - pulls.T @ X.ravel() / n**0.5
    m, link = len(angles), sparse.csc_array(pulls)
    rows = sparse.hstack([link, -link, -sparse.eye_array(n * d)])
    cost = np.concatenate([lift + alpha, alpha - lift, np.zeros(n * d)])
    square = np.concatenate([np.zeros(2 * m), np.ones(n * d)])
    above = sparse.eye_array(2 * m, 2 * m + n * d)
    answer = conic(square, cost, [(rows, np.zeros(n * d), "zero")], above, [("nonnegative", 2 * m)])
    x = np.maximum(np.array(answer.x)[: 2 * m], 0)
    a = x[:m] - x[m:]
    pull = pulls @ a
    value = float(pull @ pull / 2 + lift @ a + alpha * np.abs(a).sum())
    return value, np.abs(pulls.T @ pull + lift)


def start(rng: np.random.Generator, d: int) -> Parts:
    """Return normal inward and outward weights, (starts, m, d) and (starts, m)."""
    return rng.standard_normal((STARTS, WIDTH, d)) / 2, rng.standard_normal((STARTS, WIDTH)) / 2


def slope(X: Floats, alpha: float) -> Slope:
    """Return the objective of networks on a normal target, and its slopes where it has them."""
    n = len(X)

    def value(parts: Parts) -> tuple[Floats, Parts]:
        w, a = parts
        t = w @ X.T
        on, up = (t >= 0).mean(axis=2), np.maximum(t, 0)
        squares = (w**2).sum(axis=2)
        pull = 2 * (up * a[:, :, None]).swapaxes(1, 2) @ w
        total = ((pull**2 / 2 - X * pull).sum(axis=2)).mean(axis=1)
        total = total + (2 * a * squares * on + alpha * np.abs(a) * squares).sum(axis=1)
        rest = (pull - X) / n
        toward = w @ rest.swapaxes(1, 2)
        down = 2 * (up * toward).sum(axis=2) + squares * (2 * on + alpha * np.sign(a))
        turn = 2 * a[:, :, None] * ((toward * (t > 0)) @ X + up @ rest)
        turn = turn + (4 * a * on + 2 * alpha * np.abs(a))[:, :, None] * w
        return total, (turn, down)

    return value


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and what the source leaves out."""
    plane = findings.cases[1:]
    best = [float(case.above(case.descents.min())) for case in plane]
    return (
        verdict(findings.cases),
        "mean of |grad Phi|^2 / 2 + lap Phi + score . grad Phi, + alpha * sum of |a| |w|^2 over "
        "Phi(x) = sum of a max(0, w.x)^2; the target is normal. Weight decay beta/2 on cubes of "
        "both layers is alpha = 3 beta / 2^(5/3). In the plane every cone has two walls and the "
        "semidefinite program is exact; with more walls it is a lower bound.",
        "The Laplacian of a neuron jumps where a sample leaves it, and the optimum may sit on such "
        f"jumps. Descent does not see them: the best of {STARTS} starts is {min(best):.1%} to "
        f"{max(best):.1%} above, in the plane. The same jumps leave no optimum for alpha below "
        "about 1 / n, which the source does not say.",
        f"The samples of the flow slow down from {findings.speeds[0]:.2f} to "
        f"{findings.speeds[-1]:.2f} as they come to the target's bumps at -1.5 and 1.5.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the cases, and the samples on their way beside the target."""
    figure, axes = canvas(1, 3, (11.4, height(len(findings.cases))), width_ratios=[1.2, 1.2, 0.5])
    draw_cases(axes[0, 0], findings.cases)
    axes[0, 0].set_title("The network of the program is the best one")
    paths, density = axes[0, 1:]
    paths.plot(findings.course, color=GREY, linewidth=0.8)
    last = len(findings.course) - 1
    paths.plot(np.full(findings.course.shape[1], last), findings.course[-1], "o", color=BLUE,
               markersize=3)  # fmt: skip
    paths.set(xlabel="step", ylabel="samples", ylim=(-3.2, 3.2), xlim=(0, last))
    paths.set_title("Samples follow the certified directions")
    line = np.linspace(-3.2, 3.2, 300)
    bumps = sum(np.exp(-((line - c) ** 2) / (2 * SPREAD**2)) for c in (-CENTRE, CENTRE))
    density.hist(findings.course[-1], bins=16, range=(-3.2, 3.2), density=True, color=PALE,
                 orientation="horizontal", edgecolor=BLUE, linewidth=0.6)  # fmt: skip
    density.plot(bumps / (2 * SPREAD * (2 * np.pi) ** 0.5), line, color=INK)
    density.set(ylim=(-3.2, 3.2), xlabel="density", yticklabels=[])
    density.set_title("to the target")
    paths.set_xticks(range(0, last + 1, 5))
    return figure
