"""Ten samples in the plane: how many starts of gradient descent find the best network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvxnn.experiments.descent import Descent, Floats, descend
from cvxnn.experiments.figures import styled
from cvxnn.experiments.race import COLUMNS, NEAR, Grown, Lane, draw_race, grow, lane, rows
from cvxnn.experiments.result import Result, Table, record
from cvxnn.optima import optimal_set

NAME = "toy-sgd"
SAMPLES = 10
WIDTHS = (8, 15)
STARTS = 10
ALPHA = 0.01
"""Not stated on the slides; nor are the data, the step size and the number of steps."""
STEP, COOL, BATCH = 0.1, 1e-3, 5
DRAW = 2
"""Seed of the data that are shown; other draws are counted beside them."""
ONE_LESS = 3.8e-4
"""How far above the optimum of the data shown networks of one neuron less end at best; found by
many local searches, not proved."""
TOL = 1e-7


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    X: Floats
    y: Floats
    grown: Grown
    sizes: tuple[int, ...]
    """Neurons of every optimal network of which no part is optimal, the fewest first."""
    lanes: tuple[Lane, ...]
    other_draws: int
    other_starts: int
    """Starts on the other draws of the data, for each width."""
    other_reached: tuple[int, ...]
    """How many of them reached the optimum, for each width."""


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` adds steps and draws."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"{SAMPLES} samples in the plane: {STARTS} starts of SGD and the convex optimum",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def draw_data(seed: int) -> tuple[Floats, Floats]:
    """Return normal samples (n, 2) and random signs (n,)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((SAMPLES, 2)), rng.choice([-1.0, 1.0], SAMPLES)


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Certify the optimum, let descent try both widths, and count on other draws of the data."""
    rng, steps = np.random.default_rng(seed), 100_000 if full else 20_000
    X, y = draw_data(DRAW)
    model, grown = grow(X, y, ALPHA, tol=TOL, proof_time=1.0)
    optima = optimal_set(model.network_, X, y, alpha=ALPHA, fit_intercept=False)
    others = range(DRAW + 1, DRAW + (11 if full else 4))
    reached = np.zeros(len(WIDTHS), dtype=np.int64)
    for other in others:
        data = draw_data(other)
        _, best = grow(*data, ALPHA, tol=TOL, proof_time=1.0)
        reached += [lane(m, try_width(data, m, steps, rng), best).reached.sum() for m in WIDTHS]
    return Findings(
        X=X,
        y=y,
        grown=grown,
        sizes=tuple((optima.vertices() > 0).sum(axis=1).tolist()),
        lanes=tuple(lane(m, try_width((X, y), m, steps, rng), grown) for m in WIDTHS),
        other_draws=len(others),
        other_starts=STARTS * len(others),
        other_reached=tuple(reached.tolist()),
    )


def try_width(data: tuple[Floats, Floats], m: int, steps: int, rng: np.random.Generator) -> Descent:
    """Let all starts descend with m neurons."""
    return descend(
        *data,
        ALPHA,
        width=m,
        starts=STARTS,
        steps=steps,
        step_size=STEP,
        spread=m**-0.5,
        batch=BATCH,
        cool=COOL,
        rng=rng,
    )


def table(findings: Findings) -> Table:
    """Return the grown network and descent at every width as text."""
    return Table(COLUMNS, rows(findings.grown, findings.lanes))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    grown, fewest, most = findings.grown, findings.sizes[0], findings.sizes[-1]
    counts = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    unique = "one network" if len(findings.sizes) == 1 else f"{len(findings.sizes)} networks"
    ends = [(drawn.objective[:, -1] / grown.objective - 1).max() for drawn in findings.lanes]
    shares = ", ".join(f"{drawn.share()} with m = {drawn.m}" for drawn in findings.lanes)
    others = ", ".join(
        f"{reached} of {findings.other_starts} with m = {m}"
        for m, reached in zip(WIDTHS, findings.other_reached, strict=True)
    )
    return (
        f"No network of any width is below {grown.bound:.8f}, proved by {grown.proved_by} of all "
        f"patterns; the grown network has {grown.objective:.8f}.",
        f"The optimum needs {fewest} neurons: {unique} of {counts} neurons attain it, and every "
        f"other optimal network mixes these or splits neurons. With {fewest - 1} the best that "
        f"local searches find is {ONE_LESS:.1e} above, relatively, and counts as near.",
        f"Both widths have room for it. The starts of SGD that come within {NEAR:g} of it are "
        f"{shares}; the worst start ends {100 * ends[0]:.0f} % and {100 * ends[1]:.0f} % above.",
        f"On {findings.other_draws} other draws of the data: {others}.",
        "The slides state neither their data nor alpha, step size or number of steps. Here samples "
        f"are normal, labels are random signs and alpha = {ALPHA:g}; SGD takes {BATCH} samples a "
        f"step from starts of variance 1/m, and its step falls from {STEP:g} to {STEP * COOL:g}.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: a column per width, the certified bound as the floor."""
    return draw_race(findings.grown, findings.lanes, "no network of any width (certified)")
