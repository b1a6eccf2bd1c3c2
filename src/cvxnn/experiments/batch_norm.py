"""Batch normalisation before and after the ReLU: the convex programs against the networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvxnn.architectures import BatchNorm, BatchNormAfter, ReLU
from cvxnn.experiments.circle import Atoms, best_on_circle, units, walls
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.equality import Case, draw_cases, fitted, height, misfit, table, verdict
from cvxnn.experiments.figures import BLUE, GREEN, ORANGE, beside, canvas, styled
from cvxnn.experiments.result import Result, record
from cvxnn.experiments.starts import Parts, Slope, adam
from cvxnn.functions import GroupNorm, Nonnegative, Squared, mean_loss
from cvxnn.gates import enumerate_patterns
from cvxnn.maps import Stacked, StackedRows
from cvxnn.program import Constraint, Program
from cvxnn.solve import solve
from cvxnn.solvers import Reference

NAME = "batch-norm"
TITLE = "Networks with batch normalisation: the convex programs and the networks"
BETA = 0.3
STARTS, WIDTH, STEPS = 20, 10, 600
KNOWN = (
    np.array([[1.0, 0.0], [1.0, 0.5], [1.0, 1.0], [1.0, 2.0]]),
    np.array([2.0, 0.0, 0.0, 0.0]),
)
"""Four samples, of which the first column does not vary."""
LAYERS = {
    "before": BatchNorm(unit_scale=True),
    "after": BatchNormAfter(bias=False, unit_scale=True),
}
"""Normalised to length 1, as the source has it; the shift adds b to every sample."""
SCALES = tuple(float(c) for c in np.geomspace(0.1, 10, 5))


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    cases: tuple[Case, ...]
    scales: tuple[float, ...]
    """Factors on the first column of a random problem."""
    scaled: dict[str, Floats]
    """The optima at these factors, without a normalising layer, and with one."""


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
    """Solve the known problem and random ones, with the layer before and after the ReLU."""
    rng = np.random.default_rng(seed)
    problems = {"Four samples": KNOWN}
    for k in range(10 if full else 2):
        problems[f"Random {k + 1}"] = rng.standard_normal((6, 2)), rng.standard_normal(6)
    return Findings(
        cases=tuple(
            compare(f"{name}, {place}", X, y, place, rng)
            for place in LAYERS
            for name, (X, y) in problems.items()
        ),
        scales=SCALES,
        scaled=rescaled(*problems["Random 1"]),
    )


def compare(name: str, X: Floats, y: Floats, place: str, rng: np.random.Generator) -> Case:
    """Return the program's optimum beside its network, descents, and the slide's program."""
    layer, n = LAYERS[place], len(X)
    model = fitted(layer, X, y, BETA)
    net: Any = model.network_
    squares = (net.gammas**2).sum() + (net.shifts**2).sum() + (net.weights_out**2).sum()
    ends = adam(slope(X, y, place), start(rng, X.shape[1]), steps=STEPS, size=0.05)
    if place == "before":
        oracle, by = fitted_white(X, y), "ReLU on [U, 1]"
    else:
        oracle, by = best_on_circle(normalised(X), y[:, None], BETA, walls(X)), "all angles"
    return Case(
        name=name,
        program=n * model.certificate_.upper,
        bound=n * model.certificate_.lower,
        network=float(misfit(net(X)[:, 0], y) + BETA / 2 * squares),
        oracle=oracle,
        by=by,
        descents=ends.objective,
        claim=uncentred(X, y) if place == "after" else None,
    )


def start(rng: np.random.Generator, d: int) -> Parts:
    """Return normal weights: directions (starts, m, d), then scales, shifts and outward ones."""
    shapes = ((STARTS, WIDTH, d), *[(STARTS, WIDTH)] * 3)
    return tuple(rng.standard_normal(shape) / WIDTH**0.25 for shape in shapes)


def slope(X: Floats, y: Floats, place: str) -> Slope:
    """Return the weight-decayed objective of networks with batch normalisation, and gradients."""

    def value(parts: Parts) -> tuple[Floats, Parts]:
        inward, gamma, beta, outer = parts
        raw = inward @ X.T
        before = raw if place == "before" else np.maximum(raw, 0)
        centred = before - before.mean(axis=2, keepdims=True)
        length = np.maximum(np.linalg.norm(centred, axis=2, keepdims=True), 1e-12)
        normal = centred / length
        values = gamma[:, :, None] * normal + beta[:, :, None]
        hidden = np.maximum(values, 0) if place == "before" else values
        residual = (outer[:, None, :] @ hidden)[:, 0] - y
        decay = sum((part**2).sum(axis=1) for part in (gamma, beta, outer))
        pull = outer[:, :, None] * residual[:, None, :]
        pull = pull * (values > 0) if place == "before" else pull
        turn = gamma[:, :, None] * pull
        turn = (turn - normal * (turn * normal).sum(axis=2, keepdims=True)) / length
        turn = turn - turn.mean(axis=2, keepdims=True)
        turn = turn if place == "before" else turn * (raw > 0)
        slopes = (
            turn @ X,
            (pull * normal).sum(axis=2) + BETA * gamma,
            pull.sum(axis=2) + BETA * beta,
            (hidden @ residual[:, :, None])[:, :, 0] + BETA * outer,
        )
        return (residual**2).sum(axis=1) / 2 + BETA / 2 * decay, slopes

    return value


def fitted_white(X: Floats, y: Floats) -> float:
    """Return the optimum of ReLU networks on [U, 1], U of the centred data."""
    left, values, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    white = np.column_stack([left[:, values > 1e-9 * values[0]], np.ones(len(X))])
    return len(X) * fitted(ReLU(bias=False), white, y, BETA).certificate_.upper


def normalised(X: Floats) -> Atoms:
    """Return what a neuron of every angle gives: its activations normalised, and the shift."""

    def atoms(angles: Floats) -> Floats:
        hidden = np.maximum(X @ units(angles), 0).T
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        moving = np.where(lengths > 1e-9, centred / np.maximum(lengths, 1e-9), 0.0)
        return np.stack([moving, np.ones_like(moving)], axis=2)

    return atoms


def uncentred(X: Floats, y: Floats) -> float:
    """Return the optimum with the slide's U_i, of the active rows D_i X, which are not centred."""
    n, d = X.shape
    factors, rows = [], []
    for mask in enumerate_patterns(X).masks:
        left, values, right = np.linalg.svd(mask[:, None] * X, full_matrices=False)
        kept = values > 1e-9 * values[0]
        back = np.where(kept, right.T / np.where(kept, values, 1.0), 0.0)
        factors.append(np.column_stack([np.where(kept, left, 0.0), np.ones(n)]))
        rows.append(np.column_stack([np.where(mask[:, None], X, -X) @ back, np.zeros(n)]))
    turned = [part * np.append(-np.ones(d), 1.0) for part in factors]
    program = Program(
        loss=mean_loss(Squared(), y[:, None], np.ones(n)),
        lift=Stacked(np.array([*factors, *turned]), 1),
        penalty=GroupNorm(BETA / n),
        free=np.zeros((n, 0)),
        constraint=Constraint(StackedRows(np.array([*rows, *rows]), 1), Nonnegative()),
    )
    found = solve(program, Reference(), tol=1e-7).certificate
    return float(n * (found.upper + found.lower) / 2)


