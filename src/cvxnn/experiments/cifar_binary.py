"""Two classes of images as raw pixels: gradient descent beside a grown network and its bound."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cvxnn.architectures import Network
from cvxnn.experiments.descent import Descent, Floats, descend
from cvxnn.experiments.figures import styled
from cvxnn.experiments.loaders import cifar10, data_folder, digits, two_classes
from cvxnn.experiments.race import COLUMNS, Grown, Lane, draw_race, grow, lane, rows
from cvxnn.experiments.result import Result, Table, record

NAME = "cifar-binary"
WIDTHS = (8, 50)
ALPHA = 0.02
"""Not stated on the slides; nor are the classes, the step size and the number of steps."""
STEP, COOL = 0.3, 1e-2
TOL = 1e-3


class Data(NamedTuple):
    """Images of two classes in the span of the training images, with labels -1 and 1."""

    X: Floats
    """(n, rank)."""
    y: Floats
    X_test: Floats
    y_test: Floats
    pixels: int
    source: str
    classes: tuple[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    classes: tuple[str, str]
    samples: int
    pixels: int
    rank: int
    grown: Grown
    lanes: tuple[Lane, ...]
    test_samples: int
    grown_accuracy: float
    accuracy: tuple[float, ...]
    """Of the best start of each width, on images not seen."""


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes the slides' 195 images and ten starts instead of 60 and five, more steps and a
    longer proof.
    """
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"{findings.samples} images of {findings.pixels} numbers, "
        f"{' against '.join(findings.classes)}: SGD and a network that is grown",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def load(samples: int, rng: np.random.Generator) -> Data:
    """Return `samples` images of two classes, less their mean image, of mean square length 1.

    Weights of a best network lie in the span of the images, so images are given by their
    coordinates there: inner products, and with them the problem, are those of the pixels.
    """
    images, pair = cifar10(data_folder()), (0, 1)
    if images is None:
        images, pair = digits(), (3, 8)
    two, classes = two_classes(images, *pair)
    chosen = rng.permutation(len(two.X))[:samples]
    train, test = (x.reshape(len(x), -1) / 255.0 for x in (two.X[chosen], two.X_test))
    middle = train.mean(axis=0)
    _, spectrum, axes = np.linalg.svd(train - middle, full_matrices=False)
    span = axes[spectrum > 1e-10 * spectrum[0]].T * np.sqrt(samples) / np.linalg.norm(spectrum)
    return Data(
        (train - middle) @ span,
        two.y[chosen].astype(np.float64),
        (test - middle) @ span,
        two.y_test.astype(np.float64),
        train.shape[1],
        images.source,
        classes,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Grow a network and bound all of them; let descent try both widths."""
    rng = np.random.default_rng(seed)
    data = load(195 if full else 60, rng)
    model, grown = grow(data.X, data.y, ALPHA, tol=TOL, proof_time=60.0 if full else 2.0)
    descents = [try_width(data, m, full, rng) for m in WIDTHS]
    return Findings(
        source=data.source,
        classes=data.classes,
        samples=len(data.X),
        pixels=data.pixels,
        rank=data.X.shape[1],
        grown=grown,
        lanes=tuple(lane(m, found, grown) for m, found in zip(WIDTHS, descents, strict=True)),
        test_samples=len(data.X_test),
        grown_accuracy=accuracy(data, model.network_),
        accuracy=tuple(accuracy(data, found.network(found.best)) for found in descents),
    )


def try_width(data: Data, m: int, full: bool, rng: np.random.Generator) -> Descent:
    """Let all starts descend with m neurons."""
    return descend(
        data.X,
        data.y,
        ALPHA,
        width=m,
        starts=10 if full else 5,
        steps=20_000 if full else 4_000,
        step_size=STEP,
        spread=m**-0.5,
        batch=len(data.X) // 4,
        cool=COOL,
        rng=rng,
    )


def accuracy(data: Data, network: Network) -> float:
    """Return the share of images not seen whose label a network tells."""
    right = (network(data.X_test)[:, 0] > 0) == (data.y_test > 0)
    return float(right.mean())


def table(findings: Findings) -> Table:
    """Return the grown network and descent at every width as text."""
    found = (findings.grown_accuracy, *findings.accuracy)
    lines = rows(findings.grown, findings.lanes)
    return Table(
        (*COLUMNS, "test accuracy"),
        tuple((*line, f"{share:.3f}") for line, share in zip(lines, found, strict=True)),
    )


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    grown = findings.grown
    best = min(float(drawn.objective[:, -1].min()) for drawn in findings.lanes)
    side = "below" if best < grown.objective else "above"
    shares = ", ".join(f"{drawn.share()} with m = {drawn.m}" for drawn in findings.lanes)
    return (
        f"{findings.source}; {findings.samples} images of {findings.pixels} numbers and rank "
        f"{findings.rank}, {findings.test_samples} images to test on.",
        f"The grown network has {grown.neurons} neurons and the objective {grown.objective:.6f}; "
        f"the best start of SGD ends {100 * abs(best / grown.objective - 1):.2f} % {side} it. "
        f"The starts that end within 0.1 % of it or below are {shares}.",
        f"No network of any width is below {grown.bound:.6f} (scope {grown.scope}, proved by "
        f"'{grown.proved_by}'). That leaves {100 * grown.gap:.1f} % between the bound and the "
        "grown network: how much of it is the network's and how much the proof's is not known.",
        "The slides draw a convex optimum without saying over which patterns. At rank "
        f"{findings.rank} they cannot be enumerated; a program of sampled patterns bounds only "
        "networks with these patterns.",
        f"The slides state neither alpha, here {ALPHA:g}, nor classes, step size or starts. Pixels "
        "are centred and scaled to mean square length 1; SGD takes a quarter of the images a step "
        f"from starts of variance 1/m, and its step falls from {STEP:g} to {STEP * COOL:g}.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: a column per width, the certified bound as the floor."""
    floor = f"no network of any width (certified: {findings.grown.proved_by})"
    return draw_race(findings.grown, findings.lanes, floor)
