"""What the experiments on one program each share: its optimum beside that of the networks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.figures import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED
from cvxnn.experiments.result import Table

REACHED = 1e-3
"""A start within this share above the optimum has reached it."""


class Case(NamedTuple):
    """One problem; objectives are 1/2 |f - y|^2 + beta * penalty, a sum over samples."""

    name: str
    program: float
    """The optimum that the convex program's solver found."""
    bound: float
    """What its dual point proves that no network is below."""
    network: float
    """The objective of the network that was read off it, from its weights alone."""
    oracle: float
    """The same optimum in another way."""
    by: str
    """Which way."""
    descents: Floats
    """(starts,): where descents on the networks' own weights came."""
    claim: float | None = None
    """What the source's formula gives, where it is another one."""

    @property
    def reached(self) -> int:
        """How many starts came near the optimum."""
        return int((self.above(self.descents) <= REACHED).sum())

    @property
    def under(self) -> int:
        """How many descents are below the bound by more than rounding: none, or it is wrong."""
        return int((self.descents < self.bound - 1e-9 * abs(self.program)).sum())

    def above(self, values: Any) -> Any:
        """Return how far values are above the optimum, as a share of it."""
        return (np.asarray(values) - self.program) / abs(self.program)


class Between(NamedTuple):
    """A best objective, and what is known around it."""

    name: str
    lower: float
    best: float
    upper: float
    descents: Floats
    """(starts,)."""
    claim: float | None = None


def fitted(architecture: Any, X: Floats, y: Floats, beta: float, **words: Any) -> ConvexRegressor:
    """Return the certified network of the problem on all patterns, without an intercept."""
    settings = {"gates": "enumerate", "fit_intercept": False, "tol": 1e-9, **words}
    return ConvexRegressor(architecture, alpha=beta / len(X), **settings).fit(X, y)


def misfit(outputs: Floats, y: Floats) -> Any:
    """Return 1/2 |outputs - y|^2."""
    return ((outputs - y) ** 2).sum() / 2


def table(cases: Sequence[Case], claim: str = "") -> Table:
    """Return all cases as text; with the source's values in a column called `claim`."""
    columns = (
        "", "program", "gap", "network - program", "another way", "by", "descents above", "reached",
        *([claim] if claim else []),
    )  # fmt: skip
    rows = []
    for case in cases:
        lowest = float(case.above(case.descents.min()))
        cells = [
            case.name,
            f"{case.program:.7f}",
            f"{max(0.0, float(-case.above(case.bound))):.0e}",
            f"{case.network - case.program:.0e}",
            f"{case.oracle:.7f}",
            case.by,
            f"{lowest:.0e}",
            f"{case.reached} of {len(case.descents)}",
        ]
        if claim:
            cells.append("" if case.claim is None else f"{case.claim:.7f}")
        rows.append(tuple(cells))
    return Table(columns, tuple(rows))


def verdict(cases: Sequence[Case]) -> str:
    """Return in a sentence how equal they are."""
    far = max(abs(float(case.above(case.network))) for case in cases)
    other = max(abs(float(case.above(case.oracle))) for case in cases)
    gap = max(float(-case.above(case.bound)) for case in cases)
    below = min(float((case.descents.min() - case.bound) / abs(case.program)) for case in cases)
    starts = sum(len(case.descents) for case in cases)
    under = sum(case.under for case in cases)
    ended = f"{under} descents ended below a bound, which disproves it"
    ended = ended if under else "No descent ended below a bound"
    reached = sum(case.reached for case in cases)
    missed = sum(case.reached == 0 for case in cases)
    never = f"; in {missed} of {len(cases)} problems none does" if missed else ""
    return (
        f"Program and network differ by {far:.0e} at most, relatively, the program and its other "
        f"computation by {other:.0e}; every optimum is proved to {max(gap, 0):.0e}. {ended} "
        f"(the nearest is {below:.0e} above). {reached} of {starts} came "
        f"within {REACHED:g} of the optimum{never}."
    )


def height(rows: int) -> float:
    """Return the height of a figure with so many rows, in inches."""
    return max(3.6, 1.6 + 0.3 * rows)


