"""Threshold activations: the Lasso over all patterns against the networks and straight-through."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cvxnn.architectures import Threshold
from cvxnn.experiments.circle import units, walls
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.equality import Case, draw_cases, fitted, height, misfit, table, verdict
from cvxnn.experiments.figures import BLUE, GREY, INK, canvas, styled
from cvxnn.experiments.result import Result, record
from cvxnn.experiments.starts import Ends, Parts, Slope, adam
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.gates import enumerate_patterns
from cvxnn.maps import Gated
from cvxnn.program import Program
from cvxnn.solve import solve
from cvxnn.solvers import FISTA

NAME = "threshold"
TITLE = "Networks of thresholds: the Lasso over all patterns and the networks"
STARTS, WIDTH, STEPS = 20, 8, 800
KIND = Threshold(bias=False)
LINE = np.array([[1.0], [-1.0], [2.0]]), np.ones(3), 0.1
CROSS = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), np.array([2.0, -1, 0.5, 1]), 0.2
SHATTERED = np.eye(4), np.array([2.0, -1.0, 0.5, 1.5]), 0.4


class Steps(NamedTuple):
    """A certified step function of one column, and those of descents."""

    x: Floats
    y: Floats
    beta: float
    grid: Floats
    best: Floats
    """On the grid, its steps in the middle between samples."""
    optimum: float
    found: Floats
    """(starts, grid), of the descents."""
    ends: Floats
    """(starts,), their objectives."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    cases: tuple[Case, ...]
    steps: Steps


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes more problems."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=TITLE,
        table=table(findings.cases, "open cells only"),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Solve the known problems and random ones, and fit steps to a column."""
    rng = np.random.default_rng(seed)
    problems = {"Line": LINE, "Cross": CROSS, "Orthogonal": SHATTERED}
    for k in range(10 if full else 3):
        problems[f"Random {k + 1}"] = rng.standard_normal((8, 2)), rng.standard_normal(8), 0.3
    cases = tuple(compare(name, *problem, rng) for name, problem in problems.items())
    return Findings(cases=cases, steps=staircase(rng))


def compare(name: str, X: Floats, y: Floats, beta: float, rng: np.random.Generator) -> Case:
    """Return the Lasso's optimum beside its network, another way, descents, and open cells."""
    n = len(X)
    model = fitted(KIND, X, y, beta)
    cells = fitted(KIND, X, y, beta, gates=enumerate_patterns(X).generators)
    net: Any = model.network_
    squares = (net.amplitudes**2).sum() + (net.weights_out**2).sum()
    plane = X.shape[1] <= 2
    return Case(
        name=name,
        program=n * model.certificate_.upper,
        bound=n * model.certificate_.lower,
        network=float(misfit(net(X)[:, 0], y) + beta / 2 * squares),
        oracle=by_angles(X, y, beta) if plane else levels(y, beta),
        by="all angles" if plane else "closed form",
        descents=straight_through(X, y, beta, rng).objective,
        claim=n * cells.certificate_.upper,
    )


def by_angles(X: Floats, y: Floats, beta: float) -> float:
    """Return the Lasso over the half-spaces of the plane: every edge, every arc, and all of it."""
    rows = np.column_stack([X, np.zeros(len(X))])[:, :2]
    edges = np.unique(walls(rows[rows.any(axis=1)]).round(12))
    arcs = (edges + np.append(edges[1:], edges[0] + 2 * np.pi)) / 2
    values = rows @ np.concatenate([units(edges), units(arcs), np.zeros((2, 1))], axis=1)
    columns = np.unique(values >= -1e-9, axis=1)
    program = Program(
        loss=mean_loss(Squared(), y[:, None], np.ones(len(y))),
        lift=Gated(np.ones((len(y), 1)), 1.0 * columns[:, columns.any(axis=0)], 1),
        penalty=GroupNorm(beta / len(y)),
        free=np.zeros((len(y), 0)),
    )
    return len(y) * solve(program, FISTA(), tol=1e-9).certificate.upper


def levels(y: Floats, beta: float) -> float:
    """Return min over f of 1/2 |f - y|^2 + beta (max f_+ + max f_-): every pattern is there.

    A side is cut at the level t where sum (y - t)_+ = beta, at zero if that is never reached.
    """
    total = 0.0
    for side in (np.maximum(y, 0), np.maximum(-y, 0)):
        ordered = np.sort(side)[::-1]
        cuts = (np.cumsum(ordered) - beta) / np.arange(1, len(y) + 1)
        t = max(0.0, float(cuts.max()))
        total += (np.maximum(side - t, 0) ** 2).sum() / 2 + beta * t
    return float(total)


