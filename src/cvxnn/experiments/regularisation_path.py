"""The regularisation path, and the sizes of all optimal networks along it."""

from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cvxnn.experiments.descent import Floats
from cvxnn.experiments.figures import BLUE, GREY, INK, ORANGE, PALE, RED, canvas, styled
from cvxnn.experiments.optimal_sizes import RING, WIDTHS, Closer, Findings, Line, Point, measure
from cvxnn.experiments.result import Result, Table, record

NAME = "path"
TITLE = "The regularisation path, and the sizes of all optimal networks along it"


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes more strengths and more descents, and adds a real table.
    """
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


def table(findings: Findings) -> Table:
    """Return the strengths at which the sizes are others than before, as text."""
    columns = (
        "", "alpha / alpha_max", "objective", "relative gap", "one network", "smallest",
        "irreducible", "all different", "how many",
    )  # fmt: skip
    rows = [
        (
            line.name,
            f"{point.share:.4f}",
            f"{point.objective:.8f}",
            f"{max(0.0, 1 - point.bound / point.objective):.0e}",
            "yes" if point.unique else "no",
            f"{point.smallest}",
            f"{point.largest}",
            f"{point.directions}",
            f"{point.vertices}",
        )
        for line in findings.lines
        for point in turns(line)
    ]
    return Table(columns, tuple(rows))


def turns(line: Line) -> list[Point]:
    """Return the first point of every stretch of equal sizes, and the last of all."""
    changed = [b for a, b in pairwise(line.points) if a[4:] != b[4:]]
    last = line.points[-1]
    return [line.points[0], *changed, *([] if last in changed else [last])]


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the source is imprecise."""
    close, least = findings.closer, int((findings.closer.vertices[0] > 0).sum())
    below = close.descent[least - 2] / close.objective - 1
    spread = max(abs(value - close.objective) for _, value in close.divided) / close.objective
    return (
        *map(story, findings.lines),
        "An optimal network is irreducible where its neurons' outputs on the samples are "
        "independent; all optimal networks are mixtures of these, with neurons split or not. All "
        "have the same outputs on the samples and the same sum of |u| |a|, not the same outputs "
        "elsewhere. The table has the smallest optimal network, the largest irreducible one, the "
        "largest whose neurons all differ, and how many irreducible ones there are.",
        f"The source has the optimal networks with m neurons for m = 1, 2, ... There is one for "
        f"every m from the smallest on, by splitting, and none below: at {close.share:g} alpha_max "
        f"the symmetric samples need {least} neurons, {least - 1} are {below:.1%} above the "
        f"optimum in the best of many descents. From {close.divided[0][0]} neurons to "
        f"{close.divided[-1][0]} by splitting, the objective stays the same to {spread:.0e}.",
        *retreats(findings),
        "Where many networks are optimal, a solver's count is one of many; these are counted on "
        "the optimal set, whose vertices are listed one by one.",
    )


def story(line: Line) -> str:
    """Return what one path shows in a sentence or two."""
    many = [point for point in line.points if not point.unique]
    scope = (
        "All patterns are listed."
        if line.gates == "enumerate"
        else "Optimal means among the networks with the patterns of the one that was grown."
    )
    found = (
        f"one network is optimal at {len(line.points) - len(many)} of {len(line.points)} strengths"
    )
    sizes = sorted({(point.smallest, point.largest) for point in many})
    others = " or ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in sizes)
    more = f", and elsewhere several are, irreducible ones of {others} neurons" if many else ""
    return (
        f"{line.name}, {line.samples} x {line.features}: {found}{more}. Every objective is proved "
        f"over all networks to a relative gap of {line.gap:.0e} or less. {scope}"
    )


def retreats(findings: Findings) -> tuple[str, ...]:
    """Return where a weaker strength needs fewer neurons, if anywhere."""
    found = [(line, *pair) for line in findings.lines for pair in line.drops()]
    if not found:
        return ()
    line, strong, weak = found[0]
    return (
        "That the number of neurons decreases as the strength grows is a trend, not a law: for "
        f"the {line.name.lower()} it grows from {weak.smallest} at {weak.share:.3f} alpha_max to "
        f"{strong.smallest} at {strong.share:.3f}.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: objectives over sizes, a column per path, and the ring in close-up."""
    columns = len(findings.lines) + 1
    figure, axes = canvas(2, columns, (4.0 * columns, 6.8))
    for column, line in zip(axes.T, findings.lines, strict=False):
        _draw_objective(column[0], line)
        _draw_sizes(column[1], line)
    _draw_networks(axes[0, -1], findings.closer)
    _draw_widths(axes[1, -1], findings.closer)
    axes[0, 0].set_ylabel("objective")
    axes[1, 0].set_ylabel("neurons of an optimal network")
    figure.legend(handles=_legend(), loc="outside lower left", ncols=5, frameon=False)
    return figure


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def dots(colour: str, marker: str, filled: bool, label: str) -> Any:
        inside = colour if filled else "white"
        return Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="",
                      markerfacecolor=inside, label=label)  # fmt: skip

    return [
        dots(BLUE, "o", True, "the only optimal network"),
        dots(ORANGE, "o", True, "smallest of several"),
        dots(ORANGE, "o", False, "largest of independent neurons"),
        dots(ORANGE, "_", True, "largest of neurons that differ"),
        Patch(color=PALE, label="by splitting neurons"),
    ]


