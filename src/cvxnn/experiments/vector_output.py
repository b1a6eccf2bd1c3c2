"""Several outputs: the networks' optimum between two programs, and the program of the source."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cvxnn.architectures import GatedReLU, ReLU
from cvxnn.everywhere.columns import column_cones
from cvxnn.experiments.circle import best_on_circle, units, walls
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.equality import (
    Between,
    Case,
    draw_between,
    draw_cases,
    fitted,
    height,
    misfit,
    table,
    verdict,
)
from cvxnn.experiments.figures import canvas, styled
from cvxnn.experiments.result import Result, record
from cvxnn.experiments.starts import Parts, Slope, adam
from cvxnn.gates import Gates

NAME = "vector-output"
TITLE = "Networks of several outputs: their optimum, and the programs around it"
BETA = 0.3
STARTS, WIDTH, STEPS = 20, 10, 600


class Kind(NamedTuple):
    """A kind of networks and its program."""

    architecture: Any
    apart: bool = False
    """Whether a neuron's outward weights cost the square of their sum, so that none is shared."""

    @property
    def gated(self) -> bool:
        """Whether neurons have gates of their own."""
        return bool(self.architecture.name == "gated")


KINDS = {
    "gated": Kind(GatedReLU(bias=False)),
    "one-vs-all": Kind(ReLU(bias=False), apart=True),
}
"""Programs on all patterns whose optimum is that of their networks."""
SKEW = 5 * np.array(
    [[1, 0, 0], [0.65, 0.5775**0.5, 0], [0, 0.65 / 0.5775**0.5, (1 - 0.4225 / 0.5775) ** 0.5]]
)
"""Targets of three orthogonal samples for which the source's program is too low."""


class Problem(NamedTuple):
    """1/2 |F - Y|^2 + BETA * sum of |u| |g| over ReLU networks without bias."""

    name: str
    X: Floats
    Y: Floats


class Order(NamedTuple):
    """One problem's optima; the middle ones are those of the networks themselves."""

    name: str
    gated: float
    """With nuclear norms and no cones, on all patterns: a lower bound."""
    bound: float
    """No network is below it."""
    exact: float
    """Of the best network, grown."""
    network: float
    """The same from the weights of its neurons."""
    one_vs_all: float
    """An upper bound: outputs share no neuron."""
    slide: float
    """With nuclear norms and every column in its cone."""
    descents: Floats
    """(starts,), on both layers with weight decay."""

    def case(self, oracle: float) -> Case:
        """Return the best network beside the same optimum by all angles, and the slide's."""
        return Case(
            f"{self.name}, ReLU", self.exact, self.bound, self.network, oracle, "all angles",
            self.descents, self.slide,
        )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    cases: tuple[Case, ...]
    orders: tuple[Order, ...]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes more problems."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=TITLE,
        table=table(findings.cases, "slide"),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Solve random problems in the plane, and one of orthogonal samples."""
    rng = np.random.default_rng(seed)
    problems = []
    for k in range(8 if full else 2):
        own = np.random.default_rng(seed + k + 1)
        X, Y = own.standard_normal((6, 2)), own.standard_normal((6, 2))
        problems.append(Problem(f"Random {k + 1}", X, Y))
    problems.append(Problem("Orthogonal", np.eye(3), SKEW))
    orders = tuple(order(problem, rng) for problem in problems)
    cases = []
    for problem, one in zip(problems[:-1], orders, strict=False):
        cases += [compare(name, problem, rng) for name in KINDS]
        cases.append(
            one.case(best_on_circle(rectified(problem.X), problem.Y, BETA, walls(problem.X)))
        )
    return Findings(cases=tuple(cases), orders=orders)


def compare(name: str, problem: Problem, rng: np.random.Generator) -> Case:
    """Return a program's optimum beside its network and descents on that network."""
    X, Y, n, kind = problem.X, problem.Y, len(problem.X), KINDS[name]
    model = fitted(kind.architecture, X, Y, BETA)
    net: Any = model.network_
    outward = (net.weights_out**2).sum()
    gates = kind.architecture.source.given(X, model.generators_) if kind.gated else None
    if gates is not None:
        words = {"gates": model.generators_, "solver": "admm", "tol": 1e-7}
        other = n * fitted(kind.architecture, X, Y, BETA, **words).certificate_.upper
    else:
        parts = Y.T[:, :, None] if kind.apart else [Y]
        other = sum(best_on_circle(rectified(X), part, BETA, walls(X)) for part in parts)
    first = start(rng, problem, WIDTH if gates is None else 2 * len(gates))
    ends = adam(slope(X, Y, kind.apart, gates), first, steps=STEPS, size=0.05)
    return Case(
        name=f"{problem.name}, {name}",
        program=n * model.certificate_.upper,
        bound=n * model.certificate_.lower,
        network=float(misfit(net(X), Y) + BETA / 2 * ((net.weights_in**2).sum() + outward)),
        oracle=float(other),
        by="all angles" if gates is None else "ADMM",
        descents=ends.objective,
    )


