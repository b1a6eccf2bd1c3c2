"""Three samples in the plane: all cells, the convex program, and the cone that is too weak."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.architectures import Architecture, GatedReLU, ReLU, ReLUNetwork, assemble, free_columns
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import descend
from cvxnn.experiments.figures import BLUE, GREY, INK, ORANGE, PALE, RED, canvas, styled
from cvxnn.experiments.result import Result, Table, record
from cvxnn.functions import Squared, mean_loss
from cvxnn.gates import distinct, enumerate_patterns
from cvxnn.solve import solve
from cvxnn.solvers import Reference

NAME = "worked-example"
TITLE = "Three samples in the plane: the network's program, and the slide's"

X = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])
TARGETS = ((1.0, 2.0, -1.0), (1.0, -1.0, 1.0), (-1.0, 1.0, 2.0))
BETAS = (0.1, 0.5)
PATH = (0.05, 0.1, 0.2, 0.5, 0.7, 0.72, 1.0, 2.0, 5.0, 10.0)
TOL = 1e-7
RELU = ReLU(bias=False)


class Case(NamedTuple):
    """One target and strength; objectives are 1/2 |f - y|^2 + beta/2 * (weights squared)."""

    y: tuple[float, ...]
    beta: float
    network: float
    """The certified optimum over all networks."""
    bound: float
    """What is proved: no network is below it."""
    gated: float
    """The program without cones."""
    slide: float
    """The program with the cone D X u >= 0."""
    slide_network: float
    """The true objective of the network that the slide's solution describes."""
    descent: float
    """The best of many starts of gradient descent."""
    neurons: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    patterns: NDArray[np.int64]
    """(p, n), every pattern of an open cell."""
    cases: tuple[Case, ...]
    path: tuple[tuple[float, float, float], ...]
    """(beta, optimum over networks, optimum of the slide's program) for the first target."""
    beta_max: float
    """The least beta at which the first target's best network is empty."""
    weights_in: NDArray[np.float64]
    """The best network of the first case."""
    weights_out: NDArray[np.float64]
    convention: tuple[float, float, float]
    """|f - y|^2 + 0.3 * (weights squared) by descent; with 2 * 0.3 * norms; with 0.3 * norms."""


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` adds starts and steps."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=TITLE,
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Solve the six programs of the table, the path, and their rivals."""
    y = TARGETS[0]
    first = fit(y, BETAS[0])
    network = first.network_
    return Findings(
        patterns=enumerate_patterns(X).masks.astype(np.int64),
        cases=tuple(case(y, beta, full, seed) for y in TARGETS for beta in BETAS),
        path=tuple((beta, optimum(y, beta), slide_program(y, beta)[0]) for beta in PATH),
        beta_max=len(X) * first.alpha_max_,
        weights_in=network.weights_in,
        weights_out=network.weights_out,
        convention=(2 * descent(y, 0.3, full, seed), 2 * optimum(y, 0.3), 2 * optimum(y, 0.15)),
    )


def fit(y: tuple[float, ...], beta: float, architecture: Architecture = RELU) -> ConvexRegressor:
    """Return the fitted model; cvxnn's loss is a mean, so its alpha is beta / n."""
    model = ConvexRegressor(
        architecture,
        alpha=beta / len(X),
        gates="enumerate",
        solver="reference",
        tol=TOL,
        fit_intercept=False,
    )
    return model.fit(X, y)


def optimum(y: tuple[float, ...], beta: float) -> float:
    """Return the least 1/2 |f - y|^2 + beta/2 * (weights squared) over all ReLU networks."""
    return float(len(X) * fit(y, beta).certificate_.upper)


def slide_program(y: tuple[float, ...], beta: float) -> tuple[float, float]:
    """Return the optimum of the slide's program, and the objective of the network it describes.

    Its cone D X u >= 0 asks nothing of the samples that a neuron is meant to be closed on, where
    (2 D - I) X u >= 0 asks that they be on its closed side.
    """
    problem = assemble(
        RELU,
        X,
        distinct(enumerate_patterns(X)),
        mean_loss(Squared(), np.asarray(y)[:, None]),
        beta / len(X),
        free=free_columns(X, intercept=False, skip=False),
        outputs=1,
    )
    cone = RELU.constraint(X, problem.gates, 1)
    rows: Any = cone.map
    weak = replace(rows, signs=(rows.signs + 1) / 2)
    program = replace(problem.program, constraint=cone._replace(map=weak))
    solution = solve(program, Reference(), tol=TOL)
    described = problem.objective(problem.network(solution.iterate))
    return len(X) * solution.certificate.upper, len(X) * described


def descent(y: tuple[float, ...], beta: float, full: bool, seed: int) -> float:
    """Return the best objective that gradient descent finds with eight neurons."""
    run = descend(
        X,
        np.asarray(y),
        beta / len(X),
        width=8,
        starts=100 if full else 20,
        steps=50_000 if full else 5_000,
        step_size=0.02,
        spread=8**-0.5,
        rng=np.random.default_rng(seed),
    )
    return float(len(X) * run.objective[run.best, -1])


def case(y: tuple[float, ...], beta: float, full: bool, seed: int) -> Case:
    """Return one row of the table."""
    model = fit(y, beta)
    slide, described = slide_program(y, beta)
    return Case(
        y=y,
        beta=beta,
        network=len(X) * model.certificate_.upper,
        bound=len(X) * model.certificate_.lower,
        gated=len(X) * fit(y, beta, GatedReLU(bias=False)).certificate_.upper,
        slide=slide,
        slide_network=described,
        descent=descent(y, beta, full, seed),
        neurons=model.network_.n_neurons,
    )


def table(findings: Findings) -> Table:
    """Return the six cases as text."""
    columns = (
        "y, beta", "certified optimum", "relative gap", "neurons", "best descent", "no cones",
        "slide's cone", "slide's network",
    )  # fmt: skip
    rows = [
        (
            f"({c.y[0]:g}, {c.y[1]:g}, {c.y[2]:g}), {c.beta:g}",
            f"{c.network:.8f}",
            f"{max(0.0, 1 - c.bound / c.network):.0e}",
            f"{c.neurons}",
            f"{c.descent:.5f}",
            f"{c.gated:.8f}",
            f"{c.slide:.8f}",
            f"{c.slide_network:.4f}",
        )
        for c in findings.cases
    ]
    return Table(columns, tuple(rows))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    case, (network, twice, once) = findings.cases[0], findings.convention
    return (
        f"The plane has {len(findings.patterns)} cells, not the 6 that three lines in general "
        "position make: the first two samples are parallel.",
        f"The slide's cone D X u >= 0 gives {case.slide:.4f} where the best network has "
        f"{case.network:.4f}. No network attains the slide's value: the one that its solution "
        f"describes has {case.slide_network:.4f}. On these samples the cone asks nothing at all, "
        "the program without cones has the same value.",
        "With (2 D - I) X u >= 0 the program is the network's, for every target and strength; "
        "gradient descent comes close to it from above and never below.",
        "Constants: for |f - y|^2 + 0.3 * (weights squared) the convex penalty is 2 * 0.3 * sum of "
        f"norms ({network:.7f} and {twice:.7f}), not the printed 0.3 * sum of norms ({once:.7f}).",
        f"From beta = {findings.beta_max:.4f} = sqrt(113) on, the best network for (1, 2, -1) is "
        "empty.",
        "Objectives are in the source's units, 1/2 |f - y|^2 + beta/2 * (weights squared): n times "
        "those of cvxnn at alpha = beta / n.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the cells, the objectives, the network, the path."""
    figure, axes = canvas(2, 2, (9.6, 8.4))
    _draw_cells(axes[0, 0], findings)
    _draw_objectives(axes[0, 1], findings.cases[0])
    _draw_network(axes[1, 0], findings)
    _draw_path(axes[1, 1], findings)
    return figure


CELLS = {
    (1, 1, 1): ("#cfe3f1", (1.0, 2.9)),
    (1, 1, 0): ("#e3eff7", (-0.9, 2.9)),
    (0, 0, 1): ("#fbe6d3", (0.9, -2.9)),
    (0, 0, 0): ("#f5f5f5", (-2.2, -0.8)),
}
"""The tint of every cell, and where its pattern is written."""


def _draw_cells(axes: Any, findings: Findings) -> None:
    side = np.linspace(-3.6, 3.6, 721)
    open_ = np.stack(np.meshgrid(side, side), axis=-1) @ X.T >= 0
    for pattern in map(tuple, findings.patterns):
        tint, place = CELLS[pattern]
        cell = (open_ == np.array(pattern, dtype=bool)).all(axis=-1)
        axes.contourf(side, side, cell, levels=[0.5, 1.5], colors=[tint])
        axes.text(*place, " ".join(map(str, pattern)), ha="center", va="center", fontsize=12)
    axes.plot(*X.T, "o", color=INK, markersize=5)
    for i, x in enumerate(X):
        _label(axes, f"$x_{i + 1}$", x, (7, -4), INK)
    for u, a in zip(findings.weights_in, findings.weights_out[:, 0], strict=True):
        colour, tip = BLUE if a > 0 else RED, u / np.linalg.norm(u) * 1.7
        arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", tip, xytext=(0, 0), arrowprops=arrow)
        _label(axes, f"neuron, a {'>' if a > 0 else '<'} 0", 0.7 * tip, (10, 0), colour)
    axes.set(xlabel="$u_1$", ylabel="$u_2$", aspect="equal", xticks=(-3, 0, 3), yticks=(-3, 0, 3))
    axes.set_title(
        "The plane has four cells, named by their patterns;\nboth best neurons lie on walls"
    )


def _label(axes: Any, text: str, at: Any, offset: tuple[float, float], colour: str) -> None:
    axes.annotate(text, at, xytext=offset, textcoords="offset points", va="center", color=colour)


def _draw_objectives(axes: Any, case: Case) -> None:
    bars = (
        ("all networks\n(certified)", case.network, BLUE),
        ("best of descents", case.descent, GREY),
        ("slide's cone", case.slide, ORANGE),
        ("no cones", case.gated, ORANGE),
    )
    for row, (_, value, colour) in enumerate(bars):
        axes.plot([0, value], [row, row], color=colour, linewidth=5, solid_capstyle="butt")
        _label(axes, f"{value:.4f}", (value, row), (6, 0), INK)
    axes.axvline(case.bound, color=BLUE, linewidth=0.8, linestyle=(0, (2, 2)))
    text = f"but the network\nit describes has {case.slide_network:.2f}"
    _label(axes, text, (case.slide, 2), (58, 0), ORANGE)
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(xlim=(0, 0.34), ylim=(len(bars) - 0.5, -0.6), xlabel="objective", xticks=(0, 0.1, 0.2))
    axes.set_title("The slide's cone asks too little:\nits value belongs to no network")


def _draw_network(axes: Any, findings: Findings) -> None:
    network = ReLUNetwork(
        weights_in=findings.weights_in,
        weights_out=findings.weights_out,
        intercept=np.zeros(1),
        skip=np.zeros((2, 1)),
    )
    side = np.linspace(-1.0, 4.5, 221)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    values = network(plane)[:, 0].reshape(len(side), len(side))
    levels = np.arange(-4.0, 4.01, 0.5)
    axes.contourf(side, side, values, levels=levels, cmap="RdBu", extend="both", alpha=0.75)
    axes.contour(
        side, side, values, levels=levels, colors="white", linewidths=0.6, linestyles="solid"
    )
    for u in findings.weights_in:
        axes.axline((0, 0), (-u[1], u[0]), color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.plot(*X.T, "o", color=INK, markersize=5)
    for x, y, f in zip(X, TARGETS[0], network(X)[:, 0], strict=True):
        _label(axes, f"y = {y:g}\nf = {f:.3f}", x, (8, -13), INK)
    axes.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$", xlim=(-1, 4.5), ylim=(-1, 4.5))
    axes.set(xticks=range(5), yticks=range(5))
    axes.set_title(
        "The best network for y = (1, 2, -1), beta = 0.1:\ntwo neurons, their folds dashed"
    )


def _draw_path(axes: Any, findings: Findings) -> None:
    beta, network, slide = np.array(findings.path).T
    zero = 0.5 * sum(y * y for y in TARGETS[0])
    axes.fill_between(beta, slide, network, color=PALE, linewidth=0)
    axes.plot(beta, network, "o-", color=BLUE, markersize=4)
    axes.plot(beta, slide, "o-", color=ORANGE, markersize=4)
    axes.plot([findings.beta_max, 70], [zero, zero], color=BLUE)
    axes.plot(findings.beta_max, zero, "o", markerfacecolor="white", color=BLUE, markersize=5)
    _label(axes, "empty network\nfrom $\\sqrt{113}$ on", (findings.beta_max, zero), (4, -18), BLUE)
    _label(axes, "networks", (0.16, 0.95), (0, 0), BLUE)
    _label(axes, "slide's cone", (1.15, 0.85), (0, 0), ORANGE)
    axes.set(xscale="log", xlabel="beta", ylabel="objective", xlim=(0.04, 70), ylim=(0, 3.3))
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.minorticks_off()
    axes.set_title(
        "Along the path for y = (1, 2, -1):\nwhat the slide's program reports, no network has"
    )
