"""Unregularised gradient flow and the largest margin: where it comes to, and where it stays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from cvxnn.architectures import ReLU
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.figures import BLUE, GREY, INK, PALE, RED, beside, canvas, styled
from cvxnn.experiments.result import Result, Table, record
from cvxnn.theory.flow import MarginFlow, margin_flow
from cvxnn.theory.margin import MaxMargin, max_margin

NAME = "margin"
TITLE = "Gradient flow without weight decay, and the network of largest margin"
WIDTH = 6
PLAIN = ReLU(bias=False)
ORTHOGONAL = np.array([[1.0, 0.3], [0.7, 0.6], [-0.2, -1.0], [-0.8, -0.5]])
"""Inner products are positive within a class, and not between classes."""
DRAW = 14
"""Seed of the separable data that are shown, on which some starts stay."""
STAYS = 0.02
"""A run this share above the bound at its end has stayed at a worse point."""


class Neurons(NamedTuple):
    """A network's neurons, parallel ones as one."""

    angles: Floats
    """Degrees, of the inward weights."""
    sizes: Floats
    """|w| a, of the sign of a."""


class Run(NamedTuple):
    """One start."""

    seed: int
    steps: Floats
    norms: Floats
    """Norm over smallest margin at these steps; infinity while there is none."""
    own: float
    """The least norm of networks with the patterns of the last network; infinity without one."""
    neurons: Neurons

    @property
    def norm(self) -> float:
        """Norm over margin at the end."""
        return float(self.norms[-1])


