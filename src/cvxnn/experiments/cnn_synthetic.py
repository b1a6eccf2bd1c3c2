"""Six signals, filters of ten: gradient descent on a convolutional network and its optimum."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvxnn.architectures import ConvReLU
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Floats, descend
from cvxnn.experiments.figures import styled
from cvxnn.experiments.race import COLUMNS, NEAR, Grown, Lane, draw_race, grow, lane, rows
from cvxnn.experiments.result import Result, Table, record

NAME = "cnn-synthetic"
SAMPLES, LENGTH, FILTER, STRIDE = 6, 15, 10, 5
WIDTHS = (3, 12)
STARTS = 5
ALPHA = 0.05
"""Not stated on the slides; nor are the data, the number of filters, and the step size."""
STEP, COOL = 0.02, 1e-2
TOL = 1e-7


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    X: Floats
    y: Floats
    patterns: int
    """Of activation, joint over the places."""
    grown: Grown
    lanes: tuple[Lane, ...]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` adds steps."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"{SAMPLES} signals of {LENGTH}, filters of {FILTER}: descent and the optimum",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Certify the optimum over all filters, and let descent try both widths."""
    rng, steps = np.random.default_rng(seed), 100_000 if full else 20_000
    X, y = rng.standard_normal((SAMPLES, LENGTH)), rng.standard_normal(SAMPLES)
    words: dict[str, Any] = {"kernel": FILTER, "stride": STRIDE, "pooling": "sum", "bias": False}
    kind = ConvReLU(shape=(1, LENGTH), **words)
    _, grown = grow(X, y, ALPHA, tol=TOL, proof_time=0.0, kind=kind)
    every = ConvexRegressor(kind, alpha=ALPHA, gates="enumerate", fit_intercept=False, tol=TOL)
    proved = every.fit(X, y).certificate_
    grown = grown._replace(
        bound=proved.lower,
        gap=(grown.objective - proved.lower) / grown.objective,
        scope=proved.scope.name,
        proved_by="enumeration",
        seconds=grown.seconds + every.solution_.seconds,
    )
    patches = kind.patches.rows(X)
    lanes = []
    for m in WIDTHS:
        found = descend(
            patches,
            y,
            ALPHA,
            width=m,
            starts=STARTS,
            steps=steps,
            step_size=STEP,
            spread=m**-0.5,
            cool=COOL,
            places=kind.patches.count,
            rng=rng,
        )
        lanes.append(lane(m, found, grown))
    return Findings(X=X, y=y, patterns=len(every.generators_), grown=grown, lanes=tuple(lanes))


def table(findings: Findings) -> Table:
    """Return the grown network and descent at every width as text."""
    return Table(COLUMNS, rows(findings.grown, findings.lanes))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    grown = findings.grown
    shares = ", ".join(f"{drawn.share()} with {drawn.m} filters" for drawn in findings.lanes)
    return (
        f"No network with filters of this size, of any width, is below {grown.bound:.8f}: all "
        f"{findings.patterns} patterns are in one program. The grown network has "
        f"{grown.neurons} filters and {grown.objective:.8f}.",
        f"The starts of gradient descent that come within {NEAR:g} of it are {shares}.",
        "The slides show one run of five starts and the convex optimum, each with its total time, "
        f"and state neither data nor alpha nor the number of filters. Here signals and targets are "
        f"normal, alpha = {ALPHA:g}, and descent takes all samples in every step.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: a column per width, the certified bound as the floor."""
    return draw_race(findings.grown, findings.lanes, "no network is below")
