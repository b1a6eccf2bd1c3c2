"""Weights of -1 and 1: the relaxation's bound, the best of all networks, and what is promised."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cvxnn.everywhere.signs import KRIVINE
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.equality import Between, draw_between, height, misfit
from cvxnn.experiments.figures import BLUE, GREEN, GREY, RED, beside, canvas, styled
from cvxnn.experiments.result import Result, Table, record
from cvxnn.experiments.starts import Parts, Slope, adam
from cvxnn.functions import GroupNorm, Squared, mean_loss
from cvxnn.maps import Gated
from cvxnn.program import Program
from cvxnn.quantised import QuantisedFit, fit_quantised
from cvxnn.solve import solve
from cvxnn.solvers import FISTA

NAME = "quantised"
TITLE = "Networks with weights -1 and 1: bound, best of all, and promise"
STARTS, WIDTH, STEPS = 20, 8, 800
SHARE = 0.1
"""Beta, as a share of the largest that leaves a neuron."""


class One(NamedTuple):
    """One problem; objectives are 1/2 |f - y|^2 + beta * sum of |outward weights|."""

    features: int
    beta: float
    bound: float
    """Of the semidefinite relaxation; no quantised network is below it."""
    best: float
    """Of all networks: the Lasso over every pair of sign vectors."""
    rounded: float
    """Of the network that the relaxation is rounded to."""
    promised: float
    """The best network is not above it: loss of the relaxed fit + 1.782 its penalty."""
    neurons: int
    descents: Floats
    """(starts,), of straight-through descent."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    problems: tuple[One, ...]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes more features."""
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
    """Solve random problems of some numbers of features."""
    rng, widths = np.random.default_rng(seed), (2, 3, 4, 5, 6) if full else (2, 3, 4)
    return Findings(
        problems=tuple(one(d, rng) for d in widths for _ in range(5 if full else 2)),
    )


def one(d: int, rng: np.random.Generator) -> One:
    """Draw 4 d samples and normal targets, and solve in every way."""
    n = 4 * d
    X, y = rng.standard_normal((n, d)), 2 * rng.standard_normal(n)
    atoms = every_neuron(X)
    beta = SHARE * float(np.abs(y @ atoms).max())
    found = fit_quantised(X, y, alpha=beta / n, bias=False, fit_intercept=False, random_state=0)
    return One(
        features=d,
        beta=beta,
        bound=n * found.certificate.lower,
        best=lasso(atoms, y, beta),
        rounded=value(found, X, y, beta),
        promised=n * found.guarantee,
        neurons=found.network.n_neurons,
        descents=adam(slope(X, y, beta), start(rng, d), steps=STEPS, size=0.05).objective,
    )


def every_neuron(X: Floats) -> Floats:
    """Return (x'u) (x'v) of all pairs of sign vectors that differ, (n, k)."""
    signs = np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=X.shape[1] - 1)])
    values = X @ signs.T
    rows, columns = np.triu_indices(len(signs))
    return np.asarray(values[:, rows] * values[:, columns])


def lasso(atoms: Floats, y: Floats, beta: float) -> float:
    """Return min of 1/2 |atoms a - y|^2 + beta |a|_1."""
    n = len(y)
    program = Program(
        loss=mean_loss(Squared(), y[:, None], np.ones(n)),
        lift=Gated(np.ones((n, 1)), atoms, 1),
        penalty=GroupNorm(beta / n),
        free=np.zeros((n, 0)),
    )
    return n * solve(program, FISTA(), tol=1e-9).certificate.upper


def value(found: QuantisedFit, X: Floats, y: Floats, beta: float) -> float:
    """Return the objective of a network from its weights."""
    net: Any = found.network
    outward = net.weights_out[:, 0]
    outputs = ((X @ net.first.T) * (X @ net.second.T)) @ outward
    return float(misfit(outputs, y) + beta * np.abs(outward).sum())


def start(rng: np.random.Generator, d: int) -> Parts:
    """Return what the signs are taken of, (starts, m, d) twice, and two factors (starts, m)."""
    both = rng.standard_normal((2, STARTS, WIDTH, d))
    sizes = rng.standard_normal((2, STARTS, WIDTH)) / 2
    return both[0], both[1], sizes[0], sizes[1]


def slope(X: Floats, y: Floats, beta: float) -> Slope:
    """Return the objective of the signs of u and v, and slopes that pass straight through them.

    Outward weights are p r, with beta/2 (p^2 + r^2) for beta |p r|.
    """

    def objective(parts: Parts) -> tuple[Floats, Parts]:
        u, v, p, r = parts
        signs = [np.where(part >= 0, 1.0, -1.0) for part in (u, v)]
        left, right = (part @ X.T for part in signs)
        residual = ((p * r)[:, None, :] @ (left * right))[:, 0] - y
        total = (residual**2).sum(axis=1) / 2 + beta / 2 * (p**2 + r**2).sum(axis=1)
        pull = ((left * right) @ residual[:, :, None])[:, :, 0]
        rate = (p * r)[:, :, None] * residual[:, None, :]
        slopes = (rate * right) @ X * (np.abs(u) < 1), (rate * left) @ X * (np.abs(v) < 1)
        return total, (*slopes, pull * r + beta * p, pull * p + beta * r)

    return objective


