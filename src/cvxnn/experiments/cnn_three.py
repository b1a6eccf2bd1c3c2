"""Three-layer circular convolutional networks on images: descent, and the program that is exact."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cvxnn.architectures import DeepConvGated
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Floats
from cvxnn.experiments.descent_three import Curves, descend
from cvxnn.experiments.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    beside,
    canvas,
    styled,
)
from cvxnn.experiments.loaders import Images, cifar10, data_folder, digits, mnist, two_classes
from cvxnn.experiments.result import Result, Table, record

NAME = "cnn-3layer"
FILTER, STARTS = 3, 5
WIDTHS = (20, 40)
GRID, FULL_GRID = (5, 5), (10, 5)
SAMPLES, FULL_SAMPLES = 45, 99
TEST = 400
ALPHA = 0.01
"""Not stated in the source; nor are classes, step size, and how 50 numbers are made of an image."""
STEP, COOL = 0.3, 1e-2
STEPS, FULL_STEPS = 8_000, 30_000
TIMES = 2
"""Sub-networks of descent on every gate: the program may want more than one."""
TOL = 1e-5


class Signals(NamedTuple):
    """Images of two classes as signals on a ring, with labels -1 and 1."""

    X: Floats
    """(n, d)."""
    y: Floats
    X_test: Floats
    y_test: Floats
    source: str
    classes: tuple[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Contest:
    """Descent and the convex program on one set of images."""

    name: str
    source: str
    classes: tuple[str, str]
    samples: int
    test_samples: int
    places: int
    m: int
    """Sub-networks of descent."""
    gates: int
    """Of the program, and of the gated networks of descent."""
    objective: float
    bound: float
    """No gated network with shared filters on these gates is below it, of any width."""
    gap: float
    neurons: int
    growth: tuple[tuple[float, float], ...]
    """(seconds, objective)."""
    seconds: float
    accuracy: float
    printed: float
    """The optimum under the norm printed on slides, that of filters which are not shared."""
    gated: Curves
    """Descent on gated networks of the program's gates."""
    relu: Curves
    """Descent on ReLU networks, another model."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    contests: tuple[Contest, ...]


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes the source's 99 signals of 50 numbers instead of 45 of 25, and more steps.
    """
    findings = measure(full, seed)
    first = findings.contests[0]
    return record(
        name=NAME,
        title=f"{first.samples} images as signals of {first.places}: three-layer circular networks,"
        " descent and the convex program",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def load(images: Images, pair: tuple[int, int], full: bool, rng: np.random.Generator) -> Signals:
    """Return images of two classes, block means read row by row, centred, of mean square 1."""
    two, classes = two_classes(images, *pair)
    chosen = rng.permutation(len(two.X))[: FULL_SAMPLES if full else SAMPLES]
    unseen = rng.permutation(len(two.X_test))[:TEST]
    grid = FULL_GRID if full else GRID
    train, test = blocks(two.X[chosen], grid), blocks(two.X_test[unseen], grid)
    middle = train.mean(axis=0)
    size = np.sqrt(((train - middle) ** 2).mean())
    labels = two.y[chosen].astype(np.float64), two.y_test[unseen].astype(np.float64)
    return Signals(
        (train - middle) / size, labels[0], (test - middle) / size, labels[1],
        images.source, classes,
    )  # fmt: skip


def blocks(pixels: Any, grid: tuple[int, int]) -> Floats:
    """Return the means over a grid of blocks of grey images, (n, H, W) or with channels last.

    >>> blocks(np.array([[[0, 0, 4, 4], [2, 2, 6, 6]]]), (1, 2)).tolist()
    [[1.0, 5.0]]
    """
    grey = pixels.reshape(*pixels.shape[:3], -1).mean(axis=3)
    down, across = (_shares(size, count) for size, count in zip(grey.shape[1:], grid, strict=True))
    return np.asarray((down @ grey @ across.T).reshape(len(grey), -1))


def _shares(size: int, count: int) -> Floats:
    """Return (count, size), the share that every pixel has in every one of `count` equal parts."""
    ends = np.arange(count + 1) * size / count
    pixel = np.arange(size)
    lengths = np.minimum(ends[1:, None], pixel + 1) - np.maximum(ends[:-1, None], pixel)
    return np.asarray(np.maximum(lengths, 0) * count / size)


def around(X: Floats) -> Floats:
    """Return signals with their beginning once more at the end: filters go round the ring."""
    return np.concatenate([X, X[:, : FILTER - 1]], axis=1)


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Let descent and the programs meet on digits and on photographs."""
    folder, missing = data_folder(), digits()
    handwriting, photographs = mnist(folder), cifar10(folder)
    if handwriting is None:
        text = "MNIST was not found (set CVXNN_DATA): scikit-learn's 8 x 8 digits stand in for it"
        handwriting = missing._replace(source=text)
    pair = (0, 1) if photographs is not None else (4, 9)
    sets = (("MNIST", handwriting, (3, 8)), ("CIFAR-10", photographs or missing, pair))
    found = [
        contest(name, load(images, two, full, np.random.default_rng([seed, k])), m, full, seed)
        for k, ((name, images, two), m) in enumerate(zip(sets, WIDTHS, strict=True))
    ]
    return Findings(contests=tuple(found))


def contest(name: str, data: Signals, m: int, full: bool, seed: int) -> Contest:
    """Solve the program of m gates, and descend on its gated networks and on ReLU networks."""
    X, X_test = around(data.X), around(data.X_test)
    words: dict[str, Any] = {"shape": (1, X.shape[1]), "kernel": FILTER, "bias": False}
    kind, rng = DeepConvGated(**words), np.random.default_rng([seed, m])
    gates = kind.source.draw(kind.features(X), 2 * m, rng).generators[: m // TIMES]
    model = _fitted(kind, X, data.y, gates)
    printed = _fitted(DeepConvGated(**words, tied=False), X, data.y, gates)
    certificate, solution = model.certificate_, model.solution_
    patches = kind.patches
    views, unseen = (patches.rows(x).reshape(len(x), patches.count, -1) for x in (X, X_test))
    options: dict[str, Any] = {
        "starts": STARTS,
        "steps": FULL_STEPS if full else STEPS,
        "step_size": STEP,
        "cool": COOL,
        "batch": len(X) // 4,
        "test": (unseen, data.y_test),
    }
    every = np.repeat(gates, TIMES, axis=0)
    gated = descend(views, data.y, ALPHA, width=len(every), gates=every, rng=rng, **options)
    relu = descend(views, data.y, ALPHA, width=m, rng=rng, **options)
    return Contest(
        name=name,
        source=data.source,
        classes=data.classes,
        samples=len(X),
        test_samples=len(X_test),
        places=patches.count,
        m=m,
        gates=len(gates),
        objective=certificate.upper,
        bound=certificate.lower,
        gap=certificate.relative_gap,
        neurons=model.network_.n_neurons,
        growth=tuple((seconds, claim.upper) for _, seconds, claim in solution.trace),
        seconds=solution.seconds,
        accuracy=float(((model.predict(X_test) > 0) == (data.y_test > 0)).mean()),
        printed=printed.certificate_.upper,
        gated=gated,
        relu=relu,
    )


def _fitted(kind: DeepConvGated, X: Floats, y: Floats, gates: Floats) -> ConvexRegressor:
    return ConvexRegressor(kind, alpha=ALPHA, gates=gates, fit_intercept=False, tol=TOL).fit(X, y)


def table(findings: Findings) -> Table:
    """Return programs and descents as text."""
    rows = []
    for one in findings.contests:
        rows.append(
            (
                f"{one.name}: convex program, gated",
                f"{one.objective:.6f}",
                f"{one.bound:.6f}",
                f"{one.neurons}",
                f"{one.seconds:.1f}",
                f"{one.accuracy:.3f}",
            )
        )
        for curves, kind in ((one.gated, "gated, its gates"), (one.relu, "ReLU")):
            best = curves.best
            rows.append(
                (
                    f"{one.name}: SGD, {kind}, best of {len(curves.objective)}",
                    f"{curves.objective[best, -1]:.6f}",
                    "",
                    f"{one.m}",
                    f"{curves.seconds[-1]:.1f}",
                    f"{curves.accuracy[best, -1]:.3f}",
                )
            )
    columns = ("", "objective", "lower bound", "sub-networks", "seconds", "test accuracy")
    return Table(columns, tuple(rows))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the source errs."""
    lines = []
    for one in findings.contests:
        ends = one.gated.objective[:, -1]
        lines.append(
            f"{one.source}; {' against '.join(one.classes)}, {one.samples} images to train on and "
            f"{one.test_samples} to test on, as {one.places} block means on a ring."
        )
        lines.append(
            f"{one.name}: the program on {one.gates} gates has {one.objective:.6f}, of a relative "
            f"gap of {one.gap:.0e}; no gated network with shared filters on these gates is below "
            f"{one.bound:.6f}, and the five starts of SGD on such networks, {TIMES} sub-networks a "
            f"gate, end {100 * (ends.min() / one.objective - 1):.2g} to "
            f"{100 * (ends.max() / one.objective - 1):.2g} % above the program."
        )
        side = "below" if one.relu.objective[:, -1].min() < one.bound else "above"
        lines.append(
            f"{one.name}: ReLU networks choose their gates, and are another model: the best start "
            f"ends {side} that bound, at {one.relu.objective[:, -1].min():.6f}."
        )
    values = " and ".join(f"{one.printed:.6f}" for one in findings.contests)
    return (
        *lines,
        "The slides penalise a block C of the program by its Frobenius norm. A filter that is "
        f"shared by all places makes a C of rank one, and that norm allows others: on the same "
        f"gates it has the optima {values}, which are those of networks with a filter of its own "
        "at every place. With the nuclear norm the program of gated networks is exact; that of "
        "ReLU networks with shared filters is a lower bound.",
        "SGD takes a quarter of the images a step, and its penalty is alpha / 3 times the cubes of "
        "the norms of filters, weights of places and outputs, which are alpha times their product "
        f"once the three are equal. alpha = {ALPHA:g}, and the step falls from {STEP:g} to "
        f"{STEP * COOL:g}.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: objective above and test accuracy below, a column per set of images."""
    columns = len(findings.contests)
    figure, axes = canvas(2, columns, (5.6 * columns, 6.4), sharex="col")
    for (above, below), one in zip(axes.T, findings.contests, strict=True):
        _draw_objective(above, one)
        _draw_accuracy(below, one)
    axes[0, 0].set_ylabel("objective")
    axes[1, 0].set_ylabel("test accuracy")
    return figure


def _until(one: Contest) -> tuple[float, float]:
    first = min(one.growth[0][0], *(float(c.seconds[1]) for c in (one.gated, one.relu)))
    last = max(one.seconds, *(float(c.seconds[-1]) for c in (one.gated, one.relu)))
    return first, 1.2 * last


def _draw_objective(axes: Any, one: Contest) -> None:
    first, last = _until(one)
    high = 1.5 * max(float(c.objective[:, 0].max()) for c in (one.gated, one.relu))
    ends = [float(c.objective[c.best, -1]) for c in (one.gated, one.relu)]
    low = 0.6 * min(one.printed, *ends)
    axes.axhspan(low, one.bound, color=PALE, linewidth=0)
    _curves(axes, one, "objective")
    seconds, values = np.array(one.growth).T
    axes.step([*seconds, last], [*values, values[-1]], where="post", color=GREEN, linewidth=1.8)
    axes.plot([first, last], [one.printed] * 2, color=PURPLE, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set(xscale="log", yscale="log", xlim=(first, last), ylim=(low, high))
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low < tick < high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_title(f"{one.name}: {' against '.join(one.classes)}, m = {one.m}")
    beside(
        axes,
        [
            (ends[1], f"SGD, ReLU {ends[1]:.4f}", ORANGE),
            (ends[0], f"SGD, gated {ends[0]:.4f}", BLUE),
            (one.objective, f"convex, gated {one.objective:.4f}", GREEN),
            (one.printed, f"printed norm {one.printed:.4f}", PURPLE),
        ],
        gap=0.075,
    )
    axes.text(0.02, 0.02, "no gated network of shared filters (certified)", color=GREY,
              transform=axes.transAxes)  # fmt: skip


def _draw_accuracy(axes: Any, one: Contest) -> None:
    _curves(axes, one, "accuracy")
    axes.axhline(one.accuracy, color=GREEN, linewidth=1.8)
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 3)))
    axes.set(ylim=(0.4, 1.0), xlabel="seconds, all starts together")
    first, last = _until(one)
    places = [10.0**k for k in range(-4, 4) if first <= 10.0**k <= last]
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    shares = [float(c.accuracy[c.best, -1]) for c in (one.relu, one.gated)]
    beside(
        axes,
        [
            (shares[0], f"SGD, ReLU {shares[0]:.3f}", ORANGE),
            (shares[1], f"SGD, gated {shares[1]:.3f}", BLUE),
            (one.accuracy, f"convex, gated {one.accuracy:.3f}", GREEN),
            (0.5, "a coin 0.500", GREY),
        ],
        gap=0.075,
    )


def _curves(axes: Any, one: Contest, what: str) -> None:
    for curves, colour in ((one.relu, ORANGE), (one.gated, BLUE)):
        values = getattr(curves, what)
        axes.plot(curves.seconds, values.T, color=colour, linewidth=0.9, alpha=0.75)
