"""CIFAR-10 stage by stage: every stage a convex program, solved; accuracy and bound of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvxnn.display import mosaic
from cvxnn.experiments.figures import BLUE, GREY, ORANGE, canvas, styled
from cvxnn.experiments.loaders import Images, cifar10, data_folder, digits
from cvxnn.experiments.result import Result, Table, record
from cvxnn.layerwise import LayerwiseClassifier
from cvxnn.stages import Stage

NAME = "layerwise"
PUBLIC = (0.565, 0.614, 0.700, 0.760, 0.772)
"""Test accuracies after one to five stages that the authors' own code reports, on a GPU."""
QUICK = (Stage(kernel=3, n_gates=24), Stage(kernel=2, n_gates=24, halve=False))
FULL = (
    Stage(kernel=6, n_gates=128, directions=40),
    Stage(kernel=3, n_gates=40, directions=64),
)
SAMPLES = 1000


class Row(NamedTuple):
    """One stage."""

    columns: int
    alpha: float
    objective: float
    gap: float
    """Relative, proved over the weights on these gates."""
    train: float
    test: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    samples: int
    test_samples: int
    mirror: bool
    rows: tuple[Row, ...]
    gates: NDArray[np.float32]
    """Gates of the first stage as patches (p, C, kh, kw)."""


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`; `full` takes all images."""
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"{len(findings.rows)} stages on {findings.samples} images",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def load(full: bool, seed: int) -> tuple[Images, bool]:
    """Return images channels first, and whether they are photographs."""
    found = cifar10(data_folder())
    if found is None:
        small = digits()
        return small._replace(X=small.X[:, None], X_test=small.X_test[:, None]), False
    X, X_test = (np.ascontiguousarray(np.moveaxis(x, -1, 1)) for x in (found.X, found.X_test))
    found = found._replace(X=X, X_test=X_test)
    if full:
        return found, True
    some = np.random.default_rng(seed).permutation(len(X))[:SAMPLES]
    return found._replace(X=X[some], y=found.y[some]), True


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Train the stages and judge each."""
    images, photographs = load(full, seed)
    stages = FULL if full and photographs else QUICK
    model = LayerwiseClassifier(stages, mirror=photographs, random_state=seed)
    model.fit(images.X, images.y)
    first, widths = model.stages_[0].columns, np.cumsum([s.columns.width for s in model.stages_])
    rows = tuple(
        Row(
            columns=int(width),
            alpha=stage.alpha,
            objective=stage.certificate.upper,
            gap=stage.certificate.relative_gap,
            train=stage.accuracy,
            test=float((model.predict(images.X_test, stages=count) == images.y_test).mean()),
        )
        for count, (stage, width) in enumerate(zip(model.stages_, widths, strict=True), 1)
    )
    return Findings(
        source=images.source,
        samples=len(images.X),
        test_samples=len(images.X_test),
        mirror=photographs,
        rows=rows,
        gates=first.pictures(),
    )


def table(findings: Findings) -> Table:
    """Return the stages as text."""
    columns = ("stage", "columns", "alpha", "objective", "relative gap", "training", "test")
    rows = tuple(
        (
            str(number),
            str(row.columns),
            f"{row.alpha:.2g}",
            f"{row.objective:.6f}",
            f"{row.gap:.0e}",
            f"{100 * row.train:.1f} %",
            f"{100 * row.test:.1f} %",
        )
        for number, row in enumerate(findings.rows, 1)
    )
    return Table(columns, rows)


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    public = ", ".join(f"{100 * share:.1f}" for share in PUBLIC)
    mirrored = " Networks cannot tell left from right." if findings.mirror else ""
    return (
        f"{findings.source}. {findings.samples} images to train on, {findings.test_samples} to "
        f"test on.{mirrored}",
        "The gap is proved for every stage over all weights on its gates and on the columns of the "
        "stages before it. Nothing is proved about networks whose filters are trained jointly.",
        f"The public code of convex layer-wise training reports {public} % after one to five "
        "stages on all of CIFAR-10; the 89 and 92 % that lectures show beside it are of networks "
        "trained end to end.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: accuracy by stage, and the gates of the first stage."""
    figure, axes = canvas(1, 2, (8.4, 3.4), width_ratios=(1, 1.2))
    left, right = axes[0]
    numbers = np.arange(1, len(findings.rows) + 1)
    for name, colour in (("train", GREY), ("test", BLUE)):
        values = [100 * getattr(row, name) for row in findings.rows]
        left.plot(
            numbers, values, "o-", color=colour, label="training" if name == "train" else name
        )
    if findings.mirror:
        public = 100 * np.array(PUBLIC)
        left.plot(
            numbers, public[: len(numbers)], "s--", color=ORANGE, label="public code, all images"
        )
    left.set(xlabel="stages", ylabel="accuracy, %", xticks=numbers)
    left.legend(frameon=False)
    left.set_title("Accuracy")
    right.imshow(mosaic(findings.gates), interpolation="nearest")
    right.set_axis_off()
    right.set_title("Gates of the first stage")
    return figure
