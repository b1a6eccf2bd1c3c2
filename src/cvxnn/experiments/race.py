"""Gradient descent at several widths beside one network that is grown, and its certificate."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from cvxnn.architectures import Architecture, ReLU
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Descent, Floats
from cvxnn.experiments.figures import BLUE, GREEN, GREY, INK, ORANGE, PALE, beside, canvas

NEAR = 1e-3
"""A start whose objective is relatively this close to a value has reached it."""


class Grown(NamedTuple):
    """A network grown over all neurons, what is proved of it, and what it took."""

    objective: float
    bound: float
    gap: float
    """Relative."""
    scope: str
    proved_by: str
    neurons: int
    growth: tuple[tuple[float, float], ...]
    """(seconds, objective of the best network so far)."""
    seconds: float
    """Of growth and proof."""


class Lane(NamedTuple):
    """What descent did with m neurons from some starts."""

    m: int
    steps: NDArray[np.int64]
    seconds: Floats
    """Of wall time, for all starts together."""
    objective: Floats
    """(starts, k)."""
    reached: NDArray[np.bool_]
    """(starts,), whether the end is within NEAR of the grown network's objective, or below it."""

    def share(self) -> str:
        """Return how many of how many starts have reached it, as text."""
        return f"{int(self.reached.sum())} of {len(self.reached)}"


def grow(
    X: Floats,
    y: Floats,
    alpha: float,
    *,
    tol: float,
    proof_time: float,
    kind: Architecture | None = None,
) -> tuple[ConvexRegressor, Grown]:
    """Train over all networks of a kind, by default ReLU without biases, on X (n, d), y (n,)."""
    model = ConvexRegressor(
        kind or ReLU(bias=False),
        alpha=alpha,
        gates="grow",
        fit_intercept=False,
        tol=tol,
        proof_time=proof_time,
        random_state=0,
    )
    with warnings.catch_warnings():  # the gap that is left is among the findings
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    certificate, solution = model.certificate_, model.solution_
    return model, Grown(
        objective=certificate.upper,
        bound=certificate.lower,
        gap=certificate.relative_gap,
        scope=certificate.scope.name,
        proved_by=certificate.bound,
        neurons=model.network_.n_neurons,
        growth=tuple((seconds, found.upper) for _, seconds, found in solution.trace),
        seconds=solution.seconds + model.proof_.seconds,
    )


def lane(m: int, descent: Descent, grown: Grown) -> Lane:
    """Return what descent did, measured by the grown network."""
    return Lane(
        m,
        descent.steps,
        descent.seconds,
        descent.objective,
        descent.objective[:, -1] <= grown.objective * (1 + NEAR),
    )


def row(drawn: Lane) -> tuple[str, ...]:
    """Return a line of a table: width, best and median end, and how many starts reached."""
    ends = drawn.objective[:, -1]
    name = f"SGD, {len(ends)} starts of {drawn.steps[-1]} steps"
    best, median = (f"{value:.6f}" for value in (ends.min(), np.median(ends)))
    return name, f"{drawn.m}", best, median, "", drawn.share(), f"{drawn.seconds[-1]:.1f}"


def rows(grown: Grown, lanes: tuple[Lane, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the grown network and every width as lines of a table; see `COLUMNS`."""
    first = (
        "grown network",
        f"{grown.neurons}",
        f"{grown.objective:.6f}",
        "",
        f"{grown.bound:.6f}",
        "",
        f"{grown.seconds:.1f}",
    )
    return (first, *map(row, lanes))


COLUMNS = ("", "neurons", "best", "median", "lower bound", "as good as grown", "seconds")


def draw_race(grown: Grown, lanes: tuple[Lane, ...], floor: str) -> Any:
    """Return the figure: a column per width, against steps above and against time below.

    `floor` is written under the certified bound.
    """
    figure, axes = canvas(2, len(lanes), (5.0 * len(lanes), 6.0), sharey=True)
    high = 1.4 * max(float(drawn.objective[:, 0].max()) for drawn in lanes)
    low = grown.bound * (grown.bound / high) ** 0.2
    for (above, below), drawn in zip(axes.T, lanes, strict=True):
        for panel in (above, below):
            panel.axhspan(low, grown.bound, color=PALE, linewidth=0)
            panel.axhline(grown.bound, color=INK, linewidth=0.9)
        above.set(yscale="log", ylim=(low, high))
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0) if low < tick < high]
        above.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        _along_steps(above, grown, drawn)
        _along_time(below, grown, drawn)
    for panel in axes.ravel():
        panel.minorticks_off()
    for panel in axes[:, 0]:
        panel.set_ylabel("objective")
        panel.text(0.03, 0.04, floor, color=GREY, transform=panel.transAxes)
    return figure


def _along_steps(axes: Any, grown: Grown, drawn: Lane) -> None:
    curves(axes, drawn.steps, drawn.objective, drawn)
    axes.axhline(grown.objective, color=GREEN, linewidth=1.2)
    last = int(drawn.steps[-1])
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlim=(0, last), xlabel="step", title=f"m = {drawn.m} neurons")
    places = [0, *(10**k for k in range(1, 7, 2) if 10**k <= last)]
    axes.set_xticks(places, [f"{place:,}" for place in places])
    good, bad = int(drawn.reached.sum()), int((~drawn.reached).sum())
    counted = (
        (good, f"{good} starts as good as the grown network", BLUE),
        (bad, f"{bad} starts end above it" if good else "all starts end above the grown network",
         ORANGE),
    )  # fmt: skip
    corner(axes, [(text, colour) for count, text, colour in counted if count])
    best = float(drawn.objective[:, -1].min())
    beside(
        axes,
        [
            (best, f"SGD's best {best:.4f}", BLUE if good else ORANGE),
            (grown.objective, f"grown {grown.objective:.4f}", GREEN),
            (grown.bound, f"bound {grown.bound:.4f}", INK),
        ],
        gap=0.07,
    )


def _along_time(axes: Any, grown: Grown, drawn: Lane) -> None:
    curves(axes, drawn.seconds, drawn.objective, drawn)
    seconds, values = np.array(grown.growth).T
    until = 1.3 * max(float(drawn.seconds[-1]), grown.seconds)
    axes.step([*seconds, until], [*values, values[-1]], where="post", color=GREEN, linewidth=1.6)
    axes.plot(grown.seconds, grown.bound, "o", color=INK, markersize=4.5)
    first = min(float(drawn.seconds[1]), float(seconds[0]))
    axes.set(xscale="log", xlim=(first, until), xlabel="seconds, all starts together")
    places = [10.0**k for k in range(-4, 4) if first <= 10.0**k <= until]
    axes.set_xticks(places, [f"{place:g}" for place in places])
    took = f"{grown.seconds:.1f}"
    corner(axes, [(f"grown network, {grown.neurons} neurons", GREEN),
                   (f"dot: bound proved, after {took} s", INK)])  # fmt: skip


def curves(axes: Any, places: Any, values: Floats, drawn: Lane) -> None:
    """Draw values (starts, k), blue for the starts that are as good as the grown network."""
    for curve, reached in zip(values, drawn.reached, strict=True):
        colour = BLUE if reached else ORANGE
        axes.plot(places, curve, color=colour, linewidth=0.9, alpha=0.8)


def corner(axes: Any, lines: list[tuple[str, str]]) -> None:
    """Write lines (text, colour) in the upper right corner."""
    for i, (text, colour) in enumerate(lines):
        axes.text(0.97, 0.97 - 0.08 * i, text, color=colour, ha="right", va="top",
                  transform=axes.transAxes)  # fmt: skip
