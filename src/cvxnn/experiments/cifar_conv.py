"""Two classes of images and a convolutional network: descent, a grown network and fixed gates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cvxnn.architectures import ConvGated, ConvReLU
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Floats, Weights, descend, outputs
from cvxnn.experiments.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    beside,
    canvas,
    styled,
)
from cvxnn.experiments.loaders import cifar10, data_folder, digits, two_classes
from cvxnn.experiments.race import COLUMNS, NEAR, Grown, Lane, corner, curves, grow, lane, rows
from cvxnn.experiments.result import Result, Table, record

NAME = "cifar-conv-binary"
WIDTHS = (8, 50)
GATES = 100
ALPHA = 0.02
"""Not stated on the slide; nor are the classes, the filters, the samples and the step size."""
STEP, COOL = 0.3, 1e-2
TOL = 1e-3


class Data(NamedTuple):
    """Images of two classes, flattened, channels first, with labels -1 and 1."""

    X: Floats
    """(n, C * H * W)."""
    y: Floats
    X_test: Floats
    y_test: Floats
    shape: tuple[int, int, int]
    source: str
    classes: tuple[str, str]

    @property
    def filters(self) -> dict[str, Any]:
        """Filters of a quarter of the side, four by four of them beside each other."""
        side = self.shape[1]
        return {
            "shape": self.shape,
            "kernel": max(4, side // 4),
            "stride": side // 4,
            "pooling": "sum",
            "bias": False,
        }


class Gated(NamedTuple):
    """The optimum over the networks with some gates, another model than ReLU networks."""

    objective: float
    gap: float
    """Relative."""
    filters: int
    seconds: float
    accuracy: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    classes: tuple[str, str]
    samples: int
    shape: tuple[int, int, int]
    patch: int
    """Entries of a filter."""
    places: int
    """Of a filter on an image."""
    grown: Grown
    gated: Gated
    lanes: tuple[Lane, ...]
    test_samples: int
    grown_accuracy: float
    accuracy: tuple[Floats, ...]
    """(starts, k) for each width, on images not seen."""

    @property
    def ends(self) -> tuple[float, ...]:
        """Accuracy where the best start of each width ended."""
        return tuple(
            float(seen[np.argmin(drawn.objective[:, -1]), -1])
            for seen, drawn in zip(self.accuracy, self.lanes, strict=True)
        )


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes 195 images with all their pixels and ten starts, instead of 60 at half the
    resolution and five, more steps and a longer proof.
    """
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"{findings.samples} images, {' against '.join(findings.classes)}: a convolutional "
        "network by SGD and by convex programs",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def load(samples: int, halved: bool, rng: np.random.Generator) -> Data:
    """Return `samples` images of two classes, less their mean image, of mean square length 1."""
    images, pair = cifar10(data_folder()), (0, 1)
    if images is None:
        images, pair = digits(), (3, 8)
        halved = False  # they are small already
    two, classes = two_classes(images, *pair)
    chosen = rng.permutation(len(two.X))[:samples]
    train, test = (channels_first(x, halved) for x in (two.X[chosen], two.X_test))
    shape = train.shape[1:]
    middle = train.mean(axis=0)
    X, X_test = ((x - middle).reshape(len(x), -1) for x in (train, test))
    length = np.sqrt((X**2).sum(axis=1).mean())
    return Data(
        X / length,
        two.y[chosen].astype(np.float64),
        X_test / length,
        two.y_test.astype(np.float64),
        shape,
        images.source,
        classes,
    )