def rescaled(X: Floats, y: Floats) -> dict[str, Floats]:
    """Return the optima when the first column is multiplied by every scale."""
    kinds = {"no layer": ReLU(bias=False), **LAYERS}
    return {
        name: len(X)
        * np.array([fitted(kind, X * (c, 1.0), y, BETA).certificate_.upper for c in SCALES])
        for name, kind in kinds.items()
    }


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the source errs."""
    after = [case for case in findings.cases if case.claim is not None]
    ratios = [float(case.above(case.claim)) for case in after]
    plain = findings.scaled["no layer"]
    spread = max(np.ptp(findings.scaled[place]) / findings.scaled[place][0] for place in LAYERS)
    return (
        verdict(findings.cases),
        f"1/2 |f - y|^2 + beta/2 (gammas, shifts and outward weights, squared), beta = {BETA:g}. "
        "The source penalises W1 and W2 alone: then gamma large and W2 small make the penalty "
        "vanish. W1 has no length that counts, for the layer divides by it.",
        "The source's program for the layer after the ReLU has the U_i of D_i X. What the layer "
        "whitens is centred: U_i of D_i X less its column means. With the source's U_i the value "
        f"is {min(ratios):+.0%} to {max(ratios):+.0%} off the optimum.",
        "Before the ReLU the program is the ReLU one on [U, 1], U of the centred data.",
        "Normalised networks see no units: multiplying a column by 0.1 to 10 moves their optimum "
        f"by {spread:.0e}, relatively, and that of the network without a layer from "
        f"{plain[0]:.3f} to {plain[-1]:.3f}.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the cases, and the optima against the scale of a column."""
    figure, axes = canvas(1, 2, (9.6, height(len(findings.cases))), width_ratios=[1.35, 1])
    draw_cases(axes[0, 0], findings.cases, "slide's U of D X, not centred")
    axes[0, 0].set_title("The network of the program is the best one")
    panel = axes[0, 1]
    looks = {"no layer": ORANGE, "before": BLUE, "after": GREEN}
    for name, values in findings.scaled.items():
        panel.plot(findings.scales, values, "o-", color=looks[name], markersize=4)
    panel.set(xscale="log", xlabel="factor on the first column", ylabel="certified optimum")
    panel.set_ylim(0, None)
    panel.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    panel.minorticks_off()
    texts = {"no layer": "ReLU alone", "before": "normalised before", "after": "normalised after"}
    beside(panel, [(findings.scaled[k][-1], texts[k], looks[k]) for k in looks])
    panel.set_title("With batch normalisation units do not matter")
    return figure