def table(findings: Findings) -> Table:
    """Return all problems as text."""
    columns = (
        "features", "beta", "bound", "best of all", "rounded", "best / bound", "rounded / bound",
        "promised / bound", "neurons", "descents above", "reached",
    )  # fmt: skip
    rows = [
        (
            f"{it.features}",
            f"{it.beta:.2f}",
            f"{it.bound:.6f}",
            f"{it.best:.6f}",
            f"{it.rounded:.6f}",
            f"{it.best / it.bound:.6f}",
            f"{it.rounded / it.bound:.6f}",
            f"{it.promised / it.bound:.3f}",
            f"{it.neurons}",
            f"{it.descents.min() / it.best - 1:.0e}",
            f"{int((it.descents <= 1.001 * it.best).sum())} of {len(it.descents)}",
        )
        for it in findings.problems
    ]
    return Table(columns, tuple(rows))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    best = [it.best / it.bound for it in findings.problems]
    promised = [it.promised / it.bound for it in findings.problems]
    rounded = [it.rounded / it.best - 1 for it in findings.problems]
    ordered = sum(
        it.bound <= it.best * (1 + 1e-9) and it.best <= it.promised * (1 + 1e-9)
        for it in findings.problems
    )
    tight = sum(ratio < 1 + 1e-6 for ratio in best)
    ends = np.concatenate([it.descents / it.best for it in findings.problems])
    return (
        "f(x) = sum of (x'u) (x'v) a with u and v of entries -1 and 1. The best of all networks is "
        "a Lasso over every pair, which is possible for few features only; bound <= best <= "
        f"promise holds in {ordered} of {len(best)} problems.",
        f"The relaxation is exact in {tight} of {len(best)} problems and else off by "
        f"{max(best) - 1:.1%} at most. What is proved is a factor of {KRIVINE:.3f} on the penalty; "
        f"on the whole objective it promises {min(promised):.2f} to {max(promised):.2f}.",
        f"The rounded network, 1000 pairs of signs drawn and a Lasso on them, is "
        f"{max(rounded):.1e} above the best of all, at most.",
        f"Straight-through descent reaches the best of all in {int((ends <= 1.001).sum())} of "
        f"{len(ends)} starts; the median start ends {np.median(ends) - 1:.1%} above.",
        "The source's title says global optimality; the theorem has a factor, which the bound and "
        "the promise are made of, and the network is the best of all where all can be listed.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: every problem's order, and the ratios against the number of features."""
    figure, axes = canvas(1, 2, (10.4, height(len(findings.problems) + 1)), width_ratios=[1.3, 1])
    rows = []
    for place, it in enumerate(findings.problems):
        before = sum(other.features == it.features for other in findings.problems[:place])
        name = f"{it.features} features, {before + 1}"
        rows.append(Between(name, it.bound, it.best, it.promised, it.descents))
    draw_between(axes[0, 0], rows, ("bound", "best of all", "promise"))
    axes[0, 0].set_title("The best is between bound and promise (dots: descents)")
    panel = axes[0, 1]
    width = np.array([it.features for it in findings.problems])
    lines = (("promised", [it.promised for it in findings.problems], GREEN, "^"),
             ("rounded", [it.rounded for it in findings.problems], GREY, "s"),
             ("best of all", [it.best for it in findings.problems], BLUE, "D"))  # fmt: skip
    bound = np.array([it.bound for it in findings.problems])
    for name, values, colour, marker in lines:
        size = 8 if marker == "s" else 5
        panel.plot(width, np.array(values) / bound, marker, color=colour, markersize=size,
                   label=name, markerfacecolor="none" if marker == "s" else colour)  # fmt: skip
    panel.axhline(KRIVINE, color=RED)
    panel.axhline(1, color=GREY, linewidth=0.9)
    panel.set(xlabel="features", ylabel="objective / bound", ylim=(0.95, 1.9))
    panel.set_xticks(sorted(set(width.tolist())))
    panel.set_xlim(width.min() - 0.5, width.max() + 0.5)
    beside(panel, [(KRIVINE, "1.782, proved", RED), (1.0, "bound", GREY)])
    panel.legend(frameon=False, loc="center", bbox_to_anchor=(0.5, 0.62))
    panel.set_title("What is proved, promised and found")
    return figure