class Data(NamedTuple):
    """Samples in the plane and their runs."""

    name: str
    X: Floats
    y: NDArray[np.bool_]
    bound: float
    """No network separates the data with margin 1 at a smaller norm."""
    best: float
    neurons: Neurons
    """Of the certified network."""
    by_class: float
    """Sum over the classes of the least |w| with margin 1: the optimum of orthogonal data."""
    runs: tuple[Run, ...]

    def above(self, norm: Any) -> Any:
        """Return how far norms are above the bound, as a share of it."""
        return np.asarray(norm) / self.bound - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    data: tuple[Data, ...]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes more steps, starts."""
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
    """Let flows start on both data sets."""
    steps, starts = (8000, 10) if full else (1500, 5)
    labels = np.array([True, True, False, False])
    return Findings(
        data=(
            follow("Orthogonally separable", ORTHOGONAL, labels, seed, 3, steps),
            follow("Separable", *separable(), seed, starts, steps),
        )
    )


def separable() -> tuple[Floats, NDArray[np.bool_]]:
    """Return eight normal samples that the first coordinate separates, none within 0.25 of it."""
    X = np.random.default_rng(DRAW).standard_normal((40, 2))
    X = X[np.abs(X[:, 0]) > 0.25][:8]
    return X, X[:, 0] > 0


def follow(name: str, X: Floats, y: NDArray[np.bool_], seed: int, starts: int, steps: int) -> Data:
    """Certify the network of least norm, and let flows run towards it."""
    best = max_margin(X, y, architecture=PLAIN, gates="enumerate")
    net: Any = best.network
    return Data(
        name=name,
        X=X,
        y=y,
        bound=best.certificate.lower,
        best=best.certificate.upper,
        neurons=merged(net.weights_in, net.weights_out[:, 0]),
        by_class=sum(least_norm(X[y == label]) for label in (True, False)),
        runs=tuple(one(X, y, best, seed + k, steps) for k in range(starts)),
    )


def one(X: Floats, y: NDArray[np.bool_], best: MaxMargin, seed: int, steps: int) -> Run:
    """Run one flow, and solve the program on the patterns where it ended."""
    flow: MarginFlow = margin_flow(
        X, y, bias=False, width=WIDTH, steps=steps, optimum=best, random_state=seed
    )
    net, own = flow.network, np.inf
    if np.isfinite(flow.norms[-1]):
        gates = patterns(X, net.weights_in)
        own = max_margin(X, y, architecture=PLAIN, gates=gates).certificate.upper
    last = merged(net.weights_in, net.weights_out[:, 0])
    return Run(seed, flow.steps, flow.norms, own, last)


def patterns(X: Floats, inward: Floats) -> Floats:
    """Return directions in the open cells at which neurons lie: both cells beside an edge."""
    turns = np.arctan2(inward[:, 1], inward[:, 0])
    near = np.concatenate([turns - 0.01, turns + 0.01])
    return np.stack([np.cos(near), np.sin(near)], axis=1)


def merged(inward: Floats, outward: Floats) -> Neurons:
    """Return the neurons by angle, those within two degrees as one, without tiny ones."""
    angles = np.degrees(np.arctan2(inward[:, 1], inward[:, 0]))
    sizes = np.linalg.norm(inward, axis=1) * outward
    kept: list[list[float]] = []
    for angle, size in sorted(zip(angles.tolist(), sizes.tolist(), strict=True)):
        if abs(size) <= 0.01 * np.abs(sizes).sum():
            continue
        if kept and abs(kept[-1][0] - angle) < 2 and kept[-1][1] * size > 0:
            kept[-1][1] += size
        else:
            kept.append([angle, size])
    found = np.array(kept).reshape(-1, 2)
    return Neurons(found[:, 0], found[:, 1])


def least_norm(rows: Floats) -> float:
    """Return min |w| with x.w >= 1 for all rows, by nonnegative least squares.

    Infinity where there is none.
    """
    matrix = np.vstack([rows.T, np.ones(len(rows))])
    target = np.append(np.zeros(rows.shape[1]), 1.0)
    residual = matrix @ nnls(matrix, target)[0] - target
    if abs(residual[-1]) < 1e-12:
        return float(np.inf)
    return float(np.linalg.norm(residual[:-1] / residual[-1]))


def table(findings: Findings) -> Table:
    """Return every run as text."""
    columns = (
        "", "start", "norm / margin", "above the bound", "least on its patterns", "neurons + and -",
    )  # fmt: skip
    rows = []
    for data in findings.data:
        found = (("certified", data.best, data.best, data.neurons),
                 *((f"{r.seed}", r.norm, r.own, r.neurons) for r in data.runs))  # fmt: skip
        for start, norm, own, neurons in found:
            sides = [int((side * neurons.sizes > 0).sum()) for side in (1, -1)]
            above = f"{float(data.above(norm)):.2%}" if np.isfinite(norm) else "not separated"
            text = f"{sides[0]} and {sides[1]}"
            rows.append((data.name, start, f"{norm:.5f}", above, f"{own:.5f}", text))
    return Table(columns, tuple(rows))


def stayed(data: Data) -> list[Run]:
    """Return the runs that separate the data and ended at a worse point."""
    return [r for r in data.runs if np.isfinite(r.norm) and data.above(r.norm) > STAYS]


def came(data: Data) -> list[Run]:
    """Return the runs that came near the bound."""
    return [r for r in data.runs if data.above(r.norm) <= STAYS]


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the source errs."""
    orthogonal, plain = findings.data
    worst = max((float(orthogonal.above(r.norm)) for r in came(orthogonal)), default=np.nan)
    stuck, near = stayed(plain), came(plain)
    ends = [float(plain.above(r.norm)) for r in near]
    lost = len(plain.runs) - len(stuck) - len(near)
    off = [r.norm / r.own - 1 for r in stuck]
    texts = [
        "Without weight decay the loss of a growing network falls to zero; what is left is its "
        "direction. The network of least norm sum of |w| |a| with margin 1 is the limit that the "
        "convex program gives; its certificate bounds norm / margin of every network.",
        f"Orthogonally separable data: {len(came(orthogonal))} of {len(orthogonal.runs)} starts "
        "come to within "
        f"{worst:.2%} of the bound {orthogonal.bound:.7f}, which is also the sum over classes of "
        f"the least |w| with margin 1, {orthogonal.by_class:.7f}.",
    ]
    if stuck:
        texts.append(
            f"The source claims the same for linearly separable data; that is too much. Of "
            f"{len(plain.runs)} starts {len(stuck)} stay {float(plain.above(stuck[0].norm)):.1%} "
            f"above, at another stationary point, {len(near)} come to "
            f"{max(ends, default=np.nan):.2%} or less, and {lost} do not separate the data."
        )
        texts.append(
            "Where they stay is the optimum of the program on the patterns of their own neurons, "
            f"{float(plain.above(stuck[0].own)):.1%} above the bound, to {max(off):.1%} of it: the "
            "best of fewer networks, and more steps lead there. No neuron started where the "
            "better one has a second neuron, and flow creates none."
        )
    return tuple(texts)


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: the courses on both data sets, and the two networks that are reached."""
    figure, axes = canvas(1, 3, (12.4, 3.9), width_ratios=[1, 1.15, 1.05])
    for panel, data in zip(axes[0], findings.data, strict=False):
        _draw_course(panel, data)
    _draw_networks(axes[0, 2], findings.data[1])
    return figure


def _draw_course(axes: Any, data: Data) -> None:
    stuck = stayed(data)
    for r in data.runs:
        seen = np.isfinite(r.norms) & (r.steps > 0)
        colour = RED if r in stuck else BLUE
        axes.plot(r.steps[seen], 100 * data.above(r.norms[seen]), color=colour)
    axes.set(xscale="log", yscale="log", xlabel="steps of gradient flow")
    axes.set_ylabel("norm / margin, % above the bound")
    low = 0.5 * min(100 * float(data.above(r.norm)) for r in data.runs)
    axes.set_ylim(max(low, 1e-3), 3000)
    marks = [t for t in (0.01, 0.1, 1, 10, 100, 1000) if t >= low]
    axes.set_yticks(marks, [f"{t:g}" for t in marks])
    axes.set_xticks([100, 1000], ["100", "1000"])
    axes.minorticks_off()
    good = [100 * float(data.above(r.norm)) for r in came(data)]
    labels = [(float(np.median(good)), f"{len(good)} starts", BLUE)] if good else []
    if stuck:
        labels.append((100 * float(data.above(stuck[0].norm)), f"{len(stuck)} stay", RED))
    beside(axes, labels)
    title = "some starts stay above" if stuck else "flow finds the largest margin"
    axes.set_title(f"{data.name} data:\n{title}")


def _draw_networks(axes: Any, data: Data) -> None:
    stuck = stayed(data)
    reach = 1.1 * np.abs(data.X).max()
    for label, colour, marker in ((True, INK, "o"), (False, GREY, "s")):
        axes.plot(*data.X[data.y == label].T, marker, color=colour, markersize=4)
    drawn = [(data.neurons, BLUE), *([(stuck[0].neurons, RED)] if stuck else [])]
    largest = max(np.abs(neurons.sizes).max() for neurons, _ in drawn)
    for place, (neurons, colour) in enumerate(drawn):
        for angle, size in zip(np.radians(neurons.angles), neurons.sizes, strict=True):
            tip = reach * abs(size) / largest * np.array([np.cos(angle), np.sin(angle)])
            arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.2 - 0.9 * place,
                     "shrinkA": 0, "shrinkB": 0}  # fmt: skip
            axes.annotate("", tip, xytext=(0, 0), arrowprops=arrow)
    axes.axhline(0, color=PALE, linewidth=0.7, zorder=0)
    axes.axvline(0, color=PALE, linewidth=0.7, zorder=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set(xlabel="first coordinate", ylabel="second coordinate")
    axes.text(0.02, 0.98, "certified", color=BLUE, transform=axes.transAxes, va="top")
    if stuck:
        axes.text(0.02, 0.90, "where flow stays", color=RED, transform=axes.transAxes, va="top")
    axes.set_title("Their neurons, as long as |w| |a|:\none stands in for two")