def channels_first(pixels: Any, halved: bool) -> Floats:
    """Return pixels (n, H, W) or (n, H, W, 3) as (n, C, H, W), averaged over squares if `halved`.

    >>> channels_first(np.zeros((2, 6, 6, 3)), halved=True).shape
    (2, 3, 3, 3)
    """
    images = np.asarray(pixels, dtype=np.float64)
    images = images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)
    if not halved:
        return images
    n, c, h, w = images.shape
    return np.asarray(images.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5)))


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Grow a network and bound all of them, solve for fixed gates, and let descent try."""
    rng = np.random.default_rng(seed)
    data = load(195 if full else 60, not full, rng)
    kind = ConvReLU(**data.filters)
    words: dict[str, Any] = {"tol": TOL, "proof_time": 60.0 if full else 2.0, "kind": kind}
    model, grown = grow(data.X, data.y, ALPHA, **words)
    found = [try_width(data, kind, m, full, rng) for m in WIDTHS]
    return Findings(
        source=data.source,
        classes=data.classes,
        samples=len(data.X),
        shape=data.shape,
        patch=kind.patches.width,
        places=kind.patches.count,
        grown=grown,
        gated=with_gates(data, seed),
        lanes=tuple(lane(m, each, grown) for m, each in zip(WIDTHS, found, strict=True)),
        test_samples=len(data.X_test),
        grown_accuracy=_share(data, model.predict(data.X_test)),
        accuracy=tuple(each.watched for each in found),
    )


def with_gates(data: Data, seed: int) -> Gated:
    """Return the optimum over convolutional networks with sampled gates."""
    model = ConvexRegressor(
        ConvGated(**data.filters),
        alpha=ALPHA,
        n_gates=GATES,
        fit_intercept=False,
        tol=TOL,
        random_state=seed,
    ).fit(data.X, data.y)
    return Gated(
        model.certificate_.upper,
        model.certificate_.relative_gap,
        model.network_.n_neurons,
        model.solution_.seconds,
        _share(data, model.predict(data.X_test)),
    )


def try_width(data: Data, kind: ConvReLU, m: int, full: bool, rng: np.random.Generator) -> Any:
    """Let all starts descend with m filters, and watch their accuracy on images not seen."""
    places = kind.patches.count
    unseen = kind.patches.rows(data.X_test)

    def accuracies(weights: Weights) -> Floats:
        right = (outputs(unseen, weights, places) > 0) == (data.y_test > 0)
        return np.asarray(right.mean(axis=1))

    return descend(
        kind.patches.rows(data.X),
        data.y,
        ALPHA,
        width=m,
        starts=10 if full else 5,
        steps=20_000 if full else 4_000,
        step_size=STEP,
        spread=m**-0.5,
        batch=len(data.X) // 4,
        cool=COOL,
        places=places,
        rng=rng,
        watch=accuracies,
    )


def _share(data: Data, scores: Floats) -> float:
    return float(((scores > 0) == (data.y_test > 0)).mean())


def table(findings: Findings) -> Table:
    """Return the grown network, descent at every width and the gated network as text."""
    gated = findings.gated
    own = (f"gated, {GATES} gates", f"{gated.filters}", f"{gated.objective:.6f}", "",
           f"{gated.objective * (1 - gated.gap):.6f} *", "", f"{gated.seconds:.1f}")  # fmt: skip
    lines = (*rows(findings.grown, findings.lanes), own)
    shares = (findings.grown_accuracy, *findings.ends, gated.accuracy)
    columns = ("", "filters", *COLUMNS[2:], "test accuracy")
    return Table(
        columns, tuple((*line, f"{share:.3f}") for line, share in zip(lines, shares, strict=True))
    )


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    grown, gated = findings.grown, findings.gated
    best = min(float(drawn.objective[:, -1].min()) for drawn in findings.lanes)
    side = "below" if best < grown.objective else "above"
    shares = ", ".join(f"{drawn.share()} with {drawn.m} filters" for drawn in findings.lanes)
    return (
        f"{findings.source}; {findings.samples} images of shape {findings.shape}, filters of "
        f"{findings.patch} entries at {findings.places} places, summed; {findings.test_samples} "
        "images to test on.",
        f"The grown network has {grown.neurons} filters and the objective {grown.objective:.6f}; "
        f"the best start of SGD ends {100 * abs(best / grown.objective - 1):.2f} % {side} it. "
        f"The starts that end within {100 * NEAR:g} % of it or below are {shares}.",
        f"No network with these filters, of any width, is below {grown.bound:.6f} (scope "
        f"{grown.scope}, proved by '{grown.proved_by}'): rigorous, and {100 * grown.gap:.0f} % "
        "under the grown network; how much of that is the proof's is not known.",
        f"* The gated network ({gated.objective:.6f}, relative gap {gated.gap:.0e}) is another "
        "model, whose gates do not move with its filters. Its bound is for networks with its "
        f"{GATES} gates and says nothing about the ReLU networks that SGD trains.",
        f"The slide states neither samples nor filters nor alpha; here alpha = {ALPHA:g}. Pixels "
        "are centred and scaled to mean square length 1; SGD takes a quarter of the images a step "
        f"from starts of variance 1/m, and its step falls from {STEP:g} to {STEP * COOL:g}.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: a column per width, the objective above and the accuracy below."""
    size = (5.4 * len(findings.lanes), 6.2)
    figure, axes = canvas(2, len(findings.lanes), size, sharey="row", sharex="col")
    for (above, below), drawn, seen in zip(axes.T, findings.lanes, findings.accuracy, strict=True):
        _draw_objective(above, findings, drawn)
        _draw_accuracy(below, findings, drawn, seen)
    axes[0, 0].set_ylabel("objective")
    axes[1, 0].set_ylabel("test accuracy")
    return figure