def order(problem: Problem, rng: np.random.Generator) -> Order:
    """Return the optimum over networks, and the programs around it."""
    X, Y, n = problem.X, problem.Y, len(problem.X)
    grown = fitted(ReLU(bias=False), X, Y, BETA, gates="grow", tol=1e-6, random_state=0)
    net: Any = grown.network_
    squares = (net.weights_in**2).sum() + (net.weights_out**2).sum()
    gated, apart = (
        n * fitted(KINDS[name].architecture, X, Y, BETA).certificate_.upper
        for name in ("gated", "one-vs-all")
    )
    ends = adam(slope(X, Y, False), start(rng, problem, WIDTH), steps=STEPS, size=0.05)
    return Order(
        name=problem.name,
        gated=gated,
        bound=n * grown.certificate_.lower,
        exact=n * grown.certificate_.upper,
        network=float(misfit(net(X), Y) + BETA / 2 * squares),
        one_vs_all=apart,
        slide=n * column_cones(X, Y, alpha=BETA / n).value,
        descents=ends.objective,
    )


def start(rng: np.random.Generator, problem: Problem, width: int) -> Parts:
    """Return normal weights of both layers, (starts, m, d) and (starts, m, c)."""
    shapes = [(STARTS, width, part.shape[1]) for part in (problem.X, problem.Y)]
    return tuple(rng.standard_normal(shape) / width**0.5 for shape in shapes)


def rectified(X: Floats) -> Any:
    """Return what gives the activations of the neurons of some angles, (k, n, 1)."""
    return lambda angles: np.maximum(X @ units(angles), 0).T[:, :, None]


def slope(X: Floats, Y: Floats, apart: bool, gates: Gates | None = None) -> Slope:
    """Return the weight-decayed objective of networks, and its gradients.

    Of gated networks neuron j is on gate j, and again from the first; `apart` decays the square of
    the sum of a neuron's outward weights.
    """

    def value(parts: Parts) -> tuple[Floats, Parts]:
        inward, outward = parts
        raw = inward @ X.T
        on = raw > 0 if gates is None else np.concatenate([gates.masks, gates.masks])
        hidden = raw * on
        residual = hidden.swapaxes(1, 2) @ outward - Y
        if apart:
            sums = np.abs(outward).sum(axis=2, keepdims=True)
            decay, pulled = sums**2, np.sign(outward) * sums
        else:
            decay, pulled = outward**2, outward
        cost = (inward**2).sum(axis=(1, 2)) + decay.sum(axis=(1, 2))
        slopes = (
            (on * (outward @ residual.swapaxes(1, 2))) @ X + BETA * inward,
            hidden @ residual + BETA * pulled,
        )
        return (residual**2).sum(axis=(1, 2)) / 2 + BETA / 2 * cost, slopes

    return value


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the source errs."""
    off = [one.slide / one.exact - 1 for one in findings.orders]
    below = [1 - one.gated / one.exact for one in findings.orders]
    above = [one.one_vs_all / one.exact - 1 for one in findings.orders]
    gap = max(1 - one.bound / one.exact for one in findings.orders)
    ends = [one.descents.min() / one.exact - 1 for one in findings.orders]
    return (
        verdict(findings.cases),
        f"1/2 |F - Y|^2 + beta/2 (weights squared), beta = {BETA:g}. The best network is "
        f"grown, and over all networks its objective is proved to {gap:.0e}. The best of {STARTS} "
        f"descents are {min(ends):.0e} to {max(ends):.0e} above it.",
        f"Nuclear norms without cones are {min(below):.1%} to {max(below):.0%} below: exact for "
        "gated networks, a lower bound for ReLU ones. One-vs-all is "
        f"{min(above):.1%} to {max(above):.1%} above: exact where outward weights cost the square "
        "of their sum, an upper bound else.",
        "The source's theorem, nuclear norms with every column of U_i and V_i in its cone, is "
        f"{min(off):+.2%} to {max(off):+.2%} off: neither exact nor a bound on either side. Its "
        "singular vectors leave the cone. What is exact is the gauge of u g' with u in the cone, "
        "which is hard to compute in general.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the programs with their own networks, and the order of all."""
    figure, axes = canvas(1, 2, (10.6, height(len(findings.cases) + 2)), width_ratios=[1, 1.15])
    draw_cases(axes[0, 0], findings.cases, "slide")
    axes[0, 0].set_title("Each program is that of its networks")
    rows = [
        Between(one.name, one.gated, one.exact, one.one_vs_all, one.descents, one.slide)
        for one in findings.orders
    ]
    draw_between(axes[0, 1], rows, ("gated", "best network", "one-vs-all", "slide"))
    axes[0, 1].set_title("Below, at and above the best ReLU network")
    return figure