def _strengths(axes: Any, line: Line) -> None:
    low = min(point.share for point in line.points) / 1.15
    marks = [mark for mark in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01) if mark > low]
    axes.set(xscale="log", xlim=(1.6, low), xlabel="alpha / alpha_max")
    axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
    axes.minorticks_off()


def _draw_objective(axes: Any, line: Line) -> None:
    share = np.array([point.share for point in line.points])
    bound = np.array([point.bound for point in line.points])
    floor = np.concatenate([[line.empty, line.empty], bound])
    axes.fill_between(np.concatenate([[1.6, 1.0], share]), 0, floor, color=PALE, linewidth=0)
    axes.plot(share, [point.objective for point in line.points], "o-", color=BLUE, markersize=4)
    axes.plot([1.6, 1, share[0]], [line.empty, line.empty, line.points[0].objective], color=BLUE)
    axes.set(ylim=(0, 1.12 * line.empty))
    _strengths(axes, line)
    axes.text(0.04, 0.05, f"no network (proved; largest\nrelative gap {line.gap:.0e})",
              transform=axes.transAxes, color=GREY)  # fmt: skip
    axes.set_title(f"{line.name}, {line.samples} x {line.features}:\nobjective along the path")


def _draw_sizes(axes: Any, line: Line) -> None:
    share, unique, smallest, largest, different = (
        np.array(values)
        for values in zip(*[(p[0], *p[4:5], *p[6:]) for p in line.points], strict=True)
    )
    top = 1.25 * max(different)
    axes.fill_between(share, smallest, top, color=PALE, linewidth=0, step="mid")
    axes.plot(share[unique], smallest[unique], "o", color=BLUE, markersize=5)
    many = ~unique
    axes.vlines(share[many], smallest[many], different[many], color=ORANGE, linewidth=1.0)
    axes.plot(share[many], different[many], "_", color=ORANGE, markersize=7)
    axes.plot(share[many], largest[many], "o", color=ORANGE, markersize=7, markerfacecolor="white")
    axes.plot(share[many], smallest[many], "o", color=ORANGE, markersize=4)
    axes.plot([1, 1.6], [0, 0], color=BLUE, linewidth=2, clip_on=False)
    axes.set(ylim=(0, top))
    axes.yaxis.get_major_locator().set_params(integer=True)
    _strengths(axes, line)
    axes.set_title(_verdict(line))


def _verdict(line: Line) -> str:
    if drops := line.drops():
        strong, weak = drops[0]
        return f"A smaller alpha can need fewer neurons:\n{strong.smallest}, then {weak.smallest}"
    stretches = ["one" if one else "several" for one, _ in groupby(p.unique for p in line.points)]
    among = " on its patterns" if line.gates == "grow" else ""
    return f"How many networks are optimal{among}:\n" + ", then ".join(stretches)


def _draw_networks(axes: Any, closer: Closer) -> None:
    axes.set_axis_off()
    axes.set_title(
        f"At {closer.share:g} alpha_max the symmetric samples\nhave these optimal networks"
    )
    largest = int(np.argmax((closer.vertices > 0).sum(axis=1)))
    shown = (*closer.vertices[:2], closer.vertices[largest], closer.even)
    for i, sizes in enumerate(shown):
        panel = axes.inset_axes((0.5 * (i % 2), 0.5 - 0.5 * (i // 2), 0.46, 0.44))
        _draw_neurons(panel, closer, sizes)


def _draw_neurons(axes: Any, closer: Closer, sizes: Floats) -> None:
    axes.plot(*RING.T, "o", color=GREY, markersize=3)
    for u, s, size in zip(closer.directions, closer.signs, sizes, strict=True):
        if size > 0:
            arrow = {"arrowstyle": "-|>", "color": BLUE if s > 0 else RED, "shrinkA": 0,
                     "shrinkB": 0, "linewidth": 0.5 + 2 * size / sizes.max()}  # fmt: skip
            axes.annotate("", 1.25 * u, xytext=(0, 0), arrowprops=arrow)
    axes.set(aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    axes.set_axis_off()
    axes.text(1.4, 0, f"{int((sizes > 0).sum())} neurons", va="center")


def _draw_widths(axes: Any, closer: Closer) -> None:
    excess = 100 * (np.array(closer.descent) / closer.bound - 1)
    least = int((closer.vertices[0] > 0).sum())
    for m, height in zip(WIDTHS, excess, strict=True):
        axes.plot([m, m], [0, height], color=GREY if m < least else BLUE, linewidth=5,
                  solid_capstyle="butt")  # fmt: skip
        if m < least:
            axes.annotate(f"{height:.1f}", (m, height), xytext=(0, 3), ha="center", color=GREY,
                          textcoords="offset points")  # fmt: skip
    axes.plot([m for m, _ in closer.divided], [0 for _ in closer.divided], "o", color=BLUE,
              markersize=6, clip_on=False)  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set(xticks=WIDTHS, xlabel="m, neurons", ylabel="% above the optimum")
    axes.set(ylim=(0, 1.1 * excess.max()), xlim=(0.5, WIDTHS[-1] + 0.5))
    axes.text(
        least, 0.12 * excess.max(), "an optimal network for every m\nfrom here on", color=BLUE
    )
    axes.set_title(f"But none with fewer than {least} neurons:\nthe best of many descents")
