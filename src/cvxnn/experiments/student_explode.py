"""Why wide networks of a student report explode: its step is too long for their curvature."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cvxnn.experiments.descent import Floats, curvature, descend, start
from cvxnn.experiments.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, canvas, styled
from cvxnn.experiments.race import Grown, grow
from cvxnn.experiments.result import Result, Table, record

NAME = "student-explode"
SAMPLES = (10, 100, 500)
FEATURES = 3
RUNS = 10
ALPHA = 0.02
STEP = 0.1
"""On the mean over samples, for all; like alpha not stated in the report."""
STEPS = 200
COLOURS = (ORANGE, GREEN, BLUE)
"""For every n."""
AROUND = 9
"""Over how many neighbouring widths the shares are smoothed where every width is tried."""
FEW = (2, 5, 10, 20, 30, 50, 70, 100)


class Runs(NamedTuple):
    """Runs with m neurons on n samples, each with its own data and weights."""

    n: int
    m: int
    curvature: Floats
    """(runs,), where each starts."""
    diverged: tuple[bool, ...]


class Tally(NamedTuple):
    """How many runs began with steps of so many times 2 / curvature, and how many diverged."""

    low: float
    high: float | None
    runs: int
    diverged: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    runs: tuple[Runs, ...]
    tallies: tuple[Tally, ...]
    grown: tuple[Grown, ...]
    """Of one draw of the data for each n."""


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes every m up to 100."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"Share of runs that diverge with {STEPS} steps of {STEP:g}, against the width",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Count the runs that diverge at every width; certify a network on as many samples."""
    widths = tuple(range(2, 101)) if full else FEW
    runs = tuple(try_width(n, m, seed) for n in SAMPLES for m in widths)
    proof_time = 30.0 if full else 2.0
    return Findings(
        runs=runs,
        tallies=tuple(tally(runs, low, high) for low, high in ((0, 1), (1, 2), (2, None))),
        grown=tuple(
            grow(*draw_data(np.random.default_rng([seed, n]), n), ALPHA, tol=1e-4,
                 proof_time=proof_time)[1]
            for n in SAMPLES
        ),
    )  # fmt: skip


