"""Polynomial activations: the semidefinite program against the networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cvxnn.architectures import Polynomial
from cvxnn.experiments.circle import best_on_circle, units
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.equality import Case, draw_cases, fitted, height, misfit, table, verdict
from cvxnn.experiments.figures import BLUE, GREY, INK, PALE, canvas, styled
from cvxnn.experiments.result import Result, record
from cvxnn.experiments.starts import Parts, Slope, adam

NAME = "polynomial"
TITLE = "Networks with a quadratic activation: the semidefinite program and the networks"
STARTS, WIDTH, STEPS = 20, 8, 800
BETA = 0.5
SQUARE = Polynomial(bias=False, square=1.0, linear=0.0, constant=0.0)
LIKE_RELU = Polynomial(bias=False)
"""0.09 t^2 + 0.5 t + 0.47."""
KINDS = {"square": SQUARE, "like ReLU": LIKE_RELU}
KNOWN = np.eye(2), np.array([2.0, -1.0])
"""The optimum is Z = diag(1.5, -0.5), of objective 1.25."""


class Prices(NamedTuple):
    """What a neuron of every angle would gain, and the network's own neurons."""

    angles: Floats
    prices: Floats
    own: Floats
    """(m,), angles of the neurons, of either sign for a square."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    cases: tuple[Case, ...]
    priced: Prices
    """Of the first random problem, like a ReLU."""


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
    """Solve the known problem and random ones, and price all angles of one."""
    rng = np.random.default_rng(seed)
    cases = [compare("Two samples, square", *KNOWN, SQUARE, rng)]
    problems = [problem(rng) for _ in range(10 if full else 2)]
    for k, (X, y) in enumerate(problems):
        for name, kind in KINDS.items():
            cases.append(compare(f"Random {k + 1}, {name}", X, y, kind, rng))
    return Findings(cases=tuple(cases), priced=price(*problems[0]))


def problem(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return samples of the plane and targets with a product in them."""
    X = rng.standard_normal((8, 2))
    return X, X[:, 0] * X[:, 1] + rng.standard_normal(8)


def activation(kind: Polynomial, t: Floats) -> Floats:
    """Return the activation of values."""
    return np.asarray((kind.square * t + kind.linear) * t + kind.constant)


def compare(name: str, X: Floats, y: Floats, kind: Polynomial, rng: np.random.Generator) -> Case:
    """Return the program's optimum beside its network, a lasso over all angles, and descents."""
    n = len(X)
    model = fitted(kind, X, y, BETA, gates="auto")
    net: Any = model.network_
    lengths = np.linalg.norm(net.weights_in, axis=1)
    hidden = activation(kind, X @ (net.weights_in / lengths[:, None]).T)
    # a neuron of a square may have any length; its square is a factor of the outward weight
    outward = net.weights_out[:, 0] * (lengths**2 if kind.pure else 1.0)
    known = X is KNOWN[0]
    other = best_on_circle(
        lambda angles: activation(kind, X @ units(angles)).T[:, :, None], y[:, None], BETA
    )
    return Case(
        name=name,
        program=n * model.certificate_.upper,
        bound=n * model.certificate_.lower,
        network=float(misfit(hidden @ outward, y) + BETA * np.abs(outward).sum()),
        oracle=1.25 if known else other,
        by="closed form" if known else "all angles",
        descents=adam(slope(X, y, kind), start(rng), steps=STEPS, size=0.05).objective,
    )


def start(rng: np.random.Generator) -> Parts:
    """Return directions (starts, m, 2) and the two factors of outward weights, (starts, m)."""
    inward = rng.standard_normal((STARTS, WIDTH, 2))
    both = rng.standard_normal((2, STARTS, WIDTH)) / WIDTH**0.25
    return inward, both[0], both[1]


def slope(X: Floats, y: Floats, kind: Polynomial) -> Slope:
    """Return 1/2 |f - y|^2 + beta/2 (p^2 + r^2) with outward weights p r, and its gradients.

    The penalty is beta times the sum of |p r| at its least; directions are divided by their length.
    """

    def value(parts: Parts) -> tuple[Floats, Parts]:
        inward, p, r = parts
        length = np.linalg.norm(inward, axis=2, keepdims=True)
        unit = inward / length
        t = unit @ X.T
        hidden = activation(kind, t)
        residual = ((p * r)[:, None, :] @ hidden)[:, 0] - y
        total = (residual**2).sum(axis=1) / 2 + BETA / 2 * (p**2 + r**2).sum(axis=1)
        pull = (hidden @ residual[:, :, None])[:, :, 0]
        rate = (2 * kind.square * t + kind.linear) * (p * r)[:, :, None] * residual[:, None, :]
        turn = rate @ X
        turn = (turn - unit * (turn * unit).sum(axis=2, keepdims=True)) / length
        return total, (turn, pull * r + BETA * p, pull * p + BETA * r)

    return value


def price(X: Floats, y: Floats) -> Prices:
    """Return what the dual point says of the neurons of every angle."""
    model = fitted(LIKE_RELU, X, y, BETA, gates="auto")
    net: Any = model.network_
    angles = np.linspace(0, 2 * np.pi, 721)
    dual = y - model.predict(X)
    own = np.arctan2(net.weights_in[:, 1], net.weights_in[:, 0]) % (2 * np.pi)
    return Prices(angles, dual @ activation(LIKE_RELU, X @ units(angles)), own)


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and what the source leaves open."""
    most = np.abs(findings.priced.prices).max()
    return (
        verdict(findings.cases),
        f"1/2 |f - y|^2 + beta * sum of |outward weights|, neurons of length 1, beta = {BETA:g}. "
        "No pattern is listed: the program has two positive semidefinite matrices of order d + 1, "
        "and its network is read off by the neural decomposition.",
        f"No neuron gains more than it costs: the largest price of all angles is {most:.6f}, where "
        f"beta is {BETA:g}, and the {len(findings.priced.own)} neurons are where it is reached. "
        "This largest price is a trust-region problem, so a proof over all networks takes "
        "polynomial time; for ReLU neurons it is hard.",
        "The source's sentence that polynomial networks are trained in polynomial time is right "
        "for degree 2 and this penalty. With plain weight decay on both layers, sum of |a| |u|^2 "
        "to the power 2/3, the problem is concave in the sizes and hard; cubes of both have the "
        "same optimum as this penalty.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the cases, and the prices of all angles."""
    figure, axes = canvas(1, 2, (9.8, height(len(findings.cases))), width_ratios=[1.2, 1])
    draw_cases(axes[0, 0], findings.cases)
    axes[0, 0].set_title("The network of the program is the best one")
    panel, priced = axes[0, 1], findings.priced
    degrees = 180 / np.pi
    top = 1.5 * BETA
    for side in (1, -1):
        panel.fill_between([0, 360], side * BETA, side * top, color=PALE, linewidth=0)
        panel.axhline(side * BETA, color=INK, linewidth=0.9)
    panel.plot(degrees * priced.angles, priced.prices, color=BLUE)
    at = np.interp(priced.own, priced.angles, priced.prices)
    panel.plot(degrees * priced.own, at, "D", color=BLUE, markersize=6)
    panel.set(xlim=(0, 360), ylim=(-top, top), xlabel="angle of a neuron, degrees")
    panel.set_ylabel("what it gains per unit of weight")
    panel.set_xticks(range(0, 361, 90))
    panel.text(6, 1.22 * BETA, "would pay: there is none", color=GREY, va="center")
    panel.set_title("Neurons are where gain meets cost, beta")
    return figure