def draw_cases(axes: Any, cases: Sequence[Case], claim: str = "") -> None:
    """Draw a row per case: the ends of descents, the network, and what the source says."""
    rng = np.random.default_rng(0)
    for row, case in enumerate(cases):
        ends = 100 * case.above(case.descents)
        axes.plot(ends, row + rng.uniform(-0.25, 0.25, len(ends)), "o", color=GREY, markersize=3,
                  markeredgewidth=0, alpha=0.7)  # fmt: skip
        axes.plot([0], [row], "D", color=BLUE, markersize=6, zorder=3, clip_on=False)
        if case.claim is not None and abs(case.above(case.claim)) > REACHED:
            axes.plot(100 * case.above(case.claim), row, "X", color=RED, markersize=7, zorder=3)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_xscale("symlog", linthresh=0.1, linscale=0.6)
    shown = [100 * case.above(x) for case in cases for x in (*case.descents, case.claim or np.nan)]
    low, high = min(-0.05, 1.5 * np.nanmin(shown)), max(1.0, 1.5 * np.nanmax(shown))
    axes.axvspan(low, 0, color=PALE, linewidth=0)
    axes.set(xlim=(low, high), ylim=(len(cases) - 0.4, -0.6), xlabel="% above the optimum")
    axes.set_yticks(range(len(cases)), [case.name for case in cases])
    axes.tick_params(axis="y", length=0)
    marks = [t for t in (-100, -10, -1, -0.1, 0, 0.1, 1, 10, 100, 1000) if low <= t <= high]
    axes.set_xticks(marks, [f"{t:g}" for t in marks])
    axes.minorticks_off()
    axes.figure.legend(handles=_legend(claim), loc="outside lower left", ncols=4, frameon=False,
                       handletextpad=0.2, columnspacing=1.2)  # fmt: skip


def _legend(claim: str) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def marker(colour: str, kind: str, size: float, label: str) -> Any:
        return Line2D([], [], color=colour, marker=kind, markersize=size, linestyle="", label=label)

    return [
        marker(BLUE, "D", 6, "network of the program"),
        marker(GREY, "o", 4, "ends of descents"),
        *([marker(RED, "X", 7, claim)] if claim else []),
        Patch(color=PALE, label="no network (proved)"),
    ]


def draw_between(axes: Any, rows: Sequence[Between], names: Sequence[str]) -> None:
    """Draw a row each, relative to the best; `names` are of lower, best, upper and the claim."""
    near: Any = -0.1
    far: Any = 0.1
    for place, row in enumerate(rows):
        ends, low, high, claim = (
            100 * (np.asarray(v, dtype=float) / row.best - 1)
            for v in (row.descents, row.lower, row.upper, row.claim)
        )
        axes.plot([low, high], [place, place], color=GREY, linewidth=0.8, zorder=0)
        axes.plot(ends, np.full(len(ends), place + 0.22), "o", color=GREY, markersize=3, alpha=0.7,
                  markeredgewidth=0)  # fmt: skip
        axes.plot(low, place, "<", color=ORANGE, markersize=7)
        axes.plot(high, place, ">", color=GREEN, markersize=7)
        axes.plot(claim, place - 0.22, "X", color=RED, markersize=7)
        axes.plot(0, place, "D", color=BLUE, markersize=6)
        near, far = min(near, low), max(far, high, ends.max())
    axes.plot([0, 0], [-0.4, len(rows)], color=INK, linewidth=0.9, zorder=0)
    axes.set_xscale("symlog", linthresh=0.1, linscale=0.6)
    near, far = 2 * near, 3 * far
    marks = [t for t in (-100, -10, -1, -0.1, 0, 0.1, 1, 10, 100, 1000) if near <= t <= far]
    axes.set_xticks(marks, [f"{t:g}" for t in marks])
    axes.minorticks_off()
    axes.set(xlim=(near, far), ylim=(len(rows) - 0.4, -1.3), xlabel="% above the best")
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.tick_params(axis="y", length=0)
    false = np.nan if rows[0].claim is None else 100 * (rows[0].claim / rows[0].best - 1)
    tips = ((min(100 * (row.lower / row.best - 1) for row in rows), ORANGE, "left", 0.0),
            (0.0, BLUE, "center", 0.0),
            (max(100 * (row.upper / row.best - 1) for row in rows), GREEN, "right", 0.0),
            (false, RED, "center", 0.4))  # fmt: skip
    for name, (tip, colour, side, lift) in zip(names, tips, strict=False):
        axes.text(tip, -0.5 - lift, name, color=colour, ha=side, va="bottom")