def _draw_objective(axes: Any, findings: Findings, drawn: Lane) -> None:
    grown, gated = findings.grown, findings.gated
    high = 4.0 * max(float(each.objective[:, 0].max()) for each in findings.lanes)
    low = grown.bound * (grown.bound / high) ** 0.2
    axes.axhspan(low, grown.bound, color=PALE, linewidth=0)
    axes.axhline(grown.bound, color=INK, linewidth=0.9)
    axes.axhline(gated.objective, color=PURPLE, linewidth=1.2, linestyle=(0, (4, 3)))
    curves(axes, drawn.seconds, drawn.objective, drawn)
    seconds, values = np.array(grown.growth).T
    until = 1.3 * max(grown.seconds, *(float(each.seconds[-1]) for each in findings.lanes))
    axes.step([*seconds, until], [*values, values[-1]], where="post", color=GREEN, linewidth=1.8)
    axes.plot(grown.seconds, grown.bound, "o", color=INK, markersize=4.5)
    first = min(float(drawn.seconds[1]), float(seconds[0]))
    axes.set(xscale="log", yscale="log", xlim=(first, until), ylim=(low, high))
    axes.set_title(f"{drawn.m} filters, {len(drawn.objective)} starts")
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if low < tick < high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.text(0.03, 0.04, "no network with these filters, of any width", color=GREY,
              transform=axes.transAxes)  # fmt: skip
    ends = "some starts as good as grown" if drawn.reached.any() else "all starts end above grown"
    corner(axes, [(ends, _colour(drawn)), ("grown over all filters", GREEN),
                  ("fixed gates, another model", PURPLE),
                  (f"dot: bound proved, after {grown.seconds:.1f} s", INK)])  # fmt: skip
    best = float(drawn.objective[:, -1].min())
    beside(
        axes,
        [
            (best, f"SGD's best {best:.4f}", _colour(drawn)),
            (grown.objective, f"grown {grown.objective:.4f}", GREEN),
            (gated.objective, f"gated {gated.objective:.4f}", PURPLE),
            (grown.bound, f"bound {grown.bound:.4f}", INK),
        ],
        gap=0.08,
    )


def _draw_accuracy(axes: Any, findings: Findings, drawn: Lane, seen: Floats) -> None:
    grown, gated = findings.grown_accuracy, findings.gated.accuracy
    curves(axes, drawn.seconds, seen, drawn)
    axes.axhline(grown, color=GREEN, linewidth=1.8)
    axes.axhline(gated, color=PURPLE, linewidth=1.2, linestyle=(0, (4, 3)))
    first, until = axes.get_xlim()
    places = [10.0**k for k in range(-4, 5) if first <= 10.0**k <= until]
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    top = max(grown, gated, *(float(each.max()) for each in findings.accuracy))
    axes.set(xlabel="seconds, all starts together", ylim=(0.5, min(1.0, top + 0.03)))
    end = float(seen[np.argmin(drawn.objective[:, -1]), -1])
    beside(
        axes,
        [
            (end, f"SGD's best {end:.3f}", _colour(drawn)),
            (grown, f"grown {grown:.3f}", GREEN),
            (gated, f"gated {gated:.3f}", PURPLE),
        ],
        gap=0.08,
    )


def _colour(drawn: Lane) -> str:
    return BLUE if drawn.reached.any() else ORANGE