def draw_data(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Return normal samples (n, 3) and random signs (n,)."""
    return rng.standard_normal((n, FEATURES)), rng.choice([-1.0, 1.0], n)


def try_width(n: int, m: int, seed: int) -> Runs:
    """Draw data and weights of variance 1 anew for each run, and descend."""
    sharpness, diverged = [], []
    for k in range(RUNS):
        X, y = draw_data(np.random.default_rng([seed, n, m, k, 0]), n)
        first, same = (np.random.default_rng([seed, n, m, k, 1]) for _ in range(2))
        weights = start(first, 1, m, FEATURES, 1.0)
        sharpness.append(float(curvature(X, weights, ALPHA)[0]))
        found = descend(X, y, ALPHA, width=m, starts=1, steps=STEPS, step_size=STEP, rng=same)
        diverged.append(bool(found.diverged[0]))
    return Runs(n, m, np.array(sharpness), tuple(diverged))


def tally(runs: tuple[Runs, ...], low: float, high: float | None) -> Tally:
    """Count the runs whose step begins between low and high times 2 / curvature."""
    excess = STEP * np.concatenate([some.curvature for some in runs]) / 2
    lost = np.concatenate([np.array(some.diverged) for some in runs])
    inside = (excess > low) & (excess <= (np.inf if high is None else high))
    return Tally(low, high, int(inside.sum()), int(lost[inside].sum()))


def table(findings: Findings) -> Table:
    """Return the share that diverges and the curvature at some widths, and the certificates."""
    lines = []
    for n, grown in zip(SAMPLES, findings.grown, strict=True):
        for some in findings.runs:
            if some.n == n and some.m in (2, 10, 20, 50, 100):
                sharp = float(np.median(some.curvature))
                share = f"{sum(some.diverged)} of {RUNS}"
                lines.append((f"SGD, n = {n}", f"{some.m}", share, f"{sharp:.1f}", "", "", ""))
        lines.append(
            (
                f"grown, n = {n}",
                f"{grown.neurons}",
                "",
                "",
                f"{grown.objective:.6f}",
                f"{grown.bound:.6f}",
                grown.proved_by,
            )
        )
    columns = ("", "neurons", "diverged", "curvature", "objective", "lower bound", "proved by")
    return Table(columns, tuple(lines))


def slopes(findings: Findings) -> tuple[float, ...]:
    """Return for every n the exponent p of the best fit of median curvature ~ m^p."""
    fits = []
    for n in SAMPLES:
        some = [each for each in findings.runs if each.n == n]
        medians = [np.median(each.curvature) for each in some]
        fits.append(float(np.polyfit(np.log([each.m for each in some]), np.log(medians), 1)[0]))
    return tuple(fits)


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the report errs."""
    within, beyond, far = findings.tallies
    powers = ", ".join(f"{power:.2f}" for power in slopes(findings))
    gaps = ", ".join(
        f"{grown.gap:.1e} by {grown.proved_by} at n = {n}"
        for n, grown in zip(SAMPLES, findings.grown, strict=True)
    )
    return (
        f"One step size, {STEP:g}, serves all widths. Steps beyond 2 / curvature are unstable, and "
        f"from weights of variance 1 the curvature grows about as the width: as m to the power "
        f"{powers} at n = {', '.join(map(str, SAMPLES))}.",
        f"Of the runs whose step begins within 2 / curvature {within.diverged} of {within.runs} "
        f"diverge; with one to two times that {beyond.diverged} of {beyond.runs}, as descent "
        f"mostly finds flatter places first; with more {far.diverged} of {far.runs}.",
        "The report finds that n does not matter. It hardly does for steps on the mean over "
        "samples, whose curvature does not grow with n; on the sum it is n times as large. Ten "
        "samples vary more, and have somewhat more.",
        "The report takes the explosions for evidence against m >= 2P. They say nothing of the "
        "optimum: shorter steps or starts of variance 1/m end them (see student-2).",
        f"Growing a network has no step to choose, and its gap is certified: {gaps}.",
        f"The report states neither step size, penalty nor labels; here labels are random signs, "
        f"alpha = {ALPHA:g}, and a run of {STEPS} full steps diverges if it ends above its start.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the share that diverges, the curvature, and the one by the other."""
    figure, axes = canvas(1, 3, (13.0, 3.9))
    shares, sharpness, strips = axes[0]
    for i, (n, colour) in enumerate(zip(SAMPLES, COLOURS, strict=True)):
        some = [each for each in findings.runs if each.n == n]
        _draw_shares(shares, some, colour)
        _draw_curvature(sharpness, some, colour)
        _draw_strip(strips, some, i)
        shares.text(0.97, 0.22 - 0.08 * i, f"n = {n}", color=colour, ha="right",
                    transform=shares.transAxes)  # fmt: skip
    shares.set(xlabel="m, neurons", ylim=(-0.02, 1.04), xlim=(0, 102))
    shares.set_yticks([0, 0.5, 1], ["0", "half", "all"])
    every = len(findings.runs) > len(SAMPLES) * len(FEW)
    what = (
        f"that diverge; line: mean of {AROUND} widths" if every else f"of {RUNS} runs that diverge"
    )
    shares.set_title(f"Share {what}")
    _finish_curvature(sharpness)
    _finish_strips(strips)
    return figure


def _draw_shares(axes: Any, some: list[Runs], colour: str) -> None:
    widths, shares = np.array([each.m for each in some]), [np.mean(each.diverged) for each in some]
    if len(some) <= len(FEW):
        axes.plot(widths, shares, color=colour, marker="o", markersize=3)
        return
    axes.plot(widths, shares, "o", color=colour, markersize=2.5, alpha=0.4, markeredgewidth=0)
    inside = slice(AROUND // 2, -(AROUND // 2))
    even = np.convolve(shares, np.full(AROUND, 1 / AROUND), mode="valid")
    axes.plot(widths[inside], even, color=colour)


def _draw_curvature(axes: Any, some: list[Runs], colour: str) -> None:
    widths, values = [each.m for each in some], np.array([each.curvature for each in some])
    low, high = np.quantile(values, (0.1, 0.9), axis=1)
    axes.fill_between(widths, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(widths, np.median(values, axis=1), color=colour)


def _finish_curvature(axes: Any) -> None:
    axes.axhline(2 / STEP, color=INK, linewidth=0.9)
    axes.text(2.1, 2.2 / STEP, f"2 / step = {2 / STEP:g}", color=INK)
    axes.text(0.97, 0.05, "median, and 10 to 90 %", color=GREY, ha="right",
              transform=axes.transAxes)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="m, neurons", xlim=(2, 100))
    axes.set_xticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
    axes.set_yticks([1, 10, 100], ["1", "10", "100"])
    axes.set_title("Curvature where runs begin")
    axes.minorticks_off()


def _draw_strip(axes: Any, some: list[Runs], place: int) -> None:
    excess = STEP / 2 * np.concatenate([each.curvature for each in some])
    lost = np.concatenate([np.array(each.diverged) for each in some])
    heights = place + np.random.default_rng(0).uniform(-0.3, 0.3, len(excess))
    for which, colour in ((~lost, GREY), (lost, PURPLE)):
        axes.plot(excess[which], heights[which], "o", color=colour, markersize=2.5, alpha=0.6,
                  markeredgewidth=0)  # fmt: skip


def _finish_strips(axes: Any) -> None:
    axes.axvline(1, color=INK, linewidth=0.9)
    axes.set(xscale="log", xlabel="step * curvature / 2 where a run begins", ylim=(-0.5, 2.9))
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.set_yticks(range(len(SAMPLES)), [f"n = {n}" for n in SAMPLES])
    axes.tick_params(axis="y", length=0)
    axes.text(0.03, 0.97, "does not diverge", color=GREY, va="top", transform=axes.transAxes)
    axes.text(0.97, 0.97, "diverges", color=PURPLE, ha="right", va="top", transform=axes.transAxes)
    axes.set_title("Every run; the line is step = 2 / curvature")
    axes.minorticks_off()
