"""Two classes of images of a student report: what fifty sampled gates prove, and what not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from cvxnn.architectures import Architecture, GatedReLU, ReLU
from cvxnn.estimators import ConvexRegressor
from cvxnn.experiments.descent import Descent, Floats, Weights, descend, outputs
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
from cvxnn.experiments.result import Result, Table, record

NAME = "student-3"
SCALE = 1000.0
"""What the report divides pixels by."""
BETA = 1.0
"""Not stated in the report; nor is the step size, here on the mean over samples."""
STEP = 0.1
WIDTH = 12
GATES = 50


class Data(NamedTuple):
    """Images of two classes as their principal components, with labels -1 and 1."""

    X: Floats
    y: Floats
    X_test: Floats
    y_test: Floats
    source: str
    classes: tuple[str, str]


class Model(NamedTuple):
    """A convex program's network; objectives in the report's units, sums over samples."""

    name: str
    objective: float
    bound: float
    scope: str
    neurons: int
    accuracy: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    classes: tuple[str, str]
    samples: int
    components: int
    test_samples: int
    relu: Model
    gated: Model
    own: Model
    """ReLU on the gates of the best network that descent found."""
    floor: float
    """No ReLU network of any width is below it."""
    steps: NDArray[np.int64]
    objective: Floats
    """(starts, k), of descent."""
    accuracy: Floats
    """(starts, k), on images not seen."""
    best: int
    """The start with the least objective."""


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes the report's 100 images and as many components instead of 60, more starts and
    more steps.
    """
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"{findings.samples} images, {' against '.join(findings.classes)}: descent and the "
        "convex programs of sampled gates",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def load(samples: int, rng: np.random.Generator) -> Data:
    """Return `samples` images of two classes, scaled, as principal components fitted on them."""
    images, pair = cifar10(data_folder()), (0, 1)
    if images is None:
        images, pair = digits(), (3, 8)
    two, classes = two_classes(images, *pair)
    chosen = rng.permutation(len(two.X))[:samples]
    train, test = (x.reshape(len(x), -1) / SCALE for x in (two.X[chosen], two.X_test))
    components = PCA(min(samples, train.shape[1]), svd_solver="full").fit(train)
    labels = two.y[chosen].astype(np.float64), two.y_test.astype(np.float64)
    return Data(
        components.transform(train),
        labels[0],
        components.transform(test),
        labels[1],
        images.source,
        classes,
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Run descent, then solve the programs of sampled gates and of descent's own gates."""
    rng = np.random.default_rng(seed)
    data = load(100 if full else 60, rng)
    n = len(data.X)

    def accuracies(weights: Weights) -> Floats:
        right = (outputs(data.X_test, weights) > 0) == (data.y_test > 0)
        return np.asarray(right.mean(axis=1))

    descent = descend(
        data.X,
        data.y,
        BETA / n,
        width=WIDTH,
        starts=10 if full else 5,
        steps=20_000 if full else 5_000,
        step_size=STEP,
        spread=WIDTH**-0.5,
        batch=n // 4,
        rng=rng,
        watch=accuracies,
    )
    models, duals = programs(data, descent, seed)
    return Findings(
        source=data.source,
        classes=data.classes,
        samples=n,
        components=data.X.shape[1],
        test_samples=len(data.X_test),
        relu=models[0],
        gated=models[1],
        own=models[2],
        floor=max(floor(data.X, data.y, v) for v in duals),
        steps=descent.steps,
        objective=n * descent.objective,
        accuracy=descent.watched,
        best=descent.best,
    )


def programs(data: Data, descent: Descent, seed: int) -> tuple[list[Model], list[Floats]]:
    """Return the three models, and their residuals y - f as dual vectors."""
    own = descent.weights.inward[descent.best]
    relu, gated = ReLU(bias=False), GatedReLU(bias=False)
    choices: list[tuple[str, Architecture, str, Any]] = [
        (f"ReLU, {GATES} sampled gates", relu, "reference", "sample"),
        (f"gated, {GATES} sampled gates", gated, "auto", "sample"),
        ("ReLU, gates of the best descent", relu, "reference", own),
    ]
    models, duals = [], []
    for name, architecture, solver, gates in choices:
        model = ConvexRegressor(
            architecture,
            alpha=BETA / len(data.X),
            gates=gates,
            n_gates=GATES,
            solver=solver,
            fit_intercept=False,
            random_state=seed,
        ).fit(data.X, data.y)
        certificate, n = model.certificate_, len(data.X)
        accuracy = float(((model.predict(data.X_test) > 0) == (data.y_test > 0)).mean())
        models.append(
            Model(
                name,
                n * certificate.upper,
                n * certificate.lower,
                certificate.scope.name,
                model.network_.n_neurons,
                accuracy,
            )
        )
        duals.append(data.y - model.predict(data.X))
    return models, duals


def floor(X: Floats, y: Floats, v: Floats) -> float:
    """Return a bound that no ReLU network of any width is below, from any v (n,) but zero.

    By duality v'y - |v|^2 / 2 is one once |v'(X u)_+| <= beta for all unit u [Pilanci2020]. As
    (t)_+ = (t + |t|) / 2, that is at most |X'v| / 2 plus, for w = (v)_+ or (-v)_+,
    sqrt(sum w) * sqrt(largest eigenvalue of X' diag(w) X) / 2, by Cauchy-Schwarz.
    """
    parts = [
        np.sqrt(w.sum() * np.linalg.eigvalsh((X.T * w) @ X)[-1])
        for w in (np.maximum(v, 0), np.maximum(-v, 0))
    ]
    largest = 2 * BETA / (np.linalg.norm(X.T @ v) + max(parts))
    v = v * np.clip(v @ y / (v @ v), -largest, largest)
    return float(v @ y - v @ v / 2)


def table(findings: Findings) -> Table:
    """Return descent, the three programs and the floor as text."""
    best = findings.best
    rows = [
        (
            f"SGD, best of {len(findings.objective)}",
            f"{findings.objective[best, -1]:.4f}",
            "",
            "",
            f"{WIDTH}",
            f"{findings.accuracy[best, -1]:.3f}",
        )
    ]
    for model in (findings.relu, findings.own, findings.gated):
        bounds = f"{model.objective:.4f}", f"{model.bound:.4f}"
        rows.append((model.name, *bounds, model.scope, f"{model.neurons}", f"{model.accuracy:.3f}"))
    rows.append(("every ReLU network", "", f"{findings.floor:.4f}", "ALL_NETWORKS", "", ""))
    columns = ("", "objective", "lower bound", "scope of the bound", "neurons", "test accuracy")
    return Table(columns, tuple(rows))


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say, and where the report errs."""
    relu, gated, own = findings.relu, findings.gated, findings.own
    end = float(findings.objective[findings.best, -1])
    side = "below" if end < relu.objective else "above"
    return (
        f"{findings.source}; {findings.samples} images, {findings.components} components, "
        f"{findings.test_samples} images to test on.",
        f"SGD ends at {end:.4f}, {side} the ReLU program of {GATES} sampled gates at "
        f"{relu.objective:.4f}. The report reads that program as a lower bound on SGD; it is one "
        "only for networks with these activation patterns, and SGD chooses its own.",
        f"The ReLU program on the gates where SGD ended has {own.objective:.4f}: never above SGD, "
        "which is one of its feasible points.",
        f"The gated program ({gated.objective:.4f}) is exact for gated networks with these gates, "
        "another model; of ReLU networks it bounds only those with these patterns.",
        f"What bounds every ReLU network of any width is a relaxation of the dual: "
        f"{findings.floor:.4f}, rigorous and far from tight.",
        f"The report states neither beta nor its step size nor its classes; here beta = {BETA:g}, "
        f"the step is {STEP:g} on the mean over batches of a quarter, starts have variance 1/m. "
        "Objectives are in its units, n times those of cvxnn at alpha = beta / n.",
    )


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: objective and test accuracy along descent, beside the programs."""
    figure, axes = canvas(1, 2, (11.0, 3.8))
    _draw_objective(axes[0, 0], findings)
    _draw_accuracy(axes[0, 1], findings)
    return figure


def _models(findings: Findings) -> tuple[tuple[Model, str, str], ...]:
    return (
        (findings.relu, ORANGE, f"ReLU, {GATES} sampled gates"),
        (findings.own, GREEN, "ReLU, SGD's own gates"),
        (findings.gated, PURPLE, f"gated, {GATES} sampled gates"),
    )


def _draw_objective(axes: Any, findings: Findings) -> None:
    low, best = findings.floor / 1.6, float(findings.objective[findings.best, -1])
    axes.axhspan(low, findings.floor, color=PALE, linewidth=0)
    axes.axhline(findings.floor, color=INK, linewidth=0.9)
    for model, colour, _ in _models(findings):
        axes.axhline(model.objective, color=colour, linewidth=1.2)
    _along(axes, findings, findings.objective)
    axes.set(yscale="log", ylabel="objective")
    axes.set_yticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
    axes.set_ylim(low, 1.3 * findings.objective[:, 0].max())
    axes.minorticks_off()
    axes.text(0.03, 0.04, "no ReLU network of any width (certified)", color=GREY,
              transform=axes.transAxes)  # fmt: skip
    lines = [(m.objective, f"{name} {m.objective:.2f}", c) for m, c, name in _models(findings)]
    beside(axes, [*lines, (best, f"SGD {best:.2f}", BLUE)])
    side = "below" if best < findings.relu.objective else "above"
    axes.set_title(f"SGD ends {side} the ReLU program\nof sampled gates")


def _draw_accuracy(axes: Any, findings: Findings) -> None:
    best = float(findings.accuracy[findings.best, -1])
    for model, colour, _ in _models(findings):
        axes.axhline(model.accuracy, color=colour, linewidth=1.2)
    _along(axes, findings, findings.accuracy)
    axes.set(ylabel="test accuracy", ylim=(None, 1))
    lines = [(m.accuracy, f"{name} {m.accuracy:.3f}", c) for m, c, name in _models(findings)]
    beside(axes, [*lines, (best, f"SGD {best:.3f}", BLUE)])
    axes.set_title(f"Accuracy on {findings.test_samples} images not seen,\n"
                   f"{' against '.join(findings.classes)}")  # fmt: skip


def _along(axes: Any, findings: Findings, curves: Floats) -> None:
    axes.plot(findings.steps, curves.T, color=BLUE, linewidth=0.9, alpha=0.75)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlim=(0, int(findings.steps[-1])), xlabel="step")
    axes.set_xticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    axes.minorticks_off()