def straight_through(
    X: Floats, y: Floats, beta: float, rng: np.random.Generator, width: int = WIDTH
) -> Ends:
    """Descend as is usual: the derivative of a step at t is taken for 1 where |t| < 1."""
    inward = rng.standard_normal((STARTS, width, X.shape[1]))
    both = rng.standard_normal((2, STARTS, width)) / width**0.25
    return adam(slope(X, y, beta), (inward, both[0], both[1]), steps=STEPS, size=0.05)


def slope(X: Floats, y: Floats, beta: float) -> Slope:
    """Return the weight-decayed objective of threshold networks, and the slopes that are used."""

    def value(parts: Parts) -> tuple[Floats, Parts]:
        inward, amplitude, outward = parts
        t = inward @ X.T
        step = (t >= 0).astype(np.float64)
        sizes = amplitude * outward
        residual = (sizes[:, None, :] @ step)[:, 0] - y
        total = (residual**2).sum(axis=1) / 2
        total = total + beta / 2 * (amplitude**2 + outward**2).sum(axis=1)
        pull = (step @ residual[:, :, None])[:, :, 0]
        rate = (np.abs(t) < 1) * sizes[:, :, None] * residual[:, None, :]
        slopes = rate @ X, pull * outward + beta * amplitude, pull * amplitude + beta * outward
        return total, slopes

    return value


def staircase(rng: np.random.Generator, n: int = 24, beta: float = 0.25) -> Steps:
    """Fit steps with a hidden bias to noisy levels, by the program and by descents."""
    x = np.sort(rng.uniform(-2, 2, n))
    y = np.select([x < -1, x < 0.2, x < 1], [0.0, 1.5, -0.5], 0.8) + 0.25 * rng.standard_normal(n)
    X, grid = x[:, None], np.linspace(-2, 2, 801)
    model = fitted(Threshold(), X, y, beta)
    net: Any = model.network_
    ends = straight_through(np.column_stack([X, np.ones(n)]), y, beta, rng, width=12)
    inward, amplitude, outward = ends.parts
    step = inward @ np.stack([grid, np.ones_like(grid)]) >= 0
    return Steps(
        x=x,
        y=y,
        beta=beta,
        grid=grid,
        best=net.widened(X)(grid[:, None])[:, 0],
        optimum=n * model.certificate_.upper,
        found=((amplitude * outward)[:, None, :] @ step)[:, 0],
        ends=ends.objective,
    )


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and what the source leaves out."""
    line, steps = findings.cases[0], findings.steps
    above = steps.ends / steps.optimum - 1
    return (
        verdict(findings.cases),
        "1/2 |f - y|^2 + beta/2 (amplitudes and outward weights, squared); directions have no "
        "length that counts. The program is a Lasso whose columns are all patterns, also those of "
        "half-spaces with samples on their border.",
        f"The patterns of open cells, which are enough for ReLU, are too few here: on x = (1, -1, "
        f"2), y = 1, beta = 0.1 they give {line.claim:.4f} and all patterns {line.program:.7f}, "
        f"by the neuron w = 0, which is active everywhere. {line.reached} of "
        f"{len(line.descents)} descents found it. With a hidden bias no border is needed.",
        f"On the noisy steps the {len(above)} starts of descent end {above.min():.0%} to "
        f"{above.max():.0%} above the optimum. Steps have no slope; straight-through takes one "
        "that is not theirs.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the cases, and the certified steps over those of descents."""
    figure, axes = canvas(1, 2, (10.4, height(len(findings.cases) + 1)), width_ratios=[1, 1.15])
    draw_cases(axes[0, 0], findings.cases, "open cells only")
    axes[0, 0].set_title("The network of the program is the best one")
    panel, steps = axes[0, 1], findings.steps
    panel.plot(steps.grid, steps.found.T, color=GREY, linewidth=0.5, alpha=0.6)
    panel.plot(steps.x, steps.y, "o", color=INK, markersize=4, zorder=3)
    panel.plot(steps.grid, steps.best, color=BLUE, linewidth=2.2, zorder=2)
    panel.set(xlabel="x", ylabel="y and f(x)")
    above = steps.ends / steps.optimum - 1
    panel.text(0.02, 0.03, f"blue: best of all networks; grey: {len(above)} descents,\n"
               f"{above.min():.0%} to {above.max():.0%} above its objective",
               transform=panel.transAxes, color=GREY, va="bottom")  # fmt: skip
    low, high = panel.get_ylim()
    panel.set_ylim(low - 0.25 * (high - low), high)
    panel.set_title("Certified steps, and those of straight-through descent")
    return figure
