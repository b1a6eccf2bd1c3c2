"""The last layers of a pretrained network, retrained: a convex head beside heads by descent."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from cvxnn.experiments import detection
from cvxnn.experiments.detection import Detection
from cvxnn.experiments.figures import BLUE, GREY, INK, canvas, styled
from cvxnn.experiments.loaders import Features, data_folder, digits, mobilenet_features
from cvxnn.experiments.result import Result, Table, record
from cvxnn.experiments.tuned import RIVALS, Row, torch_is_ready, tuned
from cvxnn.heads import ConvexHead, alternate

NAME = "final-layer"
ROUNDS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """What the experiment measures."""

    source: str
    samples: int
    features: int
    classes: int
    test_samples: int
    rows: tuple[Row, ...]
    objective: tuple[float, ...]
    """Of all layers by turns: at the start and after every round; empty without torch."""
    accepted: tuple[bool, ...]
    """Whether the steps of a round were kept."""
    names: tuple[str, ...]
    """Of the classes."""
    confusion: NDArray[np.int64]
    """(c, c), of the convex head on samples not seen; a row for each true class."""
    faces: Detection


def run(full: bool, seed: int, out: Path) -> Result:
    """Measure, and write the figure and the numbers into `out`.

    `full` takes all samples there are, instead of 1,500.
    """
    findings = measure(full, seed)
    return record(
        name=NAME,
        title=f"Heads on {findings.features} frozen features, {findings.classes} classes",
        table=table(findings),
        notes=notes(findings),
        findings=findings,
        figure=draw(findings),
        out=out,
    )


def load() -> Features:
    """Return the features there are; scaled pixels of digits where there are none."""
    found = mobilenet_features(data_folder())
    if found is not None:
        return found
    images = digits()
    scaled = np.float32(1 / 255)
    X, X_test = (x.reshape(len(x), -1) * scaled for x in (images.X, images.X_test))
    return Features(
        X,
        images.y,
        X_test,
        images.y_test,
        images.classes,
        "features of a MobileNet were not found (set CVXNN_DATA to the folder that holds "
        "cifar10_mobilenet_features.npz): pixels of scikit-learn's 8 x 8 digits stand in for them",
    )


def measure(full: bool = False, seed: int = 0) -> Findings:
    """Train every head on the same samples."""
    data, rng = load(), np.random.default_rng(seed)
    if not full:
        chosen = rng.permutation(len(data.X))[:1500]
        data = data._replace(X=data.X[chosen], y=data.y[chosen])
    begin = time.process_time()
    head = ConvexHead(n_gates=1024 if full else 512, random_state=seed).fit(data.X, data.y)
    seconds = time.process_time() - begin
    gap = head.certificate_.relative_gap
    rows = [Row("convex head", float(head.score(data.X_test, data.y_test)), seconds, gap)]
    inward, outward = ((x - head.mean_) / head.scale_ for x in (data.X, data.X_test))
    for name, models in RIVALS:
        model, took = tuned(models, inward, data.y, seed)
        rows.append(Row(name, float(model.score(outward, data.y_test)), took, None))
    objective, accepted, row = _turns(head, data, seed)
    return Findings(
        source=data.source,
        samples=len(data.X),
        features=data.X.shape[1],
        classes=len(np.unique(data.y)),
        test_samples=len(data.X_test),
        rows=(*rows, *row),
        objective=objective,
        accepted=accepted,
        names=data.classes,
        confusion=confusion_matrix(data.y_test, head.predict(data.X_test)),
        faces=detection.measure(full, seed),
    )


def _turns(
    head: ConvexHead, data: Features, seed: int
) -> tuple[tuple[float, ...], tuple[bool, ...], tuple[Row, ...]]:
    """Train a linear layer before the head too, by turns; nothing where torch is not installed."""
    if not torch_is_ready():
        return (), (), ()
    import torch

    begin, d = time.process_time(), data.X.shape[1]
    torch.manual_seed(seed)
    layer = torch.nn.Linear(d, d)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(d))
        layer.bias.zero_()
    layer.eval()
    parts = np.array_split(np.random.default_rng(seed).permutation(len(data.X)), 20)
    loader = [(torch.from_numpy(data.X[part]), _labels(data.y[part])) for part in parts]
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
    found = alternate(layer, head, loader, optimizer, rounds=ROUNDS)
    with torch.no_grad():
        seen = layer(torch.from_numpy(data.X_test)).numpy()
    accuracy = float(found.head.score(seen, data.y_test))
    row = Row("a layer more, by turns", accuracy, time.process_time() - begin, None)
    accepted = tuple(each.accepted for each in found.rounds)
    return tuple(map(float, found.objective)), accepted, (row,)


def _labels(y: NDArray[np.int64]) -> Any:
    import torch

    return torch.from_numpy(y)


def table(findings: Findings) -> Table:
    """Return accuracies, seconds and proofs."""
    return Table(
        ("head", "test accuracy", "CPU seconds", "relative gap"),
        tuple(
            (name, f"{row.accuracy:.3f}", f"{row.seconds:.1f}", _gap(row.gap))
            for name, row in (
                *((row.name, row) for row in findings.rows),
                *((f"faces: {row.name}", row) for row in findings.faces.rows),
            )
        ),
    )


def _gap(gap: float | None) -> str:
    return "not known" if gap is None else f"{gap:.0e}"


def notes(findings: Findings) -> tuple[str, ...]:
    """Return what the numbers say."""
    said = [
        findings.source + ".",
        f"{findings.samples} samples to train on, {findings.test_samples} to test on; the strength "
        "or the step size of every head is chosen on a fifth of the former.",
        "The convex head is a gated network of linear experts under weight decay: its gates are "
        "random and fixed, and the gap is to the best network on them.",
    ]
    if findings.objective:
        kept = sum(findings.accepted)
        said.append(
            "All layers by turns is not convex: the objective went from "
            f"{findings.objective[0]:.4f} to {findings.objective[-1]:.4f} in "
            f"{len(findings.accepted)} rounds, of which {kept} had their steps kept; how low it "
            "could go is not known."
        )
    return (*said, *detection.notes(findings.faces))


@styled
def draw(findings: Findings) -> Any:
    """Return the figure: heads on frozen features above, faces below."""
    figure, axes = canvas(2, 3, (15.0, 8.0), width_ratios=(1.25, 1.0, 1.25))
    _draw_accuracies(axes[0, 0], findings.rows)
    axes[0, 0].set_title(f"Heads on {findings.features} frozen features")
    _draw_turns(axes[0, 1], findings)
    _draw_confusion(axes[0, 2], findings)
    detection.draw_curves(axes[1, 0], findings.faces)
    _draw_accuracies(axes[1, 1], findings.faces.rows)
    axes[1, 1].set_title(f"Is it {findings.faces.classes[1]}?")
    detection.draw_patches(axes[1, 2], findings.faces)
    return figure


def _draw_accuracies(axes: Any, rows: tuple[Row, ...]) -> None:
    rows = rows[::-1]
    colours = [BLUE if "convex" in row.name or "turns" in row.name else GREY for row in rows]
    axes.barh([row.name for row in rows], [row.accuracy for row in rows], color=colours, height=0.6)
    for k, row in enumerate(rows):
        axes.text(row.accuracy, k, f" {row.accuracy:.3f}", va="center", color=INK)
    axes.set(xlabel="test accuracy", xlim=(0, 1.15))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])


def _draw_turns(axes: Any, findings: Findings) -> None:
    axes.set_axis_off()
    if findings.objective:
        axes.set_axis_on()
        axes.plot(range(len(findings.objective)), findings.objective, color=BLUE, marker="o")
        axes.set(xlabel="round", ylabel="joint objective")
        axes.set_xticks(range(len(findings.objective)))
        axes.set_title("A layer of the backbone by SGD,\nthe head by its convex program")


def _draw_confusion(axes: Any, findings: Findings) -> None:
    shown = ConfusionMatrixDisplay(findings.confusion, display_labels=findings.names)
    shown.plot(ax=axes, cmap="Blues", colorbar=False, xticks_rotation=45, text_kw={"fontsize": 6})
    axes.set_xticks(axes.get_xticks(), findings.names, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.set(xlabel="told by the convex head", ylabel="")
    axes.set_title("What is taken for what")
